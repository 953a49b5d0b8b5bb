"""The zygote, real: what its workers are like, what becomes of what they leave, and of its own death."""

from __future__ import annotations

import errno
import os
import resource
import secrets
import signal
import socket
import subprocess
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.nursery.spawn import Exit
from trioworkers.nursery.zygote import FIRST_TRIES, ZygoteEndedError, ZygoteError, open_zygote
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Configure, Deliver, Drain, FromWorker, Ready, Retune
from trioworkers.protocol.orders import Prepare
from trioworkers.worker.remains import children_of, variable_of
from trioworkers.worker.zygote import STARTS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

# this run of the tests' own: the end of a zygote is the end of all that bear its mark, in other runs, too
RUN = secrets.token_hex(16)
QUIET = "async def handle(update, bot): ...\n"
BLOCK = "    print('here', flush=True)\n    while True: pass\n"
WAIT = "    print('here', flush=True)\n    await trio.sleep_forever()\n"
HANG = {
    "import": "print('here', flush=True)\nwhile True: pass\n",
    "start": QUIET + "async def start(bot):\n" + BLOCK,
    "start that waits": "import trio\n" + QUIET + "async def start(bot):\n" + WAIT,
    "handle": "async def handle(update, bot):\n" + BLOCK,
    "handle that catches everything": "async def handle(update, bot):\n    print('here', flush=True)\n"
    "    while True:\n        try:\n            while True: pass\n        except BaseException: pass\n",
    "stop": QUIET + "async def stop(bot):\n" + BLOCK,
    "stop that waits": "import trio\n" + QUIET + "async def stop(bot):\n" + WAIT,
}
LOOK = QUIET + (
    "import gc, json, os, sys\n"
    "from trioworkers.botapi import wire\n"
    "def misses(): return wire._taken_apart.cache_info().misses\n"
    "before = misses()\n"
    "def paths(): return [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
    "async def start(bot):\n"
    "    wire.Wire('http://127.0.0.1:9', 1, '', connections=1)\n"
    "    print(json.dumps({'frozen': gc.get_freeze_count(), 'collects': gc.isenabled(),\n"
    "        'threads': len(os.listdir('/proc/self/task')), 'leads': os.getsid(0) == os.getpid(),\n"
    "        'fds': [os.readlink(path) for path in paths() if os.path.lexists(path)],\n"
    "        'environ': dict(os.environ), 'folder': os.getcwd(),\n"
    "        'modules': sorted(sys.modules), 'finders': len(sys.path_importer_cache),\n"
    "        'addresses': misses() - before}), flush=True)\n"
)
DAEMONISE = QUIET + (
    "import subprocess, sys\n"
    "CHILD = ('import os, time; os.fork() and os._exit(0); os.setsid();'\n"
    "         'print(os.getpid(), flush=True); time.sleep(300)')\n"
    "async def start(bot):\n"
    "    subprocess.run([sys.executable, '-c', CHILD], check=True)\n"
)


class Bench:
    """A folder with handlers, and workers started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = set(children_of(os.getpid()))
        self.told: list[tuple[str, dict[str, Any]]] = []

    def module(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(source)

    @asynccontextmanager
    async def zygote(self, way: Any, *preload: str, **environ: str) -> AsyncIterator[Any]:
        async with self.warming(way, *preload, **environ) as zygote:
            await zygote.warm.wait()
            yield zygote

    @asynccontextmanager
    async def warming(self, way: Any, *preload: str, **environ: str) -> AsyncIterator[Any]:
        prepare = Prepare(way, "http://127.0.0.1:9", preload, (str(self.folder),))
        environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environ}
        with trio.fail_after(60):
            async with open_zygote(
                prepare, run=RUN, folder=self.folder, environ=environ, emit=self.emit
            ) as zygote:
                yield zygote

    def emit(self, event: str, **fields: Any) -> None:
        self.told.append((event, fields))

    @asynccontextmanager
    async def worker(self, zygote: Any, handler: str) -> AsyncIterator[Worker]:
        ours, theirs = socket.socketpair()
        reads, writes = os.pipe()
        with theirs:
            process = await zygote.start(theirs.fileno(), writes)
        os.close(writes)
        channel = Channel(ours, FromWorker)
        try:
            async with trio.lowlevel.FdStream(reads) as output, trio.open_nursery() as nursery:
                nursery.start_soon(channel.serve_writes)
                where = ("http://127.0.0.1:9", f"{handler}:handle", [str(self.folder)])
                channel.send(Configure("echo", 1, "1:a", *where, 1, Retune({}, 300.0, 60.0, 60.0, "info")))
                yield Worker(process, channel, output)
                nursery.cancel_scope.cancel()
        finally:
            process.signal_group(signal.SIGKILL)
            with trio.CancelScope(shield=True):
                channel.close()
                await process.wait()


class Worker:
    def __init__(self, process: Any, channel: Channel, output: trio.lowlevel.FdStream) -> None:
        self.process = process
        self.channel = channel
        self._output = output
        self._rest = b""

    async def line(self) -> str:
        while b"\n" not in self._rest:
            data = await self._output.receive_some()
            assert data, "it ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def ready(self) -> None:
        assert isinstance((await self.channel.receive())[0], Ready)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - of the system, which wakes nobody
            await trio.sleep(0.01)


both_ways = pytest.mark.parametrize("way", ["fork", "spawn"])


@both_ways
@pytest.mark.parametrize("where", HANG)
async def test_a_worker_does_not_outlive_its_daemon(bench, way, where):
    """Whatever its handler does just then, be it to hold up the loop for ever."""
    bench.module("hangs", HANG[where])
    async with bench.zygote(way) as zygote, bench.worker(zygote, "hangs") as worker:
        if where.startswith("handle"):
            worker.channel.send(Deliver(1, 0, False, msgspec.Raw(b'{"update_id":1}')))
        elif where.startswith("stop"):
            worker.channel.send(Drain())
        assert await worker.line() == "here"
        zygote.close()  # the end of its socket is all that it sees of a daemon's end
        await until(lambda: not alive(worker.process.pid), 5)


@both_ways
async def test_a_worker_is_a_process_of_its_own(bench, way):
    """It leads a session, has one thread, its own descriptors, a clean environment, the right folder."""
    bench.module("looks", LOOK)
    bench.module("library", "")
    async with (
        bench.zygote(way, "library", LANG="C.UTF-8") as zygote,
        bench.worker(zygote, "looks") as worker,
    ):
        seen = msgspec.json.decode(await worker.line())
        assert (seen["threads"], seen["leads"], seen["collects"]) == (1, True, True)
        assert seen["folder"] == str(bench.folder)
        pid = str(worker.process.pid)
        marks = {"TRIOWORKERS_RUN": RUN, "TRIOWORKERS_WORKER": pid}
        expected = {"PATH", "PYTHONDONTWRITEBYTECODE", "LANG", *marks}
        assert seen["environ"].keys() - {"LC_CTYPE"} == expected
        assert marks.items() <= seen["environ"].items()
        kinds = [link.partition(":")[0] for link in seen["fds"]]
        assert kinds.count("/dev/null") == 1
        assert kinds.count("pipe") == 2
        assert kinds.count("socket") == 5, "the channel, and two pairs of the loop's own"
        assert (seen["frozen"] > 10_000, "library" in seen["modules"]) == ((way == "fork"),) * 2
        assert seen["addresses"] == (way == "spawn"), "a fork knows the server's address already"
        assert way == "spawn" or seen["finders"] < 5, "none is left of those that the zygote imported with"


@both_ways
async def test_workers_that_are_asked_for_at_once_have_nothing_of_each_other(bench, way):
    """More than a zygote starts at once, all asked for while it was stopped: each has its own channel."""
    bench.module("looks", LOOK)
    count = 2 * STARTS_AT_ONCE + 3
    kinds: list[tuple[int, int]] = []

    async def look(zygote: Any) -> None:
        async with bench.worker(zygote, "looks") as worker:
            seen = msgspec.json.decode(await worker.line())
            links = [link.partition(":")[0] for link in seen["fds"]]
            kinds.append((links.count("pipe"), links.count("socket")))

    async with bench.zygote(way) as zygote:
        (pid,) = set(children_of(os.getpid())) - bench.before
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(look, zygote)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(pid, signal.SIGCONT)
        assert kinds == [(2, 5)] * count
        await until(lambda: not children_of(pid))


@both_ways
async def test_a_drained_worker_ends_by_itself(bench, way):
    """Its exit code arrives; so does what it printed at its end."""
    bench.module("ends", QUIET + "import atexit\natexit.register(print, 'bye')\n")
    async with bench.zygote(way) as zygote, bench.worker(zygote, "ends") as worker:
        worker.channel.send(Drain())
        assert await worker.process.wait() == Exit(0)
        assert await worker.line() == "bye"


@both_ways
async def test_a_handler_is_imported_anew_by_each_worker(bench, way):
    """Code that changed on disk is what the next worker runs."""
    async with bench.zygote(way) as zygote:
        for number in (1, 2):
            bench.module("fresh", QUIET + f"print('version', {number}, flush=True)\n")
            async with bench.worker(zygote, "fresh") as worker:
                assert await worker.line() == f"version {number}"


@both_ways
async def test_what_left_its_workers_session_ends_with_it(bench, way):
    """A daemonised grandchild goes when its worker does; one of another bot stays until its own does."""
    bench.module("leaves", DAEMONISE)
    async with (
        bench.zygote(way) as zygote,
        bench.worker(zygote, "leaves") as first,
        bench.worker(zygote, "leaves") as second,
    ):
        pids = [int(await worker.line()) for worker in (first, second)]
        await first.ready()
        await second.ready()
        os.kill(first.process.pid, signal.SIGKILL)
        assert await first.process.wait() == Exit(signal="SIGKILL")
        await until(lambda: not alive(pids[0]), 5)
        assert alive(pids[1])
        zygote.close()
        await until(lambda: not alive(pids[1]), 5)


@both_ways
async def test_what_the_daemon_hears_ends_neither_a_zygote_nor_a_worker(bench, way):
    """Whoever signals all processes of a daemon, or his parent, ends none; a worker's children hear it."""
    bench.module(
        "ends",
        "import multiprocessing, os, signal, subprocess, time\n"
        "SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)\n"
        "async def handle(update, bot): ...\n"
        "async def start(bot):\n"
        "    fork = multiprocessing.get_context('fork')\n"
        "    child = fork.Process(target=time.sleep, args=(300,))\n"
        "    child.start()\n"
        "    child.terminate()\n"
        "    child.join()\n"
        "    another = subprocess.Popen(['sleep', '300'])\n"
        "    another.terminate()\n"
        "    print(child.exitcode, another.wait(), flush=True)\n"
        "    for number in SIGNALS:\n"
        "        for _ in range(3): os.kill(os.getppid(), number); os.kill(os.getpid(), number)\n",
    )
    bench.module("quiet", QUIET)
    async with bench.zygote(way) as zygote, bench.worker(zygote, "ends") as worker:
        assert await worker.line() == "-15 -15"
        await worker.ready()
        async with bench.worker(zygote, "quiet") as another:
            await another.ready()
            os.kill(bench.told[0][1]["pid"], signal.SIGQUIT)
        worker.channel.send(Drain())
        assert await worker.process.wait() == Exit(0)
    assert [event for event, _ in bench.told] == ["zygote.ready"]


@both_ways
async def test_a_signal_that_comes_while_a_zygote_or_a_worker_starts_ends_neither(bench, way):
    """From the first moment on: it is held back until the process does nothing on it."""
    bench.module("quiet", QUIET)
    bench.module("slow", "import time\n" + QUIET + "print('here', flush=True)\ntime.sleep(1)\n")
    async with bench.warming(way) as zygote:
        (pid,) = set(children_of(os.getpid())) - bench.before
        while not zygote.warm.is_set():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
            await trio.sleep(0.01)
        async with bench.worker(zygote, "slow") as worker:
            with trio.move_on_after(20) as limit:
                while await trio.to_thread.run_sync(alive, worker.process.pid):
                    os.kill(worker.process.pid, signal.SIGTERM)
                    with trio.move_on_after(0.01):
                        if await worker.line() == "here":
                            break
            assert not limit.cancelled_caught
            await worker.ready()
    assert [event for event, _ in bench.told] == ["zygote.ready"]


@both_ways
async def test_signals_that_are_ignored_around_the_daemon_have_their_defaults_in_a_worker(bench, way):
    """`nohup` ignores HUP, and a shell that starts it with `&` ignores INT: a worker's children need both."""
    bench.module(
        "shows",
        "import signal\n"
        "SIGNALS = (signal.SIGHUP, signal.SIGINT)\n"
        "async def handle(update, bot): ...\n"
        "async def start(bot):\n"
        "    print([n.name for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN], flush=True)\n",
    )
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        async with bench.zygote(way) as zygote, bench.worker(zygote, "shows") as worker:
            assert await worker.line() == "[]"
            await worker.ready()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@both_ways
async def test_a_zygote_may_be_killed_twice(bench, way):
    """Two orders that wait too long kill it one after the other; the second finds it dead."""
    bench.module("quiet", QUIET)
    async with bench.zygote(way, LANG="C.UTF-8") as zygote:
        pid = bench.told[0][1]["pid"]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - at once, and unseen by the loop
        zygote.hide({"LANG"})
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
    assert [event for event, _ in bench.told] == ["zygote.ready", "zygote.exited", "zygote.ready"]


@both_ways
async def test_workers_outlive_their_zygote(bench, way):
    """Killed, it leaves a worker that goes on and ends as ever; a new one starts others."""
    bench.module("leaves", DAEMONISE)
    async with bench.zygote(way) as zygote, bench.worker(zygote, "leaves") as worker:
        orphan = int(await worker.line())
        await worker.ready()
        os.kill(bench.told[0][1]["pid"], signal.SIGKILL)
        async with bench.worker(zygote, "leaves") as another:
            await another.ready()
            assert alive(worker.process.pid)
            assert alive(orphan)
            worker.channel.send(Drain())
            assert await worker.process.wait() == Exit(0)
            await until(lambda: not alive(orphan), 5)
            assert alive(another.process.pid)
    assert [event for event, _ in bench.told] == ["zygote.ready", "zygote.exited", "zygote.ready"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n",
            "fleet.preload: bad: importing it started a thread, expected a module that can be forked",
        ),
        (
            "raise SystemExit('secret')\n",
            "fleet.preload: bad: importing it raised SystemExit at bad.py:1 in <module>",
        ),
        (None, "fleet.preload: bad: no such module was found"),
    ],
)
async def test_a_module_that_cannot_be_preloaded_is_refused_by_name(bench, source, problem):
    """Before anything is started; the message names the module and not what it said."""
    if source is not None:
        bench.module("bad", source)
    with pytest.RaisesGroup(pytest.RaisesExc(ZygoteError, match=f"^{problem}$")):
        async with bench.zygote("fork", "bad"):
            pytest.fail("it was ready")


async def test_a_variable_that_is_hidden_while_the_first_warms_up_is_in_no_process(bench):
    """That one is ended, and another one, without it, starts the workers: a start is not refused for it."""
    bench.module("quiet", QUIET)
    async with bench.warming("fork", SECRET="x", OPEN="y") as zygote:
        assert not zygote.warm.is_set()
        zygote.hide({"SECRET"})
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
            assert variable_of(worker.process.pid, "OPEN") == "y"
            assert variable_of(worker.process.pid, "SECRET") is None
            assert variable_of(bench.told[-1][1]["pid"], "SECRET") is None
    assert [event for event, _ in bench.told] == ["zygote.exited", "zygote.ready"]


async def test_one_that_is_asked_to_end_while_it_warms_up_is_gone_then(bench):
    """Its process has ended when `end` returns: the daemon's last resort leaves none behind."""
    before = children_of(os.getpid())
    async with bench.warming("fork") as zygote:
        assert len(children_of(os.getpid())) == len(before) + 1
        await zygote.end()
        assert children_of(os.getpid()) == before


@both_ways
async def test_a_body_that_is_cancelled_still_has_its_zygote(bench, way):
    """Until its workers have ended: it reaps them, and what they left."""
    bench.module("quiet", QUIET)
    with trio.CancelScope() as scope:
        async with bench.zygote(way) as zygote, bench.worker(zygote, "quiet") as worker:
            await worker.ready()
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)  # told to end, it would have by then
                lived = alive(bench.told[0][1]["pid"])
                worker.channel.send(Drain())
                ended = await worker.process.wait()
    assert (lived, ended) == (True, Exit(0))


async def test_one_that_imports_for_long_is_not_waited_for(bench):
    """It hears nothing meanwhile, and has no workers."""
    bench.module("slow", "import os, time\nopen('here', 'w').close()\ntime.sleep(600)\n")
    async with bench.warming("fork", "slow") as zygote:
        await until((bench.folder / "here").exists)
        with trio.fail_after(1):
            await zygote.end()


async def test_one_that_is_killed_while_it_warms_up_says_nothing_of_the_fleet_file(bench):
    """So is each after it. Another start may be spared what ended them; a bad fleet file is another error."""
    before = set(children_of(os.getpid()))
    killed: set[int] = set()
    problem = "^workers cannot be started: their zygote ended: SIGKILL$"
    with pytest.RaisesGroup(pytest.RaisesExc(ZygoteEndedError, match=problem)):
        async with bench.warming("fork"):
            while True:
                for process in set(children_of(os.getpid())) - before - killed:
                    killed.add(process)
                    os.kill(process, signal.SIGKILL)
                await trio.sleep(0.001)
    assert len(killed) == FIRST_TRIES


async def test_one_that_is_killed_while_it_warms_up_is_followed_by_another(bench):
    """The start of the daemon does not fail for it: the system kills so when memory is short for a moment."""
    before = set(children_of(os.getpid()))
    bench.module("quiet", QUIET)
    async with bench.warming("fork") as zygote:
        (process,) = set(children_of(os.getpid())) - before
        os.kill(process, signal.SIGKILL)
        await zygote.warm.wait()
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
            worker.channel.send(Drain())
            assert await worker.process.wait() == Exit(0)
    assert [event for event, _ in bench.told][:2] == ["zygote.exited", "zygote.ready"]


async def test_a_system_without_room_for_another_zygote_is_asked_again(bench, monkeypatch):
    """Running workers go on meanwhile, and so does the daemon."""
    bench.module("quiet", QUIET)
    real = subprocess.Popen
    refused: list[bool] = []

    def once_refused(*args: Any, **kwargs: Any) -> Any:
        if not refused:
            refused.append(True)
            raise BlockingIOError(errno.EAGAIN, "no room")
        return real(*args, **kwargs)

    async with bench.zygote("fork") as zygote:
        monkeypatch.setattr("trioworkers.nursery.link.subprocess.Popen", once_refused)
        os.kill(bench.told[0][1]["pid"], signal.SIGKILL)
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
    events = [event for event, _ in bench.told]
    assert events == ["zygote.ready", "zygote.exited", "zygote.exited", "zygote.ready"]
    assert bench.told[2][1]["reason"].startswith("cannot be started: no process can be started: ")


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more, really."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_zygote_may_die_while_no_descriptor_can_be_had(bench):
    """Its end is waited for without a new one; another comes once there is room. The workers go on."""
    bench.module("quiet", QUIET)
    async with bench.zygote("fork") as zygote, bench.worker(zygote, "quiet") as worker:
        await worker.ready()
        with no_descriptors():
            os.kill(bench.told[0][1]["pid"], signal.SIGKILL)
            await until(lambda: len(bench.told) > 2)
        async with bench.worker(zygote, "quiet") as another:
            await another.ready()
        assert alive(worker.process.pid)
    reasons = [fields["reason"] for event, fields in bench.told if event == "zygote.exited"]
    assert reasons[0] == "ended: SIGKILL"
    assert all("ulimit -n" in reason for reason in reasons[1:])
    assert len(reasons) > 1


async def test_a_worker_whose_pidfd_has_no_room_here_is_not_started(bench):
    """The kernel leaves the descriptor out; the process is ended, and the error is what it is."""
    bench.module("quiet", QUIET)
    async with bench.zygote("fork") as zygote:
        (pid,) = set(children_of(os.getpid())) - bench.before
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
                await zygote.start(theirs.fileno(), ours.fileno())
            assert children_of(pid) == []
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
    assert [event for event, _ in bench.told] == ["zygote.ready"]


async def test_a_zygote_without_room_for_what_it_is_handed_says_so(bench):
    """It goes on, and starts workers once it has room."""
    bench.module("quiet", QUIET)
    async with bench.zygote("fork") as zygote:
        (pid,) = set(children_of(os.getpid())) - bench.before
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(OSError, match="Too many open files"):
            await zygote.start(theirs.fileno(), ours.fileno())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
    assert [event for event, _ in bench.told] == ["zygote.ready"]


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOMEM])
async def test_a_zygote_that_nobody_could_wait_for_is_not_left_behind(bench, monkeypatch, number):
    """The system has a process for it, and no descriptor to hold it by: it is ended, and another begun."""
    bench.module("quiet", QUIET)
    refused: list[int] = []
    real = os.pidfd_open

    def once_refused(pid: int) -> int:
        if not refused:
            refused.append(pid)
            raise OSError(number, os.strerror(number))
        return real(pid)

    async with bench.zygote("fork") as zygote:
        monkeypatch.setattr("trioworkers.nursery.link.os.pidfd_open", once_refused)
        os.kill(bench.told[0][1]["pid"], signal.SIGKILL)
        async with bench.worker(zygote, "quiet") as worker:
            await worker.ready()
        assert not alive(refused[0])
    assert [event for event, _ in bench.told] == [
        "zygote.ready",
        "zygote.exited",
        "zygote.exited",
        "zygote.ready",
    ]


async def test_orphans_are_looked_for_once_there_is_a_descriptor_to_look_with(bench):
    """What a worker left outlives its zygote and its worker only for as long as nobody can look."""
    bench.module("leaves", DAEMONISE)
    async with bench.zygote("fork") as zygote, bench.worker(zygote, "leaves") as worker:
        left = int(await worker.line())
        await worker.ready()
        with no_descriptors():
            os.kill(bench.told[0][1]["pid"], signal.SIGKILL)
            await until(lambda: len(bench.told) > 1)
            os.kill(worker.process.pid, signal.SIGKILL)
            assert await worker.process.wait() == Exit(signal="SIGKILL")
        await until(lambda: not alive(left))


async def test_what_does_not_fit_into_an_order_is_refused_and_starts_nothing(bench):
    """It would arrive cut off, or, longer still, not leave at all."""
    before = children_of(os.getpid())
    with pytest.RaisesGroup(pytest.RaisesExc(ZygoteError, match="expected less than 65536 bytes")):
        async with bench.zygote("fork", "x" * 65_536):
            pytest.fail("it was started")
    assert children_of(os.getpid()) == before


async def test_a_process_of_the_run_is_known_by_its_mark(bench):
    """Forked workers show the mark in their environment as spawned ones do."""
    bench.module("quiet", QUIET)
    async with bench.zygote("fork") as zygote, bench.worker(zygote, "quiet") as worker:
        await worker.ready()
        assert variable_of(worker.process.pid, "TRIOWORKERS_RUN") == RUN
        names = [
            Path(f"/proc/{pid}/comm").read_text() for pid in (bench.told[0][1]["pid"], worker.process.pid)
        ]
        assert names == ["tw-zygote\n", "tw-worker\n"], "which are for people"
