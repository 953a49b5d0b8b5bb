"""What plugins run beside the bots: event queues and services, supervised."""

from __future__ import annotations

import errno
import threading
import time
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.lowlevel

from trioworkers import hears, hookimpl
from trioworkers.events import Events
from trioworkers.plugins import Origin, Plugins
from trioworkers.plugins.feeds import FeedTimes
from trioworkers.plugins.services import PluginServices
from trioworkers.plugins.watchdog import Watchdog
from trioworkers.starved import NO_THREAD


def daemon_of(plugin: Any) -> Any:
    return f"daemon of {plugin.name}"


class NoAsks:
    def close(self):
        pass


class Running:
    """Services of a test's plugins."""

    def __init__(self, *modules, **times):
        self.told: list[Any] = []
        self.events = Events(self.told.append, least="warn")
        self.plugins = Plugins()
        for number, module in enumerate(modules):
            self.plugins.add(f"plugin{number}", module, Origin("a test"))
        for plugin in self.plugins.found:
            plugin.connect(self.events, None)
        asks: Any = NoAsks()
        self.services = PluginServices(
            self.plugins, self.events, daemon_of, Watchdog(print), asks, FeedTimes(**times)
        )

    def names(self):
        return [event.event for event in self.told if event.event.startswith("plugin.")]


@asynccontextmanager
async def running(*modules, **times):
    run = Running(*modules, **times)
    async with trio.open_nursery() as nursery:
        await nursery.start(run.services.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield run
        nursery.cancel_scope.cancel()


async def wait_until(condition):
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - of another thread
            await trio.sleep(0.01)


async def test_a_plain_function_hears_events_in_its_own_thread_and_in_order():
    """All of them, without holding the loop."""
    heard = []

    def trioworkers_event(event, plugin):
        heard.append((event.seq, threading.get_ident(), plugin.name))

    async with running(SimpleNamespace(trioworkers_event=hookimpl(trioworkers_event))) as run:
        for _ in range(500):
            run.events.emit("update.done", "echo")
        await wait_until(lambda: len(heard) == 500)
    assert [seq for seq, *_ in heard] == sorted(seq for seq, *_ in heard)
    assert threading.get_ident() not in {ident for _, ident, _ in heard}


async def test_hears_narrows_what_is_created():
    """Events that nobody hears are not made; named ones are heard whatever their level."""
    heard = []

    @hookimpl
    @hears(least="error", events={"bot.resumed"})
    async def trioworkers_event(event):
        heard.append(event.event)

    async with running(SimpleNamespace(trioworkers_event=trioworkers_event)) as run:
        assert not run.events.hears("update.done")
        assert run.events.hears("bot.resumed")
        for event in ("update.done", "bot.resumed", "bot.failed", "worker.ready"):
            run.events.emit(event, "echo")
        await wait_until(lambda: len(heard) == 2)
    assert heard == ["bot.resumed", "bot.failed"]
    assert not run.events.hears("bot.resumed")


async def test_an_event_hook_that_raises_is_switched_off():
    """After five failures, and its queue is closed."""

    @hookimpl
    @hears(least="info")
    async def trioworkers_event(event):
        raise ValueError("a secret")

    async with running(SimpleNamespace(trioworkers_event=trioworkers_event)) as run:
        for _ in range(9):
            run.events.emit("bot.added", "echo")
        await wait_until(lambda: run.plugins.found[0].state == "off")
        await trio.testing.wait_all_tasks_blocked()
        assert not run.events.hears("update.accepted")
        assert run.plugins.found[0].account.failures == 5
    assert run.names()[-1] == "plugin.disabled"
    assert "a secret" not in str(run.told)


async def test_a_plain_event_hook_that_blocks_is_left_behind():
    """It is switched off, and the events of others go on."""
    release = threading.Event()
    heard = []

    def blocks(event):
        release.wait(60)

    def hears_on(event):
        heard.append(event.event)

    async with running(
        SimpleNamespace(trioworkers_event=hookimpl(blocks)),
        SimpleNamespace(trioworkers_event=hookimpl(hears_on)),
        event=0.1,
    ) as run:
        run.events.emit("bot.added", "echo")
        await wait_until(lambda: run.plugins.found[0].state == "off")
        run.events.emit("bot.removed", "echo")
        await wait_until(lambda: "bot.removed" in heard)
        release.set()
    assert "left behind" in run.plugins.found[0].breaker.reason


async def test_a_plain_event_hook_that_is_slow_but_returns_goes_on():
    """The limit is for one event, not for a batch of them; each call is counted."""
    heard = []

    @hookimpl
    @hears(least="info")
    def trioworkers_event(event):
        time.sleep(0.05)
        heard.append(event.event)

    async with running(SimpleNamespace(trioworkers_event=trioworkers_event), event=0.2) as run:
        (plugin,) = run.plugins.found
        for _ in range(10):
            run.events.emit("bot.added", "echo")
        await wait_until(lambda: plugin.account.calls == 10)
        assert plugin.state == "active"
    assert len(heard) == 10


async def test_a_plain_event_hook_is_not_called_after_its_fifth_failure():
    """Not even with the rest of a batch, which the thread has already."""
    calls = []

    @hookimpl
    @hears(least="info")
    def trioworkers_event(event):
        calls.append(event.seq)
        raise SystemExit

    async with running(SimpleNamespace(trioworkers_event=trioworkers_event)) as run:
        for _ in range(20):
            run.events.emit("bot.added", "echo")
        await wait_until(lambda: run.plugins.found[0].state == "off")
        await trio.testing.wait_all_tasks_blocked()
    assert len(calls) == 5


async def test_a_slow_function_loses_the_oldest_events_and_they_are_counted():
    """The queue is bounded."""
    go = threading.Event()
    heard = []

    @hookimpl
    @hears(least="info", capacity=10)
    def trioworkers_event(event):
        go.wait(30)
        heard.append(event.fields.get("number"))

    async with running(SimpleNamespace(trioworkers_event=trioworkers_event)) as run:
        run.events.emit("bot.added", "echo", number=-1)
        await trio.sleep(0.05)
        for number in range(100):
            run.events.emit("bot.added", "echo", number=number)
        go.set()
        await wait_until(lambda: heard and heard[-1] == 99)
    assert heard == [-1, *range(90, 100)]
    assert run.plugins.rows()[0]["missed_events"] == 90


async def test_a_service_that_crashes_is_started_again_and_then_switched_off(autojump_clock):
    """After doubled pauses; tasks that it leaked end with it."""
    began = []

    async def trioworkers_serve(daemon, plugin):
        began.append((trio.current_time(), daemon))
        raise RuntimeError("a secret")

    async with running(SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve))) as run:
        await trio.sleep(100)
        assert [at for at, _ in began] == [0, 1, 3, 7, 15]
        assert {daemon for _, daemon in began} == {"daemon of plugin0"}
        assert run.plugins.found[0].state == "off"
    assert "a secret" not in str(run.told)


async def test_a_service_that_ran_for_a_while_begins_with_the_shortest_pause_again(autojump_clock):
    """Pauses grow with crashes one after the other, and up to a minute."""
    began = []

    async def trioworkers_serve():
        began.append(trio.current_time())
        if len(began) == 4:
            await trio.sleep(3600)
        raise RuntimeError

    async with running(SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve))) as run:
        run.plugins.found[0].breaker._most = 99
        await trio.sleep(4000)
    assert began[:8] == [0, 1, 3, 7, 3608, 3610, 3614, 3622]
    assert {later - before for before, later in pairwise(began[10:])} == {60.0}


async def test_a_service_runs_while_the_plugin_is_active(autojump_clock):
    """It begins when its table appears, ends when that goes, and hears of changes meanwhile."""
    told = []

    async def trioworkers_serve(plugin):
        told.append(("begins", plugin.settings))
        try:
            while True:
                await plugin.wait_settings_changed()
                told.append(("changed", plugin.settings))
        finally:
            told.append(("ends", None))

    module = SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve), REQUIRES_TABLE=True)
    async with running(module) as run:
        (plugin,) = run.plugins.found

        async def fleet(**tables):
            plugin.retune(SimpleNamespace(plugins=tables), tables.get("plugin0", {}))
            await trio.testing.wait_all_tasks_blocked()

        await trio.sleep(5)
        assert told == []
        await fleet(plugin0={"a": 1})
        await fleet(plugin0={"a": 2})
        await fleet()
        await fleet(plugin0={"a": 3})
    assert told == [
        ("begins", {"a": 1}), ("changed", {"a": 2}), ("ends", None), ("begins", {"a": 3}), ("ends", None),
    ]  # fmt: skip


async def test_a_service_begins_again_when_its_table_returns_during_its_end(autojump_clock):
    """The table may be back before the service has cleaned up."""
    told = []

    async def trioworkers_serve():
        told.append("begins")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            told.append("ends")

    module = SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve), REQUIRES_TABLE=True)
    async with running(module) as run:
        (plugin,) = run.plugins.found
        fleets: tuple[dict[str, Any], ...] = ({"plugin0": {}}, {}, {"plugin0": {"a": 1}})
        for tables in fleets:
            plugin.retune(SimpleNamespace(plugins=tables), tables.get("plugin0", {}))
            await trio.sleep(1)
        await trio.sleep(10)
        assert told == ["begins", "ends", "begins"]


async def test_the_watchdog_sleeps_while_nothing_is_called():
    """Its thread waits to be woken, and is woken by the next call."""
    watchdog = Watchdog(print)
    plugin: Any = SimpleNamespace(name="p", held_loop=lambda *_: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.serve)
        await wait_until(lambda: watchdog._sleeps and not watchdog._wake.is_set())
        with watchdog.watches(plugin, "hook"):
            pass
        await wait_until(lambda: not watchdog._sleeps)
        nursery.cancel_scope.cancel()


async def hold() -> None:
    await trio.lowlevel.checkpoint()
    time.sleep(1.1)  # noqa: ASYNC251 - it holds the loop


async def test_a_service_that_holds_the_loop_is_switched_off():
    """Between two of its waits; one that waits as long holds nothing."""

    async def trioworkers_serve(plugin):
        await trio.sleep(2)
        await hold()
        await trio.sleep_forever()

    async with running(SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve))) as run:
        plugin = run.plugins.found[0]
        await wait_until(lambda: not plugin.is_active)
        assert "trioworkers_serve held the loop for 1." in (plugin.breaker.reason or "")


async def test_an_async_listener_that_holds_the_loop_is_switched_off():
    """It is not called any more, while a plain one would have a thread of its own."""
    heard = []

    async def trioworkers_event(event):
        heard.append(event.event)
        await hold()

    async with running(SimpleNamespace(trioworkers_event=hookimpl(trioworkers_event))) as run:
        plugin = run.plugins.found[0]
        run.events.emit("update.done", "echo")
        run.events.emit("update.done", "echo")
        await wait_until(lambda: not plugin.is_active)
        assert "trioworkers_event held the loop for 1." in (plugin.breaker.reason or "")
        assert heard == ["update.done"]


@pytest.mark.parametrize("number", range(3))
async def test_a_stop_ends_everything(number):
    """Also what runs just then."""

    async def trioworkers_serve():
        await trio.sleep_forever()

    def trioworkers_event(event):
        time.sleep(0.01)

    began = trio.current_time()
    async with running(
        SimpleNamespace(
            trioworkers_serve=hookimpl(trioworkers_serve), trioworkers_event=hookimpl(trioworkers_event)
        )
    ) as run:
        for _ in range(number * 100):
            run.events.emit("update.done", "echo")
        await trio.lowlevel.checkpoint()
    assert trio.current_time() - began < 15


def refusing_threads(monkeypatch, refusals):
    """The next threads cannot be had, as Python says it."""
    run_sync = trio.to_thread.run_sync

    async def refuses(*args, **options):
        if refusals and refusals.pop():
            raise RuntimeError(NO_THREAD)
        return await run_sync(*args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", refuses)


async def test_a_plain_event_hook_waits_for_a_thread(monkeypatch):
    """That none can be had ends neither daemon nor plugin; no event is lost, and the limit is named."""
    heard = []

    @hookimpl
    @hears(least="info", events={"bot.added"})
    def trioworkers_event(event):
        heard.append(event.fields["number"])

    async with running(
        SimpleNamespace(trioworkers_event=trioworkers_event), no_thread=0.01, event=0.05
    ) as run:
        refusing_threads(monkeypatch, [True] * 20)
        for number in range(3):
            run.events.emit("bot.added", "echo", number=number)
        await wait_until(lambda: len(heard) == 3)
        assert run.plugins.found[0].state == "active"
    assert heard == [0, 1, 2]
    (failed,) = [event for event in run.told if event.event == "plugin.failed"]
    assert "trioworkers_event: no thread can be started: " in failed.fields["reason"]


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (RuntimeError(NO_THREAD), "no thread can be started: "),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (MemoryError(), "no memory: "),
    ],
)
async def test_a_service_that_the_system_has_no_room_for_is_not_switched_off(autojump_clock, error, limit):
    """It is started again for as long as that lasts."""
    began = []

    async def trioworkers_serve():
        began.append(trio.current_time())
        if len(began) < 9:
            raise error
        await trio.sleep_forever()

    async with running(SimpleNamespace(trioworkers_serve=hookimpl(trioworkers_serve))) as run:
        await trio.sleep(1000)
        assert run.plugins.found[0].state == "active"
        assert run.plugins.rows()[0]["failures"] == 8
    assert len(began) == 9
    assert run.names() == ["plugin.failed"] * 8
    assert limit in run.told[-1].fields["reason"]
