"""Kills for want of memory are told by a counter, and never guessed."""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
import trio

from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.oom import OomKills, find_counter
from trioworkers.nursery.output import Output
from trioworkers.nursery.session import ORDINARY, SessionContext, WorkerSession
from trioworkers.nursery.zygote import open_zygote
from trioworkers.protocol.frames import Configure, Retune
from trioworkers.protocol.orders import Prepare

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.nursery.ended import Ended

EVENTS_FILE = "low 0\nhigh 3\nmax 12\noom 4\noom_kill {}\noom_group_kill 0\n"
CONTROL_FILE = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


def counter(folder: Path, count: int, text: str = EVENTS_FILE) -> Path:
    path = folder / "memory.events"
    path.write_text(text.format(count))
    return path


@pytest.mark.parametrize("text", [EVENTS_FILE, CONTROL_FILE])
def test_a_kill_is_explained_when_the_counter_rose(tmp_path: Path, text: str) -> None:
    """Of either version of cgroups; a counter that stands still explains none."""
    kills = OomKills(counter(tmp_path, 5, text))
    seen = kills.count()
    assert seen == 5
    assert kills.explain(seen) is False
    counter(tmp_path, 6, text)
    assert kills.explain(seen) is True


def test_each_kill_explains_one_end(tmp_path: Path) -> None:
    """Two more were counted: two of three ends are explained, whichever comes first."""
    kills = OomKills(counter(tmp_path, 5))
    counter(tmp_path, 7)
    assert [kills.explain(5) for _ in range(3)] == [True, True, False]
    counter(tmp_path, 8)
    assert kills.explain(5) is True


def test_a_kill_of_before_explains_nothing(tmp_path: Path) -> None:
    """It was counted while this worker was known to live."""
    kills = OomKills(counter(tmp_path, 9))
    assert kills.explain(9) is False


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill -1", "oom_kill x", "oom_kill_disable 0\n"])
def test_without_a_counter_nothing_is_known(tmp_path: Path, text: str) -> None:
    """Neither that it was nor that it was not."""
    assert OomKills(None).explain(0) is None
    assert OomKills(tmp_path / "absent").explain(0) is None
    assert OomKills(counter(tmp_path, 0, text)).count() is None


HYBRID = [
    "30 20 0:26 / {root}/memory rw,relatime shared:9 - cgroup cgroup rw,memory",
    "31 20 0:27 / {root}/unified rw,relatime - cgroup2 cgroup2 rw",
    "32 20 0:28 / {root}/cpu rw,relatime - cgroup cgroup rw,cpu",
]


@pytest.mark.parametrize(
    ("groups", "mounts", "file"),
    [
        (["0::/a/b"], ["30 20 0:26 / {root} rw - cgroup2 cgroup2 rw,nsdelegate"], "a/b/memory.events"),
        (["0::/"], ["30 20 0:26 / {root} rw - cgroup2 cgroup rw"], "memory.events"),
        (["3:cpu:/x", "4:memory:/x/y", "0::/z"], HYBRID, "memory/x/y/memory.oom_control"),
        (["4:hugetlb,memory:/docker/1"], ["30 20 0:26 /docker/1 {root} ro - cgroup c rw,hugetlb,memory"],
         "memory.oom_control"),
        (["0::/../other"], ["30 20 0:26 / {root} rw - cgroup2 cgroup2 rw"], None),
        ([], [], None),
    ],
    ids=["v2", "v2 in a container", "v1 beside v2", "v1 in a container", "outside", "none"],
)  # fmt: skip
def test_the_counter_is_found_where_it_is_mounted(
    tmp_path: Path, groups: list[str], mounts: list[str], file: str | None
) -> None:
    """As /proc says, whatever is mounted where."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    (proc / "mountinfo").write_text("".join(f"{line}\n" for line in mounts).format(root=root))
    if file is not None:
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text("oom_kill 0\n")
    assert find_counter(proc) == (None if file is None else root / file)


def test_this_machines_counter_counts() -> None:
    """Where the kernel has one for this process, it is found and read."""
    path = find_counter()
    if path is None:
        pytest.skip("no cgroup with a counter of kills is mounted here")
    assert isinstance(OomKills(path).count(), int)


def test_a_count_may_be_a_moment_old(tmp_path: Path) -> None:
    """Of the workers that start at one moment one reads it; what explains an end is read anew."""
    now = 0.0
    kills = OomKills(counter(tmp_path, 1), lambda: now)
    assert kills.seen() == 1
    counter(tmp_path, 2)
    assert (kills.seen(), kills.count(), kills.explain(1)) == (1, 2, True)
    now = 0.2
    assert kills.seen() == 2


HELD = """
import trio
async def start(bot): await trio.sleep(3600)
async def handle(update, bot): ...
"""


@pytest.mark.parametrize(("rises", "oom"), [(0, False), (1, True)])
@pytest.mark.parametrize("way", ["fork", "spawn"])
async def test_a_worker_that_was_killed_is_told_apart(
    tmp_path: Path, way: Literal["fork", "spawn"], rises: int, oom: bool
) -> None:
    """A real one, killed by somebody else; a file stands for the kernel's counter."""
    (tmp_path / "held.py").write_text(HELD)
    log = LogSettings()
    told: list[dict[str, Any]] = []
    tuning = Retune(
        settings={}, handler_timeout=5, heartbeat_interval=45, memory_check_interval=300, log_level="info"
    )
    configure = Configure(
        name="held", bot_id=7, token="7:x", api_base="http://127.0.0.1:1", handler="held:handle",
        python_path=[str(tmp_path)], concurrency=1, tuning=tuning,
    )  # fmt: skip
    prepare = Prepare(way, "http://127.0.0.1:1", (), (str(tmp_path),))
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    ends: list[Ended] = []
    with trio.fail_after(60):
        async with open_zygote(
            prepare, run=secrets.token_hex(16), folder=tmp_path, environ=environ, emit=lambda *_, **__: None
        ) as zygote:
            context = SessionContext(
                makes=zygote,
                settings=lambda: cast("Any", None),
                configure=lambda: configure,
                output=Output(RotatedFile(tmp_path / "held.log", lambda: log), "7:x"),
                make_executor=lambda _: cast("Any", None),
                emit=lambda event, **fields: told.append({"event": event, **fields}),
                oom=OomKills(counter(tmp_path, 2)),
            )
            session = WorkerSession(context, ORDINARY)

            async def live() -> None:
                ends.append(await session.run())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(live)
                while session.worker is None:  # noqa: ASYNC110 - nothing tells it
                    await trio.sleep(0.01)
                counter(tmp_path, 2 + rises)
                os.kill(session.worker.pid, signal.SIGKILL)
    (ended,) = ends
    assert ended.exit is not None
    assert (ended.exit.signal, ended.oom) == ("SIGKILL", oom)
    assert told[-1]["oom"] == (True if oom else None)
