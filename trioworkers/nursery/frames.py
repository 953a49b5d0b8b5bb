"""What the daemon and a worker say to each other, and the channel that carries it.

A frame is four bytes of length, little-endian, and that many bytes of JSON. JSON because an update
travels in it as the bytes that Telegram sent (`msgspec.Raw`); a length because those may hold line
breaks. Frames that are sent in one turn of the loop leave in one write: with many updates under way a
frame costs a twentieth of what it costs alone.

A worker runs code that is not ours: what it may say is bounded, in kind and in size, and what is out of
bounds is no frame. An honest worker keeps to it by :func:`cut`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import trio
from msgspec import Meta

from trioworkers.errors import TrioworkersError

FRAME_LIMIT = 64 * 2**20  # bytes; an update is at most some 4 MiB
READ_SIZE = 256 * 1024
ERROR_LENGTH, WORDS_LENGTH, CODE_LENGTH, KEY_LENGTH = 2000, 4000, 100, 400  # characters
MOST_UNMADE = 20  # calls that an outcome names
MOST_RECORDED = 32 * 2**20  # bytes of keys and answers of one update; they have to fit into its frame
LONGEST_AFTER = 7 * 86400.0  # seconds
MOST_MEMORY = 2**50  # bytes


class FrameError(TrioworkersError):
    """The other side sent something that is no frame."""


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


class Channel:
    """One end of the socket pair between the daemon and a worker.

    Args:
        stream: the end; the channel owns and closes it.
        incoming: the union of frames that the other side may send.
    """

    def __init__(self, stream: trio.SocketStream, incoming: Any) -> None:
        self._stream = stream
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(incoming)
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []
        self._wake = trio.Event()
        self._left = trio.Event()  # what waits in `_outgoing`
        self._leaving = trio.Event()  # what is being written, or was last
        self._leaving.set()
        self._broken = False
        self._writing = trio.Lock()

    def send(self, frame: Frame) -> None:
        """Let `frame` leave with the next write. Never blocks.

        What is under way is bounded by the deliveries in hand, so this needs no bound of its own.
        """
        body = _encode(frame)
        self._outgoing += (len(body).to_bytes(4, "little"), body)
        self._wake.set()

    async def serve_writes(self) -> None:
        """Write what is sent until cancelled, or until the other side is gone."""
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await self.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the reader sees the end and says so

    async def wait_sent(self) -> None:
        """Wait until :meth:`serve_writes` has written everything that was sent up to now.

        What others send in this turn of the loop leaves in the same write, which is what makes it cheaper
        than :meth:`flush`.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        if not self._broken:
            await (self._left if self._outgoing else self._leaving).wait()
        if self._broken:
            raise trio.BrokenResourceError

    async def flush(self) -> None:
        """Write everything that was sent up to now, what another task is writing included.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        try:
            self._writing.acquire_nowait()  # `async with` costs a turn of the loop: 15 µs a frame
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            while self._outgoing:
                data, left = b"".join(self._outgoing), self._left
                self._leaving = left
                self._outgoing.clear()
                self._left = trio.Event()
                try:
                    await self._stream.send_all(data)
                except BaseException:  # cancelled in the middle of a frame, too: nothing can follow it
                    self._broken = True
                    self._left.set()
                    raise
                finally:
                    left.set()
        finally:
            self._writing.release()

    async def receive(self) -> list[Any]:
        """Wait for frames; return all that one read brought. Empty once the other side has closed.

        Raises:
            FrameError: what arrived is no frame; nothing after it can be understood.
        """
        while True:
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return []
            if not data:
                return []
            self._incoming += data
            frames = self._split(self._incoming)
            if frames:
                return frames

    async def aclose(self) -> None:
        """Close this end; the other one sees the end of file."""
        await self._stream.aclose()

    def _split(self, buffer: bytearray) -> list[Any]:
        frames: list[Any] = []
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "little")
            if length > FRAME_LIMIT:
                message = f"a frame of {length} bytes"
                raise FrameError(message)
            end = start + 4 + length
            if end > len(buffer):
                break
            try:
                frames.append(self._decoder.decode(bytes(buffer[start + 4 : end])))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                message = f"a frame that is none: {type(error).__name__}"
                raise FrameError(message) from None
            start = end
        del buffer[:start]
        return frames
