"""One resource after another is taken from a daemon under load, and given back.

Whatever it is: nothing that was confirmed is lost, every chat is answered in order, and the daemon lives, or
ends with a sentence that names the cause. It runs as a user of its own, whose limits the test changes.
"""

from __future__ import annotations

import copy
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from memory_group import MemoryGroup  # type: ignore[import-not-found] # it lies beside
from town import (  # type: ignore[import-not-found] # as above
    LISTENS,
    PATIENCE,
    RLIMITS,
    SLOW,
    TABLES,
    OwnUser,
    Town,
    stop_and_go,
)

from trioworkers.testing import RunningFleet
from trioworkers.testing.threaded import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

BEFORE, MEANWHILE, AFTER = 5, 20, 5  # messages of each person, at least
PIPE = 4096  # bytes that it holds
SMALL = 64 << 20  # bytes of the disk
FROZEN = 8.0  # seconds
NO_DESCRIPTOR = 3  # the first ones are open: so what is closed meanwhile gives room for none
SPARE = 24 << 20  # bytes that a group of processes may grow by
GREEDY = """
async def handle(update, bot):
    while True:
        held.append(bytearray(b"x") * (8 << 20))

held = []
"""


@contextmanager
def a_town(prepare: Callable[[OwnUser, dict[str, Any]], Any]) -> Iterator[Town]:
    """A town whose people talk; its daemon is ended at the end.

    `prepare`: a context manager around its daemon's life, which may change the tables.
    """
    uid = 100_000 + os.getpid() % 1_000_000
    with (
        TelegramThread() as telegram,
        TemporaryDirectory(prefix="tw-", dir="/tmp") as above,
        ExitStack() as around,
    ):
        Path(above).chmod(0o755)
        folder = OwnUser(Path(above) / "f", uid)
        (folder.folder / "plugins").mkdir(mode=0o700, parents=True)
        folder.folder.chmod(0o700)
        folder.module("slow", SLOW)
        folder.module("plugins/listens", LISTENS)
        fleet = RunningFleet(folder, telegram)
        tables = copy.deepcopy(TABLES)
        around.enter_context(prepare(folder, tables))
        fleet.write(tables)
        town = Town(fleet, folder)
        try:
            fleet.start()
            town.begin()
            yield town
        finally:
            town.end()
            fleet.end()


# -- what is taken away ----------------------------------------------------------------------------


@contextmanager
def state_folder(town: Town) -> Iterator[None]:
    """`rm -rf`; nobody gives it back."""
    shutil.rmtree(town.state, ignore_errors=True)
    yield
    town.wait_event("inbox.trouble", "while the daemon ran")
    town.wait_event("state.restored", "daemon.lock")


@contextmanager
def threads_and_processes(town: Town) -> Iterator[None]:
    """The daemon can start neither: a reload that tries a handler is refused with the limit's name."""
    town.folder.module("other", SLOW)
    with town.limited(resource.RLIMIT_NPROC, 1):
        file = town.folder.file
        file.write_text(file.read_text().replace("slow:handle", "other:handle"))
        reload = town.folder.command("reload")
        assert reload.returncode == 75, reload.stderr
        assert "ulimit -u" in reload.stderr
        os.kill(town.pid, signal.SIGHUP)
        town.wait_event("reload.refused", "ulimit -u")
        assert town.folder.command("status").returncode == 0
        yield
    town.wait_event("reload.applied", "handler")


@contextmanager
def processes_of_workers(town: Town) -> Iterator[None]:
    """No worker can be started, and the one that ran is killed: the limit is named, no budget is used up."""
    with town.limited(resource.RLIMIT_NPROC, 1, town.pid, town.zygote):
        os.kill(town.workers[0], signal.SIGKILL)
        town.wait_event("worker.exited", "ulimit -u")
        yield
        assert town.fleet.bot("one")["state"] != "failed"
    town.wait_event("worker.ready")


@contextmanager
def descriptors(town: Town) -> Iterator[None]:
    """No file can be opened and no connection accepted."""
    with town.limited(resource.RLIMIT_NOFILE, NO_DESCRIPTOR):
        yield
    town.fleet.wait_for(lambda: town.folder.command("status").returncode == 0, PATIENCE)


@contextmanager
def descriptors_amid_deaths(town: Town) -> Iterator[None]:
    """No file can be opened while the zygote and the worker die, which are held by descriptors."""
    with town.limited(resource.RLIMIT_NOFILE, NO_DESCRIPTOR):
        worker = town.workers[0]
        os.kill(town.zygote, signal.SIGKILL)
        town.wait_event("zygote.exited", "ulimit -n")
        os.kill(worker, signal.SIGKILL)
        yield
    town.wait_event("worker.ready")


@contextmanager
def memory(town: Town) -> Iterator[None]:
    """All that its processes may have is taken by a bot: the kernel ends that bot's worker, and no other."""
    group = town.folder.group
    assert group is not None
    group.leave_room(SPARE)
    town.fleet.user("Eve").says("eat", "greedy")
    town.wait_event("update.dead", "greedy")
    yield
    group.lift()
    last = town.fleet.bot("greedy")["last_exit"]
    assert (last["signal"], last["oom"]) == ("SIGKILL", True)
    assert {event["bot"] for event in town.fleet.events("worker.exited")} == {"greedy"}


@contextmanager
def disk(town: Town) -> Iterator[None]:
    """Somebody else fills it."""
    filler = town.state / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    try:
        yield
        town.wait_event("inbox.full")
    finally:
        filler.unlink()
    town.wait_event("inbox.recovered")


@contextmanager
def inotify_watches(town: Town) -> Iterator[None]:
    """All of the user's are taken before the start: an edit is in force a glance later."""
    town.wait_event("reload.unwatched", "fs.inotify.max_user_instances")
    file = town.folder.file
    yield
    file.write_text(file.read_text().replace('poll_timeout = "1s"', 'poll_timeout = "2s"'))
    town.wait_event("reload.applied", "poll_timeout")


@contextmanager
def continuity_of_the_clock(town: Town) -> Iterator[None]:
    """All processes are stopped for longer than any of them may be silent; people go on talking."""
    processes = [town.pid, town.zygote, *town.workers]
    stop_and_go(processes, threading.Event(), FROZEN)
    assert town.wait_event("daemon.away")["seconds"] > FROZEN / 2
    yield
    assert [town.pid, town.zygote, *town.workers] == processes
    assert town.fleet.events("worker.hung", "worker.exited", "zygote.exited") == []


@contextmanager
def standard_error(town: Town) -> Iterator[None]:
    """Nobody reads it: first its pipe is full, then its other end is closed."""
    reads = town.folder.reads
    assert reads is not None
    waiting = fcntl.ioctl(reads, termios.FIONREAD, b"\0" * 4)
    assert int.from_bytes(waiting, sys.byteorder) > PIPE / 2
    assert town.folder.command("status").returncode == 0
    yield
    os.close(reads)
    town.hear(MEANWHILE)
    assert town.folder.command("status").returncode == 0


# -- what is prepared for that, before the daemon starts -------------------------------------------


@contextmanager
def small_disk(folder: OwnUser, tables: dict[str, Any]) -> Iterator[None]:
    state = folder.folder / "state"
    state.mkdir(mode=0o700)
    options = f"size={SMALL},mode=0700,uid={folder.uid}"
    mount = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield
    subprocess.run(["/bin/umount", "--lazy", str(state)], check=True)


HOLD_INOTIFY = """
import os, sys
from inotify_simple import INotify
held = []
try:
    while True:
        held.append(INotify())
except OSError:
    pass
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def no_inotify(folder: OwnUser, tables: dict[str, Any]) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD_INOTIFY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **folder.options) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


@contextmanager
def unread_pipe(folder: OwnUser, tables: dict[str, Any]) -> Iterator[None]:
    """The daemon's output goes to a small pipe; what happens is read in its log file."""
    folder.reads, folder.output = os.pipe()
    fcntl.fcntl(folder.output, fcntl.F_SETPIPE_SZ, PIPE)
    folder.log = folder.folder / "logs" / "master.log"
    folder.log.parent.mkdir(mode=0o700)
    yield
    os.close(folder.output)


@contextmanager
def a_greedy_bot(folder: OwnUser, tables: dict[str, Any]) -> Iterator[None]:
    """A second bot, and little memory for all of the daemon's processes."""
    folder.module("greedy", GREEDY)
    quick = {"restart": {"initial": "50ms", "max": "50ms"}, "retry": {"initial": "50ms"}}
    tables["bots"]["greedy"] = {"handler": "greedy:handle", "memory_limit": "8GB", **quick}
    with MemoryGroup() as group:
        folder.group = group
        yield


@contextmanager
def nothing(folder: OwnUser, tables: dict[str, Any]) -> Iterator[None]:
    yield


Prepare = Callable[[OwnUser, dict[str, Any]], Any]
TAKEN: dict[str, tuple[Callable[[Town], Any], Prepare]] = {
    "the state folder": (state_folder, nothing),
    "threads and processes": (threads_and_processes, nothing),
    "processes of workers": (processes_of_workers, nothing),
    "descriptors": (descriptors, nothing),
    "descriptors amid deaths": (descriptors_amid_deaths, nothing),
    "memory": (memory, a_greedy_bot),
    "inotify watches": (inotify_watches, no_inotify),
    "the disk": (disk, small_disk),
    "the continuity of the clock": (continuity_of_the_clock, nothing),
    "standard error": (standard_error, unread_pipe),
}
"""What is taken, by whom, and what is prepared for that before the daemon starts."""


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_away_under_load_loses_nothing(what: str) -> None:
    """Every message is answered, in order; and a later crash loses nothing either."""
    take, prepare = TAKEN[what]
    with a_town(prepare) as town:
        daemon = town.pid
        town.hear(BEFORE)
        with take(town):
            town.hear(MEANWHILE)
        town.hear(AFTER)
        assert town.fleet.process.poll() is None
        assert town.pid == daemon
        town.fleet.kill()
        town.hear(1)
        town.fleet.start()
        town.hear(AFTER)
        town.end()
        town.fleet.wait_for(town.all_answered, PATIENCE)
        # at each of two interruptions, of each person
        assert town.twice() <= 2 * len(town.people)
        assert [event for event in town.fleet.events("update.dead") if event["bot"] == "one"] == []
        assert [event["plugin"] for event in town.fleet.events("plugin.disabled")] == []
        town.fleet.stop()


def test_a_daemon_that_may_have_no_more_memory_lives_or_says_so() -> None:
    """Where malloc finds nothing, anything may fail: what ends the daemon is named, and nothing is lost."""
    with a_town(nothing) as town:
        town.hear(BEFORE)
        pages = int(Path(f"/proc/{town.pid}/statm").read_text().split()[0])
        with town.limited(resource.RLIMIT_AS, pages * resource.getpagesize()):
            assert not all([_takes_a_large_request(town) for _ in range(20)]), "nothing was taken away"
            town.hear(MEANWHILE)
        town.hear(AFTER)
        town.end()
        process = town.fleet.process
        town.fleet.wait_for(lambda: process.poll() is not None or town.all_answered(), PATIENCE)
        if process.poll() is not None:
            assert "memory" in town.folder.log.read_text().splitlines()[-1]
            town.fleet.start()
            town.fleet.wait_for(town.all_answered, PATIENCE)
        assert town.fleet.events("update.dead") == []


def _takes_a_large_request(town: Town) -> bool:
    """Whether the daemon reads and refuses a request that needs some memory."""
    try:
        status: int = town.fleet.ask("POST", "/api/bots", {"name": "x" * 900_000, "bot": {}}).status
        return status < 500
    except (OSError, HTTPException):
        return False


@pytest.mark.parametrize(
    ("which", "most", "words"),
    [
        (resource.RLIMIT_NPROC, 3, "ulimit -u"),
        (resource.RLIMIT_NOFILE, 20, "ulimit"),
    ],
    ids=["processes", "descriptors"],
)
def test_a_start_without_it_says_so_in_one_sentence(which: int, most: int, words: str) -> None:
    """Not with a traceback: with what is missing, and an exit code."""
    with a_town(nothing) as place:
        place.end()
        place.fleet.stop()
        limit = ["/usr/bin/prlimit", f"--{RLIMITS[which]}={most}:{most}"]
        done = subprocess.run(
            [*limit, *place.folder._words("run")],
            capture_output=True,
            text=True,
            cwd=place.folder.folder,
            env=place.folder.environ,
            timeout=60,
            check=False,
            **place.folder.options,
        )
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert done.returncode in (1, 75, 77), done.stderr
        assert lines
        assert words in lines[-1], done.stderr
