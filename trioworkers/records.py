"""The update, from the wire to the inbox: the records that cross layers.

An update's body stays the bytes that Telegram sent; what is read out of it is in :mod:`trioworkers.arrivals`.
Records are msgspec structs: some are made for each update, at a fifth of a frozen dataclass's cost.
"""

from __future__ import annotations

from hashlib import blake2b
from math import inf
from typing import Any

import msgspec

ONCE_SEEN = "another update of the same key came within the window"  # the key itself may tell content
MOST_ONCE_KEY = 256  # characters
ANY_CALL = "*"
"""The key of a record that stands for any call: the update may have been handled where nothing is left to say
what was called. Each call of its later handlings may be a repetition."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An update as it came from Telegram, before the inbox knows it.

    `key` orders: updates of one key are handled first-in first-out, different keys in parallel; an
    empty key is ordered with nothing. `body` is JSON, as received; nobody can decode one that is `broken`.
    """

    update_id: int
    kind: str
    key: str
    chat_id: int | None
    user_id: int | None
    body: bytes
    broken: bool = False


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
        head: what was read out of the body when it came; None when it is not at hand, as for what was read
            from disk.
        parts: the others of its album, once they were gathered; they end with it. None: it is of no album.
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
    head: Arrival | None = None
    parts: tuple[Waiting, ...] | None = None


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
        reason: why an update is dropped for it, without texts.
        level: of the event that says so.

    Raises:
        TypeError, ValueError: no store could hold this.
    """

    key: str
    window: float
    reason: str = ONCE_SEEN
    level: str = "debug"

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


def belongs_to_chat(key: str, chat_id: int) -> bool:
    """Whether an order key is that of a chat, or of a thread in it."""
    chat = str(chat_id)
    return key == chat or key.startswith(f"{chat}/")


def decode_body(body: bytes) -> dict[str, Any]:
    """The update as plain dictionaries and lists."""
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded
