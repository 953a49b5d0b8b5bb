"""The update, from the wire to the inbox: what is read out of it, and the records that cross layers.

An update's body stays the bytes that Telegram sent; it is decoded once, for the few fields that
decide its order. Kinds that are not known yet are accepted like the known ones.
Records are msgspec structs: some are made for each update, at a fifth of a frozen dataclass's cost.
"""

from __future__ import annotations

from hashlib import blake2b
from math import inf
from typing import Annotated, Any

import msgspec

MOST_ONCE_KEY = 256  # characters

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # thousands of digits are no order key


class _Id(msgspec.Struct):
    id: _Int64


class _Message(msgspec.Struct):
    chat: _Id | None = None
    message_thread_id: _Int64 | None = None
    is_topic_message: bool = False


class _Content(msgspec.Struct, rename={"sender": "from"}):
    """What the kinds of updates have in common, as far as order is concerned."""

    chat: _Id | None = None
    sender: _Id | None = None
    user: _Id | None = None
    message_thread_id: _Int64 | None = None
    is_topic_message: bool = False
    message: _Message | None = None


_Id32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class _Usual(msgspec.Struct, forbid_unknown_fields=True):
    """What nearly every update is, in one pass."""

    update_id: _Id32
    message: _Content


_usual = msgspec.json.Decoder(_Usual)
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_content = msgspec.json.Decoder(_Content)
_id32 = msgspec.json.Decoder(_Id32)


class UpdateIdError(ValueError):
    """This has an `update_id`, but none that can be read."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An update as it came from Telegram, before the inbox knows it.

    `key` orders: updates of one key are handled first-in first-out, different keys in parallel; an
    empty key is ordered with nothing. `body` is UTF-8 JSON, as received.
    """

    update_id: int
    kind: str
    key: str
    chat_id: int | None
    user_id: int | None
    body: bytes


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """An update that the inbox holds.

    Times are Unix seconds.

    Attributes:
        id: the inbox's own, and never used again.
        attempt: how often it was handled before.
        due: when it may be handled at the earliest; 0 is now.
        started_at: its first handling; None before one failed.
        after_gap: one before it of its key was not handled, or not yet.
        damaged: its body is not what was written.
        suspect: it was in flight when a worker died; it is handled alone.
        crashes: how many workers died while they handled it alone.
        skipped: the updates behind it in its chat do not wait for it.
        called: calls of an earlier handling are recorded.
    """

    id: int
    bot_id: int
    update_id: int
    key: str
    body: bytes
    accepted_at: float
    attempt: int = 0
    due: float = 0.0
    started_at: float | None = None
    after_gap: bool = False
    damaged: bool = False
    kind: str = "message"
    suspect: bool = False
    crashes: int = 0
    skipped: bool = False
    called: bool = False


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One handling that failed, for the log of an update's attempts.

    `at`: Unix seconds. `error`: without text of messages. `unknown`: its calls of which it is not known
    whether they were made, as :func:`shown_call` gives them.
    """

    at: float
    error: str
    unknown: tuple[str, ...] = ()


class Once(msgspec.Struct, frozen=True, gc=False):
    """A key of which one update within a window is kept.

    Args:
        key: names what must come only once; at most 256 characters. It never appears in a log.
        window: the seconds for which the key counts, from the commit of an update with this key.

    Raises:
        TypeError, ValueError: no store could hold this.
    """

    key: str
    window: float

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            message = f"once: expected a text as key, got {type(self.key).__name__}"
            raise TypeError(message)
        try:
            self.key.encode()
        except UnicodeEncodeError:
            message = "once: the key cannot be encoded as UTF-8"
            raise ValueError(message) from None  # its own message quotes the key
        if len(self.key) > MOST_ONCE_KEY:
            message = f"once: expected a key of at most {MOST_ONCE_KEY} characters, got {len(self.key)}"
            raise ValueError(message)
        if not 0 < self.window < inf:
            message = f"once: expected a window of more than 0 seconds, got {self.window}"
            raise ValueError(message)


class RecordedCall(msgspec.Struct, frozen=True, gc=False):
    """A recorded Bot API call. `at`: Unix seconds.

    `answer` is JSON, None while it is not known whether the call was made; `repeated`: it was begun again,
    and may have been made twice.
    """

    key: str
    at: float
    answer: bytes | None = None
    repeated: bool = False


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """An update that is not handled any more, unless somebody asks for it. Times are Unix seconds."""

    id: int
    bot_id: int
    update_id: int
    key: str
    kind: str
    body: bytes
    accepted_at: float
    attempts: int
    died_at: float
    reason: str
    history: tuple[Attempt, ...] = ()
    damaged: bool = False


def trace_id(bot_id: int, update_id: int) -> str:
    """An update's trace id: 32 hexadecimal digits, the same in every event and log line about it."""
    return blake2b(f"{bot_id}:{update_id}".encode(), digest_size=16).hexdigest()


def shown_call(key: str) -> str:
    """A call's key as people read it: its method and, where one belongs to it, its chat."""
    words = key.split(" ", 2)
    return words[1] if words[0] == "once" and len(words) > 1 else " ".join(words[:2])


def read_update(body: bytes | msgspec.Raw) -> Arrival:
    """Read one update's id, kind and order key.

    The key is the chat's id, with the thread's in a forum (`-100123/7`: a group of operators must
    not be one queue); without a chat the user's id; else empty.

    A content of an unknown shape has no key and is an update all the same.

    Raises:
        UpdateIdError: its `update_id` is not a 32-bit integer.
        ValueError: this is not an update. The messages name no content.
    """
    try:
        usual = _usual.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        update_id, kind, content = _read_unusual(body)
    else:
        update_id, kind, content = usual.update_id, "message", usual.message
    place: _Content | _Message = content if content.chat or not content.message else content.message
    user = content.sender or content.user
    chat_id = place.chat.id if place.chat else None
    user_id = user.id if user else None
    if chat_id is None:
        key = "" if user_id is None else str(user_id)
    elif place.is_topic_message and place.message_thread_id is not None:
        key = f"{chat_id}/{place.message_thread_id}"
    else:
        key = str(chat_id)
    return Arrival(update_id, kind, key, chat_id, user_id, bytes(body))


def _read_unusual(body: bytes | msgspec.Raw) -> tuple[int, str, _Content]:
    """As :func:`read_update`: an update of any kind by its id, kind and content."""
    try:
        parts = _envelope.decode(body)
        raw_id = parts.pop("update_id")
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        message = f"not an update: {type(error).__name__}"
        raise ValueError(message) from None
    try:
        update_id = _id32.decode(raw_id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        message = "not an update: update_id is not a 32-bit integer"
        raise UpdateIdError(message) from None
    kind, raw = next(iter(parts.items())) if parts else ("unknown", b"{}")
    try:
        content = _content.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        content = _Content()
    return update_id, kind, content


def decode_body(body: bytes) -> dict[str, Any]:
    """The update as plain dictionaries and lists."""
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded
