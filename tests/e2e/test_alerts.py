"""Alerts of a real daemon: to a simulated chat, and to a receiver of Alertmanager's format."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from backends import Asked, PlayedBackend, Reply
from fleet_project import Daemon, Project, until

from trioworkers.testing import SimBot, SimUser, Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = {"gather": "50ms", "window": "100ms"}
TOKEN = "the receiver knows this"


class Scene:
    """A bot that people talk to, one that writes to the person on duty, and a receiver."""

    def __init__(self, project: Project, world: Telegram) -> None:
        self.project, self.world = project, world
        self.ops: SimBot = world.add_bot("ops")
        self.shop: SimBot = world.add_bot("shop")
        self.duty: SimUser = world.add_user("Duty")
        self.statuses: list[int] = []
        self.base = self.url = ""

    async def begin(self, nursery: trio.Nursery, **alerts: Any) -> Daemon:
        self.base = await nursery.start(serve_telegram, self.world)
        self.receiver = PlayedBackend(self._receive)
        self.url = await nursery.start(self.receiver.serve)
        self.duty.start(self.ops)
        self.write(**alerts)
        return await self.project.start().ready()

    async def _receive(self, _asked: Asked) -> Reply:
        return Reply(status=self.statuses.pop(0) if self.statuses else 200)

    def write(self, tokens: dict[str, str] | None = None, **alerts: Any) -> None:
        quick = {"initial": "10ms", "max": "50ms"}
        tokens = {"ops": self.ops.token, "shop": self.shop.token} | (tokens or {})
        common = {"handler": "echo:handle", "restart": quick, "poll_timeout": "1s"}
        bots = {name: {"token": token, **common} for name, token in tokens.items()}
        table = {"bot": "ops", "chat": self.duty.id, "url": self.url, "token": TOKEN} | QUICK | alerts
        self.project.write(
            self.base, bots, plugins={"alerts": {k: v for k, v in table.items() if v is not None}}
        )

    async def reload(self) -> None:
        result = await trio.to_thread.run_sync(self.project.run, "reload")
        assert result.returncode == 0, result.stderr

    def texts(self) -> list[str]:
        """What the person on duty was told."""
        sent = self.world.sent(self.ops, self.duty.id)
        return [message["text"] for message in sent if message["text"][0] in "🔴🟢"]

    async def told(self, count: int) -> list[str]:
        texts: list[str] = await until(lambda: len(self.texts()) >= count and self.texts())
        return texts

    async def stored(self, owed: int) -> None:
        """Wait until it is stored that something is firing, and that so many notices are still owed."""
        query = "SELECT value FROM plugin_values WHERE plugin = 'alerts' AND key = 'state'"

        def is_stored() -> bool:
            with self.project.inbox() as inbox:
                row = inbox.execute(query).fetchone()
            kept: Any = json.loads(row[0]) if row else {"book": {"alerts": {}}, "outbox": []}
            told = [alert for alert in kept["book"]["alerts"].values() if alert["told"]]
            return bool(told) and len(kept["outbox"]) == owed

        await until(is_stored)

    async def posted(self, accept: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first body at the receiver that is accepted."""

        def find() -> dict[str, Any] | None:
            bodies = [json.loads(asked.body) for asked in self.receiver.asked]
            return next((body for body in bodies if accept(body)), None)

        found: dict[str, Any] = await until(find)
        return found


@pytest.fixture
def scene(project: Project, world: Telegram) -> Scene:
    return Scene(project, world)


async def ended(daemon: Daemon, nursery: trio.Nursery) -> None:
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_refused_token_is_told_and_so_is_its_end(scene: Scene, nursery: trio.Nursery) -> None:
    """Once in the chat and once at the receiver, across a restart; and once more when a reload mends it."""
    daemon = await scene.begin(nursery)
    scene.world.revoke(scene.shop)
    assert await scene.told(1) == ["🔴 fleet: token refused by Telegram\nshop: token refused"]
    body = await scene.posted(lambda body: body["status"] == "firing")
    (alert,) = body["alerts"]
    assert alert["labels"] == {
        "alertname": "TrioworkersTokenRefused",
        "bot": "shop",
        "fleet": "fleet",
        "severity": "critical",
    }
    assert scene.receiver.asked[0].headers["authorization"] == f"Bearer {TOKEN}"

    await scene.stored(owed=0)
    await daemon.stop(signal.SIGKILL)
    daemon = await scene.project.start().ready()
    await until(lambda: len(scene.project.events("bot.failed")) >= 2)

    scene.world.renew(scene.shop)
    scene.write({"shop": scene.shop.token})
    await scene.reload()
    texts = await scene.told(2)
    assert texts[1].startswith("🟢 fleet: over: token refused by Telegram\nshop: after ")
    over = await scene.posted(lambda body: body["status"] == "resolved")
    assert over["alerts"][0]["fingerprint"] == alert["fingerprint"]
    scene.project.file.write_text(scene.project.file.read_text() + "\nnonsense = 1\n")
    assert "the new settings are refused" in (await scene.told(3))[2], "nothing was told in between"
    assert len(scene.receiver.asked) in (2, 3)
    logs = scene.project.log.read_text()
    assert TOKEN not in logs
    assert scene.shop.token not in logs
    await ended(daemon, nursery)


async def test_the_url_is_told_when_the_chats_own_bot_fails(scene: Scene, nursery: trio.Nursery) -> None:
    """The log says so; the chat is told as soon as its bot can write again."""
    daemon = await scene.begin(nursery)
    scene.world.revoke(scene.ops)
    body = await scene.posted(lambda body: body["status"] == "firing")
    assert body["alerts"][0]["labels"]["bot"] == "ops"
    logged = await until(lambda: scene.project.events("plugin.log"))
    assert any("alerts go only to the URL" in json.dumps(line) for line in logged)
    assert scene.texts() == []
    scene.world.renew(scene.ops)
    scene.write({"ops": scene.ops.token})
    await scene.reload()
    texts = await scene.told(2)
    assert texts[0] == "🔴 fleet: token refused by Telegram\nops: token refused"
    assert texts[1].startswith("🟢 fleet: over: token refused by Telegram\nops: after ")
    await ended(daemon, nursery)


async def test_a_receiver_that_fails_is_asked_again(scene: Scene, nursery: trio.Nursery) -> None:
    """Meanwhile the chat is told; a kill of the daemon does not make it forget what it owes the receiver."""
    scene.statuses = [500] * 1000
    daemon = await scene.begin(nursery)
    scene.project.file.write_text(scene.project.file.read_text() + "\nnonsense = 1\n")
    texts = await scene.told(1)
    assert texts[0].startswith("🔴 fleet: the new settings are refused\n")
    await until(lambda: len(scene.receiver.asked) >= 2)
    await scene.stored(owed=1)
    daemon.process.kill()
    await daemon.wait()
    scene.statuses.clear()
    scene.write()
    before = len(scene.receiver.asked)
    daemon = await scene.project.start().ready()
    await until(lambda: len(scene.receiver.asked) > before)
    body = json.loads(scene.receiver.asked[before].body)
    assert (body["status"], body["groupLabels"]["alertname"]) == ("firing", "TrioworkersReloadRefused")
    texts = await scene.told(2)
    assert texts[1].startswith("🟢 fleet: over: the new settings are refused")
    await ended(daemon, nursery)


async def test_settings_change_live_and_are_checked(scene: Scene, nursery: trio.Nursery) -> None:
    """Nowhere to send to is an error with its place; without the table nothing is sent any more."""
    daemon = await scene.begin(nursery)
    scene.write(url=None, bot=None, chat=None, token=None)
    check = await trio.to_thread.run_sync(scene.project.run, "check")
    assert check.returncode == 78
    assert "plugins.alerts.url: expected a URL, or a bot and a chat" in check.stderr + check.stdout
    scene.write(chat=None)
    check = await trio.to_thread.run_sync(scene.project.run, "check")
    assert "plugins.alerts.bot: needs chat beside it" in check.stderr + check.stdout
    scene.write(alerts=["reload_refused"])
    await scene.reload()
    scene.world.revoke(scene.shop)
    await until(lambda: scene.project.events("bot.failed"))
    scene.project.file.write_text(scene.project.file.read_text() + "\nnonsense = 1\n")
    await until(lambda: any("🔴 fleet: the new settings" in text for text in scene.texts()))
    assert not any("token" in text for text in scene.texts())
    await ended(daemon, nursery)
