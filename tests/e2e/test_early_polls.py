"""Bots whose handler another bot has proven poll before their own worker is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

STARTS = """
async def start(bot):
    if bot.settings["fails"]:
        raise ValueError("this start fails")


async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def test_one_ready_worker_lets_all_bots_of_its_handler_poll(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """At one start in two seconds: they accept updates, and the bot that has some gets the next worker."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number:02}") for number in range(20)]
    tables = {bot.username: {"token": bot.token, "handler": "echo:handle", "poll_timeout": 1} for bot in bots}
    project.write(base, tables, limits={"start_rate": 0.5})
    daemon = project.start()
    await until(lambda: all(world.calls_of("getUpdates", bot) for bot in bots))
    started = {event["bot"] for event in project.events("worker.starting")}
    assert len(started) < len(bots)
    alice = world.add_user("Alice")
    last = next(bot for bot in reversed(bots) if bot.username not in started)
    alice.send(last, "hello")
    await until(lambda: project.tally(last)["accepted"] == 1)
    before = len(project.events("worker.starting"))
    assert (await alice.expect(last))["text"] == "hello"
    order = [event["bot"] for event in project.events("worker.starting")]
    assert order.index(last.username) <= before, "the first that was started after its update was accepted"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_with_other_settings_for_its_start_waits_for_its_own_worker(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Its `start` may fail where another's succeeded: then it takes no updates away."""
    base = await nursery.start(serve_telegram, world)
    names = ("good", "same", "bad")
    bots = {name: world.add_bot(name) for name in names}
    project.module("starts", STARTS)
    tables = {
        name: {
            "token": bot.token,
            "handler": "starts:handle",
            "poll_timeout": 1,
            "settings": {"fails": name == "bad"},
            "restart": {"initial": "1s", "per_hour": 0},
        }
        for name, bot in bots.items()
    }
    project.write(base, tables)
    alice = world.add_user("Alice")
    alice.send(bots["bad"], "anybody there?")
    daemon = await project.start().ready()

    async def failed() -> bool:
        return bool((await daemon.bot("bad"))["state"] == "failed")

    await until(failed)
    await until(lambda: all(world.calls_of("getUpdates", bots[name]) for name in ("good", "same")))
    assert world.calls_of("getUpdates", bots["bad"]) == []
    assert world.pending(bots["bad"]) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
