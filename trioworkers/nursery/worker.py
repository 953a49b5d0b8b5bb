"""One worker process from its start to its end, as the daemon sees it."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Drain, FromWorker, Ready, Unfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trioworkers.nursery.output import Output
    from trioworkers.nursery.spawn import Exit, WorkerProcess
    from trioworkers.protocol.frames import Configure, Frame

    StartsWorker = Callable[[int, int], Awaitable[WorkerProcess]]

START_TIMEOUT = 60.0  # seconds for a worker to import its handler and run its `start`
TERM_GRACE = 2.0  # seconds between TERM and KILL
LAST_OUTPUT = 0.5  # seconds that the output of an ended worker is still read


@asynccontextmanager
async def open_worker(
    start: StartsWorker, configure: Configure, output: Output
) -> AsyncIterator[ConnectedWorker]:
    """Start a worker and send it its configuration; at the end nothing of it is left.

    `start` is as :meth:`MakesWorkers.start`. Leaving the context in whatever way ends the worker's whole
    group: by TERM and, after a grace, by KILL. A worker that was drained has ended by itself by then.

    Raises:
        OSError: the process could not be started.
    """
    ours, theirs = socket.socketpair()
    reads, writes = os.pipe()
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
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.copy, reads)
        nursery.start_soon(channel.serve_writes)
        nursery.start_soon(_watch, process, ours)
        worker = ConnectedWorker(process, channel)
        try:
            channel.send(configure)
            yield worker
        finally:
            channel.close()
            with trio.CancelScope(shield=True):
                await worker.end()
            # a grandchild in a session of its own may hold the pipe open for ever
            nursery.cancel_scope.deadline = trio.current_time() + LAST_OUTPUT


async def _watch(process: WorkerProcess, end: socket.socket) -> None:
    """End the channel with the process: a child of it may hold the other end open for ever.

    What the worker sent before is still received.
    """
    await process.wait()
    with suppress(OSError):  # it is closed already
        end.shutdown(socket.SHUT_RD)


class ConnectedWorker:
    """A running worker.

    Attributes:
        started_at: trio time.
        heartbeat_at: trio time of the last heartbeat; None before the worker was ready.
        memory: the bytes that the last heartbeat reported.
        lag: the seconds by which the worker's loop was late, as the last heartbeat reported.
        leaves: the worker is about to exit by itself.
        killed: the daemon sent it SIGKILL.
    """

    def __init__(self, process: WorkerProcess, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self.heartbeat_at: float | None = None
        self.memory = 0
        self.lag = 0.0
        self.leaves = False
        self.killed = False
        self._unread: list[Any] = []
        self.started_at = trio.current_time()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, frame: Frame) -> None:
        """Send a frame; it is dropped when the worker is gone."""
        self._channel.send(frame)

    async def receive(self) -> list[Any]:
        """Return the next frames of the worker; none once it has closed its end.

        Raises:
            FrameError: it sent something that is not a valid frame.
        """
        frames, self._unread = self._unread, []
        return frames or await self._channel.receive()

    async def first_word(self) -> Ready | Unfit | None:
        """Wait until it says that it is ready, or unfit and about to exit; None when it says neither.

        Raises:
            FrameError: it sent something that is not a valid frame.
        """
        frames = await self.receive()
        for number, frame in enumerate(frames):
            if isinstance(frame, Ready | Unfit):
                self._unread = frames[number + 1 :]
                self.leaves = isinstance(frame, Unfit)
                return frame
        return None

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

        A worker that `leaves` is given a moment to exit by itself; then comes TERM, then KILL.
        """
        if self.leaves:
            with trio.move_on_after(TERM_GRACE):
                return await self._process.wait()
        self._process.signal_group(signal.SIGTERM)
        with trio.move_on_after(TERM_GRACE):
            return await self._process.wait()
        self.kill()
        return await self._process.wait()
