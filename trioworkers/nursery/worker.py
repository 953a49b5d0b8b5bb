"""One worker process from its start to its end, as the daemon sees it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from trioworkers.call_marks import read_marks
from trioworkers.nursery.output import TAIL_LINES
from trioworkers.nursery.proven_handlers import start_of
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    AskTurn,
    CodeLoaded,
    Drain,
    FromWorker,
    Go,
    Ready,
    Standing,
    TaskFailed,
    TurnOver,
    Unfit,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from trioworkers.call_marks import Mark
    from trioworkers.nursery.output import Output
    from trioworkers.nursery.proven_handlers import HandlerStart
    from trioworkers.nursery.spawn import Exit, WorkerProcess
    from trioworkers.nursery.turns import WorkerTurns
    from trioworkers.protocol.frames import Configure, Frame

    StartsWorker = Callable[[int, int], Awaitable[WorkerProcess]]

START_TIMEOUT = 60.0  # seconds for a worker to import its handler and run its `start`
TERM_GRACE = 2.0  # seconds that a drained worker has to exit
KILL_GRACE = 0.5  # seconds between TERM and KILL
END_NOTICED = 1.0  # seconds from the end of a worker's channel to its exit status
LAST_OUTPUT = 0.5  # seconds that the output of an ended worker is still read


@asynccontextmanager
async def open_worker(
    start: StartsWorker, configure: Configure, output: Output
) -> AsyncIterator[ConnectedWorker]:
    """Start a worker and send it its configuration; at the end nothing of it is left.

    `configure.marks`: the folder of the file with its marks, removed at the end; empty: there is none.

    `start` is as :meth:`MakesWorkers.start`. Leaving the context in whatever way ends the worker's whole
    group: by TERM and, after a grace, by KILL. A worker that was drained has ended by itself by then.

    Raises:
        OSError: the process could not be started.
    """
    ours, theirs = socket.socketpair()
    try:
        reads, writes = os.pipe()
    except OSError:
        ours.close()
        theirs.close()
        raise
    try:
        process = await start(theirs.fileno(), writes)
    except BaseException:
        ours.close()
        os.close(reads)
        raise
    finally:
        theirs.close()
        os.close(writes)
    channel = Channel(ours, FromWorker)
    if configure.marks:
        configure = replace(configure, marks=os.path.join(configure.marks, secrets.token_hex(8)))
    async with trio.open_nursery() as nursery:
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        nursery.start_soon(output.copy, reads, tail)
        nursery.start_soon(channel.serve_writes)
        nursery.start_soon(_watch, process, ours)
        worker = ConnectedWorker(process, channel, tail, configure.marks)
        worker.start = start_of(configure)
        try:
            channel.send(configure)
            yield worker
        finally:
            channel.close()
            with trio.CancelScope(shield=True):
                await worker.end()
            worker.on_end()
            if configure.marks:
                with suppress(OSError):  # it made none; or the next run of the daemon removes it
                    os.unlink(configure.marks)
            # a grandchild in a session of its own may hold the pipe open for ever
            nursery.cancel_scope.deadline = trio.current_time() + LAST_OUTPUT


async def _watch(process: WorkerProcess, end: socket.socket) -> None:
    """End the channel with the process: a child of it may hold the other end open for ever.

    What the worker sent before is still received.
    """
    await process.wait()
    with suppress(OSError):  # it is closed already
        end.shutdown(socket.SHUT_RD)


def _ignore(_: object) -> None: ...


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Gone:
    """Instead of a frame: the worker's process has ended. `how`: its exit code or signal, in words, if these
    say something."""

    how: str


class ConnectedWorker:
    """A running worker.

    Attributes:
        started_at: trio time.
        heartbeat_at: trio time of the last heartbeat; None before the worker was ready.
        memory: the bytes that the last heartbeat reported.
        lag: the seconds by which the worker's loop was late, as the last heartbeat reported.
        leaves: the worker is about to exit by itself.
        killed: the daemon sent it SIGKILL.
        turns: what it has of its bot's turns to send; None: nobody limits these.
        on_stand: is told when the time of its `start` stands still, and when it goes on.
        on_failed_task: is told of background tasks that raised.
        on_code: is told of the files that its code comes from.
        on_end: called once its process has ended, while what it has marked can still be read.
        promise: what is promised for its updates, where it runs a program.
        last_lines: the end of what it has written; all of it once :func:`open_worker` is left.
    """

    def __init__(
        self, process: WorkerProcess, channel: Channel, last_lines: Sequence[str] = (), marks: str = ""
    ) -> None:
        self.last_lines = last_lines
        self._marks = marks
        self._process = process
        self._channel = channel
        self.heartbeat_at: float | None = None
        self.memory = 0
        self.lag = 0.0
        self.leaves = False
        self.killed = False
        self.turns: WorkerTurns | None = None
        self.on_stand: Callable[[bool], None] = _ignore
        self.on_failed_task: Callable[[TaskFailed], None] = _ignore
        self.on_code: Callable[[CodeLoaded], None] = _ignore
        self.on_end: Callable[[], None] = _nothing
        self.promise: Callable[[], str | None] = lambda: None
        self.start: HandlerStart | None = None
        self._unread: list[Any] = []
        self._is_over = False  # its channel was found closed
        self.started_at = trio.current_time()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the last heartbeat; None before the worker was ready."""
        return None if self.heartbeat_at is None else trio.current_time() - self.heartbeat_at

    def send(self, frame: Frame) -> None:
        """Send a frame; it is dropped when the worker is gone."""
        self._channel.send(frame)

    def hurry(self) -> None:
        """Let what was sent leave now, not at the end of this turn of the loop."""
        self._channel.hurry()

    async def wait_sent(self) -> None:
        """Return once everything that was sent up to now has been written, or the worker is gone."""
        with suppress(trio.BrokenResourceError):
            await self._channel.wait_sent()

    async def receive(self) -> list[Any]:
        """Return the next frames of the worker; none once it has closed its end.

        Before the first time that there are none comes :class:`Gone`, if the process has ended by then.

        Raises:
            FrameError: it sent something that is not a valid frame.
        """
        frames, self._unread = self._unread, []
        frames = frames or await self._channel.receive()
        if not frames and not self._is_over:
            self._is_over = True
            # not cancelled, as it is bounded: else nobody would know what became of what is in flight
            with trio.move_on_after(END_NOTICED, shield=True):
                ended = await self._process.wait()
                # that it was killed says nothing of what it did
                return [Gone("" if ended.signal == "SIGKILL" else str(ended))]
        return frames

    async def first_word(self) -> Ready | Unfit | None:
        """Wait until it says that it is ready, or unfit and about to exit; None when it says neither.

        Its `start` may send messages before, which take their turns.

        Raises:
            FrameError: it sent something that is not a valid frame.
        """
        while frames := await self.receive():
            for number, frame in enumerate(frames):
                if isinstance(frame, Ready | Unfit):
                    self._unread = frames[number + 1 :]
                    self.leaves = isinstance(frame, Unfit)
                    return frame
                if not self._take_early(frame):
                    return None
        return None

    def _take_early(self, frame: object) -> bool:
        """Take in what a worker may say before it is ready; False: it may not say this."""
        if isinstance(frame, AskTurn | TurnOver):
            self.take_turn(frame)
        elif isinstance(frame, Standing):
            self.on_stand(frame.is_on)
        elif isinstance(frame, TaskFailed):
            self.on_failed_task(frame)
        elif isinstance(frame, CodeLoaded):
            self.on_code(frame)
        return isinstance(frame, AskTurn | TurnOver | Standing | TaskFailed | CodeLoaded)

    def take_turn(self, frame: AskTurn | TurnOver) -> None:
        """It asks for a turn to send, or one is over.

        Raises:
            FrameError: an honest worker does not ask so.
        """
        if self.turns is not None:
            self.turns.take_in(frame)
        elif isinstance(frame, AskTurn):
            self.send(Go(frame.number))

    @property
    def has_marks(self) -> bool:
        """Whether it marks calls."""
        return bool(self._marks)

    def marked_calls(self) -> list[Mark]:
        """The calls that it has marked; it may not have reported them."""
        if not self._marks:
            return []
        try:
            return read_marks(self._marks)
        except OSError:  # there is no descriptor, say: they count as not made
            return []

    def drain(self) -> None:
        """Ask the worker to finish what it has, to stop, and to exit."""
        self.leaves = True
        self._channel.send(Drain())

    def dump_stacks(self) -> None:
        """Make the worker write the stacks of all its threads to its log, whatever its loop does."""
        self._process.send_signal(signal.SIGQUIT)

    def kill(self) -> None:
        """End the worker and its group at once."""
        self.killed = True
        self._process.signal_group(signal.SIGKILL)

    async def end(self) -> Exit:
        """Make sure that the worker and its group have ended; return how the worker did.

        A worker that `leaves` is given a moment to exit by itself; then its channel is closed, which ends it
        unless its loop is held up; then comes KILL. With the end of the channel comes TERM, for what the
        worker started: it does nothing on it itself.
        """
        if self.leaves:
            with trio.move_on_after(TERM_GRACE):
                return await self._process.wait()
        self._process.signal_group(signal.SIGTERM)
        self._channel.close()
        with trio.move_on_after(KILL_GRACE):
            return await self._process.wait()
        self.kill()
        return await self._process.wait()
