"""An update that is handled again repeats no call that succeeded, whoever was killed in between."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Daemon, Project, until, workers_of

from trioworkers.testing import SimBot, SimUser, Telegram, faults, serve_telegram

if TYPE_CHECKING:
    import trio

FAILS_ONCE = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text="first")
    await bot.send_message(chat_id=update.chat_id, text="second")
    if update.attempt == 0:
        raise ValueError
"""
WAITS = """
import pathlib, trio

async def handle(update, bot):
    if update.kind == "callback_query":
        await bot.send_message(chat_id=update.chat_id, text="pressed")
    else:
        await bot.send_message(chat_id=update.chat_id, text="sent")
    if not pathlib.Path("again").exists():
        await trio.sleep(3600)
    await bot.send_message(chat_id=update.chat_id, text="done")
"""
ONCE = """
async def handle(update, bot):
    await bot.call("sendMessage", once="answer", chat_id=update.chat_id, text=f"made up {update.attempt}")
    if update.attempt == 0:
        raise ValueError
"""
DIVERGES = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"attempt {update.attempt}")
    if update.attempt == 0:
        raise ValueError
"""
SENDS = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text="sent")
"""


class Scene:
    """One bot, one user, one daemon."""

    def __init__(self, project: Project, world: Telegram) -> None:
        self.project, self.world = project, world
        self.bot: SimBot = world.add_bot("again")
        self.alice: SimUser = world.add_user("Alice")

    async def begin(self, nursery: trio.Nursery, source: str, **keys: Any) -> Daemon:
        base = await nursery.start(serve_telegram, self.world)
        self.project.module("again", source)
        quick = {"initial": "10ms", "max": "50ms"}
        settings = {"token": self.bot.token, "handler": "again:handle", "restart": quick, "retry": quick}
        self.project.write(base, {"again": settings | keys})
        return await self.project.start().ready()

    def said(self) -> list[str]:
        return [message["text"] for message in self.world.sent(self.bot, self.alice.id)]

    def select(self, query: str) -> list[Any]:
        with self.project.inbox() as inbox:
            return inbox.execute(query).fetchall()

    async def over(self, **tally: int) -> None:
        """Wait until the bot's tally has these figures."""
        await until(lambda: tally.items() <= self.project.tally(self.bot).items())


@pytest.fixture
def scene(project: Project, world: Telegram) -> Scene:
    return Scene(project, world)


@pytest.mark.parametrize(("safe", "sent"), [(True, 1), (False, 2)])
async def test_a_retry_repeats_no_message(scene: Scene, nursery: trio.Nursery, safe: bool, sent: int) -> None:
    """Two messages, then a failure: the second handling sends none, but with `replay_safe = false` both."""
    daemon = await scene.begin(nursery, FAILS_ONCE, replay_safe=safe)
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1, retried=1)
    assert scene.said() == ["first", "second"] * sent
    assert scene.select("SELECT * FROM calls") == [], "records end with their update"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("victim", ["worker", "daemon"])
async def test_kill_9_after_the_record_repeats_no_message(
    scene: Scene, nursery: trio.Nursery, victim: str
) -> None:
    """Once the answer is durable, neither the worker's nor the daemon's death sends it again."""
    daemon = await scene.begin(nursery, WAITS)
    scene.alice.send(scene.bot, "hello")
    await until(lambda: scene.select("SELECT 1 FROM calls WHERE answer IS NOT NULL"))
    (scene.project.folder / "again").touch()
    if victim == "worker":
        os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
    else:
        daemon.process.kill()
        await daemon.wait()
        daemon = await scene.project.start().ready()
    await scene.over(done=1)
    assert scene.said() == ["sent", "done"]
    assert scene.project.events("update.repeated") == []
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_named_call_is_made_once_whatever_it_says(scene: Scene, nursery: trio.Nursery) -> None:
    """The text is made anew for each handling; the user sees the first one only."""
    daemon = await scene.begin(nursery, ONCE)
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1)
    assert scene.said() == ["made up 0"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_call_that_was_cut_off_is_made_again_and_told(scene: Scene, nursery: trio.Nursery) -> None:
    """It took effect, its answer never came: that is said at the failure, and when it is made again."""
    scene.world.faults.add(respond=faults.hang(3600), method="sendMessage", times=1)
    daemon = await scene.begin(nursery, SENDS, handler_timeout="500ms")
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1)
    assert scene.said() == ["sent", "sent"]
    call = f"sendMessage {scene.alice.id}"
    (retried,) = scene.project.events("update.retried")
    (repeated,) = scene.project.events("update.repeated")
    assert (retried["unknown"], repeated["call"]) == ([call], call)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_try_that_failed_on_the_way_is_told_when_it_is_repeated(
    scene: Scene, nursery: trio.Nursery
) -> None:
    """The connection ends after the call took effect; the client's own second try may be a second message."""
    scene.world.faults.add(respond=faults.close_after(), method="sendMessage", times=1)
    daemon = await scene.begin(nursery, SENDS)
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1)
    assert scene.said() == ["sent", "sent"]
    (repeated,) = scene.project.events("update.repeated")
    assert repeated["call"] == f"sendMessage {scene.alice.id}"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_dead_letter_tells_what_may_have_been_sent(scene: Scene, nursery: trio.Nursery) -> None:
    """In the log of its attempts, and as a recorded call without an answer."""
    scene.world.faults.add(respond=faults.hang(3600), method="sendMessage", times=1)
    retry = {"attempts": 1}
    daemon = await scene.begin(nursery, SENDS, handler_timeout="500ms", retry=retry)
    scene.alice.send(scene.bot, "hello")
    await scene.over(dead=1)
    ((id_, history),) = scene.select("SELECT id, history FROM dead")
    ((_, error, unknown),) = json.loads(history)
    assert error.startswith("took longer than 0.5 s at ")
    assert unknown == [f"sendMessage {scene.alice.id}"]
    assert scene.select(f"SELECT answer FROM calls WHERE id = {id_}") == [(None,)]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_handling_that_went_another_way_is_told(scene: Scene, nursery: trio.Nursery) -> None:
    """Another text is another message; that the recorded one was not made is said."""
    daemon = await scene.begin(nursery, DIVERGES)
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1)
    assert scene.said() == ["attempt 0", "attempt 1"]
    await until(lambda: scene.project.events("update.diverged"))
    (diverged,) = scene.project.events("update.diverged")
    assert diverged["calls"] == [f"sendMessage {scene.alice.id}"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_query_that_became_too_old_meanwhile_is_not_handled_again(
    scene: Scene, nursery: trio.Nursery
) -> None:
    """150 s after it was accepted Telegram takes no answer to a pressed button: it expires, is counted."""
    daemon = await scene.begin(nursery, WAITS)
    keyboard = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}
    scene.alice.start(scene.bot)
    alice = scene.alice.id
    scene.world.call(scene.bot, "sendMessage", chat_id=alice, text="sure?", reply_markup=keyboard)
    await until(lambda: "sent" in scene.said())
    (scene.project.folder / "again").touch()
    daemon.process.kill()
    await daemon.wait()
    daemon = await scene.project.start().ready()
    await scene.over(done=1)
    (scene.project.folder / "again").unlink()
    scene.alice.press(scene.bot, scene.world.sent(scene.bot, scene.alice.id)[0], "Yes")
    await until(lambda: scene.said().count("pressed") == 1)
    daemon.process.kill()
    await daemon.wait()
    with closing(sqlite3.connect(scene.project.database)) as inbox, inbox:
        inbox.execute("UPDATE inbox SET accepted_at = accepted_at - 151 WHERE kind = 'callback_query'")
    (scene.project.folder / "again").touch()
    daemon = await scene.project.start().ready()
    await scene.over(expired=1, done=1, pending=0)
    assert scene.said().count("pressed") == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
