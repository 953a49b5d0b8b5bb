"""One worker's life, as far as it needs no process."""

from __future__ import annotations

import errno
import gc
import math
import os
import weakref
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from trioworkers.config.settings import LogSettings, RateLimit
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.ended import Ended
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output
from trioworkers.nursery.session import (
    DRAIN_SLACK,
    ORDINARY,
    SessionContext,
    SessionKind,
    WorkerSession,
)
from trioworkers.nursery.spawn import Exit
from trioworkers.nursery.task_reports import FAILURES_SPAN, MOST_FAILURES
from trioworkers.protocol.frames import AskTurn, Configure, Ready, Retune, Standing, TaskFailed
from trioworkers.protocol.framing import packed
from trioworkers.ratelimit.pace import Paces

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from trioworkers.nursery.spawn import MakesWorkers, WorkerProcess


class Busy:
    """Makes workers, but for now it is others' turn."""

    async def start(self, channel: int, output: int) -> Any:
        await trio.sleep_forever()


class Prompt:
    """Makes workers that are ready at once."""

    async def start(self, channel: int, output: int) -> Any:
        os.write(channel, packed(Ready("c0de")))
        return Process()


class Process:
    """Lives until its group is signalled."""

    pid = 1

    def __init__(self) -> None:
        self._ended = trio.Event()

    async def wait(self) -> Exit:
        await self._ended.wait()
        return Exit(0)

    def signal_group(self, number: signal.Signals) -> None:
        self._ended.set()


class Stuck:
    """An executor that never ends, drained or not."""

    idle_since, held_for, taken = math.inf, 0.0, 0

    def fence(self, chat_id: int, done: Any) -> bool:
        return False

    def drain(self) -> None: ...

    async def run(self) -> None:
        await trio.sleep_forever()


class Obedient(Stuck):
    """An executor that has nothing to do, and ends when it is drained."""

    def __init__(self) -> None:
        self.idle_since = trio.current_time()
        self._drained = trio.Event()

    def drain(self) -> None:
        self._drained.set()

    async def run(self) -> None:
        await self._drained.wait()


class OwnError(Exception):
    """What breaks in these tests."""


class Breaks(Stuck):
    """An executor that cannot be drained."""

    def drain(self) -> None:
        raise OwnError


def context_of(makes: MakesWorkers, folder: Path, told: list[tuple[str, dict[str, Any]]]) -> SessionContext:
    """A bot's context, as far as it matters here."""
    log = LogSettings()
    settings = SimpleNamespace(
        handler_timeout=90.0, heartbeat_interval=1e6, hang_timeout=1e6, memory_limit=1, worker="always"
    )
    return SessionContext(
        makes=makes,
        settings=lambda: cast("Any", settings),
        configure=lambda: Configure("b", 7, "7:x", "", "", [], 1, Retune({}, 90.0, 1e6, 1e6, "info")),
        output=Output(RotatedFile(folder / "worker_b.log", lambda: log), "7:x"),
        make_executor=lambda _: Stuck(),
        emit=lambda event, **fields: told.append((event, fields)),
        oom=OomKills(None),
    )


@pytest.mark.parametrize(
    ("number", "starved", "limit"),
    [
        (errno.EAGAIN, True, "no process can be started: "),
        (errno.EMFILE, True, "ulimit -n"),
        (errno.ENFILE, True, "fs.file-max"),
        (errno.ENOMEM, True, "raise "),
        (errno.ENOENT, False, "no such file"),
    ],
)
async def test_a_process_for_which_there_is_no_room_is_told_from_one_that_cannot_be(
    tmp_path: Path, number: int, starved: bool, limit: str
) -> None:
    """The first uses up no restart budget, and names the limit."""
    told: list[tuple[str, dict[str, Any]]] = []

    class Full:
        async def start(self, channel: int, output: int) -> WorkerProcess:
            raise OSError(number, os.strerror(number))

    ended = await WorkerSession(context_of(Full(), tmp_path, told), ORDINARY).run()
    assert (ended.exit, ended.starved) == (None, starved)
    assert ended.problem is not None
    assert ended.problem.startswith("could not be started: ")
    assert limit in ended.problem


async def test_a_process_whose_turn_has_not_come_is_not_waited_for(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A stop amid a fleet's start ends at once what was not begun: it starts nothing only to end it."""
    told: list[tuple[str, dict[str, Any]]] = []
    context = context_of(Busy(), tmp_path, told)
    ends: list[Ended] = []

    async def live(session: WorkerSession) -> None:
        ends.append(await session.run())

    session = WorkerSession(context, ORDINARY)
    nursery.start_soon(live, session)
    await trio.testing.wait_all_tasks_blocked()
    session.end("leaving")
    await trio.testing.wait_all_tasks_blocked()
    assert ends == [Ended(None, 0.0, "leaving")]
    assert [event for event, _ in told] == ["worker.starting", "worker.exited"]


async def test_who_is_asked_to_end_as_it_becomes_ready_has_no_longer_than_others(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Its handlers' time, and a little more."""
    session: WorkerSession

    def end(code: str | None) -> None:
        assert code == "c0de"
        session.end("replaced")

    session = WorkerSession(context_of(Prompt(), tmp_path, []), ORDINARY, end)
    with trio.fail_after(1000):
        ended = await session.run()
    assert ended.why == "replaced"
    assert ended.lived < 90 + DRAIN_SLACK + 5


async def test_what_breaks_when_it_is_asked_to_end_is_not_who_asked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """That may be another bot, which wants the slot; the session itself fails, and its process has ended."""
    context = replace(context_of(Prompt(), tmp_path, []), make_executor=lambda _: Breaks())
    session = WorkerSession(context, ORDINARY)

    async def ask() -> None:
        await trio.testing.wait_all_tasks_blocked()
        assert session.is_ready
        session.end("sleeping")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.RaisesGroup(OwnError, flatten_subgroups=True):
            await session.run()
    assert session.worker is None


@pytest.mark.parametrize(
    ("kind", "quarantine"),
    [(ORDINARY, None), (SessionKind(is_quarantine=True), True), (SessionKind(is_told=False), "not told")],
)
async def test_kinds_of_sessions_differ_in_what_is_told_of_them(
    tmp_path: Path,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    kind: SessionKind,
    quarantine: object,
) -> None:
    """All events of the quarantine say so, those of an ordinary session do not, a canary has none."""
    told: list[tuple[str, dict[str, Any]]] = []
    session = WorkerSession(context_of(Prompt(), tmp_path, told), kind)
    nursery.start_soon(session.run)
    await trio.testing.wait_all_tasks_blocked()
    session.end("leaving")
    await trio.sleep(200)
    expected = [] if quarantine == "not told" else ["worker.starting", "worker.ready", "worker.exited"]
    assert [event for event, _ in told] == expected
    assert all(fields["quarantine"] == quarantine for _, fields in told)


@pytest.mark.parametrize(("idle_stop", "sleeps"), [(None, 60.0), (2.0, 2.0)])
async def test_a_kind_has_an_idle_stop_of_its_own_or_the_settings(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, idle_stop: float | None, sleeps: float
) -> None:
    """Within a quarter of it more, as often as it is looked at."""
    context = context_of(Prompt(), tmp_path, [])
    settings: Any = context.settings()
    settings.worker, settings.idle_stop = "on_demand", 60.0
    executor = Obedient()
    session = WorkerSession(
        replace(context, make_executor=lambda _: executor), SessionKind(idle_stop=idle_stop)
    )
    ended = await session.run()
    assert ended.why == "sleeping"
    assert sleeps <= ended.lived <= 1.25 * sleeps + 1


class Plays:
    """Makes workers that say what they are to say, `pause` seconds after each other, and are ready then."""

    def __init__(self, nursery: trio.Nursery, pause: float, *says: Any) -> None:
        self.nursery, self.pause, self.says = nursery, pause, says

    async def start(self, channel: int, output: int) -> Any:
        process = Process()
        self.nursery.start_soon(self.play, os.dup(channel), process)
        return process

    async def play(self, channel: int, process: Process) -> None:
        for frame in (*self.says, Ready("c0de")):
            await trio.sleep(self.pause)
            with suppress(BrokenPipeError):  # nobody listens any more
                os.write(channel, packed(frame))
        await process.wait()
        os.close(channel)


@pytest.mark.parametrize(
    ("pause", "says", "ready"),
    [
        (50, (), True),
        (70, (), False),
        (25, (Standing(True), Standing(False)), True),
        (50, (Standing(True), Standing(False)), False),
        (29, (Standing(True), Standing(True), Standing(False), Standing(False)), False),
        (19, (Standing(True), Standing(True), Standing(False), Standing(False)), True),
        (1, (Standing(False),) * 50, True),
        (1, (Standing(False),) * 70, False),
        (3610, (Standing(True),), False),
    ],
)
async def test_the_time_of_a_start_stands_still_while_it_waits_to_send(
    tmp_path: Path,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    pause: float,
    says: tuple[Any, ...],
    ready: bool,
) -> None:
    """It has a minute of its own; its waits for Telegram come on top, up to an hour, whatever it says."""
    told: list[tuple[str, dict[str, Any]]] = []
    session = WorkerSession(context_of(Plays(nursery, pause, *says), tmp_path, told), ORDINARY)
    nursery.start_soon(session.run)
    await trio.sleep(pause * (len(says) + 1) + 1)
    assert session.is_ready == ready
    assert ("worker.ready" in [event for event, _ in told]) == ready
    session.end("leaving")


async def test_a_start_takes_its_turns_and_its_tasks_may_fail(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Before the worker is ready the daemon answers and reports; at its end it gives up what it held."""
    paces, told = Paces(), cast("list[tuple[str, dict[str, Any]]]", [])
    nursery.start_soon(paces.serve)
    await trio.testing.wait_all_tasks_blocked()
    pace = paces.of(7)
    pace.tune(RateLimit(per_second=0.1))
    says = (
        AskTurn(1, 0, "5", 1, False),
        AskTurn(2, 0, "6", 1, False),
        TaskFailed("tick", "ValueError at b.py:1"),
    )
    context = replace(context_of(Plays(nursery, 1, *says), tmp_path, told), pace=pace)
    session = WorkerSession(context, ORDINARY)
    nursery.start_soon(session.run)
    await trio.sleep(5)
    assert session.is_ready
    assert pace.figures().waiting == 1
    assert (
        "task.failed",
        {"quarantine": None, "task": "tick", "error": "ValueError at b.py:1", "missed": None},
    ) in told
    session.end("leaving")
    await trio.sleep(120)
    assert pace.figures().waiting == 0


async def test_tasks_that_fail_on_and_on_are_reported_now_and_then(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Twenty in a minute; the next report says how many were left out."""
    told: list[tuple[str, dict[str, Any]]] = []
    fails = TaskFailed("tick", "ValueError at b.py:1")
    session = WorkerSession(context_of(Plays(nursery, 0.1, *[fails] * 50), tmp_path, told), ORDINARY)
    nursery.start_soon(session.run)
    await trio.sleep(10)
    assert sum(event == "task.failed" for event, _ in told) == MOST_FAILURES
    await trio.sleep(FAILURES_SPAN)
    session._task_reports.report(fails)
    assert told[-1][1]["missed"] == 50 - MOST_FAILURES
    session.end("leaving")


async def test_a_session_that_has_ended_is_gone_without_a_collection(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing in it refers back to it: a fleet whose bots wake and sleep would keep a thousand of them."""
    context = context_of(Prompt(), tmp_path, [])
    settings: Any = context.settings()
    settings.worker, settings.idle_stop = "on_demand", 60.0
    executor = Obedient()
    gc.collect()
    gc.disable()
    try:
        session = WorkerSession(replace(context, make_executor=lambda _: executor), ORDINARY)
        kept = weakref.ref(session)
        assert (await session.run()).why == "sleeping"
        del session
        assert kept() is None
    finally:
        gc.enable()
