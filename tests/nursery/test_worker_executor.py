"""What a worker is handed, and what becomes of what it sends back, with a worker and a store of our own."""

from __future__ import annotations

import math
import random
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from desk import START, Desk, clock, update  # type: ignore[import-not-found] # it lies beside
from msgspec.structs import replace

from trioworkers.breakage import Breakage
from trioworkers.call_marks import Mark
from trioworkers.config.settings import RetrySettings
from trioworkers.events import Event, Events
from trioworkers.inbox.policy import MOST_CRASHES
from trioworkers.inbox.settle import SHORTEST_WAIT
from trioworkers.nursery import delivery as delivery_module
from trioworkers.nursery.delivery import MOST_TOLD, Activity, Settling
from trioworkers.nursery.scheduler import UNREAD_PAUSE, Scheduler
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.protocol.frames import Called, Calling, Deliver, FrameError, Heartbeat, Outcome
from trioworkers.records import Attempt

KEY = "sendMessage 5 c0ffee 1"


class Hands:
    """A worker of which the test is the inside."""

    def __init__(self) -> None:
        self.sent: list[Deliver] = []
        self.hurried: list[int] = []  # how many frames had been sent each time
        self.drained = False
        self.heartbeat_at: float | None = None
        self.memory, self.lag = 0, 0.0
        self.has_marks = False
        self.marks: list[Mark] = []
        self.on_end: Any = None
        self._says, self._hears = trio.open_memory_channel[Any](100)
        self._waiting: deque[Any] = deque()

    def send(self, frame):
        self.sent.append(frame)

    def hurry(self):
        self.hurried.append(len(self.sent))

    async def receive(self):
        said = await self._hears.receive()
        if said is FrameError:
            message = "not a valid frame"
            raise FrameError(message)
        return said

    def drain(self):
        self.drained = True

    def marked_calls(self):
        return self.marks

    async def say(self, *frames):
        self._says.send_nowait(list(frames))
        await trio.testing.wait_all_tasks_blocked()

    async def die(self):
        self._says.send_nowait([])
        await trio.testing.wait_all_tasks_blocked()

    async def talk_rubbish(self):
        self._says.send_nowait(FrameError)
        await trio.testing.wait_all_tasks_blocked()


class Scene:
    """A desk, a worker's hands, and a scheduler and an executor between them."""

    def __init__(self, nursery, *updates, alone=False, **settings):
        retry = settings.pop("retry", RetrySettings(initial=1, max=1))
        self.settings = SimpleNamespace(
            **{"concurrency": 16, "retry": retry, "on_failure": "block", "replay_safe": True, **settings}
        )
        self.events: list[Event] = []
        self.desk = Desk(*updates)
        self.nursery, self.alone = nursery, alone
        self.activity = Activity()
        self.settling = Settling(
            "b",
            self.desk,
            lambda: self.settings,
            Events(self.events.append, least="debug"),
            random.Random(1),
            clock,
            self.activity,
        )
        self.scheduler = Scheduler(self.settling, Breakage(), lambda: False)
        nursery.start_soon(self.scheduler.run)

    async def begin(self):
        """A worker's life begins."""
        self.ended, self.scope = trio.Event(), trio.CancelScope()
        self.hands = Hands()
        self.executor = WorkerExecutor(
            self.hands,  # type: ignore[arg-type]
            self.scheduler,
            self.settling,
            alone=self.alone,
        )
        self.nursery.start_soon(self._run)
        await trio.testing.wait_all_tasks_blocked()
        return self.hands

    async def _run(self):
        with self.scope:
            await self.executor.run()
        self.ended.set()

    def told(self, event):
        return [one.fields for one in self.events if one.event == event]


async def test_heartbeats_are_their_workers_own(nursery, autojump_clock):
    """While one takes another's place both beat, and what is told of the one is not said of the other."""
    scene = Scene(nursery)
    old, new = await scene.begin(), await scene.begin()
    await trio.sleep(1)
    await old.say(Heartbeat(300, 0.5))
    await trio.sleep(1)
    await new.say(Heartbeat(100))
    assert (old.memory, old.lag, new.memory, new.lag) == (300, 0.5, 100, 0.0)
    assert old.heartbeat_at is not None
    assert new.heartbeat_at == old.heartbeat_at + 1


async def test_updates_go_out_as_their_chats_allow_and_end_as_their_handlers_say(nursery, autojump_clock):
    """One of each chat at a time; done, dropped and dead each reach the backlog."""
    scene = Scene(nursery, update(1, "a"), update(2, "a"), update(3, "b"), update(4, "c"))
    hands = await scene.begin()
    assert [frame.delivery for frame in hands.sent] == [1, 2, 3]
    await hands.say(Outcome(1, "done"), Outcome(2, "drop", error="x"), Outcome(3, "dead", words="no use"))
    assert scene.desk.ends[:2] == [(1, "done"), (3, "dropped")]
    assert scene.desk.ends[2][:4] == (4, "dead", "no use", 1)
    assert [frame.delivery for frame in hands.sent] == [1, 2, 3, 4]
    assert (scene.activity.messages, scene.activity.errors) == (2, 1)
    assert scene.executor.idle_since == math.inf


async def test_an_update_goes_out_in_the_turn_in_which_it_comes(nursery, autojump_clock):
    """But for what has no room, or comes while it drains; after the worker's end it stays."""
    scene = Scene(nursery, concurrency=2)
    hands = await scene.begin()
    for number in (1, 2, 3):
        scene.desk.offer(update(number))
    assert [frame.delivery for frame in hands.sent] == [1, 2]
    scene.executor.drain()
    await hands.say(Outcome(1, "done"))
    scene.desk.offer(update(4))
    assert len(hands.sent) == 2
    scene.scope.cancel()
    await scene.ended.wait()
    scene.desk.offer(update(5))
    assert len(hands.sent) == 2
    assert scene.desk.queue.in_flight == 0


async def test_a_single_update_leaves_before_the_turn_ends(nursery, autojump_clock):
    """That of a worker which had none: the frames of others share a write."""
    scene = Scene(nursery)
    hands = await scene.begin()
    scene.desk.queue.offer(update(1))
    scene.desk.changed()
    assert hands.hurried == [1]
    scene.desk.queue.offer(update(2))
    scene.desk.changed()
    assert (len(hands.sent), hands.hurried) == (2, [1])
    await hands.say(Outcome(1, "done"), Outcome(2, "done"))
    hands.hurried.clear()
    for number in (3, 4):
        scene.desk.queue.offer(update(number))
    scene.desk.changed()
    assert (len(hands.sent), hands.hurried) == (4, [])


async def test_no_more_go_out_than_concurrency_allows(nursery, autojump_clock):
    """The next one goes out when one comes back; the limit is read anew each time."""
    scene = Scene(nursery, *(update(number) for number in range(1, 6)), concurrency=2)
    hands = await scene.begin()
    assert len(hands.sent) == 2
    scene.settings.concurrency = 3
    await hands.say(Outcome(1, "done"))
    assert len(hands.sent) == 4


async def test_what_falls_due_while_there_is_no_room_goes_out_when_there_is(nursery, autojump_clock):
    """Whether it is due by then or not."""
    scene = Scene(nursery, update(1), update(2), concurrency=1)
    hands = await scene.begin()
    await hands.say(Outcome(1, "retry", after=5.0))
    for passed, count in ((1, 2), (2, 2), (3, 3)):  # the second one is handled for three seconds
        await trio.sleep(1)
        if passed == 3:
            await hands.say(Outcome(2, "done"))
            await trio.sleep(3)
        assert len(hands.sent) == count


async def test_a_stale_frame_changes_nothing(nursery, autojump_clock):
    """Of a delivery that has its outcome, or never was, nothing is taken in."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.say(Outcome(1, "done"), Outcome(1, "dead"), Calling(1, KEY), Called(1, KEY, made=True))
    await hands.say(Outcome(99, "retry"), Calling(99, KEY), Called(0, KEY, made=False))
    assert scene.desk.ends == [(1, "done")]
    assert scene.desk.recorded == {}


async def test_an_outcome_of_what_was_not_delivered_yet_changes_nothing(nursery, autojump_clock):
    """A worker that guesses the number of the next delivery neither ends it nor the bot."""
    scene = Scene(nursery, update(1, called=True))
    scene.desk.recorded[1], scene.desk.reading = {KEY: b"5"}, trio.Event()
    hands = await scene.begin()
    await hands.say(Outcome(1, "done"), Calling(1, "x 1 d 1"))
    assert (scene.desk.ends, scene.desk.recorded[1]) == ([], {KEY: b"5"})
    scene.desk.reading.set()
    await trio.testing.wait_all_tasks_blocked()
    await hands.say(Outcome(1, "done"))
    assert scene.desk.ends == [(1, "done")]


@pytest.mark.parametrize("kind", ["keys", "answers", "what was recorded before"])
async def test_a_worker_that_records_without_end_is_refused(nursery, autojump_clock, monkeypatch, kind):
    """What one update may record is bounded, whoever is inside of the worker; what was refused is no call."""
    monkeypatch.setattr(delivery_module, "MOST_RECORDED", 100)
    scene = Scene(nursery, update(1, called=kind.startswith("what")))
    scene.desk.recorded[1] = {"x" * 80: b"x"} if kind.startswith("what") else {}
    hands = await scene.begin()
    for number in range(30):  # refused ones are forgotten again
        await hands.say(Calling(1, f"refused {number}"), Called(1, f"refused {number}", made=False))
    assert not scene.ended.is_set()
    for number in range(10):
        key = f"{number:010}"
        answer: Any = b"123456789"
        await hands.say(*[Calling(1, key)] if kind == "keys" else [Called(1, key, made=True, answer=answer)])
    await hands.say(Calling(1, "one more"))
    assert scene.ended.is_set()
    assert scene.told("worker.refused") == [{"reason": "more than 0 MB of calls for one update"}]
    assert scene.desk.ends[-1][0].suspect


async def test_repetitions_are_told_so_many_times(nursery, autojump_clock):
    """A handling that makes a call again without end does not fill the log."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    for _ in range(50):
        await hands.say(Calling(1, KEY))
    assert len(scene.told("update.repeated")) == MOST_TOLD


async def test_a_worker_is_read_on_once_its_calls_are_recorded(nursery, autojump_clock):
    """So that one which sends without end is held back by the disk, and does not fill the memory."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    scene.desk.written = trio.Event()
    await hands.say(Calling(1, KEY))
    await hands.say(Outcome(1, "done"))
    assert scene.desk.ends == []
    scene.desk.written.set()
    await trio.testing.wait_all_tasks_blocked()
    assert scene.desk.ends == [(1, "done")]


async def test_a_redelivery_carries_the_recorded_calls(nursery, autojump_clock):
    """What was answered with its answer, what was only begun without; a first delivery asks for none."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    assert hands.sent[0].calls == []
    await hands.say(
        Calling(1, KEY), Called(1, KEY, made=True, answer=b"5"), Calling(1, "once a b"),  # type: ignore[arg-type]
    )  # fmt: skip
    await hands.say(Outcome(1, "retry", error="E"))
    await trio.sleep(2)
    first, second = hands.sent
    assert (first.attempt, second.attempt, second.delivery) == (0, 1, 2)
    assert second.calls is not None
    assert [(call.key, call.answered, bytes(call.answer)) for call in second.calls] == [
        (KEY, True, b"5"),
        ("once a b", False, b"null"),
    ]
    assert scene.told("update.retried")[0]["unknown"] == ["a"]
    assert scene.desk.ends[0][1] == Attempt(START, "E", ("a",))


async def test_without_replay_safety_nothing_is_recorded(nursery, autojump_clock):
    """A delivery says so by carrying no list at all, also when there is a record."""
    scene = Scene(nursery, update(1, called=True), replay_safe=False)
    scene.desk.recorded[1] = {KEY: b"5"}
    hands = await scene.begin()
    assert hands.sent[0].calls is None


async def test_a_call_that_may_have_been_made_is_told_when_it_is_made_again(nursery, autojump_clock):
    """Begun twice in one handling, or left unknown by an earlier one; a refusal does not answer that."""
    scene = Scene(nursery, update(1, called=True))
    scene.desk.recorded[1] = {KEY: None, "x 1 d 1": b"1"}
    hands = await scene.begin()
    await hands.say(Calling(1, KEY), Calling(1, "y 1 d 1"))
    assert scene.told("update.repeated") == [{"dialog": "b/1", "update_id": 1, "call": "sendMessage 5"}]
    await hands.say(Calling(1, "y 1 d 1"), Called(1, "y 1 d 1", made=False), Called(1, KEY, made=False))
    await hands.say(Outcome(1, "retry", error="E"))
    assert scene.told("update.retried")[0]["unknown"] == ["sendMessage 5", "y 1"]


async def test_a_call_that_was_answered_or_refused_is_not_unknown(nursery, autojump_clock):
    """Only what has no answer when the handling fails."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.say(Calling(1, "a 1 d 1"), Called(1, "a 1 d 1", made=False), Calling(1, "b 1 d 1"))
    await hands.say(Called(1, "b 1 d 1", made=True), Outcome(1, "retry", error="E"))
    assert "unknown" not in scene.told("update.retried")[0]
    assert scene.told("update.repeated") == []


async def test_calls_that_a_finished_handling_did_not_make_are_told(nursery, autojump_clock):
    """update.diverged names them."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.say(Outcome(1, "done", unmade=["sendMessage 5"]))
    assert scene.told("update.diverged") == [{"dialog": "b/1", "update_id": 1, "calls": ["sendMessage 5"]}]


async def test_a_retry_comes_when_its_handler_asked(nursery, autojump_clock):
    """`after` stands for the back-off; a wait of Telegram's counts as no attempt and moves the deadline."""
    scene = Scene(nursery, update(1), update(2))
    hands = await scene.begin()
    await hands.say(Outcome(1, "retry", after=30.0), Outcome(2, "retry", after=50.0, counted=False))
    (asked, _), (waited, _) = scene.desk.ends
    assert (asked.attempt, asked.due, asked.started_at) == (1, START + 30, START)
    assert (waited.attempt, waited.due, waited.started_at) == (0, START + 50, START + 50)
    await trio.sleep(29)
    assert len(hands.sent) == 2
    await trio.sleep(2)
    assert hands.sent[2].attempt == 1


@pytest.mark.parametrize("after", [None, 0.0])
async def test_what_counts_as_no_attempt_waits_all_the_same(nursery, autojump_clock, after):
    """A worker that asks for a wait of nothing does not make the daemon spin."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.say(Outcome(1, "retry", after=after, counted=False))
    assert scene.desk.ends[0][0].due == START + SHORTEST_WAIT
    assert len(hands.sent) == 1


async def test_a_failure_past_its_attempts_is_dead(nursery, autojump_clock):
    """With the last error as part of the reason, and the attempt logged."""
    scene = Scene(nursery, update(1, attempt=1), retry=RetrySettings(attempts=2))
    hands = await scene.begin()
    await hands.say(Calling(1, KEY), Outcome(1, "retry", error="E"))
    assert scene.desk.ends == [
        (1, "dead", "failed 2 times, last: E", 2, Attempt(START, "E", ("sendMessage 5",)))
    ]


async def test_the_deadline_counts_from_the_first_handling(nursery, autojump_clock):
    """However many attempts came between: the next one would come too late, though it is not the last."""
    limits = RetrySettings(deadline=600.0, attempts=99)
    scene = Scene(nursery, update(1, attempt=1, started_at=START - 595), retry=limits)
    hands = await scene.begin()
    await hands.say(Outcome(1, "retry", after=30.0, error="E"))
    assert scene.desk.ends == [
        (1, "dead", "failed 2 times, past its deadline, last: E", 2, Attempt(START, "E"))
    ]


@pytest.mark.parametrize("how", ["fails", "crashes"])
async def test_a_bot_may_skip_what_failed(nursery, autojump_clock, how):
    """The next of the chat goes out meanwhile, told of the gap; skipped once is skipped for good."""
    scene = Scene(nursery, update(1, "a"), update(2, "a"), on_failure="skip")
    hands = await scene.begin()
    if how == "fails":
        await hands.say(Outcome(1, "retry", after=60.0))
    else:
        await hands.die()
        hands = await scene.begin()
    assert [frame.after_gap for frame in hands.sent] == [False, True][-len(hands.sent) :]
    scene.settings.on_failure = "block"
    assert scene.desk.ends[0][0].skipped
    assert scene.desk.ends[0][0].suspect is (how == "crashes")


async def test_whatever_a_dead_worker_had_is_a_suspect(nursery, autojump_clock):
    """Each of them, with one attempt more and its open calls; what waited behind is none."""
    scene = Scene(nursery, update(1, "a"), update(2, "a"), update(3, "b"))
    hands = await scene.begin()
    await hands.say(Calling(1, KEY))
    await hands.die()
    assert scene.ended.is_set()
    assert [(one.id, one.suspect, one.attempt, one.crashes, one.due) for one, _ in scene.desk.ends] == [
        (1, True, 1, 0, 0),
        (3, True, 1, 0, 0),
    ]
    assert scene.desk.ends[0][1] == Attempt(START, "the worker ended", ("sendMessage 5",))
    assert (await scene.begin()).sent == [], "suspects are none of the next worker's business"


@pytest.mark.parametrize("end", ["dies", "cancelled"])
async def test_a_marked_call_counts_as_begun_when_its_report_never_came(nursery, autojump_clock, end):
    """However the executor ends: the next handling is told that the call may have been made."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    hands.marks = [Mark(1, 1, 0, KEY)]
    if end == "dies":
        await hands.die()
        assert scene.desk.ends[0][1] == Attempt(START, "the worker ended", ("sendMessage 5",))
    else:
        scene.scope.cancel()
        await scene.ended.wait()
    assert scene.desk.recorded == {1: {KEY: None}}
    assert scene.told("update.repeated") == []


async def test_a_call_that_was_begun_while_the_worker_was_being_ended_is_recorded(nursery, autojump_clock):
    """Cut off, it runs for some moments more. What it had marked before is recorded once."""
    scene = Scene(nursery, update(1, "a"), update(2, "b"))
    hands = await scene.begin()
    hands.marks = [Mark(1, 1, 0, KEY)]
    scene.scope.cancel()
    await scene.ended.wait()
    hands.marks = [Mark(1, 1, 0, KEY), Mark(2, 2, 0, KEY)]
    hands.on_end()
    assert scene.desk.recorded == {1: {KEY: None}, 2: {KEY: None}}
    assert scene.told("update.repeated") == []


async def test_a_mark_of_what_was_reported_or_is_another_delivery_s_changes_nothing(nursery, autojump_clock):
    """The worker reported the call later, and its answer; or the delivery is over, or another update's."""
    scene = Scene(nursery, update(1), update(2))
    hands = await scene.begin()
    await hands.say(Calling(1, KEY), Called(1, KEY, made=True, answer=b"5"))  # type: ignore[arg-type]
    hands.marks = [Mark(1, 1, 0, KEY), Mark(2, 7, 0, KEY), Mark(3, 2, 0, KEY)]
    await hands.die()
    assert scene.desk.recorded == {1: {KEY: b"5"}}
    assert scene.desk.ends[0][1].unknown == ()


async def test_a_second_call_that_was_only_marked_is_unknown(nursery, autojump_clock):
    """The first was reported before; a mark says how many were."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.say(Calling(1, KEY), Called(1, KEY, made=True, answer=b"5"))  # type: ignore[arg-type]
    hands.marks = [Mark(1, 1, 1, "b 1 d 1")]
    await hands.die()
    assert scene.desk.recorded == {1: {KEY: b"5", "b 1 d 1": None}}
    assert scene.desk.ends[0][1].unknown == ("b 1",)


async def test_a_worker_that_marks_is_told_the_update_s_id(nursery, autojump_clock):
    """Without it nobody would know after the daemon's death whose mark it is."""
    scene = Scene(nursery, update(1, "a"), update(7, "a"))
    hands = await scene.begin()
    hands.has_marks = True
    await hands.say(Outcome(1, "done"))
    assert [deliver.id for deliver in hands.sent] == [0, 7]


async def test_a_worker_that_sends_rubbish_is_refused_and_its_updates_are_suspects(nursery, autojump_clock):
    """After something that is no frame nothing can be understood."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    await hands.talk_rubbish()
    assert scene.ended.is_set()
    assert scene.told("worker.refused") == [{"reason": "not a valid frame"}]
    assert scene.desk.ends[0][0].suspect


async def test_suspects_are_handled_one_at_a_time(nursery, autojump_clock):
    """Whatever `concurrency` says, and nothing else beside them."""
    scene = Scene(nursery, update(1, suspect=True), update(2, suspect=True), update(3), alone=True)
    hands = await scene.begin()
    assert len(hands.sent) == 1
    await hands.say(Outcome(1, "done"))
    assert len(hands.sent) == 2
    await hands.say(Outcome(2, "done"))
    assert scene.desk.ends == [(1, "done"), (2, "done")]


async def test_the_third_death_of_an_update_handled_alone_is_its_last(nursery, autojump_clock):
    """It waits between them, and ends among the dead, with how often it killed."""
    scene = Scene(nursery, update(1, suspect=True), alone=True, retry=RetrySettings(initial=10, max=10))
    for death in range(1, MOST_CRASHES + 1):
        hands = await scene.begin()
        await trio.sleep(11)
        assert [frame.attempt for frame in hands.sent] == [death - 1]
        await hands.die()
    first, second, last = scene.desk.ends
    assert [(one.crashes, one.suspect) for one, _ in (first, second)] == [(1, True), (2, True)]
    assert first[0].due > START + 11
    reason = f"its worker died {MOST_CRASHES} times, last: the worker ended"
    assert last[:4] == (1, "dead", reason, MOST_CRASHES)


async def test_a_suspect_that_only_fails_is_none_any_more(nursery, autojump_clock):
    """The crash was another's; it goes back to the others."""
    scene = Scene(nursery, update(1, suspect=True, crashes=1), alone=True)
    hands = await scene.begin()
    await hands.say(Outcome(1, "retry", error="E"))
    one, _ = scene.desk.ends[0]
    assert (one.suspect, one.crashes) == (False, 1)


@pytest.mark.parametrize("end", ["dies", "cancelled"])
async def test_what_was_never_delivered_goes_to_the_next_worker(nursery, autojump_clock, end):
    """The worker ends while the calls of an update are being read: nobody is to blame."""
    scene = Scene(nursery, update(1, called=True, attempt=3))
    scene.desk.reading = trio.Event()
    hands = await scene.begin()
    if end == "dies":
        await hands.die()
    else:
        scene.scope.cancel()
    await scene.ended.wait()
    scene.desk.recorded[1] = {KEY: b"5"}
    scene.desk.reading.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (hands.sent, scene.desk.ends, scene.scheduler.held) == ([], [], 1)
    assert scene.scheduler.work.has_work
    (frame,) = (await scene.begin()).sent
    assert (frame.attempt, [call.key for call in frame.calls]) == (3, [KEY])
    assert scene.scheduler.held == 0


async def test_calls_that_cannot_be_read_now_are_read_later(nursery, autojump_clock):
    """The update waits a moment; it is not handled without them, and it is not failed."""
    scene = Scene(nursery, update(1, called=True))
    scene.desk.recorded[1] = {KEY: b"5"}
    scene.desk.unreadable = True
    hands = await scene.begin()
    assert hands.sent == []
    assert scene.desk.ends == [(1, "put back", START + UNREAD_PAUSE)]
    await trio.sleep(2 * UNREAD_PAUSE)
    assert hands.sent[0].calls is not None
    assert len(hands.sent[0].calls) == 1


async def test_a_drain_waits_for_what_is_in_flight(nursery, autojump_clock):
    """Then the worker is asked to stop; nothing more goes out, also not what was about to be delivered."""
    scene = Scene(nursery, update(1, called=True), update(2), update(3))
    scene.desk.recorded[1] = {}
    scene.desk.reading = trio.Event()
    hands = await scene.begin()
    scene.executor.drain()
    scene.desk.offer(update(4))
    await hands.say(Outcome(1, "done"), Heartbeat(1))
    assert not hands.drained
    scene.desk.reading.set()
    await trio.testing.wait_all_tasks_blocked()
    await hands.say(Outcome(2, "done"))
    assert hands.drained
    assert len(hands.sent) == 2
    await hands.die()
    assert scene.ended.is_set()
    assert scene.desk.ends == [(2, "done"), (3, "done")]


async def test_a_worker_that_ends_while_it_drains_makes_no_suspects(nursery, autojump_clock):
    """It may have been ended because it took too long: its updates wait as they did."""
    scene = Scene(nursery, update(1))
    hands = await scene.begin()
    scene.executor.drain()
    await hands.die()
    assert scene.desk.ends == [(1, "put back", 0.0)]


async def test_what_is_too_old_or_damaged_is_not_handed_out(nursery, autojump_clock):
    """An expired query is finished, a damaged body is dead; both without a delivery."""
    old = replace(update(1, kind="callback_query"), accepted_at=START - 151)
    young = replace(update(2, kind="callback_query"), accepted_at=START - 149)
    scene = Scene(nursery, old, young, update(3, damaged=True))
    hands = await scene.begin()
    assert len(hands.sent) == 1
    assert scene.desk.ends == [(1, "expired"), (3, "dead", "damaged on disk", 0, None)]
