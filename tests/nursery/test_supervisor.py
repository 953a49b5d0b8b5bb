"""A bot's worker from start to start, with sessions that are played."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from trioworkers.nursery.canary import KIND as CANARY
from trioworkers.nursery.ended import Ended
from trioworkers.nursery.life import SPENT
from trioworkers.nursery.session import ORDINARY, SessionContext
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.spawn import Exit
from trioworkers.nursery.supervisor import Supervisor, SupervisorContext
from trioworkers.protocol.frames import Unfit


@dataclass
class Restart:
    initial: float = 1.0
    factor: float = 2.0
    max: float = 45.0
    per_hour: int = 5
    healthy_after: float = 600.0


@dataclass
class Settings:
    worker: str = "always"
    idle_stop: float = 60.0
    restart: Restart = field(default_factory=Restart)


class Played:
    """A session that is ready when told, and ends when told or asked to."""

    def __init__(self, stage, on_ready, beside):
        self.stage = stage
        self.on_ready = on_ready
        self.is_ready = False
        self.worker = None
        self.code = "c0de"
        self.why = None
        self.idle_since = math.inf
        self.ended = trio.Event()
        self.exit = Exit(0)
        self.unfit = None
        self.starved = False
        self.breaks: Exception | None = None
        beside.append(self)

    def become_ready(self):
        self.is_ready = True
        self.on_ready(self.code)

    def end(self, why):
        self.why = self.why or why
        self.ended.set()

    def crash(self):
        self.exit = Exit(signal="SIGSEGV")
        self.ended.set()

    async def run(self):
        began = trio.current_time()
        self.stage.alive += 1
        self.stage.most = max(self.stage.most, self.stage.alive)
        try:
            if self.stage.prompt:
                self.become_ready()
            await self.ended.wait()
            await trio.sleep(0.5)  # it takes a while to end
        finally:
            self.stage.alive -= 1
        if self.breaks is not None:
            raise self.breaks
        lived = trio.current_time() - began
        return Ended(self.exit, lived, self.why, self.unfit, starved=self.starved)


class Feed:
    def __init__(self):
        self.has_work = False
        self.changed = trio.Event()

    def give(self):
        self.has_work = True
        self.changed.set()

    async def wait_change(self, *, due=True):
        await self.changed.wait()
        self.changed = trio.Event()


class Most(Random):
    def random(self):
        return 1.0


played: Any = None  # what only real sessions need


class Stage:
    """A supervisor, and what it needs around it."""

    def __init__(self, **settings):
        self.sessions: list[Played] = []
        self.alive = self.most = 0
        self.prompt = True
        self.slow = False
        self.last_moment = lambda: None  # before a start
        self.told: list[str] = []
        self.tuning = Settings(**settings)
        self.feed = Feed()
        self.limit = 2
        self.paused = False
        self.places = WorkerSlots(lambda: self.limit)
        self.canaries: list[Played] = []
        self.context = SessionContext(
            makes=played,
            settings=lambda: self.tuning,  # type: ignore[arg-type, return-value] # as far as they matter
            configure=played,
            output=SimpleNamespace(last_lines=[]),  # type: ignore[arg-type] # as above
            make_executor=played,
            emit=lambda event, **fields: self.told.append(event),
            oom=played,
        )
        self.broken: Exception | None = None
        self.supervisor = Supervisor(
            self.context,
            SupervisorContext(
                work=self.feed,
                is_paused=lambda: self.paused,
                slots=self.places,
                may_start=self.may_start,
                rng=Most(),
                make_session=self.make_session,
            ),
        )

    def make_session(self, context, kind, on_ready=None):
        if self.broken is not None:
            raise self.broken
        if kind == CANARY:
            return Played(self, lambda code: None, self.canaries)
        assert (context, kind) == (self.context, ORDINARY)
        return Played(self, on_ready, self.sessions)

    async def may_start(self):
        await trio.sleep(60 if self.slow else 0)
        self.last_moment()

    @property
    def last(self):
        return self.sessions[-1]


@pytest.fixture
def stage():
    return Stage


async def settle():
    await trio.testing.wait_all_tasks_blocked()


async def test_a_crash_is_followed_by_pauses_that_grow(stage, nursery, autojump_clock):
    """1, 2 and 4 s; the state says so, and when the next start is due."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    for pause in (1, 2, 4):
        await settle()
        assert it.supervisor.state == "running"
        it.last.crash()
        await trio.sleep(0.5 + pause - 0.1)
        assert it.supervisor.state == "backoff"
        assert it.supervisor.next_start_at is not None
        await trio.sleep(0.2)
    assert it.supervisor.restarts == 3
    assert it.supervisor.last_exit["signal"] == "SIGSEGV"
    it.supervisor.drain()


async def test_a_spent_budget_is_a_failure_with_trials(stage, nursery, autojump_clock):
    """Two crashes are allowed; then it is failed for five minutes, and the trial that is ready ends that."""
    it = stage(restart=Restart(per_hour=1, initial=0))
    nursery.start_soon(it.supervisor.run)
    for _ in range(2):
        await settle()
        it.last.crash()
        await trio.sleep(0.6)
    assert (it.supervisor.state, it.supervisor.reason) == ("failed", SPENT)
    await trio.sleep(299)
    assert it.supervisor.state == "failed"
    await trio.sleep(2)
    assert (it.supervisor.state, it.supervisor.reason) == ("running", None)
    assert it.told.count("bot.failed") == 1
    it.supervisor.drain()


async def test_a_worker_for_which_there_is_no_room_is_started_until_there_is(stage, nursery, autojump_clock):
    """A fork bomb beside it lasts for an hour: the budget is whole, and the bot never fails."""
    it = stage(restart=Restart(per_hour=1, initial=0))
    nursery.start_soon(it.supervisor.run)
    it.prompt = False
    until = trio.current_time() + 3600
    while trio.current_time() < until:
        await settle()
        if it.sessions and not it.last.ended.is_set():
            it.last.starved = True
            it.last.exit = None
            it.last.ended.set()
        await trio.sleep(1)
        assert it.supervisor.state in ("starting", "backoff")
    assert len(it.sessions) > 100
    it.prompt = True
    await trio.sleep(20)
    assert (it.supervisor.state, it.supervisor.reason) == ("running", None)
    it.last.crash()
    await trio.sleep(1)
    assert it.supervisor.state == "running"
    it.supervisor.drain()


@pytest.mark.parametrize("per_hour", [0, 5])
async def test_changed_settings_are_tried_at_once(stage, nursery, autojump_clock, per_hour):
    """They may mend what it crashed for: no pause and no trial is waited for, and the budget is whole."""
    it = stage(restart=Restart(per_hour=per_hour, initial=45))
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.last.crash()
    await trio.sleep(1)
    state = "backoff" if per_hour else "failed"
    it.supervisor.retune(differs=False)
    await settle()
    assert it.supervisor.state == state
    it.supervisor.retune(differs=True)
    await settle()
    assert (it.supervisor.state, it.supervisor.reason, len(it.sessions)) == ("running", None, 2)
    it.supervisor.park("token refused")
    await trio.sleep(1)
    it.supervisor.retune(differs=True)
    await settle()
    assert (it.supervisor.state, len(it.sessions)) == ("failed", 2)
    it.supervisor.drain()


async def test_what_can_never_work_is_not_tried_again(stage, nursery, autojump_clock):
    """Not in a year; a restart by hand is."""
    it = stage()
    it.prompt = False
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.last.unfit = Unfit("handler cannot be imported", "h:h: it was not found")
    it.last.ended.set()
    await trio.sleep(365 * 86400)
    assert len(it.sessions) == 1
    assert (it.supervisor.state, it.supervisor.reason) == ("failed", "handler cannot be imported")
    it.prompt = True
    with trio.fail_after(5):
        assert await it.supervisor.restart() is None
    assert it.supervisor.state == "running"
    it.supervisor.drain()


async def test_fifty_restarts_at_once_are_one_and_never_two_processes(stage, nursery, autojump_clock):
    """All fifty hear of the same new worker, which starts when the old one has ended."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart())

    async with trio.open_nursery() as askers:
        for _ in range(50):
            askers.start_soon(restart)
    assert answers == [None] * 50
    assert (len(it.sessions), it.most) == (2, 1)
    assert it.sessions[0].why == "restarted"
    it.supervisor.drain()


async def test_who_asks_when_the_next_has_begun_gets_another(stage, nursery, autojump_clock):
    """It may have read older code; fifty such askers get one more together, and never two at a time."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart())

    async with trio.open_nursery() as askers:
        askers.start_soon(restart)
        await trio.sleep(1)  # the second one has begun
        for _ in range(50):
            askers.start_soon(restart)
        await trio.sleep(1)
        it.prompt = True
        it.last.become_ready()
    assert answers == [None] * 51
    assert (len(it.sessions), it.most) == (3, 1)
    it.supervisor.drain()


async def test_a_restart_whose_worker_ends_at_once_does_not_wait_for_the_next(stage, nursery, autojump_clock):
    """It says so; the bot goes on trying."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart())

    nursery.start_soon(restart)
    await trio.sleep(0.6)
    it.last.crash()
    await trio.sleep(0.6)
    assert answers == ["its worker ended before it was ready"]
    assert it.supervisor.state == "backoff"
    it.supervisor.drain()
    await trio.sleep(1)
    assert await it.supervisor.restart() == "the daemon stops"


async def test_who_is_restarted_keeps_its_place(stage, nursery, autojump_clock):
    """Somebody who waits longer for one does not get it; nor when it is recycled, but when it crashes."""
    it = stage(restart=Restart(initial=0))
    it.limit = 1
    nursery.start_soon(it.supervisor.run)
    await settle()
    came = trio.Event()

    async def wait_in_line():
        await it.places.take()
        came.set()

    nursery.start_soon(wait_in_line)
    await settle()
    with trio.fail_after(5):
        assert await it.supervisor.restart(by_hand=False) is None
    it.last.end("recycled")
    await trio.sleep(1)
    assert (it.supervisor.state, len(it.sessions), came.is_set()) == ("running", 3, False)
    it.last.crash()
    await trio.sleep(1)
    assert (it.supervisor.state, came.is_set()) == ("backoff", True)
    it.supervisor.drain()


async def test_a_restart_by_hand_waits_for_nothing(stage, nursery, autojump_clock):
    """Not for a place, and not for the fleet's pace; one of all bots does, and leaves who waits alone."""
    it = stage()
    it.limit = 0
    nursery.start_soon(it.supervisor.run)
    await settle()
    assert it.supervisor.rests
    it.slow = True
    with trio.fail_after(1):
        assert await it.supervisor.restart() is None
    assert it.supervisor.state == "running"
    it.supervisor.park("token refused")
    await trio.sleep(1)
    with trio.fail_after(5):
        waits = await it.supervisor.restart(by_hand=False)
    assert waits == "waits for a place: all are taken"
    it.supervisor.drain()


async def test_a_new_worker_is_ready_before_the_old_one_ends(stage, nursery, autojump_clock):
    """The old one works until then, and finishes what it has while the new one works; both have places."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    await settle()
    old, new = it.sessions
    assert (it.supervisor.state, it.supervisor.session, old.why) == ("running", old, None)
    assert it.supervisor.sessions == [old, new]
    assert it.places.full
    new.become_ready()
    await settle()
    assert (it.supervisor.state, it.supervisor.session, old.why) == ("running", new, "replaced")
    await trio.sleep(1)
    assert (it.alive, it.supervisor.restarts, it.places.full) == (1, 1, False)
    new.crash()  # it is watched like any other
    await trio.sleep(0.6)
    assert it.supervisor.state == "backoff"
    it.supervisor.drain()


@pytest.mark.parametrize("how", ["unfit", "crash"])
async def test_a_new_worker_that_is_never_ready_is_tried_in_the_usual_way(
    stage, nursery, autojump_clock, how
):
    """The old one ends, and what the new one cannot do becomes the bot's state."""
    it = stage(restart=Restart(initial=1000, max=1000))
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    for _ in range(2):
        await settle()
        if how == "crash":
            it.last.crash()
        else:
            it.last.unfit = Unfit("handler cannot be imported", "")
            it.last.ended.set()
        await trio.sleep(1.1)
    assert it.sessions[0].why == "replaced"
    assert (len(it.sessions), it.alive) == (3, 0)
    assert it.supervisor.state == ("backoff" if how == "crash" else "failed")
    it.supervisor.drain()


async def test_an_old_worker_that_ends_first_is_followed_by_the_new_one(stage, nursery, autojump_clock):
    """There is no pause: the new one has begun already."""
    it = stage(restart=Restart(initial=1000, max=1000))
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    await settle()
    it.sessions[0].crash()
    await trio.sleep(1)
    assert (it.supervisor.state, it.supervisor.last_exit["signal"]) == ("starting", "SIGSEGV")
    it.last.become_ready()
    await settle()
    assert (it.supervisor.state, len(it.sessions), it.alive) == ("running", 2, 1)
    it.supervisor.drain()


async def test_settings_that_change_again_meanwhile_are_those_of_the_newest(stage, nursery, autojump_clock):
    """What was about to take its place has older ones, and never works."""
    it = stage()
    it.limit = 3
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    await settle()
    it.prompt = True
    it.supervisor.replace()
    await trio.sleep(1)
    assert [session.why for session in it.sessions] == ["replaced", "replaced", None]
    assert (it.supervisor.state, it.supervisor.session, it.alive) == ("running", it.last, 1)
    it.supervisor.drain()


async def test_without_a_second_place_the_old_worker_ends_first(stage, nursery, autojump_clock):
    """Never more processes than there are places."""
    it = stage()
    it.limit = 1
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.supervisor.replace()
    await trio.sleep(1)
    assert (len(it.sessions), it.most, it.supervisor.state) == (2, 1, "running")
    it.supervisor.drain()


@pytest.mark.parametrize("what", ["restart", "drain", "park"])
async def test_what_ends_a_worker_ends_the_one_that_is_about_to_take_its_place(
    stage, nursery, autojump_clock, what
):
    """And a restart begins when both have ended."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    await settle()
    it.prompt = True
    if what == "restart":
        assert await it.supervisor.restart() is None
    elif what == "drain":
        it.supervisor.drain()
    else:
        it.supervisor.park("token refused")
    await trio.sleep(1)
    assert all(session.why for session in it.sessions[:2])
    assert it.most == 2
    assert it.alive == (what == "restart")
    assert it.supervisor.state == {"restart": "running", "drain": "stopped", "park": "failed"}[what]
    it.supervisor.drain()
    await trio.sleep(1)
    assert not it.places.full


async def test_a_restart_does_not_wait_for_a_pause(stage, nursery, autojump_clock):
    """Neither for a back-off nor for a trial."""
    it = stage(restart=Restart(initial=45))
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.last.crash()
    await trio.sleep(1)
    assert it.supervisor.state == "backoff"
    with trio.fail_after(1):
        assert await it.supervisor.restart() is None
    it.supervisor.drain()


async def test_a_restart_that_fails_says_why(stage, nursery, autojump_clock):
    """The new worker is unfit, or the daemon stops."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart())

    nursery.start_soon(restart)
    await trio.sleep(1)
    it.last.unfit = Unfit("handler cannot be imported", "")
    it.last.ended.set()
    await trio.sleep(1)
    nursery.start_soon(restart)
    await trio.sleep(1)
    it.supervisor.drain()
    await trio.sleep(1)
    assert answers == ["handler cannot be imported", "the bot is stopped"]


async def test_an_on_demand_bot_has_no_process_until_there_is_work(stage, nursery, autojump_clock):
    """It sleeps from the start, wakes for an update, and sleeps again without counting as restarted."""
    it = stage(worker="on_demand")
    nursery.start_soon(it.supervisor.run)
    await settle()
    assert (it.supervisor.state, it.sessions) == ("sleeping", [])
    assert it.supervisor.judged.is_set()
    for number in (1, 2):
        it.feed.give()
        await settle()
        assert (it.supervisor.state, len(it.sessions)) == ("running", number)
        it.feed.has_work = False
        it.last.end("sleeping")
        await trio.sleep(1)
        assert it.supervisor.state == "sleeping"
    assert it.told == ["worker.sleeping"] * 2
    assert it.supervisor.restarts == 0
    it.supervisor.drain()


async def test_work_that_comes_while_a_worker_falls_asleep_wakes_the_bot(stage, nursery, autojump_clock):
    """Between the decision to sleep and the wait for work, nobody would hear of it."""
    it = stage(worker="on_demand")
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.feed.give()
    await settle()
    it.feed.has_work = False

    class Told(list[str]):
        def append(self, event):  # the machine has decided by then
            it.feed.has_work = event == "worker.sleeping"

    it.told = Told()
    it.last.end("sleeping")
    await trio.sleep(1)
    assert (it.supervisor.state, len(it.sessions)) == ("running", 2)
    it.supervisor.drain()


async def test_a_paused_bot_is_not_woken(stage, nursery, autojump_clock):
    """Its updates wait."""
    it = stage(worker="on_demand")
    it.paused = True
    nursery.start_soon(it.supervisor.run)
    it.feed.give()
    await settle()
    assert it.supervisor.state == "sleeping"
    it.paused = False
    it.feed.changed.set()
    await settle()
    assert it.supervisor.state == "running"
    it.supervisor.drain()


async def test_over_the_limit_a_bot_waits_and_says_so(stage, nursery, autojump_clock):
    """It is no failure and holds up no start of the daemon; it goes on when there is a place."""
    it = stage()
    it.limit = 0
    nursery.start_soon(it.supervisor.run)
    await settle()
    assert it.supervisor.state == "backoff"
    assert it.supervisor.reason == "waits for a place: all are taken"
    assert it.supervisor.judged.is_set()
    it.limit = 1
    it.places.look_again()
    await settle()
    assert (it.supervisor.state, it.supervisor.reason) == ("running", None)
    it.supervisor.drain()


@pytest.mark.parametrize(
    "when", ["waiting for a place", "starting", "running", "backoff", "failed", "sleeping"]
)
async def test_a_drain_ends_it_in_any_state(stage, nursery, autojump_clock, when):
    """Within the time that a worker takes to end; all places are free again."""
    it = stage(
        worker="on_demand" if when == "sleeping" else "always", restart=Restart(initial=1000, max=1000)
    )
    it.limit = 0 if when == "waiting for a place" else 1
    it.prompt = when != "starting"
    done = trio.Event()

    async def run():
        await it.supervisor.run()
        done.set()

    nursery.start_soon(run)
    await settle()
    if when == "failed":
        it.supervisor.park("token refused")
    elif when == "backoff":
        it.last.crash()
    await trio.sleep(1)
    it.supervisor.drain()
    with trio.fail_after(1):
        await done.wait()
    assert it.supervisor.state == ("failed" if when == "failed" else "stopped")
    assert it.alive == 0
    it.limit = 1
    assert not it.places.full


@pytest.mark.parametrize("what", ["drain", "park"])
async def test_what_is_asked_in_the_last_moment_before_a_start_counts(stage, nursery, autojump_clock, what):
    """No worker begins that nobody would end."""
    it = stage()

    def last_moment():
        it.supervisor.drain() if what == "drain" else it.supervisor.park("token refused")

    it.last_moment = last_moment
    nursery.start_soon(it.supervisor.run)
    await trio.sleep(1)
    assert (it.sessions, it.places.full) == ([], False)
    assert it.supervisor.state == ("stopped" if what == "drain" else "failed")
    it.supervisor.drain()


async def test_a_worker_that_is_ready_while_its_bot_is_parked_is_none(stage, nursery, autojump_clock):
    """The token was refused in the very moment: the bot stays failed, and is not shown as running."""
    it = stage()
    it.prompt = False
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.last.become_ready()
    it.supervisor.park("token refused")
    await settle()
    await trio.sleep(5)
    assert (it.supervisor.state, it.supervisor.reason) == ("failed", "token refused")
    assert len(it.sessions) == 1


async def test_who_is_ready_after_it_was_asked_to_end_is_none(stage, nursery, autojump_clock):
    """Its word was under way: the bot is not shown as running, and nobody ends for it."""
    it = stage()
    it.limit = 9
    it.prompt = False
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.supervisor.park("token refused")
    it.last.become_ready()
    await trio.sleep(5)
    assert (it.supervisor.state, it.supervisor.reason) == ("failed", "token refused")
    it.prompt = True
    assert await it.supervisor.restart() is None
    it.prompt = False
    it.supervisor.replace()
    await settle()
    it.supervisor.replace()  # with newer settings
    await settle()
    works, older, newer = it.sessions[1:]
    older.code = "01de"
    older.become_ready()
    assert (it.supervisor.code, it.supervisor.sessions) == ("c0de", [works, newer])
    assert (older.why, works.why, newer.why) == ("replaced", None, None)
    it.supervisor.drain()


async def test_what_the_worker_before_could_not_does_not_park_the_next(stage, nursery, autojump_clock):
    """It was unfit, and replaced before it had ended: what replaces it is tried."""
    it = stage()
    it.prompt = False
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.last.unfit = Unfit("handler cannot be imported", "")
    it.supervisor.replace()
    it.prompt = True
    await trio.sleep(1)
    assert len(it.sessions) == 2
    assert it.supervisor.state == "running"


async def test_an_old_worker_that_ends_first_was_restarted_all_the_same(stage, nursery, autojump_clock):
    """The one that was to replace it takes its place, and counts as any other."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace()
    await settle()
    it.sessions[0].crash()
    await trio.sleep(1)
    it.last.become_ready()
    assert it.supervisor.restarts == 1
    it.supervisor.drain()


async def test_a_restart_by_hand_hurries_one_that_waits_for_its_turn(stage, nursery, autojump_clock):
    """Both who ask, for this bot and for all bots, hear of the same worker at once."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.slow = True
    answers = []

    async def restart(by_hand):
        answers.append(await it.supervisor.restart(by_hand=by_hand))

    nursery.start_soon(restart, False)
    await trio.sleep(5)
    assert answers == []
    with trio.fail_after(1):
        await restart(True)
    await settle()
    assert answers == [None, None]
    assert len(it.sessions) == 2
    it.supervisor.drain()


async def test_who_asks_before_it_runs_is_not_left_waiting(stage, autojump_clock):
    """Nor is a bot that was parked meanwhile, nor one that was drained, and none of them begins anything."""
    it = stage()
    with trio.fail_after(1):
        assert await it.supervisor.restart() == "the bot is starting"
        assert it.supervisor.rests
        it.supervisor.park("token refused")
        assert await it.supervisor.restart() == "token refused"
        it.supervisor.drain()
        assert await it.supervisor.restart() == "the daemon stops"
        await it.supervisor.run()
    assert (it.supervisor.state, it.sessions) == ("failed", [])


class OwnError(Exception):
    """What breaks in these tests."""


async def test_what_breaks_in_a_session_breaks_the_supervisor_and_nobody_waits(stage, autojump_clock):
    """Those who asked are answered, and who asks later, too; its slots are free, its sessions ended."""
    it = stage()
    it.limit = 2
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart())

    async def break_down():
        await settle()
        it.supervisor.replace()
        await settle()
        assert it.alive == 2
        it.prompt = False
        nursery.start_soon(restart)
        await trio.sleep(0.6)
        it.last.breaks = OwnError()
        nursery.start_soon(restart)
        await settle()
        it.last.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(break_down)
        with pytest.RaisesGroup(OwnError, flatten_subgroups=True):
            await it.supervisor.run()
        await settle()
    assert answers == ["internal error", "internal error"]
    with trio.fail_after(1):
        assert await it.supervisor.restart() == "internal error"
    assert (it.supervisor.state, it.supervisor.reason) == ("failed", "internal error")
    assert (it.supervisor.session, it.places.spare, it.supervisor.judged.is_set()) == (None, 2, True)
    it.supervisor.park("internal error", error="OwnError")
    assert it.told == ["bot.failed"]


@pytest.mark.parametrize("who", ["restart", "replace"])
async def test_what_breaks_by_a_request_breaks_the_supervisor_and_not_who_asked(stage, autojump_clock, who):
    """A session cannot be made: the one who asked is answered, and the bot's own nursery ends with it."""
    it = stage(restart=Restart(initial=1000, max=1000))
    answers = []

    async def ask():
        await settle()
        it.last.crash()
        await trio.sleep(1)
        it.broken = OwnError()
        if who == "restart":
            answers.append(await it.supervisor.restart())
        else:
            it.supervisor.replace()
            answers.append("internal error")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.RaisesGroup(OwnError, flatten_subgroups=True):
            await it.supervisor.run()
    assert answers == ["internal error"]
    assert (it.supervisor.state, it.places.spare) == ("failed", 2)


@pytest.mark.parametrize("when", ["in line", "waits for its turn", "works", "replaces"])
async def test_a_supervisor_that_is_cancelled_leaves_nothing_behind(stage, autojump_clock, when):
    """No slot, and nobody who waits."""
    it = stage()
    it.limit = {"in line": 0, "works": 1}.get(when, 2)
    it.slow = when == "waits for its turn"
    answers = []

    async def restart():
        answers.append(await it.supervisor.restart(by_hand=False))

    async with trio.open_nursery() as nursery, trio.open_nursery() as own:
        own.start_soon(it.supervisor.run)
        await settle()
        if when == "replaces":
            it.prompt = False
            it.supervisor.replace()
            await settle()
            assert it.alive == 2
        elif when == "works":
            it.prompt = False
        nursery.start_soon(restart)
        await settle()
        own.cancel_scope.cancel()
    assert answers == ["waits for a place: all are taken" if when == "in line" else "internal error"]
    assert it.places.spare == it.limit
    assert (it.supervisor.state, it.supervisor.sessions) == ("failed", [])


async def test_settings_that_touch_no_process_end_a_sleep(stage, nursery, autojump_clock):
    """It works always from now on, and the other way round it sleeps when it has next ended."""
    it = stage(worker="on_demand")
    nursery.start_soon(it.supervisor.run)
    await settle()
    assert it.supervisor.state == "sleeping"
    it.tuning = Settings(worker="always")
    it.supervisor.retune(differs=True)
    await settle()
    assert (it.supervisor.state, it.supervisor.restarts) == ("running", 0)
    it.tuning = Settings(worker="on_demand")
    it.supervisor.retune(differs=True)
    it.last.end("sleeping")
    await trio.sleep(1)
    assert (it.supervisor.state, it.places.spare) == ("sleeping", 2)
    it.supervisor.drain()


async def test_a_canary_is_a_session_that_the_bot_does_not_notice(stage, nursery, autojump_clock):
    """It is ready and ends, or says why not; neither changes the bot's state, restarts or last exit."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    problems = []

    async def try_worker():
        problems.append(await it.supervisor.try_worker())

    nursery.start_soon(try_worker)
    await settle()
    assert len(it.canaries) == 1
    it.canaries[0].ended.set()
    await trio.sleep(1)
    it.prompt = False
    nursery.start_soon(try_worker)
    await settle()
    it.canaries[1].unfit = Unfit("handler cannot be imported", "")
    it.canaries[1].ended.set()
    await trio.sleep(1)
    assert problems == [None, "handler cannot be imported"]
    assert (it.supervisor.state, it.supervisor.restarts, it.supervisor.last_exit) == ("running", 0, None)
    assert (len(it.sessions), it.places.spare) == (1, 1)
    it.supervisor.drain()


async def test_a_canary_that_breaks_breaks_its_own_bot(stage, autojump_clock):
    """Not the rolling restart that asked for it, which hears of it as of any problem."""
    it = stage()
    problems = []

    async def try_worker():
        await settle()
        it.broken = OwnError()
        problems.append(await it.supervisor.try_worker())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_worker)
        with pytest.RaisesGroup(OwnError, flatten_subgroups=True):
            await it.supervisor.run()
    assert problems == ["internal error"]
    assert await it.supervisor.try_worker() == "internal error"


@pytest.mark.parametrize("what", ["who asked", "the bot"])
async def test_a_canary_ends_with_who_asked_and_with_the_bot(stage, autojump_clock, what):
    """A rolling restart that is given up, and a bot that is removed meanwhile, wait for none."""
    it = stage()
    problems = []

    async def try_worker():
        problems.append(await it.supervisor.try_worker())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.supervisor.run)
        await settle()
        async with trio.open_nursery() as asking:
            asking.start_soon(try_worker)
            await settle()
            assert it.alive == 2
            if what == "the bot":
                it.supervisor.drain()
            else:
                asking.cancel_scope.cancel()
        await settle()
        assert it.alive == (what == "who asked")
        assert problems == (["the daemon stops"] if what == "the bot" else [])
        it.supervisor.drain()


async def test_without_a_running_supervisor_there_is_nothing_to_try(stage, autojump_clock):
    """Neither before it has begun, nor after its end, which is no fault of the code."""
    it = stage()
    assert await it.supervisor.try_worker() is None
    it.supervisor.drain()
    await it.supervisor.run()
    assert await it.supervisor.try_worker() is None
    assert it.canaries == []


@pytest.mark.parametrize("how", ["unfit", "crash"])
async def test_code_that_cannot_run_replaces_nothing(stage, nursery, autojump_clock, how):
    """It is told why; the worker before goes on, and what is saved next is tried the same way."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace(tries=True)
    await settle()
    works, broken = it.sessions
    if how == "unfit":
        broken.unfit = Unfit("handler cannot be imported", "syntax error")
    broken.crash()
    await trio.sleep(1)
    assert it.told.count("code.refused") == 1
    assert (works.why, it.supervisor.state, it.supervisor.sessions) == (None, "running", [works])
    assert it.places.taken == 1
    it.prompt = True
    it.supervisor.replace(tries=True)
    await trio.sleep(1)
    assert (works.why, it.supervisor.sessions) == ("replaced", [it.last])
    assert (it.supervisor.restarts, len(it.sessions)) == (1, 3)
    it.supervisor.drain()


@pytest.mark.parametrize("first", ["code", "settings"])
async def test_settings_win_over_code_that_is_tried(stage, nursery, autojump_clock, first):
    """Whose worker cannot become ready: then the usual way, one after the other, and the bot has failed."""
    it = stage()
    nursery.start_soon(it.supervisor.run)
    await settle()
    it.prompt = False
    it.supervisor.replace(tries=first == "code")
    await settle()
    it.supervisor.replace(tries=first != "code")
    await settle()
    it.last.unfit = Unfit("handler cannot be imported", "")
    it.last.crash()
    await trio.sleep(1)
    assert it.sessions[0].why == "replaced"
    assert "code.refused" not in it.told
    it.supervisor.drain()
