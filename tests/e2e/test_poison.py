"""Updates that kill their worker, and ones that only fail: the bot and the other chats go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Daemon, Project, until, workers_of

from trioworkers.testing import SimBot, Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

POISON = """
import os, signal, trio

in_hand = 0

async def handle(update, bot):
    global in_hand
    if update.text.startswith("poison"):
        in_hand += 1
        together = int(update.text.split()[1]) if update.attempt == 0 else 1
        while in_hand < together:
            await trio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
FAILS = """
from trioworkers import Dead, Retry

async def handle(update, bot):
    if update.text == "dead":
        raise Dead("as it asked")
    if update.text == "later" and update.attempt == 0:
        raise Retry(after=2)
    await bot.send_message(chat_id=update.chat_id, text=f"{update.text}, gap: {update.after_gap}")
"""


async def begin(
    project: Project, world: Telegram, nursery: trio.Nursery, source: str, **keys: Any
) -> tuple[Daemon, SimBot]:
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("tough")
    project.module("tough", source)
    quick = {"restart": {"initial": "10ms", "max": "50ms"}, "retry": {"initial": "300ms", "max": "300ms"}}
    project.write(base, {"tough": {"token": bot.token, "handler": "tough:handle", **quick, **keys}})
    return await project.start().ready(), bot


def said(world: Telegram, bot: SimBot, chat_id: int) -> list[str]:
    return [message["text"] for message in world.sent(bot, chat_id)]


@pytest.mark.parametrize("poisons", [1, 2])
async def test_poison_kills_its_bot_once_and_itself_three_times(
    project: Project, world: Telegram, nursery: trio.Nursery, poisons: int
) -> None:
    """Also two at once: the main worker dies once, each poison three times alone, and others are answered.

    The chat of a dead one goes on, told of the gap.
    """
    daemon, bot = await begin(project, world, nursery, POISON)
    people = [world.add_user(f"Person{number}") for number in range(poisons)]
    bob = world.add_user("Bob")
    for person in people:
        person.send(bot, f"poison {poisons}")
        person.send(bot, "after it")
    await until(lambda: len(project.events("update.retried")) >= poisons)
    before = 0
    while project.tally(bot)["dead"] < poisons:
        before += 1
        bob.send(bot, f"line {before}")
        await until(lambda: len(said(world, bot, bob.id)) == before)  # noqa: B023 - called before it changes
    assert before > 1, "nothing was handled meanwhile"
    await until(lambda: project.tally(bot)["done"] == before + poisons)
    assert [said(world, bot, person.id) for person in people] == [["after it"]] * poisons
    with project.inbox() as inbox:
        letters = inbox.execute("SELECT reason, attempts, json_array_length(history) FROM dead").fetchall()
    assert letters == [("its worker died 3 times, last: the worker ended", 4, 4)] * poisons
    row = await daemon.bot("tough")
    assert (row["restarts"], row["state"]) == (1, "running")
    assert len(project.events("worker.exited")) == 1 + 3 * poisons
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_quarantine_leaves_when_it_is_not_needed(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """After the last suspect one worker is left, the bot's own."""
    daemon, bot = await begin(project, world, nursery, POISON)
    world.add_user("Alice").send(bot, "poison 1")
    await until(lambda: project.tally(bot)["dead"] == 1)
    await until(lambda: len(workers_of(daemon.process.pid)) == 1)
    assert workers_of(daemon.process.pid) == [(await daemon.bot("tough"))["pid"]]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_that_skips_answers_what_came_later_first(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """`on_failure = "skip"`: the next update of the chat goes on, told of the gap; the first comes later."""
    daemon, bot = await begin(project, world, nursery, FAILS, on_failure="skip")
    alice = world.add_user("Alice")
    for text in ("later", "hello", "again"):
        alice.send(bot, text)
    await until(lambda: project.tally(bot)["done"] == 3)
    assert said(world, bot, alice.id) == ["hello, gap: True", "again, gap: False", "later, gap: False"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_gap_is_told_to_an_update_that_comes_after_a_restart(
    project: Project, world: Telegram, nursery: trio.Nursery, end: str
) -> None:
    """Nothing waited in the chat when its update died; the daemon ended before the next one came."""
    daemon, bot = await begin(project, world, nursery, FAILS)
    alice = world.add_user("Alice")
    alice.send(bot, "dead")
    await until(lambda: project.tally(bot)["dead"] == 1)
    if end == "stop":
        assert await daemon.stop() == 0
    else:
        daemon.process.kill()
        await daemon.wait()
    daemon = await project.start().ready()
    alice.send(bot, "hello")
    alice.send(bot, "again")
    await until(lambda: project.tally(bot)["done"] == 2)
    assert said(world, bot, alice.id) == ["hello, gap: True", "again, gap: False"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
