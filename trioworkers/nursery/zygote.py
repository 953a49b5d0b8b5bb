"""The daemon's side of the zygote: keeps one running, and has it start and reap workers.

A zygote that dies is started again, and running workers go on: the daemon is a child subreaper, so they
become its own children, with their exit status, and it reaps them itself. It never waits for "any" child,
which may be a plugin's, but for those that it knows one by one.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from trioworkers.awake import next_beat
from trioworkers.errors import TrioworkersError
from trioworkers.nursery.link import LAST, Link, LostError
from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.orders import SIZE, NotStarted, Ping, Reap, Start, encode
from trioworkers.shortage import words_of
from trioworkers.worker.remains import RUN, kill, orphans, strangers
from trioworkers.worker.zygote import adopt_orphans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from pathlib import Path

    from trioworkers.nursery.spawn import WorkerProcess
    from trioworkers.protocol.orders import Prepare

WARM_TIMEOUT = 60.0  # seconds until a zygote has imported everything
LOOK_EVERY = 1.0  # seconds between two looks for processes that nobody else reaps
PAUSE = 0.01  # seconds until a process that was killed is looked for again
AT_ONCE = 16  # orders under way
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 30.0  # seconds between zygotes that die before they are warm
FIRST_TRIES = 3  # zygotes that are killed before one was ever warm, until the start has failed


class ZygoteError(TrioworkersError):
    """Workers cannot be started as the fleet file says; the message says why."""


class ZygoteEndedError(TrioworkersError):
    """The first zygotes ended before they were warm, of something that another start may be spared."""


@asynccontextmanager
async def open_zygote(
    prepare: Prepare, *, run: str, folder: Path, environ: Mapping[str, str], emit: Callable[..., None]
) -> AsyncIterator[Zygote]:
    """Keep a zygote running; at the end it is gone, and with it every worker that still lived.

    The first one is warming up when the body begins: `warm` is set once it can start workers.
    Cancelling the body leaves the zygote until the body has ended its workers.

    Args:
        prepare: what the zygote is told first.
        run: what all its processes are marked with.
        folder: the workers' working directory.
        environ: their environment, without secrets.
        tell: hears when one is ready and when one has exited.

    Raises (in a group):
        ZygoteError: the first one is unfit.
        ZygoteEndedError: it ended before that was known; if it was killed, so were those after it.
        OSError: it cannot be started.
    """
    zygote = Zygote(run, emit)
    async with trio.open_nursery() as nursery:
        await nursery.start(zygote.serve, prepare, folder, {**environ, RUN: run})
        reaping = trio.CancelScope()
        nursery.start_soon(zygote.serve_left_behind, reaping)
        try:
            yield zygote
        finally:
            reaping.cancel()
            zygote.close()


class Zygote:
    """Makes workers, by one zygote after another.

    Attributes:
        warm: set once the first is.
    """

    def __init__(self, run: str, emit: Callable[..., None]) -> None:
        self.warm = trio.Event()
        self._run = run
        self._emit = emit
        self._link: Link | None = None
        self._came = trio.Event()
        self._serving = trio.CancelScope()
        self._orders = trio.CapacityLimiter(AT_ONCE)
        self._workers: dict[int, _Worker] = {}  # not reaped, whoever's children they are
        self._process = 0  # the zygote's, warm or not
        self._newest: Link | None = None  # likewise
        self._environ: Mapping[str, str] = {}
        self._owes_look = False  # for orphans, as there was no descriptor to look with

    async def serve(
        self,
        prepare: Prepare,
        folder: Path,
        environ: Mapping[str, str],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep a zygote running until closed; `started` once the first runs."""
        if len(encode(prepare)) > SIZE:  # it travels in one message
            raise ZygoteError(f"fleet.preload, fleet.python_path: expected less than {SIZE} bytes together")
        adopt_orphans()
        self._environ = environ
        pause, tries = FIRST_PAUSE, 0
        with self._serving:
            while True:
                try:
                    link = Link(prepare, folder, self._environ)
                except OSError as error:
                    if self._newest is None:
                        raise
                    how = f"cannot be started: {words_of(error)}"  # for now: the system has no room
                else:
                    if self._newest is None:
                        task_status.started()
                    self._newest, self._process = link, link.process.pid
                    how = await self._serve(link, prepare.way)
                    if link.warm:
                        pause = FIRST_PAUSE
                    elif not self.warm.is_set() and not link.is_outdated:
                        if link.problem is not None:
                            raise ZygoteError(f"fleet.{how}")
                        tries += 1
                        if tries == FIRST_TRIES or not link.was_killed:
                            raise ZygoteEndedError(f"workers cannot be started: their zygote {how}")
                self._emit("zygote.exited", reason=how)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self, link: Link, way: str) -> str:
        """One zygote from its start to its end; how that came."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.serve)
            with trio.move_on_after(WARM_TIMEOUT) as limit:
                await link.judged.wait()
            if link.warm:
                self._emit("zygote.ready", pid=link.process.pid, way=way)
                self._serving.shield = True
                self.warm.set()
                self._link = link
                self._came.set()
                await link.lost.wait()
                self._link, self._came = None, trio.Event()
            else:
                link.kill()
        await self._reap_orphans()
        if limit.cancelled_caught:
            return f"was not warm within {WARM_TIMEOUT:g} s"
        link.was_killed = link.process.returncode == -signal.SIGKILL
        return link.problem or f"ended: {_exit(link.process.returncode)}"

    async def renew(self) -> None:
        """Start workers from a new zygote from now on, with fresh libraries; running ones go on.

        The old one is killed: told to end, it would end its workers.

        Raises:
            OSError: there is no new one yet; it is tried on.
        """
        old = self._link
        if old is not None:
            old.kill()
            await old.gone.wait()
        with trio.move_on_after(WARM_TIMEOUT):
            while self._link is None or self._link is old:
                await self._came.wait()
            return
        raise OSError(errno.EAGAIN, "the zygote did not start again")

    def hide(self, names: Collection[str]) -> None:
        """Keep variables from all workers that start from now on; running ones go on with what they have.

        A zygote that has one of them is killed, as by :meth:`renew`: a process's environment can be read
        as it was at its start (proc(5), environ), and a fork has its parent's.
        """
        if not self._environ.keys().isdisjoint(names):
            self._environ = {name: self._environ[name] for name in self._environ if name not in names}
            if self._newest is not None:
                self._newest.is_outdated = True
                self._newest.kill()

    def close(self) -> None:
        """Let `serve` end the zygote, and end."""
        self._serving.cancel()

    async def end(self) -> None:
        """Close, and return once the zygote is gone."""
        self.close()
        if self._newest is not None:
            await self._newest.gone.wait()

    async def start(self, channel: int, output: int) -> WorkerProcess:
        """As :meth:`trioworkers.nursery.spawn.MakesWorkers.start`; waits while there is no zygote."""
        async with self._orders:
            while True:
                while (link := self._link) is None:
                    await self._came.wait()
                try:
                    answer, descriptors = await link.ask(Start(link.next_number()), channel, output)
                    break
                except LostError:
                    # a worker that it started and did not tell of is ended before there is another zygote
                    await link.gone.wait()
        if isinstance(answer, NotStarted):
            raise OSError(answer.errno, os.strerror(answer.errno))
        if not descriptors:  # there was no room for it here (unix(7), MSG_CTRUNC): nobody could wait for it
            kill(answer.pid)
            with suppress(LostError):  # then it is an orphan
                await link.ask(Reap(link.next_number(), answer.pid))
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        worker = self._workers[answer.pid] = _Worker(answer.pid, descriptors[0], link, self)
        return worker

    async def answers(self) -> None:
        """Return once a zygote has answered a question that is asked now; one that is silent is replaced."""
        while True:
            while (link := self._link) is None:
                await self._came.wait()
            with suppress(LostError):
                await link.ask(Ping(link.next_number()))
                return
            await link.gone.wait()

    def kill(self) -> None:
        """Kill the groups of all workers at once."""
        for worker in self._workers.values():
            worker.signal_group(signal.SIGKILL)

    async def reap(self, worker: _Worker) -> Exit:
        """Reap a worker that has ended, and end what it left behind."""
        try:
            answer, _ = await worker.link.ask(Reap(worker.link.next_number(), worker.pid))
        except LostError:
            await worker.link.gone.wait()
            code = _reap(worker.descriptor)
            del self._workers[worker.pid]
            await self._reap_orphans()
        else:
            code = answer.code
            del self._workers[worker.pid]
        return _exit(code)

    async def serve_left_behind(self, scope: trio.CancelScope) -> None:
        """Reap what nobody else does, until `scope` is cancelled.

        That is what came to this process as the first one of a container, and orphans that could not be
        looked for when they came. Of the former only what is found twice: a plugin that has started it in a
        session of its own may wait for it.
        """
        before: set[tuple[int, int]] = set()
        with scope:
            while True:
                if self._owes_look:
                    await self._reap_orphans()
                if os.getpid() == 1:
                    before = self._reap_strangers(before)
                await trio.sleep_until(next_beat(LOOK_EVERY))

    def _reap_strangers(self, before: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Reap the strangers that were there before, too; return the others."""
        try:
            found = strangers({self._process, *self._workers})
        except OSError:  # no descriptor to look with
            return before
        for pid, _ in found & before:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return found - before

    async def _reap_orphans(self) -> None:
        """End what came to the daemon because the zygote to which it should have come had died.

        By their numbers, for which no descriptor is needed: what is not reaped keeps its number.
        """
        with trio.move_on_after(LAST, shield=True):
            while True:
                try:
                    left = orphans({self._process, *self._workers}, self._run)
                except OSError:
                    self._owes_look = True
                    return
                self._owes_look = False
                if not left:
                    return
                for pid in left:
                    kill(pid)
                await trio.sleep(PAUSE)
                for pid in left:
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait


class _Worker:
    def __init__(self, pid: int, descriptor: int, link: Link, zygote: Zygote) -> None:
        self.pid = pid
        self.descriptor = descriptor
        self.link = link
        self._zygote = zygote
        self._exit: Exit | None = None
        self._ended = False
        self._reaping = trio.Lock()

    async def wait(self) -> Exit:
        async with self._reaping:
            if self._exit is None:
                await trio.lowlevel.wait_readable(self.descriptor)
                # while the leader is not reaped its number cannot be another group's
                self.signal_group(signal.SIGKILL)
                self._ended = True
                with trio.CancelScope(shield=True):  # bounded: the zygote answers in time, or is killed
                    self._exit = await self._zygote.reap(self)
                os.close(self.descriptor)
            return self._exit or Exit()

    def send_signal(self, number: signal.Signals) -> None:
        if not self._ended:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, number)

    def signal_group(self, number: signal.Signals) -> None:
        if not self._ended:
            with suppress(ProcessLookupError):
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:  # it has not come to lead one yet
                    signal.pidfd_send_signal(self.descriptor, number)


def _reap(descriptor: int) -> int | None:
    """Reap the child that has ended; its exit code, or its signal below zero; None when it is no child."""
    try:
        ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _exit(code: int | None) -> Exit:
    if code is None or code >= 0:
        return Exit(code)
    with suppress(ValueError):  # most real-time signals have no name
        return Exit(signal=signal.Signals(-code).name)
    return Exit(signal=f"signal {-code}")
