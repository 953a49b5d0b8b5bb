"""One worker's life, as far as it needs no process."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio
import trio.testing

from trioworkers.config.settings import LogSettings
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output
from trioworkers.nursery.session import DRAIN_SLACK, ORDINARY, Ended, SessionContext, WorkerSession
from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.frames import Configure, Ready, Retune, packed

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from trioworkers.nursery.spawn import MakesWorkers


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

    idle_since, held_for = math.inf, 0.0

    def drain(self) -> None: ...

    async def run(self) -> None:
        await trio.sleep_forever()


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
