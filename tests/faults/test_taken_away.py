"""One resource after another is taken from a daemon under load, and given back.

Whatever it is: nothing that was confirmed is lost, every chat is answered in order, and the daemon lives, or
ends with a sentence that names the cause. It runs as a user of its own, whose limits the test changes.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from trioworkers.testing import FleetFolder, RunningFleet
from trioworkers.testing.threaded import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

BEFORE, MEANWHILE, AFTER = 5, 10, 5  # messages of each person
PEOPLE = "Ann", "Ben", "Cid"
PATIENCE = 60.0  # seconds
SMALL = 64 << 20  # bytes of the disk
RLIMITS = {resource.RLIMIT_NPROC: "nproc", resource.RLIMIT_NOFILE: "nofile"}
SLOW = """
import trio
async def handle(update, bot):
    await trio.sleep(0.02)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


class OwnUser(FleetFolder):
    """A fleet's folder whose daemon and commands run as a user that nothing else runs as."""

    def __init__(self, folder: Path, uid: int) -> None:
        super().__init__(folder)
        self.uid = uid

    def start(self) -> subprocess.Popen[bytes]:
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, self.uid, self.uid)
        with open(self.log, "ab") as log:
            os.chown(self.log, self.uid, self.uid)
            return subprocess.Popen(
                self._words("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environ,
                user=self.uid,
                group=self.uid,
                extra_groups=[],
            )

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return super().command(*words, user=self.uid, group=self.uid, extra_groups=[], **options)


class Town:
    """A fleet under load, and what was said to it."""

    def __init__(self, fleet: RunningFleet, folder: OwnUser) -> None:
        self.fleet, self.folder = fleet, folder
        self.said = 0
        self.people = [fleet.user(name) for name in PEOPLE]

    @property
    def pid(self) -> int:
        return self.fleet.process.pid

    @property
    def state(self) -> Path:
        return self.folder.folder / "state"

    def limit(self, which: int, most: int) -> None:
        """Set a limit of the running daemon, as its own user: root may lack the right to."""
        soft = "unlimited" if most == resource.RLIM_INFINITY else most
        words = ["/usr/bin/prlimit", f"--pid={self.pid}", f"--{RLIMITS[which]}={soft}:"]
        subprocess.run(words, user=self.folder.uid, group=self.folder.uid, extra_groups=[], check=True)

    def say(self, count: int) -> None:
        for _ in range(count):
            for person in self.people:
                person.says(str(self.said), "one")
            self.said += 1
            time.sleep(0.02)

    def texts(self, person: Any) -> list[str]:
        sent = self.fleet.telegram.sent(self.fleet.sim_bot("one"), person.id)
        return [str(message["text"]) for message in sent]

    def all_answered(self) -> bool:
        wanted = [str(number) for number in range(self.said)]
        return all(list(dict.fromkeys(self.texts(person))) == wanted for person in self.people)

    def event(self, name: str, words: str) -> None:
        """Wait for an event whose fields have these words."""
        self.fleet.wait_for(
            lambda: [event for event in self.fleet.events(name) if words in str(event)], PATIENCE
        )


@pytest.fixture
def town() -> Callable[..., Any]:
    """Makes a town; at the end its daemon must still run, and end well."""

    @contextmanager
    def make(
        prepare: Callable[[OwnUser], Any] = lambda _: None, end: Callable[[], Any] = lambda: None
    ) -> Iterator[Town]:
        uid = 100_000 + os.getpid() % 1_000_000
        with TelegramThread() as telegram, TemporaryDirectory(prefix="tw-", dir="/tmp") as above:
            Path(above).chmod(0o755)
            folder = OwnUser(Path(above) / "f", uid)
            folder.folder.mkdir(mode=0o700)
            folder.module("slow", SLOW)
            fleet = RunningFleet(folder, telegram)
            fleet.write(
                {
                    "fleet": {"log_dir": "logs"},
                    "bots": {"one": {"handler": "slow:handle", "poll_timeout": "1s"}},
                }
            )
            prepare(folder)
            try:
                fleet.start()
                yield Town(fleet, folder)
            finally:
                fleet.end()
                end()

    return make


# -- what is taken away ----------------------------------------------------------------------------


@contextmanager
def state_folder(town: Town) -> Iterator[None]:
    """`rm -rf`; nobody gives it back."""
    shutil.rmtree(town.state, ignore_errors=True)
    yield
    town.event("inbox.trouble", "while the daemon ran")
    town.event("state.restored", "daemon.lock")


@contextmanager
def _limited(town: Town, which: int, most: Callable[[int], int]) -> Iterator[None]:
    """A limit of the daemon's own process."""
    before, _ = resource.getrlimit(which)
    town.limit(which, most(town.pid))
    try:
        yield
    finally:
        town.limit(which, before)


@contextmanager
def threads_and_processes(town: Town) -> Iterator[None]:
    """The daemon can start neither: a reload that tries a handler is refused with the limit's name."""
    town.folder.module("other", SLOW)
    with _limited(town, resource.RLIMIT_NPROC, lambda _: 1):
        file = town.folder.file
        file.write_text(file.read_text().replace("slow:handle", "other:handle"))
        reload = town.folder.command("reload")
        assert reload.returncode == 75, reload.stderr
        assert "ulimit -u" in reload.stderr
        os.kill(town.pid, signal.SIGHUP)
        town.event("reload.refused", "ulimit -u")
        assert town.folder.command("status").returncode == 0
        yield
    town.event("reload.applied", "handler")


@contextmanager
def descriptors(town: Town) -> Iterator[None]:
    """No file can be opened and no connection accepted."""
    with _limited(town, resource.RLIMIT_NOFILE, lambda pid: len(os.listdir(f"/proc/{pid}/fd"))):
        yield
    town.fleet.wait_for(lambda: town.folder.command("status").returncode == 0, PATIENCE)


@contextmanager
def disk(town: Town) -> Iterator[None]:
    """Somebody else fills it."""
    filler = town.state / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    try:
        yield
        town.event("inbox.full", "")
    finally:
        filler.unlink()
    town.event("inbox.recovered", "")


@contextmanager
def inotify_watches(town: Town) -> Iterator[None]:
    """All of the user's are taken before the start: an edit is in force a glance later."""
    town.event("reload.unwatched", "fs.inotify.max_user_instances")
    file = town.folder.file
    yield
    file.write_text(file.read_text().replace('poll_timeout = "1s"', 'poll_timeout = "2s"'))
    town.event("reload.applied", "poll_timeout")


def small_disk(folder: OwnUser) -> None:
    state = folder.folder / "state"
    state.mkdir(mode=0o700)
    mount = [
        "/bin/mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={SMALL},mode=0700,uid={folder.uid}",
        "tmpfs",
        str(state),
    ]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")


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


class Prepared:
    """What has to be there before the daemon starts, and ends after it."""

    def __init__(self) -> None:
        self._holder: subprocess.Popen[bytes] | None = None
        self._mounted: Path | None = None

    def small_disk(self, folder: OwnUser) -> None:
        small_disk(folder)
        self._mounted = folder.folder / "state"

    def no_inotify(self, folder: OwnUser) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, "-c", HOLD_INOTIFY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=folder.uid,
            group=folder.uid,
            extra_groups=[],
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"held\n"

    def end(self) -> None:
        if self._holder is not None:
            self._holder.communicate()
        if self._mounted is not None:
            subprocess.run(["/bin/umount", "--lazy", str(self._mounted)], check=True)


@pytest.fixture
def prepared() -> Prepared:
    return Prepared()


TAKEN: dict[str, tuple[Callable[[Town], Any], str | None]] = {
    "the state folder": (state_folder, None),
    "threads and processes": (threads_and_processes, None),
    "descriptors": (descriptors, None),
    "inotify watches": (inotify_watches, "no_inotify"),
    "the disk": (disk, "small_disk"),
    # "the clock's continuity", "stderr": their sections of the issue add theirs here
}
"""What is taken, by whom, and what has to be prepared for that before the daemon starts."""


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_away_loses_nothing(what: str, town: Any, prepared: Prepared) -> None:
    """Every message is answered, in order, once it is given back; and a later crash loses nothing either."""
    take, needs = TAKEN[what]
    with town(getattr(prepared, needs) if needs else lambda _: None, prepared.end) as place:
        place.say(BEFORE)
        with take(place):
            place.say(MEANWHILE)
        place.say(AFTER)
        place.fleet.wait_for(place.all_answered, PATIENCE)
        place.fleet.kill()
        place.say(1)
        place.fleet.start()
        place.fleet.wait_for(place.all_answered, PATIENCE)
        for person in place.people:
            assert len(place.texts(person)) <= place.said + 2  # what a kill interrupts may be sent again
        assert not place.fleet.events("update.dead")
        place.fleet.stop()


@pytest.mark.parametrize(
    ("which", "most", "words"),
    [
        (resource.RLIMIT_NPROC, 3, "ulimit -u"),
        (resource.RLIMIT_NOFILE, 20, "ulimit"),
    ],
    ids=["processes", "descriptors"],
)
def test_a_start_without_it_says_so_in_one_sentence(which: int, most: int, words: str, town: Any) -> None:
    """Not with a traceback: with what is missing, and an exit code."""
    with town() as place:
        place.fleet.stop()
        limit = ["/usr/bin/prlimit", f"--{RLIMITS[which]}={most}:{most}"]
        done = subprocess.run(
            [*limit, *place.folder._words("run")],
            capture_output=True,
            text=True,
            cwd=place.folder.folder,
            env=place.folder.environ,
            user=place.folder.uid,
            group=place.folder.uid,
            extra_groups=[],
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert done.returncode in (1, 75, 77), done.stderr
        assert lines
        assert words in lines[-1], done.stderr
