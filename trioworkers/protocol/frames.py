"""What the daemon and a worker say to each other, and the bytes that it travels as.

A frame is four bytes of length, little-endian, and that many bytes of JSON. JSON because an update
travels in it as the bytes that Telegram sent (`msgspec.Raw`); a length because those may hold line
breaks.

A worker runs code that is not ours: what it may say is bounded, in kind and in size, and what is out of
bounds is not a valid frame. An honest worker keeps to it by :func:`cut`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trioworkers.errors import TrioworkersError

FRAME_LIMIT = 64 * 2**20  # bytes; an update is at most some 4 MiB
ERROR_LENGTH, WORDS_LENGTH, CODE_LENGTH, KEY_LENGTH = 2000, 4000, 100, 400  # characters
MOST_UNMADE = 20  # calls that an outcome names
MOST_RECORDED = 32 * 2**20  # bytes of keys and answers of one update; they have to fit into its frame
LONGEST_AFTER = 7 * 86400.0  # seconds
MOST_MEMORY = 2**50  # bytes


class FrameError(TrioworkersError):
    """The other side sent something that is not a valid frame."""


class Frame(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Base of all frames."""


class Retune(Frame, frozen=True):
    """To the worker: new values, for the updates that follow."""

    settings: dict[str, Any]
    handler_timeout: float
    heartbeat_interval: float
    memory_check_interval: float
    log_level: str


class Configure(Frame, frozen=True):
    """To the worker, first of all: what it is. The token travels here and nowhere else."""

    name: str
    bot_id: int
    token: str
    api_base: str
    handler: str
    python_path: list[str]
    concurrency: int
    tuning: Retune


class Recorded(msgspec.Struct, array_like=True, frozen=True):
    """A call of an earlier handling: with its `answer`, or without when it may or may not have been made."""

    key: str
    answered: bool
    answer: msgspec.Raw = msgspec.Raw(b"null")


class Deliver(Frame, frozen=True):
    """To the worker: handle this update. `delivery` names it until its outcome, and is used once.

    `calls`: those recorded by earlier handlings; None when calls are not to be recorded.
    """

    delivery: int
    attempt: int
    after_gap: bool
    trace_id: str
    update: msgspec.Raw
    calls: list[Recorded] | None = None


class Ping(Frame, frozen=True):
    """To the worker: send a heartbeat now."""


class Drain(Frame, frozen=True):
    """To the worker: finish what you have, stop, exit 0. No delivery follows."""


class Ready(Frame, frozen=True):
    """From the worker: the handler is imported and started. `code` is a fingerprint of its module."""

    code: Annotated[str, Meta(max_length=CODE_LENGTH)]


class Unfit(Frame, frozen=True):
    """From the worker, before it exits: it can never work like this. `detail` names no values."""

    reason: Annotated[str, Meta(max_length=WORDS_LENGTH)]
    detail: Annotated[str, Meta(max_length=WORDS_LENGTH)]


class Calling(Frame, frozen=True):
    """From the worker: it is about to make a call for a delivery. `key` names it in every handling."""

    delivery: Annotated[int, Meta(ge=0)]
    key: Annotated[str, Meta(max_length=KEY_LENGTH)]


class Called(Frame, frozen=True):
    """From the worker: the call has this answer, or (`made` is false) is known not to have been made."""

    delivery: Annotated[int, Meta(ge=0)]
    key: Annotated[str, Meta(max_length=KEY_LENGTH)]
    made: bool
    answer: msgspec.Raw = msgspec.Raw(b"null")


class Outcome(Frame, frozen=True):
    """From the worker: what became of a delivery.

    `after`: seconds that a retry asked for. `counted`:
    whether the retry counts as an attempt (a wait that Telegram asked for does not). `error`: what went
    wrong, without text of messages; `words`: what the handler said of it, which may hold some. `unmade`:
    recorded calls that a handling that is done did not make, as people read them.
    """

    delivery: Annotated[int, Meta(ge=0)]
    result: Literal["done", "retry", "dead", "drop"]
    after: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)] | None = None
    counted: bool = True
    error: Annotated[str, Meta(max_length=ERROR_LENGTH)] = ""
    words: Annotated[str, Meta(max_length=WORDS_LENGTH)] = ""
    unmade: Annotated[list[Annotated[str, Meta(max_length=KEY_LENGTH)]], Meta(max_length=MOST_UNMADE)] = []


class Heartbeat(Frame, frozen=True):
    """From the worker, now and then: its loop turns.

    `memory`: its share of memory (PSS), bytes; `lag`: seconds by which its loop was late.
    """

    memory: Annotated[int, Meta(ge=0, le=MOST_MEMORY)]
    lag: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)] = 0.0


ToWorker = Configure | Retune | Deliver | Ping | Drain
FromWorker = Ready | Unfit | Calling | Called | Outcome | Heartbeat

_encode = msgspec.json.Encoder().encode


def cut(text: str, length: int) -> str:
    """The text as a frame takes it: at most `length` characters, all of them Unicode."""
    return text[:length].encode(errors="replace").decode()


def packed(frame: Frame) -> bytes:
    """The bytes that `frame` travels as."""
    body = _encode(frame)
    return len(body).to_bytes(4, "little") + body


class FrameReader:
    """Takes frames out of bytes, however these arrive.

    Args:
        incoming: the union of frames that may come.
    """

    def __init__(self, incoming: Any) -> None:
        self._decode = msgspec.json.Decoder(incoming).decode
        self._kept = bytearray()
        self._needed = 0  # bytes, to get any further than what is kept

    def feed(self, data: bytes) -> list[Any]:
        """The frames that are complete with `data`.

        Raises:
            FrameError: this is not a valid frame; nothing after it can be understood.
        """
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        frames: list[Any] = []
        start, size = 0, len(data)
        self._needed = 4
        while size - start >= 4:
            length = int.from_bytes(data[start : start + 4], "little")
            if length > FRAME_LIMIT:
                message = f"a frame of {length} bytes"
                raise FrameError(message)
            end = start + 4 + length
            if end > size:
                self._needed = end - start
                break
            try:
                frames.append(self._decode(data[start + 4 : end]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                message = f"not a valid frame: {type(error).__name__}"
                raise FrameError(message) from None
            start = end
        if start < size:
            self._kept += data[start:]
        return frames
