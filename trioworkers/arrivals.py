"""What is read out of an update when it comes: its id, its kind, whose it is, and the lane that orders it.

An update is decoded once, whole. That is how one is found that nobody can ever decode (a text that is not
UTF-8, half of a surrogate pair, a number beyond all numbers, nesting without end): its id and its chat are
read as far as they can be, and it is marked. Kinds that are not known yet are read like the known ones.

The lanes, by the Bot API 10.2 (https://core.telegram.org/bots/api#update):

- What happens in a chat is ordered by the chat; in a forum and in a channel's direct messages by the topic.
- A query that has to be answered soon has a lane by its kind and user, so that it waits for none of the
  user's messages: the id of a private chat is its user's. A join request is one if it has a `query_id`.
- A business account's chat with somebody is another chat than the bot's own with that person, and so
  is the chat that a guest bot is called into: both have lanes of their own.
- All that is known of a poll is ordered by the poll.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from trioworkers.json_outline import is_object
from trioworkers.records import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.records import Waiting

Content: TypeAlias = "Mapping[str, Any]"
Place: TypeAlias = "tuple[str, int | None, int | None]"
"""The order key, the chat's id and the user's."""

_BAD_ID = "not an update: update_id is not a 32-bit integer"
LONGEST_BROKEN = 64 * 1024  # bytes of what is looked through in Python
LONGEST_NAME = 64  # characters of a poll's or a connection's id in a key; Telegram's have about 20
DEEP = 400  # an update may nest as deep, and somewhat deeper; Telegram's do by a tenth of it
ALBUM_KINDS = frozenset({"message", "channel_post", "business_message"})
CALLBACKS = "callbacks"  # ends the key of callbacks that have a lane of their own

_Id32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # thousands of digits are no order key


class _WithId(msgspec.Struct, gc=False):
    id: _Int64


class _Topic(msgspec.Struct, gc=False):
    topic_id: _Int64


class _Message(msgspec.Struct, rename={"sender": "from"}):
    """What orders messages."""

    chat: _WithId | None = None
    sender: _WithId | None = None
    message_thread_id: _Int64 | None = None
    is_topic_message: bool = False
    direct_messages_topic: _Topic | None = None


class _MessageUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """What nearly every update is: its few fields are picked in one pass, in a quarter of the time."""

    update_id: _Id32
    message: _Message


_decode = msgspec.json.Decoder().decode
_decode_message = msgspec.json.Decoder(_MessageUpdate).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(_Id32).decode
# Telegram writes the id first, and the id of a chat, too
_HEAD = re.compile(rb'\s*\{\s*"update_id"\s*:\s*(-?\d{1,19})\s*(?:,\s*"([a-z_]{1,64})"\s*:|[,}])')
_CHAT = re.compile(rb'"chat"\s*:\s*\{\s*"id"\s*:\s*(-?\d{1,19})\s*[,}]')
_UNREADABLE = msgspec.MsgspecError, UnicodeDecodeError, RecursionError


class UpdateIdError(ValueError):
    """This has an `update_id`, but none that can be read."""


def read_update(body: bytes | msgspec.Raw) -> Arrival:
    """Read an update's id, kind, chat, user and order key.

    A content of an unknown shape has no key and is an update all the same. So is one that cannot be decoded,
    if its id can be read; it is `broken`.

    Raises:
        UpdateIdError: its `update_id` is not a 32-bit integer.
        ValueError: this is not an update. The messages name no content.
    """
    try:
        update = _decode_message(body)
    except _UNREADABLE:
        return _read_any(bytes(body))
    message = update.message
    chat, sender = message.chat, message.sender
    user_id = None if sender is None else sender.id
    if chat is None:
        chat_id, key = None, "" if user_id is None else str(user_id)
    else:
        chat_id = chat.id
        if message.is_topic_message:
            topic = message.message_thread_id
        else:
            direct = message.direct_messages_topic
            topic = None if direct is None else direct.topic_id
        key = str(chat_id) if topic is None else f"{chat_id}/{topic}"
    body = bytes(body)
    return Arrival(update.update_id, "message", key, chat_id, user_id, body, _cannot_be_decoded(body))


def is_broken(update: Waiting) -> bool:
    """Whether nobody can decode the update. It is looked at again where it was read from disk."""
    return _cannot_be_decoded(update.body) if update.head is None else update.head.broken


def _cannot_be_decoded(body: bytes) -> bool:
    try:
        _decode_whole(body)
    except _UNREADABLE:
        return True
    return False


def _decode_whole(body: bytes) -> Any:
    """Decode a body, in a way that works also deeper in the stack: the interpreter's limit counts both.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it cannot be decoded.
    """
    if len(body) > 2 * DEEP and body.count(b"{") + body.count(b"[") > DEEP:
        _decode(b"[" * DEEP + body + b"]" * DEEP)
    return _decode(body)


def _read_any(body: bytes) -> Arrival:
    """As :func:`read_update`: an update of any kind."""
    try:
        whole = _decode_whole(body)
    except _UNREADABLE:
        return _read_broken(body)
    if type(whole) is not dict or "update_id" not in whole:
        message = f"not an update: {'no_id' if type(whole) is dict else type(whole).__name__}"
        raise ValueError(message)
    update_id = whole["update_id"]
    if type(update_id) is not int or not -(2**31) <= update_id < 2**31:
        raise UpdateIdError(_BAD_ID)
    kind = next((name for name in whole if name != "update_id"), "unknown")
    content = whole.get(kind)
    key, chat_id, user_id = _PLACES.get(kind, _usual)(content) if type(content) is dict else _NOWHERE
    return Arrival(update_id, kind, key, chat_id, user_id, body)


def _read_broken(body: bytes) -> Arrival:
    """As :func:`read_update`: what can be read of an update that cannot be decoded."""
    try:
        parts = {name: bytes(raw) for name, raw in _decode_parts(body).items()}
    except _UNREADABLE as error:
        found = _HEAD.match(body) if len(body) <= LONGEST_BROKEN and is_object(body) else None
        if found is None:
            message = f"not an update: {type(error).__name__}"
            raise ValueError(message) from None
        parts = {"update_id": found[1], (found[2] or b"unknown").decode(): body}
    if "update_id" not in parts:
        message = "not an update: no_id"
        raise ValueError(message)
    try:
        update_id = _decode_id(parts.pop("update_id"))
    except _UNREADABLE:
        raise UpdateIdError(_BAD_ID) from None
    kind, raw = next(iter(parts.items()), ("unknown", b""))
    chat = _CHAT.search(raw)
    chat_id = None if chat is None else _number(int(chat[1]))
    key = "" if chat_id is None else str(chat_id)
    return Arrival(update_id, kind, key, chat_id, None, body, broken=True)


def may_be_of_album(update: Waiting) -> bool:
    """Whether :func:`album_of` may name an album; for most updates this takes 0.05 µs."""
    return b'"media_group_id"' in update.body


def album_of(update: Waiting) -> str | None:
    """What the parts of one album have in common, or None; edits are of none."""
    if not may_be_of_album(update) or update.kind not in ALBUM_KINDS or not update.key or update.skipped:
        return None  # what is in no lane, or in one of its own, has no others behind it
    if update.damaged or is_broken(update):
        return None
    content = _decode(update.body).get(update.kind)
    group = content.get("media_group_id") if type(content) is dict else None
    return f"{update.kind} {group}" if type(group) is str else None


def with_own_lane(arrival: Arrival) -> Arrival:
    """A callback in a lane of its own, beside that of its message's chat; everything else as it is."""
    if arrival.kind != "callback_query" or arrival.chat_id is None:
        return arrival  # one of an inline message has its own lane already
    return msgspec.structs.replace(arrival, key=f"{arrival.key}/{CALLBACKS}")


def _id(owner: Any) -> int | None:
    return _number(owner.get("id")) if type(owner) is dict else None


def _number(value: Any) -> int | None:
    """A 64-bit integer, or None: thousands of digits are no order key."""
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _usual(content: Content) -> Place:
    """By the chat and the topic; without a chat by the user; else by nothing."""
    sender = content.get("from")
    user_id = _id(content.get("user") if sender is None else sender)
    chat = content.get("chat")
    if chat is None:
        return "" if user_id is None else str(user_id), None, user_id
    chat_id = _id(chat)
    return _chat_key(content, chat_id), chat_id, user_id


def _chat_key(message: Content, chat_id: int | None) -> str:
    if chat_id is None:
        return ""
    topic = None
    if message.get("is_topic_message") is True:
        topic = _number(message.get("message_thread_id"))
    elif "direct_messages_topic" in message and type(message["direct_messages_topic"]) is dict:
        topic = _number(message["direct_messages_topic"].get("topic_id"))
    return str(chat_id) if topic is None else f"{chat_id}/{topic}"


def _callback(content: Content) -> Place:
    """By its message's chat; one of a message that was sent by inline mode is of no chat that is known."""
    user_id = _id(content.get("from"))
    message = content.get("message")
    if type(message) is not dict:
        return _own("callback_query", user_id), None, user_id
    key, chat_id, _ = _business(message) if "business_connection_id" in message else _usual(message)
    return key if chat_id is not None else _own("callback_query", user_id), chat_id, user_id


def _query(kind: str) -> Callable[[Content], Place]:
    def place(content: Content) -> Place:
        user_id = _id(content.get("from"))
        return _own(kind, user_id), None, user_id

    return place


def _own(kind: str, number: int | None) -> str:
    return "" if number is None else f"{kind}/{number}"


def _join_request(content: Content) -> Place:
    key, chat_id, user_id = _usual(content)
    if content.get("query_id") and user_id is not None:  # a bot that is asked has 10 seconds
        key = _own("chat_join_request", user_id)
    return key, chat_id, user_id


def _poll(content: Content) -> Place:
    return _named("poll", content.get("id")), None, None


def _poll_answer(content: Content) -> Place:
    """The chat of an anonymous voter is who voted, and not where."""
    return _named("poll", content.get("poll_id")), None, _id(content.get("user"))


def _business(content: Content) -> Place:
    """The chat of a business account with somebody, whose own chat with the bot has the same id."""
    key, chat_id, user_id = _usual(content)
    connection = _named("business", content.get("business_connection_id"))
    return f"{connection}/{key}" if connection and key else key, chat_id, user_id


def _business_connection(content: Content) -> Place:
    chat_id, user_id = _number(content.get("user_chat_id")), _id(content.get("user"))
    number = user_id if chat_id is None else chat_id
    return "" if number is None else str(number), chat_id, user_id


def _guest(content: Content) -> Place:
    """A chat in which the bot is not a member; the id may be that of the user's own chat with it."""
    key, chat_id, user_id = _usual(content)
    return f"guest_message/{key}" if key else "", chat_id, user_id


def _boost(content: Content) -> Place:
    return _boosted(content, content.get("boost"))


def _boost_removed(content: Content) -> Place:
    return _boosted(content, content)


def _boosted(content: Content, boost: Any) -> Place:
    """By the chat; the user is whose subscription, gift code or prize boosts it, where one is known."""
    key, chat_id, _ = _usual(content)
    source = boost.get("source") if type(boost) is dict else None
    return key, chat_id, _id(source.get("user")) if type(source) is dict else None


def _named(what: str, name: Any) -> str:
    """A key by an opaque name of Telegram's, which is kept to a length and to plain characters."""
    if type(name) is not str or not name:
        return ""
    if len(name) > LONGEST_NAME or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        name = blake2b(name.encode(), digest_size=16).hexdigest()
    return f"{what}/{name}"


_NOWHERE: Place = "", None, None
_PLACES: dict[str, Callable[[Content], Place]] = {
    **{
        kind: _query(kind)
        for kind in ("inline_query", "chosen_inline_result", "shipping_query", "pre_checkout_query")
    },
    "callback_query": _callback,
    "chat_join_request": _join_request,
    "poll": _poll,
    "poll_answer": _poll_answer,
    "business_connection": _business_connection,
    "business_message": _business,
    "edited_business_message": _business,
    "deleted_business_messages": _business,
    "guest_message": _guest,
    "chat_boost": _boost,
    "removed_chat_boost": _boost_removed,
}
