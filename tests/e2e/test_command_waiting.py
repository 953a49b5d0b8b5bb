"""A program and what waits for it: what it may drop, and in which order it is given the rest."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from fleet_project import Project, until
from test_command_bots import ECHO, PROGRAM, QUIET, begin, table, text

from trioworkers.testing import Telegram, serve_telegram

DROPS = """
from program import call, serve

call("deleteWebhook", drop_pending_updates=True)
serve(lambda text, say: say("echo " + text))
"""
SKIPS = """
from program import call, serve

last = call("getUpdates", offset=-1)
serve(lambda text, say: say("echo " + text), offset=last[-1]["update_id"] + 1 if last else 0)
"""
GATHERS = """
import time
from program import call

offset = 0
while True:
    updates = call("getUpdates", offset=offset, timeout=20)
    texts = [update["message"]["text"] for update in updates]
    if texts:
        offset = updates[-1]["update_id"] + 1
        call("sendMessage", chat_id=updates[0]["message"]["chat"]["id"], text=" ".join(texts))
"""


@pytest.mark.parametrize("drops", [True, False])
async def test_what_waits_at_telegram_is_dropped_where_the_file_lets_a_program(
    project: Project, world: Telegram, nursery: trio.Nursery, drops: bool
) -> None:
    """Before it is fetched; else it is handled, and an event says so."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("shop"), world.add_user("Alice")
    for number in range(3):
        await alice.say(bot, f"missed {number}")
    project.module("program", PROGRAM)
    project.module("bot", DROPS)
    project.write(base, {"shop": table(bot, drop_pending="obey" if drops else "ignore")}, fleet=QUIET)
    daemon = await project.start().ready()
    await alice.say(bot, "hello")
    first = "hello" if drops else "missed 0"
    assert await text(alice, bot) == f"echo {first}"
    told = project.events("gateway.dropped" if drops else "gateway.withheld")
    assert [event["method"] for event in told] == ["deletewebhook"]
    assert [event.get("count") for event in told] == [3 if drops else None]
    await until(lambda: project.tally(bot)["done"] == (1 if drops else 4))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("source", [DROPS, SKIPS], ids=["all", "all but one"])
async def test_what_waits_in_the_inbox_is_dropped_for_good(
    project: Project, world: Telegram, nursery: trio.Nursery, source: str
) -> None:
    """Each with an event and in the tally. A daemon that is killed then finds nothing of it."""
    daemon, bot, alice, _ = await begin(project, nursery, world, ECHO, drop_pending="obey")
    assert project.run("bots", "pause", "shop").returncode == 0
    for number in range(1200):
        alice.send(bot, f"m{number}")
    await until(lambda: project.tally(bot)["pending"] == 1200)
    project.module("bot", source)
    # in a thread: what waits at Telegram is dropped, too, and the Telegram is on this loop
    restarted = await trio.to_thread.run_sync(project.run, "bots", "restart", "shop")
    assert restarted.returncode == 0
    left = 0 if source is DROPS else 1
    assert [event["count"] for event in project.events("gateway.dropped")] == [1200 - left]
    tally = project.tally(bot)
    assert (tally["dropped"], tally["pending"], tally["accepted"]) == (1200 - left, left, 1200)
    daemon.process.kill()
    await daemon.wait()
    project.module("bot", ECHO)
    daemon = await project.start().ready()
    assert project.run("bots", "resume", "shop").returncode == 0
    await alice.say(bot, "hello")
    for wanted in [*["m1199"][:left], "hello"]:
        assert await text(alice, bot) == f"echo {wanted}"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("order", ["chat", "none"])
async def test_several_updates_of_a_chat_are_given_at_once_without_order(
    project: Project, world: Telegram, nursery: trio.Nursery, order: str
) -> None:
    """As a library needs it that gathers an album; a change of the key touches no process."""
    more: dict[str, Any] = {"order": order}
    daemon, bot, alice, base = await begin(project, nursery, world, GATHERS, **more)

    async def say_together(word: str) -> None:
        assert project.run("bots", "pause", "shop").returncode == 0
        before = project.tally(bot)["pending"]
        for number in range(3):
            await alice.say(bot, f"{word}{number}")
        await until(lambda: project.tally(bot)["pending"] == before + 3)
        assert project.run("bots", "resume", "shop").returncode == 0

    async def heard(word: str, order: str) -> None:
        whole = [" ".join(f"{word}{number}" for number in range(3))]
        wanted = whole if order == "none" else [f"{word}{number}" for number in range(3)]
        for one in wanted:
            assert await text(alice, bot) == one

    await say_together("a")
    await heard("a", order)
    other = "none" if order == "chat" else "chat"
    project.write(base, {"shop": table(bot, order=other)}, fleet=QUIET)
    assert "retuned" in project.run("reload").stdout
    await say_together("b")
    await heard("b", other)
    assert project.events("worker.exited") == []
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
