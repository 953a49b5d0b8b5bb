"""Hooks on the way of every update: what they answer is obeyed, what they do wrong stays theirs."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from trioworkers import Drop, Once, Take, Write, hookimpl
from trioworkers.arrivals import read_update
from trioworkers.events import Events
from trioworkers.inbox.gate import Dropped, Gate, Stored
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import StoreWrite
from trioworkers.plugin_store import InboxPluginStore
from trioworkers.plugins import Origin, Plugins
from trioworkers.plugins.inline import InlineHooks
from trioworkers.plugins.watchdog import Watchdog
from trioworkers.records import Waiting

BOT: Any = SimpleNamespace(name="echo", bot_id=7, settings={"greeting": "hi"})


def arrival(update_id, text="hello"):
    return read_update(
        b'{"update_id": %d, "message": {"message_id": 1, "chat": {"id": 5}, "text": "%s"}}'
        % (update_id, text.encode())
    )


def waiting(update_id=1):
    came = arrival(update_id)
    return Waiting(update_id, 7, update_id, came.key, came.body, 0.0)


class Hooked:
    """Plugins of a test, and what they made happen."""

    def __init__(self, *modules):
        self.told: list[Any] = []
        self.held: list[Any] = []
        self.plugins = Plugins()
        self.events = Events(self.told.append, least="debug")
        for number, module in enumerate(modules):
            self.plugins.add(f"plugin{number}", module, Origin("a test"))
        for plugin in self.plugins.found:
            plugin.connect(self.events, None)
        self.watchdog = Watchdog(lambda *call: self.held.append(call))
        self.hooks = InlineHooks(self.plugins, self.watchdog)

    def judges(self):
        return self.hooks.judges(lambda: BOT)()

    def names(self):
        return [event.event for event in self.told]


def module(**functions):
    marked = {
        f"trioworkers_{name}": hookimpl(function)
        for name, function in functions.items()
        if callable(function)
    }
    return SimpleNamespace(**marked)


async def test_an_answer_of_accept_reaches_the_store():
    """Drop, Once, Write and tuples of these; the key and the value are committed with the update."""

    def accept(update, plugin):
        if update.text == "drop":
            return Drop("unwanted")
        return Once("key", 60.0), Write("seen", update.update_id)

    hooked = Hooked(module(accept=accept))
    async with open_inbox(MemoryStore()) as inbox:
        hooked.plugins.found[0].connect(hooked.events, InboxPluginStore(inbox, "plugin0"))
        gate = Gate("echo", 7, inbox, hooked.events, hooked.hooks.judges(lambda: BOT))
        offered = [arrival(1, "drop"), arrival(2), arrival(3)]
        answers = await gate.offer(offered)
        assert answers[:2] == [Dropped("unwanted"), Stored()]
        assert isinstance(answers[2], Dropped)
        assert await InboxPluginStore(inbox, "plugin0").get("seen") == 2


def test_accept_is_given_the_bot_and_the_update():
    """It takes what it names."""
    seen = []

    def accept(bot, update, plugin):
        seen.append((bot.name, bot.id, bot.settings, update.kind, update.key, update.chat_id, plugin.name))

    (judge,) = Hooked(module(accept=accept)).judges()
    assert judge([arrival(1)]) == [None]
    assert seen == [("echo", 7, {"greeting": "hi"}, "message", "5", 5, "plugin0")]


def test_plugins_are_asked_in_order():
    """Those with tryfirst come first, those with trylast last, the others as they were loaded."""
    order = []

    def named(name, **marks):
        def trioworkers_accept(update):
            order.append(name)

        return SimpleNamespace(trioworkers_accept=hookimpl(**marks)(trioworkers_accept))

    hooked = Hooked(named("last", trylast=True), named("a"), named("first", tryfirst=True), named("b"))
    for judge in hooked.judges():
        judge([arrival(1)])
    assert order == ["first", "a", "b", "last"]


@pytest.mark.parametrize("answer", ["yes", 5, (Once("a", 1.0), "b"), [Once("a", 1.0)], Write("k" * 300, 1)])
def test_a_wrong_answer_is_a_failure_and_lets_the_update_in(answer):
    """So is what it raises."""
    hooked = Hooked(module(accept=lambda update: answer))
    (judge,) = hooked.judges()
    assert judge([arrival(1)]) == [None]
    assert hooked.names() == ["plugin.failed"]
    assert hooked.plugins.found[0].account.failures == 1


def test_a_plugin_that_raises_is_switched_off():
    """After five failures; the words of what it raises appear nowhere, and others are asked all the same."""
    asked = []

    def raises(update):
        raise RuntimeError(update.text)

    def other(update):
        asked.append(update.update_id)

    hooked = Hooked(module(accept=raises), module(accept=other))
    for number in range(8):
        for judge in hooked.judges():
            assert judge([arrival(number, "a secret")]) == [None]
    assert asked == list(range(8))
    assert hooked.names() == ["plugin.failed"] * 5 + ["plugin.disabled"]
    assert "a secret" not in str(hooked.told)
    assert "test_inline_hooks.py" in hooked.told[0].fields["reason"]
    row = hooked.plugins.rows()[0]
    assert (row["state"], row["failures"], row["calls"]) == ("off", 5, 5)


async def test_an_async_accept_has_a_time_limit(autojump_clock):
    """It may wait; what is late lets the update in, and is a failure."""

    async def accept(update):
        await trio.sleep(0.5 if update.update_id == 1 else 30)
        return Drop("slowly")

    hooked = Hooked(module(accept=accept))
    async with open_inbox(MemoryStore()) as inbox:
        gate = Gate("echo", 7, inbox, hooked.events, hooked.hooks.judges(lambda: BOT))
        assert await gate.offer([arrival(1)]) == [Dropped("slowly")]
        assert await gate.offer([arrival(2)]) == [Stored()]
    (failed,) = [event for event in hooked.told if event.event == "plugin.failed"]
    assert failed.fields["reason"] == "trioworkers_accept took longer than 1 s"


async def test_a_plugin_that_holds_the_loop_is_named_and_switched_off():
    """The watchdog's thread names it while it does so; on its return it is switched off."""
    release = []

    def accept(update):
        deadline = time.monotonic() + 30
        while not hooked.held and time.monotonic() < deadline:
            time.sleep(0.05)
        release.append(True)

    hooked = Hooked(module(accept=accept))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooked.watchdog.serve)
        await trio.testing.wait_all_tasks_blocked()  # its thread is there
        (judge,) = hooked.judges()
        assert judge([arrival(1)]) == [None]
        nursery.cancel_scope.cancel()
    ((name, hook, seconds),) = hooked.held
    assert (name, hook) == ("plugin0", "trioworkers_accept")
    assert seconds >= 1
    assert hooked.names() == ["plugin.disabled"]
    assert hooked.judges() == []


def test_without_plugins_there_is_nothing_on_the_way():
    """No judge and no route, and no object for an update."""
    hooked = Hooked(module(event=lambda event: None))
    assert tuple(hooked.judges()) == ()
    assert hooked.hooks.route(lambda: BOT) is None
    assert hooked.hooks.status(BOT) == {}


async def test_a_take_gets_a_bot_with_storage():
    """What it stores is gathered, to be committed with the update's end."""
    seen = []

    async def run(update, bot):
        await bot.store.set("note", update.text)
        seen.append((update.text, await bot.store.get("note")))

    hooked = Hooked(module(route=lambda bot, update: Take(run) if update.chat_id == 5 else None))
    async with open_inbox(MemoryStore()) as inbox:
        hooked.plugins.found[0].connect(hooked.events, InboxPluginStore(inbox, "plugin0"))
        route: Any = hooked.hooks.route(lambda: BOT)
        (function,) = route([waiting()])
        bot: Any = SimpleNamespace(writes=[])
        await function(SimpleNamespace(text="hello"), bot)
        assert seen == [("hello", "hello")]
        assert bot.writes == [StoreWrite("plugin0", "note", b'"hello"', None)]


async def test_what_takes_an_update_and_holds_the_loop_is_switched_off():
    """Between two of its waits; it is not asked about the next update."""

    async def run(update, bot):
        await trio.lowlevel.checkpoint()
        time.sleep(1.1)  # noqa: ASYNC251 - it holds the loop

    hooked = Hooked(module(route=lambda update: Take(run)))
    async with open_inbox(MemoryStore()) as inbox:
        hooked.plugins.found[0].connect(hooked.events, InboxPluginStore(inbox, "plugin0"))
        route: Any = hooked.hooks.route(lambda: BOT)
        await route([waiting()])[0](SimpleNamespace(), SimpleNamespace(writes=[]))
    assert "trioworkers_route held the loop for 1." in (hooked.plugins.found[0].breaker.reason or "")
    assert route([waiting()]) == [None]


@pytest.mark.parametrize("answer", ["yes", Drop("no")])
def test_a_wrong_answer_of_route_takes_nothing(answer):
    """The worker handles the update."""
    hooked = Hooked(module(route=lambda update: answer))
    route: Any = hooked.hooks.route(lambda: BOT)
    assert route([waiting()]) == [None]
    assert hooked.names() == ["plugin.failed"]


def test_status_adds_fields_below_the_plugins_name():
    """What JSON cannot hold is a failure; None adds nothing."""
    hooked = Hooked(
        module(status=lambda bot: {"open": 3}),
        module(status=lambda bot: None),
        module(status=lambda bot: {"open": object()}),
    )
    assert hooked.hooks.status(BOT) == {"plugin0": {"open": 3}}
    assert hooked.names() == ["plugin.failed"]


async def test_a_write_of_none_deletes():
    """In the transaction of the update that brings it."""

    def accept(update):
        return Write("seen", update.update_id if update.text == "hello" else None)

    hooked = Hooked(module(accept=accept))
    async with open_inbox(MemoryStore()) as inbox:
        store = InboxPluginStore(inbox, "plugin0")
        hooked.plugins.found[0].connect(hooked.events, store)
        gate = Gate("echo", 7, inbox, hooked.events, hooked.hooks.judges(lambda: BOT))
        await gate.offer([arrival(1)])
        assert await store.get("seen") == 1
        await gate.offer([arrival(2, "forget")])
        assert await store.get("seen") is None


async def test_a_taking_function_is_given_the_attempt_and_is_counted():
    """The update says how often it was handled, and whether there was a gap before it."""
    seen = []

    async def run(update, bot):
        seen.append((update.attempt, update.after_gap))

    def route(update):
        seen.append((update.attempt, update.after_gap))
        return Take(run)

    hooked = Hooked(module(route=route))
    (plugin,) = hooked.plugins.found
    plugin.connect(hooked.events, InboxPluginStore(SimpleNamespace(), "plugin0"))  # type: ignore[arg-type] # unused
    find = hooked.hooks.route(lambda: BOT)
    assert find is not None
    came = arrival(1)
    again = Waiting(1, 7, 1, came.key, came.body, 0.0, attempt=3, after_gap=True)
    (found,) = find([again])
    assert found is not None
    calls = plugin.account.calls
    bot: Any = SimpleNamespace(writes=[])
    await found(SimpleNamespace(attempt=3, after_gap=True), bot)  # type: ignore[arg-type] # as the executor makes it
    assert seen == [(3, True)] * 2
    assert plugin.account.calls == calls + 1


def test_a_route_leaves_out_a_plugin_that_is_switched_off():
    """At once, with the route that the bot has."""
    asked = []
    first = module(route=lambda: asked.append(0))
    second = module(route=lambda: asked.append(1))
    hooked = Hooked(first, second)
    find = hooked.hooks.route(lambda: BOT)
    assert find is not None
    hooked.plugins.found[0].switch_off("a test")
    assert find([waiting()]) == [None]
    assert asked == [1]


def test_a_call_that_is_only_slow_is_reported_and_the_plugin_stays_on():
    """Slower than 50 ms on the loop, and quicker than a second."""
    hooked = Hooked(module(accept=lambda: time.sleep(0.06)))
    (judge,) = hooked.judges()
    judge([arrival(1)])
    (slow,) = [event for event in hooked.told if event.event == "plugin.slow"]
    assert slow.fields["plugin"] == "plugin0"
    assert slow.fields["hook"] == "trioworkers_accept"
    assert hooked.plugins.found[0].state == "active"


async def test_an_async_judge_that_holds_the_loop_is_named_and_switched_off():
    """Between two waits, too, and whatever it answers; a judge that waits as long holds nothing."""

    async def accept(update):
        await trio.lowlevel.checkpoint()
        if update.text == "hold":
            time.sleep(1.3)  # noqa: ASYNC251 - it holds the loop
        return Drop("unwanted")

    hooked = Hooked(module(accept=accept))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooked.watchdog.serve)
        (judge,) = hooked.judges()
        assert [answer.reason for answer in await judge([arrival(1)])] == ["unwanted"]
        assert hooked.plugins.found[0].state == "active"
        await judge([arrival(2, "hold")])
        nursery.cancel_scope.cancel()
    assert [call[:2] for call in hooked.held] == [("plugin0", "trioworkers_accept")]
    assert "held the loop for 1." in (hooked.plugins.found[0].breaker.reason or "")
    assert hooked.plugins.found[0].state == "off"


async def test_each_call_of_a_batch_has_its_own_time():
    """Many that are short together hold nothing; one that is slow is reported as itself."""
    waits = {2: 0.3, 5: 0.9, 7: 0.3}

    def accept(update):
        time.sleep(waits.get(update.update_id, 0.0))

    hooked = Hooked(module(accept=accept))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooked.watchdog.serve)
        await trio.testing.wait_all_tasks_blocked()
        (judge,) = hooked.judges()
        assert judge([arrival(number) for number in range(10)]) == [None] * 10
        nursery.cancel_scope.cancel()
    took = [event.fields["took"] for event in hooked.told if event.event == "plugin.slow"]
    assert [round(one, 1) for one in took] == [0.3, 0.9, 0.3]
    (row,) = hooked.plugins.rows()
    assert (row["state"], row["calls"], row["failures"], hooked.held) == ("active", 10, 0, [])
    assert 0.9 <= row["slowest_ms"] / 1000 < 1.0
    assert 1.5 <= row["seconds"] < 2.0


async def test_a_call_that_holds_the_loop_amid_a_batch_is_named_and_is_the_last():
    """The updates behind it are let in; those before it have their answers."""
    asked = []

    def accept(update):
        asked.append(update.update_id)
        if update.update_id == 2:
            time.sleep(1.3)
        return Drop("no")

    hooked = Hooked(module(accept=accept))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooked.watchdog.serve)
        await trio.testing.wait_all_tasks_blocked()
        (judge,) = hooked.judges()
        answers = judge([arrival(number) for number in (1, 2, 3, 4)])
        nursery.cancel_scope.cancel()
    assert asked == [1, 2]
    assert [answer and answer.reason for answer in answers] == ["no", "no", None, None]
    ((name, hook, seconds),) = hooked.held
    assert (name, hook) == ("plugin0", "trioworkers_accept")
    assert 1 <= seconds < 1.3
    assert hooked.names() == ["plugin.disabled"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_plugin_that_fails_amid_a_batch_is_not_called_for_the_rest(is_async):
    """Each failure is counted; after the fifth the plugin is off at once."""
    asked = []

    def raises(update):
        asked.append(update.update_id)
        if update.update_id % 2:
            raise RuntimeError(update.text)
        return Drop("even")

    async def raises_later(update):
        await trio.lowlevel.checkpoint()
        return raises(update)

    hooked = Hooked(module(accept=raises_later if is_async else raises))
    (judge,) = hooked.judges()
    answers: Any = judge([arrival(number) for number in range(20)])
    if is_async:
        answers = await answers
    assert asked == list(range(10))
    assert [answer and answer.reason for answer in answers] == ["even", None] * 5 + [None] * 10
    assert hooked.names() == ["plugin.failed"] * 5 + ["plugin.disabled"]
    row = hooked.plugins.rows()[0]
    assert (row["state"], row["failures"], row["calls"]) == ("off", 5, 10)


def test_a_route_is_asked_about_what_no_plugin_before_has_taken():
    """Of a batch; the answers stand at the places of their updates."""
    asked: list[list[int]] = [[], [], []]

    def taking(number, *taken):
        async def run(update, bot):
            """Never run."""

        def route(update):
            asked[number].append(update.update_id)
            return Take(run) if update.update_id in taken else None

        return module(route=route)

    hooked = Hooked(taking(0, 2), taking(1, 1, 2, 4), taking(2, 3))
    for plugin in hooked.plugins.found:
        plugin.connect(hooked.events, InboxPluginStore(SimpleNamespace(), plugin.name))  # type: ignore[arg-type] # unused
    route: Any = hooked.hooks.route(lambda: BOT)
    runs = route([waiting(number) for number in (1, 2, 3, 4, 5)])
    names = [run and run.plugin.name for run in runs]
    assert names == ["plugin1", "plugin0", "plugin2", "plugin1", None]
    assert asked == [[1, 2, 3, 4, 5], [1, 3, 4, 5], [3, 5]]
    assert route([waiting(2)])[0].plugin.name == "plugin0"
    assert asked[1:] == [[1, 3, 4, 5], [3, 5]]
