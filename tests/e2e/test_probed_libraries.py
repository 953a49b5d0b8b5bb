"""Bots of all other libraries under `acknowledge = "probe"`: real libraries, real processes, real kills.

They are one fleet, whose bots start, work and wait at the same time: each takes some seconds for that.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from fleet_project import Daemon, Project, until
from probed_fleet import MODES, NODE, ProbedFleet, needs_libraries

if TYPE_CHECKING:
    import trio

    from trioworkers.testing import Telegram

pytestmark = needs_libraries

SERIAL = ("grammy", "aiogram-serial", "python-telegram-bot", "telebot-serial")


async def test_updates_are_handled_once_and_in_order_through_a_stop_failures_and_reloads(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """300 updates in 30 chats of each library, or more: each is answered once, in order.

    A stop under load waits for what is in hand. What raises is tried three times and is then dead, others go
    on, and nothing that it says of users is logged. A setting changes no process, a command one of each bot.
    """
    fleet = ProbedFleet(project, world, people=30)
    daemon = await fleet.begin(nursery)
    await _stop_under_load(fleet, daemon)
    daemon = await fleet.start()
    await _fail(fleet)
    await _reload(fleet, daemon)
    for bot in fleet.bots:
        while bot.rounds < 10:
            bot.ask()
    await fleet.until_done()
    assert {bot.mode: bot.strange for bot in fleet.bots if bot.strange} == {}
    assert await daemon.stop() == 0
    assert sum(project.tally(bot.sim)["pending"] for bot in fleet.bots) == 0
    assert fleet.done() == {bot.mode: bot.asked for bot in fleet.bots}
    nursery.cancel_scope.cancel()


async def _stop_under_load(fleet: ProbedFleet, daemon: Daemon) -> None:
    """Stop the daemon while each program is at work, and more waits for it than it can do meanwhile."""
    for bot in fleet.bots:
        bot.ask()
    await fleet.until_done()
    before = fleet.done()

    async def busy() -> bool:
        return all(done > before[mode] for mode, done in fleet.done().items())

    await fleet.until_busy(60, busy)
    assert await daemon.stop() == 0
    done = fleet.done()
    assert [bot.mode for bot in fleet.bots if done[bot.mode] >= bot.asked] == []
    answers = {bot.mode: sum(len(bot.said(one)) for one in bot.people) for bot in fleet.bots}
    assert answers == {mode: 2 * count for mode, count in done.items()}


async def _fail(fleet: ProbedFleet) -> None:
    """One update of each bot raises, amid others."""
    for bot in fleet.bots:
        bot.ask_alone("fail secretly", ends=False)
        bot.ask_alone("m")
        bot.ask()
    await fleet.until_done()
    wanted = ["begun fail secretly", "begun m", "echo m"]  # what it said before is not said again
    assert {bot.mode: said for bot in fleet.bots if (said := bot.said(bot.stranger)) != wanted} == {}
    assert [bot.mode for bot in fleet.bots if fleet.project.tally(bot.sim)["dead"] != 1] == []
    retried = [(event["bot"], event["attempt"]) for event in fleet.project.events("update.retried")]
    assert sorted(retried) == sorted((bot.mode, attempt) for bot in fleet.bots for attempt in (1, 2))
    errors = {
        (event["bot"], event["error"].partition(":")[0]) for event in fleet.project.events("update.retried")
    }
    places = {mode: "handle.js" if words[0] == NODE else words[1] for mode, words in MODES.items()}
    assert errors == {(bot.mode, f"ValueError at {places[bot.mode]}") for bot in fleet.bots}
    assert "secretly" not in fleet.project.log.read_text()


async def _reload(fleet: ProbedFleet, daemon: Daemon) -> None:
    """Change a setting, and then the environment, under load."""
    programs = await fleet.programs(daemon)
    fleet.write(settings={"greeting": "hello"}, handler_timeout="80s")
    for bot in fleet.bots:
        bot.ask()
    assert fleet.project.run("reload").returncode == 0
    await fleet.until_done()
    assert await fleet.programs(daemon) == programs
    exits = fleet.count("worker.exited")
    fleet.write(settings={"greeting": "hello"}, handler_timeout="80s", slow=0.01)
    for bot in fleet.bots:
        bot.ask()
    assert fleet.project.run("reload").returncode == 0
    await fleet.until_done()

    async def replaced() -> bool:
        now = await fleet.programs(daemon)
        return now.keys() == programs.keys() and not now.items() & programs.items()

    await until(replaced)
    assert fleet.count("worker.exited") - exits == dict.fromkeys(programs, 1)


async def test_kills_lose_nothing_and_repeat_nothing_unmarked(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Handlers of half a second; the programs, then the daemon are killed amid them. KILLS=10 for more."""
    fleet = ProbedFleet(project, world, people=4, slow=0.5)
    daemon = await fleet.begin(nursery)

    async def busy() -> bool:
        rows = (await daemon.status())["workers"]
        return all(row["queue"]["in_flight"] > 0 for row in rows)

    for number in range(int(os.environ.get("KILLS", "2"))):
        await fleet.until_busy(1, busy)
        if number % 2:
            daemon.process.kill()
            await daemon.wait()
            daemon = await fleet.start()
        else:
            exits = fleet.count("worker.exited")
            for program in (await fleet.programs(daemon)).values():
                with suppress(ProcessLookupError):
                    os.kill(program, signal.SIGKILL)
            await until(lambda before=exits: len(fleet.count("worker.exited") - before) == len(fleet.bots))  # type: ignore[misc]
    await fleet.until_done()
    assert {bot.mode: bot.out_of_order for bot in fleet.bots if bot.out_of_order} == {}
    assert {bot.mode: more for bot in fleet.bots if (more := fleet.unmarked(bot))} == {}
    assert {event["how"] for event in project.events("worker.exited")} == {"SIGKILL"}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_kill_amid_quick_handlers_blames_the_one_that_was_handled(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A library that handles one at a time has several in hand: those behind it were not begun."""
    fleet = ProbedFleet(project, world, people=12, modes=SERIAL, slow=0.005)
    daemon = await fleet.begin(nursery)

    async def busy() -> bool:
        rows = (await daemon.status())["workers"]
        return all(row["queue"]["in_flight"] > 0 for row in rows)

    for number in range(3):
        await fleet.until_busy(60, busy)
        if number == 1:
            daemon.process.kill()
            await daemon.wait()
            daemon = await fleet.start()
        else:
            exits = fleet.count("worker.exited")
            for program in (await fleet.programs(daemon)).values():
                os.kill(program, signal.SIGKILL)
            await until(lambda before=exits: len(fleet.count("worker.exited") - before) == len(fleet.bots))  # type: ignore[misc]
    await fleet.until_done()
    assert {bot.mode: bot.out_of_order for bot in fleet.bots if bot.out_of_order} == {}
    assert {bot.mode: more for bot in fleet.bots if (more := fleet.unmarked(bot))} == {}
    assert set(fleet.count("worker.exited").values()) == {2}
    assert max(fleet.count("update.retried").values()) <= 2
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
