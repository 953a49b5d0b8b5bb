"""A fleet under load whose daemon runs as a user of its own, so that a test can take its resources away."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.testing import FleetFolder, RunningFleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memory_group import MemoryGroup  # type: ignore[import-not-found] # it lies beside

PEOPLE = "Ann", "Ben", "Cid", "Dan"
PATIENCE = 90.0  # seconds
PAUSE = 0.05  # seconds between two rounds of messages
RLIMITS = {resource.RLIMIT_NPROC: "nproc", resource.RLIMIT_NOFILE: "nofile", resource.RLIMIT_AS: "as"}
NAMES = {
    resource.RLIMIT_NPROC: "Max processes",
    resource.RLIMIT_NOFILE: "Max open files",
    resource.RLIMIT_AS: "Max address space",
}
SLOW = """
import trio
async def handle(update, bot):
    await trio.sleep(0.02)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
LISTENS = '''
"""Hears of each end of an update in a thread of its own."""
from trioworkers import hears, hookimpl

@hookimpl
@hears(events={"update.done"})
def trioworkers_event(event):
    pass
'''
TABLES: dict[str, Any] = {
    "fleet": {"log_dir": "logs"},
    "bots": {
        "one": {
            "handler": "slow:handle",
            "poll_timeout": "1s",
            "heartbeat_interval": "200ms",
            "hang_timeout": "5s",
            "restart": {"initial": "100ms", "max": "1s", "per_hour": 1000},
        }
    },
}


class OwnUser(FleetFolder):
    """A fleet's folder whose daemon and commands run as a user that nothing else runs as.

    Attributes:
        output: where the daemon's output goes; None: into the log.
        reads: the other end, if that is a pipe.
        group: the control group that the daemon is started in; None: this process's own.
    """

    def __init__(self, folder: Path, uid: int) -> None:
        super().__init__(folder)
        self.uid = uid
        self.output: int | None = None
        self.reads: int | None = None
        self.group: MemoryGroup | None = None

    def start(self) -> subprocess.Popen[bytes]:
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, self.uid, self.uid)
        with open(self.log, "ab") as log:
            os.chown(self.log, self.uid, self.uid)
            output = log.fileno() if self.output is None else self.output
            return subprocess.Popen(
                self._daemon(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environ,
                start_new_session=True,
                **self.options,
            )

    def _daemon(self) -> list[str]:
        if self.group is None:
            return self._words("run")
        os.chown(self.group.procs, self.uid, self.uid)
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.group.procs), *self._words("run")]

    @property
    def options(self) -> dict[str, Any]:
        """Of a process that runs as this user."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []}

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return super().command(*words, **self.options, **options)


class Town:
    """A fleet whose bot `one` is talked to all the time.

    Attributes:
        said: how many messages each person has sent.
    """

    def __init__(self, fleet: RunningFleet, folder: OwnUser) -> None:
        self.fleet, self.folder = fleet, folder
        self.said = 0
        self.people = [fleet.user(name) for name in PEOPLE]
        self._silence = threading.Event()
        self._talking: threading.Thread | None = None

    @property
    def pid(self) -> int:
        return self.fleet.process.pid

    @property
    def zygote(self) -> int:
        """The process that workers are forked from."""
        (zygote,) = [child for child in children_of(self.pid) if comm(child) == "tw-zygote"]
        return zygote

    @property
    def workers(self) -> list[int]:
        return [child for child in children_of(self.zygote) if comm(child) == "tw-worker"]

    @property
    def state(self) -> Path:
        return self.folder.folder / "state"

    def limit(self, which: int, most: int, *pids: int) -> None:
        """Set a limit of the running daemon, or of others, as its own user: root may lack the right to."""
        soft = "unlimited" if most == resource.RLIM_INFINITY else most
        for pid in pids or (self.pid,):
            words = ["/usr/bin/prlimit", f"--pid={pid}", f"--{RLIMITS[which]}={soft}:"]
            subprocess.run(words, check=True, **self.folder.options)

    @contextmanager
    def limited(self, which: int, most: int, *pids: int) -> Iterator[None]:
        """Set a limit, and set it back."""
        before = limit_of(self.pid, which)
        self.limit(which, most, *pids)
        try:
            yield
        finally:
            with suppress(subprocess.CalledProcessError):  # one has ended meanwhile
                self.limit(which, before, *pids)

    # -- what is said

    def begin(self) -> None:
        """Let people talk until :meth:`end`."""
        self._silence.clear()
        self._talking = threading.Thread(target=self._talk)
        self._talking.start()

    def end(self) -> None:
        """Let them be silent."""
        self._silence.set()
        if self._talking is not None:
            self._talking.join()

    def _talk(self) -> None:
        while not self._silence.wait(PAUSE):
            self.say()

    def say(self) -> None:
        """Everybody says one thing."""
        for person in self.people:
            person.says(str(self.said), "one")
        self.said += 1

    def hear(self, count: int) -> None:
        """Return when people have said so many things more."""
        until = self.said + count
        self.fleet.wait_for(lambda: self.said >= until, PATIENCE)

    def answers(self, person: Any) -> list[str]:
        sent = self.fleet.telegram.sent(self.fleet.sim_bot("one"), person.id)
        return [str(message["text"]) for message in sent]

    def all_answered(self) -> bool:
        """Whether everything was answered, in order; what was interrupted may have been answered twice."""
        wanted = [str(number) for number in range(self.said)]
        return all(list(dict.fromkeys(self.answers(person))) == wanted for person in self.people)

    def twice(self) -> int:
        """How many answers were sent again."""
        return sum(len(self.answers(person)) for person in self.people) - self.said * len(self.people)

    # -- what is seen

    def wait_event(self, name: str, words: str = "") -> dict[str, Any]:
        """Wait until an event has these words in its fields; return the last one."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.fleet.events(name) if words in str(event)]

        self.fleet.wait_for(found, PATIENCE)
        return found()[-1]


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in lists for child in children.split()]


def limit_of(pid: int, which: int) -> int:
    """A limit of a process (proc(5), limits)."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(NAMES[which]):
            soft = line.removeprefix(NAMES[which]).split()[0]
            return resource.RLIM_INFINITY if soft == "unlimited" else int(soft)
    raise LookupError(which)


def comm(pid: int) -> str:
    """A process's name; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def stop_and_go(pids: list[int], between: threading.Event, seconds: float) -> None:
    """Stop processes for so long, as the freezer and a laptop's lid do."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    between.wait(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
