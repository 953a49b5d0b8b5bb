"""Functions of the daemon handle updates in the worker's place, with all that a worker's handling has."""

from __future__ import annotations

import dataclasses
import math
import random
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest
import trio
import trio.testing
from desk import BOT, START, Desk, clock, update  # type: ignore[import-not-found] # it lies beside
from msgspec.structs import replace

from trioworkers.botapi.client import BotApi
from trioworkers.breakage import Breakage
from trioworkers.config.settings import RetrySettings
from trioworkers.errors import Dead, Drop, Reroute, Retry
from trioworkers.events import Event, Events
from trioworkers.nursery import function_executor
from trioworkers.nursery.delivery import Activity, Settling
from trioworkers.nursery.function_executor import FunctionContext, FunctionExecutor
from trioworkers.nursery.scheduler import Scheduler


class Worker:
    """An executor that keeps what it is handed."""

    def __init__(self, room=math.inf):
        self.deliveries: list[Any] = []
        self.places = room

    def room(self):
        return self.places - len(self.deliveries)

    def begin(self, delivery):
        self.deliveries.append(delivery)

    def hurry(self):
        pass

    @property
    def ids(self):
        return [delivery.update.id for delivery in self.deliveries]


class Api:
    """A Bot API that answers, and notes who asked with what."""

    made: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    open: ClassVar[int] = 0

    def __init__(self, server, token, *, connections, rng, meter=None, largest=0):
        self.token = token
        Api.open += 1

    def turn(self, method, params, caller):
        """Nothing is limited."""

    async def call(self, method, params, *, patience, again):
        await trio.lowlevel.checkpoint()
        Api.made.append((self.token, dict(params)))
        return b'{"message_id": 1}'

    def close(self):
        Api.open -= 1


class Scene:
    """A desk, a scheduler, functions and a worker; `dialogs` are the chats that functions have."""

    def __init__(self, nursery, *updates, **settings):
        retry = settings.pop("retry", RetrySettings(initial=1, max=1))
        self.settings = SimpleNamespace(
            **{
                "name": "b",
                "bot_id": BOT,
                "settings": {"greeting": "hi"},
                "handler_timeout": 10,
                "concurrency": 2,
                "retry": retry,
                "on_failure": "block",
                "replay_safe": True,
                **settings,
            }
        )
        self.events: list[Event] = []
        self.token = "7:x"
        self.lines: list[str] = []
        self.desk = Desk(*updates)
        self.dialogs: set[str] = set()
        self.paused = False
        self.seen: list[Any] = []
        self.does: Any = self.note
        self.activity = Activity()
        events = Events(self.events.append, least="debug")
        settling = Settling(
            "b", self.desk, lambda: self.settings, events, random.Random(1), clock, self.activity
        )
        self.fault = Breakage()
        self.scheduler = Scheduler(settling, self.fault, lambda: self.paused, self.route)
        context = FunctionContext(
            lambda: self.settings,
            lambda: ("http://x", self.token),
            lambda: "info",
            self.lines.append,
            random.Random(1),
        )
        self.functions = FunctionExecutor(context, self.scheduler)
        self.worker = Worker()
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        nursery.start_soon(self.scheduler.run)
        nursery.start_soon(self.run)

    def route(self, updates):
        return [self.does if update.key in self.dialogs else None for update in updates]

    async def run(self):
        with self.scope:
            await self.functions.run()
        self.done.set()

    async def note(self, update, bot):
        self.seen.append(update)
        await trio.lowlevel.checkpoint()

    def ends(self, kind):
        return [end for end in self.desk.ends if kind in end]


def numbered(number):
    return replace(update(number, f"c{number}"), body=b'{"update_id":%d}' % number)


async def settle():
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture(autouse=True)
def api(monkeypatch):
    monkeypatch.setattr(function_executor, "BotApi", Api)
    Api.made, Api.open = [], 0


async def test_a_function_has_the_updates_of_its_dialogs_and_the_worker_all_others(nursery, autojump_clock):
    """Each chat in its own order, whoever has it."""
    scene = Scene(nursery, update(1, "a"), update(2, "b"), update(3, "a"))
    scene.dialogs = {"a"}
    with scene.scheduler.hands_to(scene.worker):
        await settle()
        assert [seen.update_id for seen in scene.seen] == [1, 3]
        assert (scene.worker.ids, scene.desk.ends) == ([2], [(1, "done"), (3, "done")])
        assert scene.activity.messages == 2


async def test_the_route_is_asked_once_about_all_that_come_together_but_what_nobody_can_decode(
    nursery, autojump_clock
):
    """Its answers stay with their updates."""
    scene = Scene(nursery)
    scene.dialogs = {"a", "c", "d"}
    asked: list[list[int]] = []

    def route(updates):
        asked.append([update.update_id for update in updates])
        return scene.route(updates)

    scene.scheduler.set_route(route)
    await settle()
    scene.paused = True
    scene.desk.offer(update(1, "a"))
    scene.desk.offer(update(2, "b"))
    scene.desk.offer(replace(update(3, "c"), body=b'{"update_id":3,"x":"\xff"}'))
    scene.desk.offer(update(4, "d"))
    scene.paused = False
    with scene.scheduler.hands_to(scene.worker):
        scene.desk.poke()
        await settle()
    assert asked == [[1, 2, 4]]
    assert sorted(seen.update_id for seen in scene.seen) == [1, 4]
    assert scene.worker.ids == [2]
    assert [end[0] for end in scene.ends("dead")] == [3]


async def test_without_a_worker_functions_go_on_and_the_rest_waits(nursery, autojump_clock):
    """It is work for a worker, which whoever starts one hears of; a pause holds all of it."""
    scene = Scene(nursery)
    scene.dialogs = {"a"}
    heard = trio.Event()

    async def wait():
        await scene.scheduler.work.wait_change()
        heard.set()

    await settle()
    nursery.start_soon(wait)
    await settle()
    scene.desk.offer(update(1, "a"))
    await settle()
    assert scene.desk.ends == [(1, "done")]
    assert not scene.scheduler.work.has_work
    scene.desk.offer(update(2, "b"))
    await settle()
    assert heard.is_set()
    assert (scene.scheduler.work.has_work, scene.scheduler.held) == (True, 1)
    scene.paused = True
    with scene.scheduler.hands_to(scene.worker):
        scene.desk.offer(update(3, "a"))
        await settle()
        assert (scene.worker.ids, len(scene.seen)) == ([], 1)
        scene.paused = False
        scene.desk.poke()
        await settle()
        assert (scene.worker.ids, len(scene.seen)) == ([2], 2)


async def test_a_function_learns_what_was_called_for_its_update_before(nursery, autojump_clock):
    """Calls with and without an answer: the bot has said it, or may have."""
    scene = Scene(nursery)
    scene.dialogs = {"a"}
    seen: list[tuple[str, ...]] = []

    async def look(update, bot):
        seen.append(bot.earlier)

    scene.does = look
    scene.desk.recorded[1] = {"sendMessage a 0123 1": b"{}", "once sendPhoto x": None}
    scene.desk.offer(replace(update(1, "a"), called=True))
    scene.desk.offer(update(2, "a"))
    await settle()
    assert seen == [("sendMessage a", "sendPhoto"), ()]


async def test_a_function_sends_an_update_back_to_whom_the_route_names_then(nursery, autojump_clock):
    """It is at the head of its chat again, in its order, and nothing was attempted."""
    scene = Scene(nursery, update(1, "a"), update(2, "a"))
    scene.dialogs = {"a"}

    async def give_back(update, bot):
        scene.dialogs.clear()
        raise Reroute

    scene.does = give_back
    with scene.scheduler.hands_to(scene.worker):
        await settle()
        assert (scene.worker.ids, [one.update.attempt for one in scene.worker.deliveries]) == ([1], [0])
        assert (scene.activity.messages, scene.activity.errors) == (0, 0)
        assert [event for event in scene.events if event.event == "update.retried"] == []


@pytest.mark.parametrize("taken", [True, False])
async def test_who_has_the_dialog_when_there_is_room_handles_the_update(nursery, autojump_clock, taken):
    """An operator who took it meanwhile gets it, or the bot to which it was given back; never both."""
    scene = Scene(nursery, update(1, "a"), concurrency=1)
    scene.worker.places = 0
    release = trio.Event()

    async def hold(update, bot):
        scene.seen.append(update)
        await release.wait()

    scene.does = hold
    with scene.scheduler.hands_to(scene.worker):
        await settle()
        if taken:
            scene.dialogs = {"a"}
            scene.scheduler.reroute()
            scene.worker.places = 1
            scene.scheduler.refill()
            await settle()
            assert (scene.worker.ids, len(scene.seen)) == ([], 1)
        else:
            scene.dialogs = {"x", "y"}
            scene.desk.offer(update(2, "x"))
            scene.desk.offer(update(3, "y"))  # no room for it
            await settle()
            scene.dialogs = {"x"}
            scene.scheduler.reroute()
            scene.worker.places = 2
            release.set()
            await settle()
            assert (scene.worker.ids, len(scene.seen)) == ([1, 3], 1)


async def test_what_a_function_raises_means_what_it_means_for_a_handler(nursery, autojump_clock):
    """Done, dropped, dead, tried again; and a time limit."""
    scene = Scene(nursery, *(numbered(number) for number in range(1, 6)), concurrency=9)
    scene.dialogs = {f"c{number}" for number in range(1, 6)}
    does: list[Any] = [None, Drop("x"), Dead("no use"), Retry(5), math.inf]

    async def act(update, bot):
        what = does[update.update_id - 1] if update.attempt == 0 else None
        if isinstance(what, Exception):
            raise what
        if what is not None:
            await trio.sleep(what)

    scene.does = act
    await trio.sleep(11)
    ended = {end[0]: end[1:] for end in scene.desk.ends if isinstance(end[0], int)}
    assert (ended[1], ended[2], ended[3][:3]) == (("done",), ("dropped",), ("dead", "no use", 1))
    failed = {again.id: (again, failure) for again, *failure in scene.desk.ends if not isinstance(again, int)}
    again, (failure,) = failed[4]
    assert (again.attempt, again.due, failure.error) == (1, START + 5, "the handler said so")
    assert failed[5][1][0].error.startswith("took longer than 10 s")
    await trio.sleep(30)
    assert sorted(end[0] for end in scene.ends("done")) == [1, 4, 5]


async def test_no_more_functions_run_than_concurrency_allows(nursery, autojump_clock):
    """The next one runs when one has ended."""
    scene = Scene(nursery, *(update(number, f"c{number}") for number in range(1, 6)))
    scene.dialogs = {f"c{number}" for number in range(1, 6)}
    running = most = 0

    async def act(update, bot):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    scene.does = act
    await trio.sleep(2.5)
    assert (most, running, len(scene.desk.ends)) == (2, 1, 4)


async def test_a_call_that_a_function_made_is_not_made_again(nursery, autojump_clock):
    """It is recorded with its answer, and the second handling is answered from the record."""
    scene = Scene(nursery, update(1, "a"))
    scene.dialogs = {"a"}
    attempts = []

    async def act(update, bot):
        attempts.append((update.attempt, await bot.send_message(chat_id=5, text=bot.settings["greeting"])))
        if update.attempt == 0:
            raise ValueError

    scene.does = act
    await trio.sleep(5)
    assert attempts == [(0, {"message_id": 1}), (1, {"message_id": 1})]
    assert Api.made == [("7:x", {"chat_id": 5, "text": "hi"})]
    assert list(scene.desk.recorded[1].values()) == [b'{"message_id": 1}']


async def test_functions_share_a_connection_until_the_token_changes(nursery, autojump_clock):
    """The old one is closed when nobody uses it any more, the last one at the end."""
    scene = Scene(nursery, update(1, "a"), update(2, "b"), concurrency=3)
    scene.dialogs = {"a", "b", "c"}

    async def act(update, bot):
        await bot.send_message(chat_id=5)
        scene.token = "7:y"
        await trio.sleep(1)
        await bot.send_message(chat_id=6)

    scene.does = act
    await trio.sleep(0.5)
    scene.desk.offer(update(3, "c"))  # while the others are under way with the old one
    await trio.sleep(0.2)
    assert Api.open == 2
    await trio.sleep(3)
    assert {token for token, params in Api.made[:2]} == {"7:x"}
    assert (Api.made[-1][0], Api.open) == ("7:y", 1)
    scene.functions.drain()
    await scene.done.wait()
    assert Api.open == 0


async def test_what_functions_send_waits_for_the_bots_turns(nursery, autojump_clock, monkeypatch):
    """Their connection has the bot's turns; a handling is a source of its own, and its time stands still."""
    taken: list[Any] = []

    class Turns:
        is_on = True

        async def take(self, message, caller):
            with caller.standing_still():
                await trio.sleep(60)
            taken.append((message.chat, caller.source))
            return 1

        def over(self, turn, hold=0.0):
            taken.append(turn)

    class Limited(BotApi):
        async def request(self, method, params, *, silence=None):
            await trio.lowlevel.checkpoint()
            return msgspec.Raw(b"true")

    monkeypatch.setattr("trioworkers.nursery.function_executor.BotApi", Limited)
    scene = Scene(nursery, numbered(1), numbered(2))
    scene.functions._context = dataclasses.replace(scene.functions._context, turns=Turns())
    scene.dialogs = {"c1", "c2"}

    async def act(update, bot):
        await bot.send_message(chat_id=update.update_id)
        await trio.sleep(5)

    scene.does = act
    await trio.sleep(70)
    assert scene.ends("done")
    (one, first), (two, second) = [entry for entry in taken if entry != 1]
    assert {one, two} == {"1", "2"}
    assert first != second
    assert taken.count(1) == 2


async def test_a_drain_lets_functions_finish_and_takes_nothing_more(nursery, autojump_clock):
    """What is not taken waits in the inbox."""
    scene = Scene(nursery, update(1, "a"))
    scene.dialogs = {"a"}

    async def act(update, bot):
        await trio.sleep(3)

    scene.does = act
    await trio.sleep(1)
    scene.functions.drain()
    scene.desk.offer(update(2, "a"))
    await trio.sleep(1)
    assert not scene.done.is_set()
    await trio.sleep(2)
    assert scene.done.is_set()
    assert scene.desk.ends == [(1, "done")]


async def test_a_cancelled_function_has_no_outcome(nursery, autojump_clock):
    """Its update is put back as it was."""
    scene = Scene(nursery, update(1, "a"))
    scene.dialogs = {"a"}

    async def act(update, bot):
        await trio.sleep_forever()

    scene.does = act
    await trio.sleep(1)
    scene.scope.cancel()
    await scene.done.wait()
    assert scene.desk.ends == [(1, "put back", 0.0)]


async def test_a_function_logs_into_its_bots_log(nursery, autojump_clock):
    """As a line of the bot's own, with the update's trace id."""
    scene = Scene(nursery, update(1, "a"))
    scene.dialogs = {"a"}

    async def act(update, bot):
        bot.log.info("taken", operator=3)

    scene.does = act
    await settle()
    (line,) = scene.lines
    assert line.endswith("\n")
    assert '"event":"taken"' in line
    assert '"bot":"b"' in line
    assert scene.seen == []


async def test_what_breaks_in_a_route_is_the_bots_own_fault(nursery, autojump_clock):
    """It is noted, and nothing more is handed out."""
    scene = Scene(nursery)
    await settle()

    def broken(update):
        raise ZeroDivisionError

    scene.scheduler._route = broken
    scene.desk.offer(update(1, "a"))
    scene.desk.offer(update(2, "a"))
    with pytest.raises(ZeroDivisionError):
        await scene.fault.wait_raise()
    assert scene.desk.ends == []


async def test_what_was_read_for_a_function_during_a_pause_is_handled_after_it(nursery, autojump_clock):
    """Nothing else has to come for it."""
    scene = Scene(nursery, replace(update(1, "a"), called=True))
    scene.desk.recorded[1] = {}
    scene.desk.reading = trio.Event()
    scene.dialogs = {"a"}
    scene.desk.poke()
    await settle()
    assert scene.scheduler.held == 1
    scene.paused = True
    scene.desk.reading.set()
    await settle()
    assert scene.desk.ends == []
    scene.paused = False
    scene.desk.poke()
    await settle()
    assert scene.desk.ends == [(1, "done")]


async def test_a_dialog_that_is_taken_over_is_taken_at_once(nursery, autojump_clock):
    """Also while the worker has no room; an update whose calls were read goes along, and back again."""
    scene = Scene(nursery, update(1, "a"), update(2, "b", called=True))
    scene.desk.recorded[2] = {}
    scene.worker.places = 0
    with scene.scheduler.hands_to(scene.worker):
        await settle()
        scene.dialogs = {"a"}
        scene.scheduler.reroute()
        await settle()
        assert (scene.desk.ends, scene.scheduler.held) == ([(1, "done")], 1)
        scene.worker.places = 1
        scene.scheduler.refill()
        await settle()
        assert scene.worker.ids == [2]


async def test_functions_are_held_back_by_the_disk(nursery, autojump_clock):
    """A call is made once not too much of what was called waits for its commit."""
    scene = Scene(nursery, update(1, "a"))
    scene.dialogs = {"a"}
    scene.desk.written = trio.Event()

    async def act(update, bot):
        await bot.send_message(chat_id=5)

    scene.does = act
    await settle()
    assert Api.made == []
    scene.desk.written.set()
    await settle()
    assert len(Api.made) == 1


async def test_the_next_function_runs_when_one_has_ended_before_that_is_durable(nursery, autojump_clock):
    """What has room is told by the executor; the disk is not waited for."""
    scene = Scene(nursery, update(1, "a"), update(2, "b"), concurrency=1)
    scene.dialogs = {"a", "b"}
    finish = scene.desk.finish

    async def later(*end):
        await trio.sleep(10)
        finish(*end)

    scene.desk.finish = lambda *end: nursery.start_soon(later, *end)
    await trio.sleep(1)
    assert len(scene.seen) == 2
    assert scene.desk.ends == []
