"""A bot whose mind is an HTTP service, with a real daemon in between: signed, in order, nothing twice."""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
from backends import Asked, PlayedBackend, Reply, say
from fleet_project import Daemon, Project, until, workers_of

from trioworkers.testing import SimBot, SimUser, Telegram, faults, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECRET = "correct horse battery staple"


def text_of(asked: Asked) -> str:
    text: str = asked.update["message"]["text"]
    return text


async def echo(asked: Asked) -> Reply:
    return Reply([say(text_of(asked), asked.update["message"]["chat"]["id"])])


class Scene:
    """One bot, one user, one service, one daemon."""

    def __init__(self, project: Project, world: Telegram) -> None:
        self.project, self.world = project, world
        self.bot: SimBot = world.add_bot("mind")
        self.alice: SimUser = world.add_user("Alice")
        self.url = self.base = ""

    async def begin(
        self, nursery: trio.Nursery, reply: Callable[[Asked], Awaitable[Reply]], **keys: Any
    ) -> Daemon:
        self.base = await nursery.start(serve_telegram, self.world)
        self.service = PlayedBackend(reply)
        self.url = await nursery.start(self.service.serve)
        (self.project.folder / "secret").write_text(SECRET + "\n")
        self.write(**keys)
        return await self.project.start().ready()

    def write(self, settings: dict[str, Any] | None = None, **keys: Any) -> None:
        quick = {"initial": "10ms", "max": "50ms"}
        mind = {
            "token": self.bot.token,
            "handler": "trioworkers.handlers:http_backend",
            "settings": settings or {"url": self.url, "secret": {"file": "secret"}, "timeout": "10s"},
            "restart": quick,
            "retry": quick,
        }
        self.project.write(self.base, {"mind": mind | keys})

    def said(self) -> list[str]:
        return [message["text"] for message in self.world.sent(self.bot, self.alice.id)]

    async def over(self, **tally: int) -> None:
        """Wait until the bot's tally has these figures."""
        await until(lambda: tally.items() <= self.project.tally(self.bot).items())

    def asked(self) -> list[str]:
        return [text_of(asked) for asked in self.service.asked]


@pytest.fixture
def scene(project: Project, world: Telegram) -> Scene:
    return Scene(project, world)


async def ended(daemon: Daemon, nursery: trio.Nursery) -> None:
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_service_answers_users_in_their_order(scene: Scene, nursery: trio.Nursery) -> None:
    """Each update is posted once, signed with the secret of the file; answers have the order of questions."""
    daemon = await scene.begin(nursery, echo)
    texts = [f"message {number}" for number in range(30)]
    for text in texts:
        scene.alice.send(scene.bot, text)
    await scene.over(done=30)
    assert scene.said() == scene.asked() == texts
    for asked in scene.service.asked:
        at = asked.headers["x-trioworkers-timestamp"]
        signed = hmac.new(SECRET.encode(), at.encode() + b"." + asked.body, hashlib.sha256).hexdigest()
        assert asked.headers["x-trioworkers-signature"] == f"sha256={signed}"
        assert abs(time.time() - int(at)) < 60
        assert asked.headers["idempotency-key"] == f"{scene.bot.id}:{asked.update['update_id']}"
    assert scene.service.connections == 1
    await ended(daemon, nursery)


async def test_kills_repeat_and_lose_nothing(scene: Scene, nursery: trio.Nursery) -> None:
    """The worker is killed while the service thinks, the daemon between two calls of an answer.

    What was cut off is asked again with the same key, what was answered is not, and each message is sent once
    and in its place.
    """

    async def reply(asked: Asked) -> Reply:
        text, chat, number = text_of(asked), asked.update["message"]["chat"]["id"], len(scene.service.asked)
        if number == 1:
            await trio.sleep_forever()
        typing = {"method": "sendChatAction", "params": {"chat_id": chat, "action": "typing"}}
        return Reply([say(f"{text} a {number}", chat), typing, say(f"{text} b {number}", chat)])

    daemon = await scene.begin(nursery, reply)
    scene.alice.send(scene.bot, "first")
    await until(lambda: scene.service.asked)
    os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
    await scene.over(done=1)
    assert scene.said() == ["first a 2", "first b 2"]
    one, two = (asked.headers for asked in scene.service.asked)
    assert one["idempotency-key"] == two["idempotency-key"]
    assert one["traceparent"].split("-")[1] == two["traceparent"].split("-")[1]
    assert (one["x-trioworkers-attempt"], two["x-trioworkers-attempt"]) == ("0", "1")

    scene.world.faults.add(respond=faults.hang(3600), method="sendChatAction", times=1)
    scene.alice.send(scene.bot, "second")
    scene.alice.send(scene.bot, "third")
    recorded = "SELECT key FROM calls WHERE answer IS NOT NULL"
    with scene.project.inbox() as inbox:
        await until(lambda: len(inbox.execute(recorded).fetchall()) == 2)
    daemon.process.kill()
    await daemon.wait()
    daemon = await scene.project.start().ready()
    await scene.over(done=3)
    assert scene.asked() == ["first", "first", "second", "third"]
    assert scene.said()[2:] == ["second a 3", "second b 3", "third a 4", "third b 4"]
    await ended(daemon, nursery)


async def test_a_refused_call_is_asked_about_again(scene: Scene, nursery: trio.Nursery) -> None:
    """Telegram refuses the second call; the service mends its answer, the first call is not made again."""

    async def reply(asked: Asked) -> Reply:
        chat = asked.update["message"]["chat"]["id"]
        second = say("", chat) if asked.headers["x-trioworkers-attempt"] == "0" else say("second", chat)
        return Reply([say(f"first {asked.headers['x-trioworkers-attempt']}", chat), second])

    daemon = await scene.begin(nursery, reply)
    scene.alice.send(scene.bot, "hello")
    await scene.over(done=1, retried=1)
    assert scene.said() == ["first 0", "second"]
    (retried,) = scene.project.events("update.retried")
    assert retried["error"] == "MessageEmpty sendMessage 400"
    await ended(daemon, nursery)


async def test_an_answer_that_is_refused_twice_is_dead_and_its_chat_goes_on(
    scene: Scene, nursery: trio.Nursery
) -> None:
    """The service is asked a second time, and after a replay twice again."""
    refused = True

    async def reply(asked: Asked) -> Reply:
        chat, text = asked.update["message"]["chat"]["id"], text_of(asked)
        return Reply([say("" if refused and text == "bad" else text, chat)])

    daemon = await scene.begin(nursery, reply)
    for text in ("bad", "good"):
        scene.alice.send(scene.bot, text)
    await scene.over(done=1, dead=1, retried=1)
    assert scene.asked() == ["bad", "bad", "good"]
    assert (await trio.to_thread.run_sync(scene.project.run, "dlq", "replay", "--all")).returncode == 0
    await until(lambda: scene.asked() == ["bad", "bad", "good", "bad", "bad"])
    await scene.over(done=1, dead=1, pending=0)
    refused = False
    assert (await trio.to_thread.run_sync(scene.project.run, "dlq", "replay", "--all")).returncode == 0
    await scene.over(done=2, pending=0)
    assert scene.said() == ["good", "bad"]
    await ended(daemon, nursery)


async def test_failures_are_retried_and_refusals_are_dead(scene: Scene, nursery: trio.Nursery) -> None:
    """5xx and 429 come again, 4xx is a dead letter that a replay asks about anew, 204 is dropped."""
    statuses = {"broken": [500, 200], "busy": [429, 200], "wrong": [404, 200], "listened": [204]}

    async def reply(asked: Asked) -> Reply:
        status = statuses[text_of(asked)].pop(0)
        headers = {"retry-after": "1"} if status == 429 else {}
        return Reply((await echo(asked)).calls if status == 200 else "private", status, headers)

    daemon = await scene.begin(nursery, reply)
    for text in statuses:
        scene.alice.send(scene.bot, text)
    await scene.over(done=2, dead=1, dropped=1, retried=2)
    assert scene.said() == ["broken", "busy"]
    errors = [event["error"] for event in scene.project.events("update.retried")]
    assert errors == ["TransportError backend: it answered with 500", "the handler said so"]
    with scene.project.inbox() as inbox:
        assert inbox.execute("SELECT reason FROM dead").fetchall() == [("the backend answered with 404",)]
    assert (await trio.to_thread.run_sync(scene.project.run, "dlq", "replay", "--all")).returncode == 0
    await scene.over(done=3, pending=0)
    assert scene.said() == ["broken", "busy", "wrong"]
    assert "private" not in scene.project.log.read_text()
    await ended(daemon, nursery)


async def test_settings_change_live_and_wrong_ones_are_refused(scene: Scene, nursery: trio.Nursery) -> None:
    """The same process uses a new address; with wrong settings the old ones stay, and the log says why."""
    daemon = await scene.begin(nursery, echo)
    scene.alice.send(scene.bot, "one")
    await scene.over(done=1)
    pid = (await daemon.bot("mind"))["pid"]
    bot_log = scene.project.folder / "state" / "logs" / "worker_mind.log"

    scene.write({"url": "nowhere", "secret": SECRET})
    assert (await trio.to_thread.run_sync(scene.project.run, "reload")).returncode == 0
    await until(lambda: "settings refused" in bot_log.read_text())
    assert "settings.url: expected an http or https address without user and fragment" in bot_log.read_text()
    scene.alice.send(scene.bot, "two")
    await scene.over(done=2)

    other = PlayedBackend(echo)
    scene.write({"url": await nursery.start(other.serve), "secret": SECRET})
    assert (await trio.to_thread.run_sync(scene.project.run, "reload")).returncode == 0
    sent = 2
    while not other.asked:  # the worker obeys in its own time
        sent += 1
        scene.alice.send(scene.bot, f"more {sent}")
        await scene.over(done=sent)
    assert scene.asked()[:2] == ["one", "two"]
    assert (await daemon.bot("mind"))["pid"] == pid
    assert SECRET not in scene.project.log.read_text() + bot_log.read_text()
    await ended(daemon, nursery)


async def test_a_bot_with_wrong_settings_says_so_and_fails(scene: Scene, nursery: trio.Nursery) -> None:
    """A start without an address ends in words, not in a handler that fails for each update."""
    restart = {"initial": "10ms", "max": "10ms", "per_hour": 1}
    daemon = await scene.begin(nursery, echo, settings={"secret": SECRET}, restart=restart)
    await until(lambda: scene.project.events("bot.failed"))
    bot_log = (scene.project.folder / "state" / "logs" / "worker_mind.log").read_text()
    assert "settings.url: expected an http or https address without user and fragment" in bot_log
    await ended(daemon, nursery)
