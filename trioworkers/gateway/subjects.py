"""What an update is about, and what a call is about: by that, a call is found to belong to an update. Pure.

A subject is a text, the same for both: the chat `-100123`, the user `77` (whose private chat has the same
id), `callback_query_id 4711`. An update of a chat is about that chat and not about its sender: in hand may
also be one of the chat between this person and the bot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHATS = ("chat_id", "from_chat_id", "user_id")  # parameters that name a chat, or a user
_QUERIES = (
    "callback_query_id",
    "inline_query_id",
    "shipping_query_id",
    "pre_checkout_query_id",
    "inline_message_id",
)
_NO_ANSWER = ("get", "sendchataction")  # how names of methods begin that leave what they are about as it is
_LONGEST = 128  # characters of a value that can be a subject


class _Party(msgspec.Struct, gc=False):
    id: int
    username: str | None = None


class _Message(msgspec.Struct, gc=False):
    chat: _Party | None = None


class _Content(msgspec.Struct, rename={"sender": "from"}, gc=False):
    """What an update's content may be about, of whatever kind it is."""

    id: int | str | None = None
    chat: _Party | None = None
    sender: _Party | None = None
    user: _Party | None = None
    message: _Message | None = None
    inline_message_id: str | None = None


_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_content = msgspec.json.Decoder(_Content).decode


def subjects_of_update(body: bytes) -> frozenset[str]:
    """Return what an update is about; nothing, where that cannot be read."""
    found: set[str] = set()
    try:
        for kind, raw in _parts(body).items():
            if kind != "update_id":
                found.update(_subjects_of_content(kind, _content(raw)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return frozenset(found)


def _subjects_of_content(kind: str, content: _Content) -> Iterator[str]:
    message = content.message
    chat = content.chat or (None if message is None else message.chat)
    party = chat or content.sender or content.user
    if party is not None:
        yield str(party.id)
        if party.username:
            yield f"@{party.username.lower()}"
    if f"{kind}_id" in _QUERIES and content.id is not None:
        yield f"{kind}_id {content.id}"
    if content.inline_message_id is not None:
        yield f"inline_message_id {content.inline_message_id}"


def subjects_of_call(params: Mapping[str, Any]) -> frozenset[str]:
    """Return what a call with these parameters is about, as JSON or a form has them."""
    found = set()
    for name in (*_CHATS, *_QUERIES):
        value = params.get(name)
        if isinstance(value, bool) or not isinstance(value, int | str):
            continue
        text = str(value).strip().lower() if name in _CHATS else str(value)
        if text and len(text) <= _LONGEST:
            found.add(text if name in _CHATS else f"{name} {text}")
    return frozenset(found)


def is_answer(method: str) -> bool:
    """Whether a call of this method can be the last of a handling: others say that it is still at work."""
    return not method.lower().startswith(_NO_ANSWER)
