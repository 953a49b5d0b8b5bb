"""What `acknowledge = "probe"` and `"auto"` promise in rarer cases: one library each, in a real fleet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleet_project import Project, until
from probed_fleet import LIBRARIES, ProbedFleet, needs_libraries

if TYPE_CHECKING:
    import trio

    from trioworkers.testing import Telegram

pytestmark = needs_libraries


async def test_a_task_that_python_telegram_bot_begins_belongs_to_its_update(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A handler that is not waited for (`block=False`) ends the update when it ends, and its raise counts."""
    fleet = ProbedFleet(project, world, people=1, modes=("unblocked",), slow=0.2)
    daemon = await fleet.begin(nursery)
    (bot,) = fleet.bots
    bot.ask_alone("fail", ends=False)
    bot.ask_alone("m")
    bot.ask()
    bot.ask()
    await fleet.until_done()
    assert bot.said(bot.stranger) == ["begun fail", "begun m", "echo m"]
    assert bot.strange == []
    assert project.tally(bot.sim)["dead"] == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_handling_that_does_not_end_ends_the_program(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Its loop lives and polls, and only one chat stands still: the update is handled alone, then dead."""
    quick = {"heartbeat_interval": "200ms", "hang_timeout": "1s", "handler_timeout": "1s"}
    fleet = ProbedFleet(project, world, people=1, modes=("aiogram",), **quick)
    daemon = await fleet.begin(nursery)
    (bot,) = fleet.bots
    bot.ask_alone("stand still", ends=False)
    bot.ask()
    await until(lambda: project.tally(bot.sim)["dead"] == 1)
    assert bot.strange == []
    assert bot.said(bot.stranger) == ["begun stand still"]
    assert {event["how"] for event in project.events("worker.exited")} == {"SIGKILL"}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_auto_is_probe_where_the_library_is_known_and_says_so(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Elsewhere it is receipt, with one event; and `probe` fails the bot, with the reason."""
    fleet = ProbedFleet(project, world, people=1, modes=("telebot",), acknowledge="auto")
    daemon = await fleet.begin(nursery)
    (bot,) = fleet.bots
    bot.ask()
    await fleet.until_done()
    assert (await daemon.bot("telebot"))["acknowledge"] == "probe"
    assert "as for handlers" in project.run("bots", "show", "telebot").stdout
    # a version that was not tried
    folder = project.folder / "other" / "telebot"
    folder.mkdir(parents=True)
    for part in (LIBRARIES / "python" / "telebot").iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "version.py").unlink()
    (folder / "version.py").write_text("__version__ = '99.0.1'\n")
    paths = os.pathsep.join((str(folder.parent), str(LIBRARIES / "python")))
    environ = {"BOT_TOKEN": "{token}", "PYTHONPATH": paths}
    fleet.write(environment=environ)
    assert project.run("reload").returncode == 0
    (event,) = await until(lambda: project.events("gateway.unprobed"))
    assert (event["acknowledge"], event["bot"]) == ("receipt", "telebot")
    assert event["reason"] == "the probe was not tried with pyTelegramBotAPI 99.0.1"
    bot.ask()
    await until(lambda: bot.strange == [])
    assert (await daemon.bot("telebot"))["acknowledge"] == "receipt"
    assert "at most once" in project.run("bots", "show", "telebot").stdout
    fleet.write(acknowledge="probe", environment=environ | {"SLOW": "0.1"})
    assert project.run("reload").returncode == 0

    async def reason() -> object:
        row = await daemon.bot("telebot")
        return row["state"] == "failed" and row["reason"]

    assert await until(reason) == "acknowledge is probe, and there is none"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
