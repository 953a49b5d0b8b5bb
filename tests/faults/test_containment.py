"""What breaks in one bot stays in that bot: in a callback, at the end of a turn, in a watcher.

Three bots work under load in one daemon's loop. Something of one of them raises what nobody expects. That
bot is failed, for an internal error; the two others lose nothing and stay in order; restarted by hand, the
broken bot handles the rest of its updates.
"""

from __future__ import annotations

import json
import os
import socket
from collections import defaultdict
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from trioworkers.config.settings import BotSettings, LogSettings
from trioworkers.events import Event, Events
from trioworkers.inbox.backlog import Backlog
from trioworkers.inbox.feed import Feed
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.queue import Queue
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.nursery import bot as bot_module
from trioworkers.nursery.bot_context import BotContext
from trioworkers.nursery.bot_hooks import NoHooks
from trioworkers.nursery.bot_run import BotRun
from trioworkers.nursery.delivery import Delivery
from trioworkers.nursery.fleet import FleetScope
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.scheduler import Scheduler
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.spawn import Exit
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    Called,
    Calling,
    Configure,
    Deliver,
    Drain,
    Heartbeat,
    Outcome,
    Ready,
    Retune,
    ToWorker,
)
from trioworkers.testing import Telegram, serve_telegram
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Digests, Registry

CHATS, UPDATES = 3, 40  # of each bot
PATIENCE = 20.0  # seconds
VICTIM = "a"


class Worker:
    """A worker in this process, that handles what it is given in order and says so."""

    pid = 1

    def __init__(self, channel, nursery, handled):
        self.channel = Channel(channel, ToWorker)
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.handled = handled
        nursery.start_soon(self.run)

    async def run(self):
        try:
            with self.scope:
                await self.work()
        finally:
            self.ended.set()
            self.channel.close()

    async def work(self):
        (configure, *_) = await self.channel.receive()
        assert isinstance(configure, Configure)
        self.channel.send(Ready("c0de"))
        await self.channel.flush()
        while frames := await self.channel.receive():
            for frame in frames:
                if isinstance(frame, Drain):
                    return
                if isinstance(frame, Deliver):
                    update = json.loads(bytes(frame.update))
                    await trio.sleep(0.002)
                    if update["update_id"] % 5 == 0 and frame.attempt == 0:
                        self.channel.send(Outcome(frame.delivery, "retry", error="E"))
                    else:
                        self.channel.send(Calling(frame.delivery, "sendMessage 1 d 1"))
                        self.channel.send(Called(frame.delivery, "sendMessage 1 d 1", made=True))
                        chat = update["message"]["chat"]["id"]
                        self.handled[configure.name, chat].append(update["update_id"])
                        self.channel.send(Outcome(frame.delivery, "done"))
            self.channel.send(Heartbeat(1))
            await self.channel.flush()

    async def wait(self):
        await self.ended.wait()
        return Exit(0)

    def signal_group(self, number):
        self.scope.cancel()


class Makes:
    """Starts workers in this process."""

    def __init__(self, nursery, handled):
        self.nursery, self.handled = nursery, handled
        self.workers: list[Worker] = []

    async def start(self, channel, output):
        await trio.lowlevel.checkpoint()
        self.workers.append(Worker(socket.socket(fileno=os.dup(channel)), self.nursery, self.handled))
        return self.workers[-1]


async def at_once(*_):
    await trio.lowlevel.checkpoint()


OURS: set[int] = set()
"""The queues, feeds, channels and exchanges of the victim, by `id`: they do not know whose they are."""


KEPT: list[Any] = []
"""Keeps what `OURS` names alive, so that no other thing gets its id."""


def is_ours(thing: Any) -> bool:
    return id(thing) in OURS


def of_settling(thing: Any) -> bool:
    return bool(thing._settling.bot == VICTIM)


POINTS: dict[str, tuple[type, str, Any]] = {
    "a new update is offered": (Queue, "offer", is_ours),
    "an update is taken": (Queue, "take", is_ours),
    "an end is durable": (Queue, "finish", is_ours),
    "a retry is durable": (Queue, "put_back", is_ours),
    "a record is durable": (Backlog, "_recorded", lambda backlog: backlog.bot_id == 1),
    "the store is asked for more": (Backlog, "fetch", lambda backlog: backlog.bot_id == 1),
    "the taker is called": (Scheduler, "_fill", of_settling),
    "somebody is woken": (Feed, "changed", is_ours),
    "an update begins": (WorkerExecutor, "begin", of_settling),
    "a frame is sent": (Channel, "send", is_ours),
    "a turn ends": (Channel, "end_turn", is_ours),
    "a frame is taken in": (WorkerExecutor, "_take_in", of_settling),
    "a call is made": (Delivery, "calling", of_settling),
    "a call is answered": (Delivery, "called", of_settling),
    "an update is settled": (Delivery, "settle", of_settling),
}


class Town:
    """Three bots under load."""

    def __init__(self, telegram, fleet, handled, inbox):
        self.telegram, self.fleet, self.handled, self.inbox = telegram, fleet, handled, inbox
        self.bots = telegram.bots

    def status(self, name):
        return next(row for row in self.fleet.status() if row["bot"] == name)

    async def until(self, condition):
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - told by nobody
                await trio.sleep(0.005)

    def all_handled(self, name):
        return sum(len(ids) for (bot, _), ids in self.handled.items() if bot == name) >= UPDATES


@pytest.fixture
def break_at(monkeypatch):
    """Lets one point of the victim raise, once it is armed; returns whether it has."""

    def break_at(point: str) -> Any:
        cls, name, concerns = POINTS[point]
        original = getattr(cls, name)
        state = SimpleNamespace(armed=False, raised=0)

        def broken(self: Any, *args: Any, **more: Any) -> Any:
            if state.armed and not state.raised and concerns(self):
                state.raised += 1
                raise ZeroDivisionError
            return original(self, *args, **more)

        monkeypatch.setattr(cls, name, broken)
        return state

    OURS.clear()
    create, send = Backlog.__init__, Channel.send

    def creates(self: Any, bot_id: int, *args: Any) -> None:
        create(self, bot_id, *args)
        if bot_id == 1:
            OURS.update(map(id, (self._queue, self.ordinary, self.suspects)))
            KEPT.append(self)

    def sends(self: Any, frame: Any) -> bytes:
        if isinstance(frame, Configure) and frame.bot_id == 1:
            OURS.add(id(self))
            KEPT.append(self)
        return send(self, frame)

    monkeypatch.setattr(Backlog, "__init__", creates)
    monkeypatch.setattr(Channel, "send", sends)
    yield break_at
    KEPT.clear()


async def feed(telegram, bots):
    """Let updates come for all bots at once, over some time."""
    for number in range(UPDATES):
        for bot in bots:
            chat = 100 + number % CHATS
            message = {"message_id": number, "date": 1, "chat": {"id": chat, "type": "private"}, "text": "x"}
            telegram.enqueue(bot, {"message": message})
        await trio.sleep(0.004)


@pytest.mark.parametrize("point", POINTS)
async def test_what_breaks_in_one_bot_stays_in_that_bot(point, break_at, tmp_path):
    """Wherever it breaks: the others lose nothing and stay in order, and neither does it once restarted."""
    state = break_at(point)
    events: list[Event] = []
    handled: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    telegram = Telegram()
    sims = [telegram.add_bot(name, token=f"{number}:{name * 35}") for number, name in enumerate("abc", 1)]
    retry, restart = {"initial": 0.001, "max": 0.01}, {"initial": 0.001, "max": 0.01}
    async with trio.open_nursery() as nursery:
        api_base = await nursery.start(serve_telegram, telegram)
        settings = {
            name: BotSettings.model_validate(
                {"name": name, "token": sim.token, "handler": "h:h", "retry": retry, "restart": restart}
            )
            for name, sim in zip("abc", sims, strict=True)
        }
        in_force: Any = SimpleNamespace(
            proxy=None,
            local_files=None,
            api_base=api_base,
            python_path=[],
            log_dir=tmp_path,
            state_dir=tmp_path,
            log=LogSettings.model_validate({}),
        )
        async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox:
            webhooks = Webhooks(Deliveries(), lambda bot: None, Registry(Digests(tmp_path / "d"), at_once))
            context = BotContext(
                fleet=lambda: in_force,
                inbox=inbox,
                makes=Makes(nursery, handled),
                events=Events(events.append),
                may_start=at_once,
                slots=WorkerSlots(lambda: 10),
                webhooks=webhooks,
                paused=PausedBots(tmp_path / "paused"),
                oom=OomKills(None),
            )
            fleet = FleetScope(settings, context)
            town = Town(telegram, fleet, handled, inbox)
            nursery.start_soon(fleet.run)
            with trio.fail_after(PATIENCE):
                await fleet.ready.wait()
            nursery.start_soon(feed, telegram, sims)
            await town.until(lambda: len(handled["a", 100]) >= 2)
            state.armed = True
            await town.until(lambda: state.raised)
            await town.until(lambda: town.status("a")["state"] == "failed")
            assert town.status("a")["reason"] == "internal error"
            await town.until(lambda: town.all_handled("b") and town.all_handled("c"))
            with trio.fail_after(PATIENCE):
                assert await fleet.get_bots()["a"].restart() is None
            await town.until(lambda: town.all_handled("a"))
            for bot_id in (1, 2, 3):
                await town.until(lambda bot_id=bot_id: inbox.tally(bot_id).pending == 0)
                tally = inbox.tally(bot_id)
                assert (tally.accepted, tally.done, tally.dead) == (UPDATES, UPDATES, 0)
            fleet.stop()
            nursery.cancel_scope.cancel()
    failures = [(event.bot, event.fields["reason"]) for event in events if event.event == "bot.failed"]
    assert failures == [("a", "internal error")]
    for (name, _), ids in handled.items():
        once = list(dict.fromkeys(ids))
        assert once == sorted(once), f"{name} is out of order"
        assert name == "a" or once == ids, f"{name} handled something twice"


def settings_of(name: str, number: int, **more: Any) -> BotSettings:
    return BotSettings.model_validate(
        {"name": name, "token": f"{number}:{name * 35}", "handler": "h:h", **more}
    )


def plan_of(bots: Any, **changes: Any) -> Any:
    same: dict[str, Any] = {"added": [], "removed": [], "replaced": {}, "retuned": {}, "changed": []}
    return SimpleNamespace(**{**same, **changes}, fleet=SimpleNamespace(bots=bots))


class Hooked(NoHooks):
    """Gives the route of a test."""

    def __init__(self, route: Any) -> None:
        self.give = route

    def route(self, settings: Any) -> Any:
        return None if self.give is None else self.give(settings())


@pytest.fixture
async def small_fleet(nursery, tmp_path):
    """Makes a fleet of bots that never get an update; its events are in `events`."""
    events: list[Event] = []
    makes = Makes(nursery, defaultdict(list))
    in_force: Any = SimpleNamespace(
        proxy=None,
        local_files=None,
        api_base="http://127.0.0.1:1",
        python_path=[],
        log_dir=tmp_path,
        state_dir=tmp_path,
        log=LogSettings.model_validate({}),
    )
    async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox:

        def make(names: str, route: Any = None) -> Any:
            context = BotContext(
                fleet=lambda: in_force,
                inbox=inbox,
                makes=makes,
                events=Events(events.append),
                may_start=at_once,
                slots=WorkerSlots(lambda: 10),
                webhooks=Webhooks(Deliveries(), lambda bot: None, Registry(Digests(tmp_path / "d"), at_once)),
                paused=PausedBots(tmp_path / "paused"),
                oom=OomKills(None),
                hooks=Hooked(route),
            )
            fleet = FleetScope({name: settings_of(name, ord(name)) for name in names}, context)
            nursery.start_soon(fleet.run)
            return fleet

        yield SimpleNamespace(make=make, events=events, workers=makes.workers, inbox=inbox)


async def test_a_bot_that_cannot_even_begin_is_failed_alone(small_fleet):
    """The fleet gets ready and stops; whoever restarts the bot hears why it does not work."""
    broken = True

    def route(bot: BotSettings) -> None:
        if broken and bot.name == "a":
            raise ZeroDivisionError

    fleet = small_fleet.make("ab", route)
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        bot = fleet.get_bots()["a"]
        assert [row["state"] for row in fleet.status()] == ["failed", "running"]
        assert fleet.status()[0]["reason"] == "internal error"
        assert await bot.restart() == "internal error"
        broken = False
        assert await bot.restart() is None
        assert bot.state == "running"
        fleet.stop()
        for bot in fleet.everyone:
            await bot.ended.wait()
    assert not small_fleet.inbox._backlogs  # what ended gets no offers, and nothing is fetched for it
    assert [event.bot for event in small_fleet.events if event.event == "bot.failed"] == ["a", "a"]


async def test_a_bot_that_never_began_stops_with_the_fleet(small_fleet):
    """Nothing waits for it, and nothing turns in circles."""

    def route(bot: BotSettings) -> None:
        raise ZeroDivisionError

    fleet = small_fleet.make("a", route)
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        fleet.stop()
        await fleet.everyone[0].ended.wait()
        assert await fleet.everyone[0].restart() == "the daemon stops"


async def test_what_breaks_while_a_plan_is_applied_breaks_one_bot_and_the_plan_is_applied(
    small_fleet, monkeypatch
):
    """The bots behind it have their new settings, and whoever applies the plan goes on."""
    send = Channel.send

    def sends(self: Any, frame: Any) -> bytes:
        if isinstance(frame, Retune) and frame.settings["victim"]:
            raise ZeroDivisionError
        return send(self, frame)

    monkeypatch.setattr(Channel, "send", sends)
    fleet = small_fleet.make("abc")
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        new = {name: settings_of(name, ord(name), settings={"victim": name == "b"}) for name in "abc"}
        fleet.apply(plan_of(new, retuned=dict.fromkeys(new, ("settings",))))
        while fleet.get_bots()["b"].state != "failed":  # noqa: ASYNC110 - told by nobody
            await trio.sleep(0.005)
        assert [bot.settings for bot in fleet.get_bots().values()] == [*new.values()]
        assert [bot.state for bot in fleet.get_bots().values()] == ["running", "failed", "running"]


@pytest.mark.parametrize("change", ["retuned", "replaced"])
async def test_other_settings_begin_another_run_of_a_broken_bot(small_fleet, change):
    """They may mend what broke it."""
    broken = True

    def route(bot: BotSettings) -> None:
        if broken:
            raise ZeroDivisionError

    fleet = small_fleet.make("a", route)
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        assert fleet.get_bots()["a"].state == "failed"
        broken = False
        fleet.apply(plan_of({"a": settings_of("a", 97, concurrency=3)}, **{change: {"a": ("concurrency",)}}))
        while fleet.get_bots()["a"].state != "running":  # noqa: ASYNC110 - told by nobody
            await trio.sleep(0.005)


async def test_a_worker_that_cannot_be_configured_is_ended(small_fleet, monkeypatch):
    """Its process does not stay behind, waiting for its first frame."""

    def sends(self: Any, frame: Any) -> bytes:
        raise ZeroDivisionError

    fleet = small_fleet.make("a")
    monkeypatch.setattr(Channel, "send", sends)
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        (worker,) = small_fleet.workers
        await worker.ended.wait()
        assert worker.scope.cancel_called
    assert fleet.get_bots()["a"].state == "failed"


async def test_a_broken_bot_is_tried_again_by_itself(small_fleet, monkeypatch):
    """After a pause that grows, as long as it breaks; the other bots do not notice."""
    monkeypatch.setattr(bot_module, "FIRST_TRIAL", 0.02)
    began: list[float] = []

    def route(bot: BotSettings) -> None:
        if bot.name == "a":
            began.append(trio.current_time())
            if len(began) <= 3:
                raise ZeroDivisionError

    fleet = small_fleet.make("ab", route)
    with trio.fail_after(PATIENCE):
        while fleet.get_bots()["a"].state != "running":  # noqa: ASYNC110 - told by nobody
            await trio.sleep(0.005)
    assert len(began) == 4
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True))


async def test_a_row_of_the_status_that_breaks_is_its_bots_own(small_fleet, monkeypatch):
    """Whoever asks for the status gets it, and the daemon's summary goes on."""
    status = BotRun.status

    def broken(self: Any) -> Any:
        if self._settings().name == "a":
            raise ZeroDivisionError
        return status(self)

    fleet = small_fleet.make("ab")
    with trio.fail_after(PATIENCE):
        await fleet.ready.wait()
        monkeypatch.setattr(BotRun, "status", broken)
        assert [row["bot"] for row in fleet.status()] == ["a", "b"]
        while fleet.get_bots()["a"].state != "failed":  # noqa: ASYNC110 - told by nobody
            await trio.sleep(0.005)
        assert fleet.get_bots()["b"].state == "running"
