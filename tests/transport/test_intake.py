"""Polling and webhook, switched under load: nothing lost, nothing handled twice."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
from admitting import admission_for

from trioworkers.botapi.client import BotApi
from trioworkers.breakage import Breakage
from trioworkers.events import Events
from trioworkers.inbox.gate import Gate
from trioworkers.inbox.inbox import Inbox, open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.testing import Telegram, serve_telegram
from trioworkers.testing.faults import server_error
from trioworkers.transport import auto, registration
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.intake import Intake, IntakeContext
from trioworkers.transport.reception import Reception
from trioworkers.transport.registration import Digests, Registry, Wanted, WebhookInfo
from trioworkers.web.connections import Bounds, Connections
from trioworkers.web.sockets import listen_tcp
from trioworkers.web.webhook import WebhookApp

SWITCHES = 100
SECRET = "s" * 43


@dataclass
class Settings:
    transport: str = "poll"
    poll_timeout: float = 1.0
    allowed_updates: list[str] = field(default_factory=list)
    max_body: int = 1_000_000
    telegram_ips_only: bool = False
    trusted_proxies: tuple[Any, ...] = ()


@dataclass
class Told:
    """What was told, by what it was."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.append((name, *values))

    def reasons(self, name: str) -> list[list[Any]]:
        return [rest for what, *rest in self.told if what == name]


@dataclass
class Scene:
    world: Telegram
    bot: Any
    alice: Any
    settings: Settings
    inbox: Inbox
    intake: Intake
    events: Told
    deliveries: Deliveries
    listener: Any
    stop: trio.Event
    reception: Reception
    later: list[float]  # seconds by which the reception's clock is ahead

    async def until(self, condition) -> None:
        with trio.fail_after(30):
            while not condition():  # noqa: ASYNC110 - the other side of a socket has no event
                await trio.sleep(0.002)

    def accepted(self) -> int:
        return self.inbox.tally(self.bot.id).accepted


@pytest.fixture
async def scene(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(registration, "WATCH_EVERY", 0.05)
    monkeypatch.setattr(registration, "FIRST_PAUSE", 0.002)
    world = Telegram(seed=1, repeat_guard=False)
    bot, alice = world.add_bot("echo"), world.add_user("Alice")
    base = await nursery.start(serve_telegram, world)
    settings, events = Settings(), Told()
    later = [0.0]
    reception = Reception(lambda: time.time() + later[0])
    async with (
        open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox,
        BotApi(base, bot.token) as api,
        trio.open_nursery() as inner,
    ):
        deliveries = Deliveries()
        await inner.start(deliveries.serve)
        stop = trio.Event()
        listener = listen_tcp("127.0.0.1", 0, key="k")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook/echo"
        app = WebhookApp(deliveries, lambda: settings, admission_for("token").refusal_without_token)
        await inner.start(Connections(app, bounds=Bounds()).serve, [listener], stop)
        gate = Gate("echo", bot.id, inbox, Events())
        context = IntakeContext(
            gate,
            lambda: settings,
            deliveries.open("echo", bot.id, gate),
            lambda: Wanted(url, SECRET),
            Registry(Digests(tmp_path / "webhooks.json"), partial(trio.sleep, 0)),
            events,
            reception=reception,
        )
        intake = Intake(api, context)
        yield Scene(
            world, bot, alice, settings, inbox, intake, events, deliveries, listener, stop, reception, later
        )
        inner.cancel_scope.cancel()
    nursery.cancel_scope.cancel()


async def test_a_hundred_switches_lose_nothing_and_double_nothing(scene, nursery):
    """While updates keep coming: each is in the inbox once, and Telegram has none left."""
    nursery.start_soon(scene.intake.serve)
    sent = 0
    for switch in range(SWITCHES):
        scene.settings.transport = "poll" if switch % 2 else "webhook"
        scene.intake.changed()
        await scene.until(lambda: scene.intake.transport == scene.settings.transport)
        for _ in range(3):
            scene.alice.send(scene.bot, "hello")
            sent += 1
        if switch % 3 == 0:  # also a switch before anything came of the one before
            await scene.until(lambda sent=sent: scene.accepted() == sent)
    await each_is_there_once(scene, sent)
    assert len(scene.events.reasons("switched")) >= SWITCHES - 1
    nursery.cancel_scope.cancel()


async def each_is_there_once(scene, sent):
    """Accepted, in order, and Telegram has none left."""
    await scene.until(lambda: scene.accepted() == sent and scene.world.pending(scene.bot) == 0)
    backlog = scene.inbox.claim(scene.bot.id, Breakage())
    seen: list[int] = []
    with trio.fail_after(30):
        while len(seen) < sent:
            update = backlog.ordinary.take()
            if update is None:
                await backlog.ordinary.wait_change()
                continue
            seen.append(update.update_id)
            backlog.finish(update, "done")
    assert seen == sorted(set(seen))


async def test_auto_switches_a_hundred_times_and_loses_nothing(scene, nursery, monkeypatch):
    """By its own decisions: delivery errors lead away from the webhook, the time of polling back to it."""
    monkeypatch.setattr(auto, "GROWTH", 0.0)
    monkeypatch.setattr(auto, "FIRST_RETURN", 0.005)
    monkeypatch.setattr(auto, "LAST_RETURN", 0.005)
    scene.settings.transport = "auto"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    sent = 0
    with trio.fail_after(90):
        while len(scene.events.reasons("switched")) < SWITCHES:
            if scene.world.pending(scene.bot) < 50:  # a slow machine delivers fewer than are sent
                scene.alice.send(scene.bot, "hello")
                sent += 1
            if scene.intake.transport == "webhook":
                # more than the intake itself hears from Telegram, and a new error: it grows
                info = WebhookInfo(pending_update_count=1000 + sent, last_error_date=int(time.time()))
                scene.intake.observed(info)
            await trio.sleep(0.002)
    await each_is_there_once(scene, sent)
    told = {tuple(reason) for reason in scene.events.reasons("switched")}
    assert told == {
        ("poll", "delivery errors while pending updates grew"),
        ("webhook", "polled long enough"),
    }
    nursery.cancel_scope.cancel()


async def test_auto_falls_back_when_the_webhook_cannot_be_set(scene, nursery, monkeypatch):
    """After three failures it polls; when it may, it returns."""
    monkeypatch.setattr(auto, "FIRST_RETURN", 0.3)
    monkeypatch.setattr(scene.intake, "_wanted", lambda: Wanted("ftp://nowhere", SECRET))
    monkeypatch.setattr(scene.intake._registration, "_wanted", lambda: Wanted("ftp://nowhere", SECRET))
    scene.settings.transport = "auto"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    scene.alice.send(scene.bot, "hello")
    await scene.until(lambda: scene.accepted() == 1)
    assert scene.events.reasons("switched")[0] == ["poll", "registration failed 3 times"]
    assert len(scene.events.reasons("webhook_refused")) == 3
    await scene.until(lambda: ["webhook", "polled long enough"] in scene.events.reasons("switched"))
    nursery.cancel_scope.cancel()


async def test_auto_falls_back_when_deliveries_fail(scene, nursery, monkeypatch):
    """Telegram reports errors and pending stays: polling brings what the webhook did not."""
    monkeypatch.setattr(auto, "GROWTH", 0.2)
    scene.settings.transport = "auto"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    scene.alice.send(scene.bot, "one")
    await scene.until(lambda: scene.accepted() == 1)
    assert scene.intake.transport == "webhook"
    scene.stop.set()
    await scene.until(lambda: scene.listener.fileno() == -1)
    scene.alice.send(scene.bot, "two")
    await scene.until(lambda: scene.accepted() == 2)
    assert scene.events.reasons("switched") == [["poll", "delivery errors while pending updates grew"]]
    assert scene.bot.webhook is None
    nursery.cancel_scope.cancel()


async def test_a_webhook_stays_set_when_the_intake_ends(scene):
    """A stop is no change of transport: Telegram waits for the next start."""
    scene.settings.transport = "webhook"
    scene.intake.changed()
    async with trio.open_nursery() as serving:
        serving.start_soon(scene.intake.serve)
        await scene.until(lambda: scene.intake.info)
        serving.cancel_scope.cancel()
    assert scene.bot.webhook is not None
    assert scene.intake.info.document()["pending"] == 0


async def test_a_late_delivery_is_taken_after_the_webhook_was_left(scene, nursery):
    """Its endpoint stands open for a while, with the secret that it had."""
    scene.settings.transport = "webhook"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    await scene.until(lambda: scene.intake.info)
    scene.settings.transport = "poll"
    scene.intake.changed()
    await scene.until(lambda: scene.bot.webhook is None)
    late = b'{"update_id":5,"message":{"chat":{"id":1}}}'
    assert await scene.deliveries.deliver("echo", SECRET.encode(), late) == 200
    nursery.cancel_scope.cancel()


async def test_auto_polls_as_long_as_telegram_cannot_reach_us(scene, nursery, monkeypatch):
    """Without an end; with an address it has a webhook at once, and polls again when that is gone."""
    target = scene.intake._wanted()
    now = [None]
    monkeypatch.setattr(scene.intake, "_wanted", lambda: now[0])
    scene.settings.transport = "auto"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    for address, transport in ((None, "poll"), (target, "webhook"), (None, "poll")):
        now[0] = address
        scene.intake.changed()
        await scene.until(lambda transport=transport: scene.intake.transport == transport)
        await scene.until(lambda address=address: (scene.bot.webhook is None) == (address is None))
        before = scene.accepted()
        scene.alice.send(scene.bot, "hello")
        await scene.until(lambda before=before: scene.accepted() == before + 1)
    nursery.cancel_scope.cancel()


async def test_a_change_of_something_else_asks_telegram_nothing(scene, nursery, monkeypatch):
    """A reload that concerns other bots makes no calls for a thousand webhooks."""
    monkeypatch.setattr(registration, "WATCH_EVERY", 3600)
    scene.settings.transport = "webhook"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    await scene.until(lambda: scene.intake.info)
    asked = len(scene.world.calls)
    for _ in range(10):
        scene.intake.changed()
        await trio.lowlevel.checkpoint()
    scene.alice.send(scene.bot, "hello")
    await scene.until(lambda: scene.accepted() == 1)
    assert len(scene.world.calls) == asked
    nursery.cancel_scope.cancel()


async def test_a_webhook_that_cannot_be_set_is_a_bot_that_hears_nothing(scene, nursery):
    """Until it is set; and when Telegram says that it does not reach it, while updates wait."""
    rule = scene.world.faults.add(respond=server_error(502), method="setWebhook", times=None)
    scene.settings.transport = "webhook"
    scene.intake.changed()
    nursery.start_soon(scene.intake.serve)
    await scene.until(lambda: scene.events.reasons("webhook_refused"))
    scene.later[0] = 60.0
    assert scene.reception.deafness().problem.startswith("the webhook cannot be set: ")
    scene.world.faults.remove(rule)
    await scene.until(lambda: scene.events.reasons("webhook_registered"))
    assert scene.reception.deafness() is None
    said = "Connection refused"
    failing = WebhookInfo(pending_update_count=3, last_error_date=int(time.time()), last_error_message=said)
    scene.intake.observed(failing)
    assert scene.reception.deafness().problem == f"Telegram does not reach the webhook: {said}"
    scene.settings.transport = "poll"
    scene.intake.changed()
    await scene.until(lambda: scene.intake.transport == "poll")
    assert scene.reception.deafness() is None
    nursery.cancel_scope.cancel()
