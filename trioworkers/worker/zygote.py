"""The process that workers come from: it starts them, and ends what they leave behind.

It is a child subreaper: what a worker started and left comes to it when the worker ends, in a session of
its own or not. And it outlives the daemon by a moment: at the end of file on its socket it ends all that
it started, because a worker whose loop is blocked sees no end of file itself.

Forked workers share its memory: everything is imported, a Trio loop and a client have run once (their
lazy imports are the largest part), the TLS context is made, and the garbage collector does not touch what
is there by then, which would copy it. It has one thread, since a fork takes only one along, and runs no
handlers' code. Where fork is unfit it starts a fresh interpreter for each worker, and does the rest alike.
"""

from __future__ import annotations

import atexit
import errno
import faulthandler
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from trioworkers.protocol.orders import (
    SIZE,
    NotStarted,
    Ping,
    Pong,
    Prepare,
    Reap,
    Reaped,
    Start,
    Started,
    Warm,
    ZygoteUnfit,
    decode_order,
    encode,
    handed_over,
    rights,
)
from trioworkers.worker.deaf import do_nothing, held_back, leave_to_daemon
from trioworkers.worker.own_process import offer_to_the_kernel
from trioworkers.worker.remains import (
    RUN,
    call_this_process,
    children_of,
    end_run,
    kill,
    orphans,
)
from trioworkers.worker.warming import UnfitError, warm

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.protocol.orders import Answer, Order

GRACE = 0.5  # seconds that workers have to end by themselves once the daemon is gone
STARTS_AT_ONCE = 16  # the last of them alone has pages that this process copies then
LAST = 2.0  # seconds in which what was killed is waited for
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class _Gone(Exception):
    """The daemon is."""


def main(descriptor: int) -> NoReturn:
    """Serve the daemon at the other end of the socket that it left at `descriptor`."""
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    call_this_process("tw-zygote")
    adopt_orphans()
    faulthandler.enable()  # forked workers have it, too: a crash of the interpreter says where
    gc.disable()
    zygote = ZygoteMain(end)
    try:
        zygote.serve()
    except _Gone:
        zygote.end()
    os._exit(0)


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind (prctl(2), PR_SET_CHILD_SUBREAPER).

    Raises:
        OSError: the kernel refuses.
    """
    import ctypes  # only here: no worker that is spawned carries it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class ZygoteMain:
    """Starts and reaps workers as it is told, until the daemon is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._start: Callable[[int, int], int] = self._spawn
        self._workers: set[int] = set()  # started and not reaped: their numbers are nobody else's
        self._kept: list[object] = []
        self._folder: str | None = None
        self._open: list[int] = []  # of workers that are being started
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}
        self._wakes, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._end, select.POLLIN)
        self._poll.register(self._wakes, select.POLLIN)

    def serve(self) -> NoReturn:
        """Do what the daemon says.

        Raises:
            _Gone: it says nothing any more.
        """
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._wakes:
                    self._empty_wakes()
                    self._reap_orphans()
                else:
                    self._obey()

    def end(self) -> None:
        """Let the workers end, then kill all that came of them, and of those of an earlier zygote."""
        self._poll.unregister(self._end)
        deadline = time.monotonic() + GRACE
        while self._dead_letter() and time.monotonic() < deadline:
            self._poll.poll(1000 * max(0.0, deadline - time.monotonic()))
            self._empty_wakes()
        deadline = time.monotonic() + LAST
        while (left := self._dead_letter()) and time.monotonic() < deadline:
            for pid in left:
                _kill_group(pid) if pid in self._workers else kill(pid)
            self._poll.poll(20)
            self._empty_wakes()
        end_run(os.environ.get(RUN, ""))

    def _obey(self) -> None:
        """Do what the daemon has said by now; starts that follow each other are done at once."""
        starts: list[tuple[int, list[int]]] = []
        heard = self._hear()
        while heard is not None:
            order, descriptors = heard
            if isinstance(order, Start):
                starts.append((order.number, descriptors))
            else:
                self._start_all(starts)
                starts = []
                self._do(order)
            heard = self._hear(socket.MSG_DONTWAIT) if len(starts) < STARTS_AT_ONCE else None
        self._start_all(starts)

    def _hear(self, flags: int = 0) -> tuple[Order, list[int]] | None:
        """The next order and its descriptors. With MSG_DONTWAIT, None where no order waits."""
        try:
            # not inherited by programs: what is not yet closed here must not stay open in them
            said, ancillary, _, _ = self._end.recvmsg(SIZE, 256, socket.MSG_CMSG_CLOEXEC | flags)
        except BlockingIOError:
            return None
        except OSError:
            raise _Gone from None
        if not said:
            raise _Gone
        return decode_order(said), handed_over(ancillary)

    def _do(self, order: Order) -> None:
        if isinstance(order, Reap):
            self._answer(Reaped(order.number, self._reap(order.pid)))
        elif isinstance(order, Ping):
            self._answer(Pong(order.number))
        elif isinstance(order, Prepare):
            self._prepare(order)

    def _answer(self, answer: Answer, *descriptors: int) -> None:
        try:
            self._end.sendmsg([encode(answer)], rights(*descriptors))
        except OSError:
            raise _Gone from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _prepare(self, prepare: Prepare) -> None:
        if prepare.way == "fork":
            try:
                self._kept = warm(prepare)
            except UnfitError as error:
                self._answer(ZygoteUnfit(str(error)))
                os._exit(1)
            self._start = self._fork
        if prepare.umask is not None:
            os.umask(prepare.umask)
        self._folder = prepare.folder
        # only now, as they were held back so far: the rehearsal is a Trio loop's own
        for number in (signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(number, do_nothing)
        leave_to_daemon()
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._answer(Warm())

    def _start_all(self, orders: list[tuple[int, list[int]]]) -> None:
        """Start workers, then answer. `orders`: of each the number and its descriptors, which are closed.

        One after the other: whatever this process does between two forks copies pages that the first worker
        alone has then (0.1 MB).
        """
        if not orders:
            return
        if self._folder is not None:
            with suppress(OSError):  # it is being replaced just now: the worker says what it cannot find
                os.chdir(self._folder)
        self._open = [descriptor for _, descriptors in orders for descriptor in descriptors]
        started: list[int | OSError] = []
        for _, descriptors in orders:
            try:
                if len(descriptors) < 2:  # there was no room for them here (unix(7), MSG_CTRUNC)
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                channel, output = descriptors
                worker = self._start(channel, output)
                self._workers.add(worker)
                started.append(worker)
            except OSError as error:
                started.append(error)
        for descriptor in self._open:
            os.close(descriptor)
        self._open = []
        for (number, _), pid in zip(orders, started, strict=True):
            self._answer(*self._started(number, pid))

    def _started(self, number: int, pid: int | OSError) -> tuple[Answer, *tuple[int, ...]]:
        if isinstance(pid, OSError):
            return (NotStarted(number, pid.errno or 0),)
        offer_to_the_kernel(pid)
        try:
            held = os.pidfd_open(pid)
        except OSError as error:  # no descriptor is left, or the call is forbidden: nobody could wait for it
            kill(pid)
            self._reap(pid)
            return (NotStarted(number, error.errno or 0),)
        return Started(number, pid), held

    def _spawn(self, channel: int, output: int) -> int:
        # -P: modules are not searched for in the working directory
        command = [sys.executable, "-P", "-m", "trioworkers.worker", str(channel)]
        with held_back():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[channel],
                start_new_session=True,
            )
        self._spawned[process.pid] = process
        return process.pid

    def _fork(self, channel: int, output: int) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.dup2(output, 1)
                os.dup2(output, 2)
                for descriptor in (self._end.detach(), self._wakes, self._woken, *self._open):
                    if descriptor != channel:
                        os.close(descriptor)
            except BaseException:
                os._exit(1)
            _be_worker(channel)
        return pid

    def _reap(self, pid: int) -> int | None:
        """Let a worker that has ended go; return how it ended."""
        self._workers.discard(pid)
        process = self._spawned.pop(pid, None)
        if process is not None:
            return process.wait()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            return None

    def _reap_orphans(self) -> None:
        """Kill what workers left behind when they ended, and reap what has ended of it."""
        for pid in orphans(self._workers):
            kill(pid)
        for pid in children_of(os.getpid()):
            if pid not in self._workers:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _dead_letter(self) -> list[int]:
        """Reap whatever has ended; return what has not."""
        left = []
        for pid in children_of(os.getpid()):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    left.append(pid)
        return left

    def _empty_wakes(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wakes, 512):
                pass


def _be_worker(channel: int) -> NoReturn:
    """Be a worker in a fork of the zygote, to the end of the process.

    The interpreter is not taken down, which would touch, and so copy, all the memory that is shared.
    """
    code = 1
    try:
        from trioworkers.worker.process import work

        gc.enable()
        code = work(channel, forked=True)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    try:
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as the interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not come to lead one yet
        kill(pid)
