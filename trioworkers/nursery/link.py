"""One zygote process as the daemon sees it: started, told what to do, and waited for."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.protocol.orders import SIZE, Warm, ZygoteUnfit, decode_answer, encode, handed_over, rights
from trioworkers.worker.deaf import held_back

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trioworkers.protocol.orders import Answer, Order, Ping, Prepare, Reap, Start

ANSWER_TIMEOUT = 10.0  # seconds for an answer; a zygote that is silent for longer is killed
LAST = 3.0  # seconds that one has to end itself and its workers
PAUSE = 0.05  # seconds until an order is sent again for which the system had no room
NO_ROOM_TO_SEND = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})  # sendmsg(2), unix(7)


class LostError(Exception):
    """The zygote is gone before it answered."""


@dataclass(eq=False)
class _Reply:
    came: trio.Event = field(default_factory=trio.Event)
    answer: Any = None
    descriptors: list[int] = field(default_factory=list)


class Link:
    """One zygote process, and the questions to it.

    Raises:
        OSError: the system has no process or descriptor for it; nothing is left of it.

    Attributes:
        judged: it is warm, or will never be.
        lost: it answers no more.
        gone: it has ended, so that its children are the daemon's.
        is_outdated: it is to end for what it was started with.
        was_killed: it was ended by SIGKILL, as by the system when memory is short.
        problem: why it is unfit, in its own words.
    """

    def __init__(self, prepare: Prepare, folder: Path, environ: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                with held_back():
                    process = subprocess.Popen(  # noqa: S603 - our own interpreter
                        [sys.executable, "-P", "-m", "trioworkers.worker", "zygote", str(theirs.fileno())],
                        cwd=folder,
                        env=dict(environ),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        start_new_session=True,  # Ctrl-C in a terminal is the daemon's to hear
                    )
                try:
                    self._held = os.pidfd_open(process.pid)
                except OSError:  # without it nobody could wait for its end
                    process.kill()
                    process.wait()
                    raise
            except OSError:
                ours.close()
                raise
            self.process = process
            ours.send(encode(prepare))  # at once: it warms up while the daemon's loop may be held up
        self.judged, self.lost, self.gone = trio.Event(), trio.Event(), trio.Event()
        self.warm = self.is_outdated = self.was_killed = False
        self.problem: str | None = None
        ours.setblocking(False)
        self._end = ours
        self._replies: dict[int, _Reply] = {}
        self._numbers = count()
        self._sending = trio.Lock()

    def kill(self) -> None:
        """End it at once; whoever waits for it sees that."""
        if (
            not self.gone.is_set()
        ):  # until then it is not reaped, which `Popen.kill` might do: its number is its own
            os.kill(self.process.pid, signal.SIGKILL)

    def next_number(self) -> int:
        return next(self._numbers)

    async def serve(self) -> None:
        """Take answers until the zygote is gone; cancelled, let it end itself and what it started."""
        try:
            # it died, or said what is none of its words
            with suppress(OSError, trio.ClosedResourceError, ValueError):
                while await self._take():
                    pass
        finally:
            with trio.CancelScope(shield=True):
                trio.lowlevel.notify_closing(self._end)
                self._end.close()
                self.judged.set()
                self.lost.set()
                for reply in self._replies.values():
                    reply.came.set()
                await self._ended()
                self.gone.set()

    async def ask(self, order: Start | Reap | Ping, *descriptors: int) -> tuple[Any, list[int]]:
        """Give an order; return the answer and its descriptors, which are the caller's.

        There are fewer descriptors than were sent where this process has no room for more.

        It cannot be cancelled, so that no worker is started that nobody knows of, and is bounded.

        Raises:
            LostError: there is no answer.
        """
        reply = self._replies[order.number] = _Reply()
        try:
            with trio.move_on_after(ANSWER_TIMEOUT, shield=True) as limit:
                if not self.lost.is_set():
                    with suppress(OSError, trio.ClosedResourceError):
                        await self._send(order, *descriptors)
                        await reply.came.wait()
        finally:
            del self._replies[order.number]
        if limit.cancelled_caught:
            self.kill()
        if reply.answer is None:
            raise LostError
        return reply.answer, reply.descriptors

    async def _send(self, order: Order, *descriptors: int) -> None:
        said, held = [encode(order)], rights(*descriptors)
        while True:
            try:
                self._end.sendmsg(said, held)
                return
            except BlockingIOError:
                async with self._sending:  # only one may wait for it
                    await trio.lowlevel.wait_writable(self._end)
            except OSError as error:
                if error.errno not in NO_ROOM_TO_SEND:
                    raise
                await trio.sleep(PAUSE)  # in the end the caller has no answer in time

    async def _take(self) -> bool:
        """Take the answers that come next; False when these were the last."""
        await trio.lowlevel.wait_readable(self._end)
        with suppress(BlockingIOError):
            while True:
                said, ancillary, _, _ = self._end.recvmsg(SIZE, 256, socket.MSG_CMSG_CLOEXEC)
                if not said:
                    return False
                self._note(decode_answer(said), handed_over(ancillary))
        return True

    def _note(self, answer: Answer, descriptors: list[int]) -> None:
        """Let whoever asked have the answer, and its descriptors."""
        if isinstance(answer, Warm):
            self.warm = True
            self.judged.set()
        elif isinstance(answer, ZygoteUnfit):
            self.problem = answer.problem
        elif answer.number in self._replies:
            reply = self._replies[answer.number]
            reply.answer, reply.descriptors = answer, descriptors
            reply.came.set()
        else:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _ended(self) -> None:
        try:
            # one that is not warm has no workers, and hears nothing while it imports
            with trio.move_on_after(LAST if self.warm else 0):
                await trio.lowlevel.wait_readable(self._held)
            self.kill()
            await trio.lowlevel.wait_readable(self._held)
        finally:
            os.close(self._held)
        self.process.wait()
