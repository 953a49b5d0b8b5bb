"""A fence from the daemon's side: what is put back, what is waited for, and who is killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import trio
import trio.testing
from desk import update  # type: ignore[import-not-found] # it lies beside
from test_function_executor import Api  # type: ignore[import-not-found]
from test_function_executor import Scene as Functions
from test_session import Prompt, Stuck, context_of  # type: ignore[import-not-found]
from test_worker_executor import Scene  # type: ignore[import-not-found]

from trioworkers.nursery import function_executor
from trioworkers.nursery.session import FENCE_TIMEOUT, ORDINARY, STACKS_TIME, WorkerSession
from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.frames import Called, Calling, Fence, Fenced, Outcome
from trioworkers.records import belongs_to_chat

KEY = "sendMessage 5 c0ffee 1"


@pytest.mark.parametrize(
    ("key", "belongs"),
    [("5", True), ("5/7", True), ("55", False), ("-5", False), ("", False), ("55/5", False)],
)
def test_a_chat_has_its_threads_and_nobody_elses(key, belongs):
    """A forum's thread is a lane of its own, and part of its chat."""
    assert belongs_to_chat(key, 5) is belongs


# -- a worker's deliveries --------------------------------------------------------------------------------


async def test_what_is_in_flight_of_a_chat_is_named_to_the_worker(nursery, autojump_clock):
    """All of its threads; a worker that has nothing of it is not asked."""
    scene = Scene(nursery, update(1, "5"), update(2, "5/7"), update(3, "55"))
    hands = await scene.begin()
    done: list[str] = []
    assert not scene.executor.fence(6, lambda: done.append("six"))
    assert scene.executor.fence(5, lambda: done.append("five"))
    assert hands.sent[3:] == [Fence(1, [1, 2])]
    await hands.say(Outcome(1, "fenced"), Outcome(2, "fenced"))
    assert done == []
    await hands.say(Fenced(1), Fenced(1), Fenced(9))
    assert done == ["five"]


async def test_a_fenced_delivery_is_no_attempt_and_keeps_its_calls(nursery, autojump_clock):
    """The update is as it was, but for its calls; it is handed out again, since no route takes it."""
    scene = Scene(nursery, update(1, "5"))
    hands = await scene.begin()
    await hands.say(Calling(1, KEY), Called(1, KEY, made=True, answer=b"5"))  # type: ignore[arg-type]
    scene.executor.fence(5, lambda: None)
    await hands.say(Outcome(1, "fenced"), Fenced(1))
    assert scene.desk.ends == [(1, "put back", 0.0)]
    again = hands.sent[-1]
    assert (again.delivery, again.attempt) == (2, 0)
    assert [(call.key, bytes(call.answer)) for call in again.calls] == [(KEY, b"5")]
    assert (scene.activity.messages, scene.activity.errors) == (0, 0)


async def test_what_ends_in_time_has_its_own_outcome(nursery, autojump_clock):
    """Done is done, also when a fence was asked for."""
    scene = Scene(nursery, update(1, "5"))
    hands = await scene.begin()
    scene.executor.fence(5, lambda: None)
    await hands.say(Outcome(1, "done"), Fenced(1))
    assert scene.desk.ends == [(1, "done")]


async def test_a_worker_that_fences_unasked_is_refused(nursery, autojump_clock):
    """Its update would come again at once, without end."""
    scene = Scene(nursery, update(1, "5"))
    hands = await scene.begin()
    await hands.say(Outcome(1, "fenced"))
    assert scene.ended.is_set()
    assert [told["reason"] for told in scene.told("worker.refused")] == [
        "a delivery ended as fenced, and there was no fence"
    ]
    assert scene.desk.ends[0][0].suspect


async def test_when_the_worker_dies_what_was_fenced_is_put_back_and_no_suspect(nursery, autojump_clock):
    """It is somebody else's by now, and a worker that is killed for it must not be counted against it."""
    scene = Scene(nursery, update(1, "5"), update(2, "6"))
    hands = await scene.begin()
    scene.executor.fence(5, lambda: None)
    await hands.die()
    assert scene.desk.ends[0] == (1, "put back", 0.0)
    assert (scene.desk.ends[1][0].id, scene.desk.ends[1][0].suspect) == (2, True)


# -- a session ------------------------------------------------------------------------------------------


class Obeys(Stuck):  # type: ignore[misc]
    """An executor that has something of chat 5, and whose worker answers after `seconds`."""

    def __init__(self, seconds: float, ended: trio.Event) -> None:
        self.seconds, self.ended = seconds, ended
        self.asked: list[int] = []

    def fence(self, chat_id, done):
        self.asked.append(chat_id)
        if chat_id == 5:
            trio.lowlevel.spawn_system_task(self._answer, done)
        return chat_id == 5

    async def run(self):
        await self.ended.wait()

    async def _answer(self, done):
        await trio.sleep(self.seconds)
        done()


class Process:
    """Lives until its group is killed."""

    pid = 1

    def __init__(self, ended: trio.Event) -> None:
        self.ended = ended
        self.signals: list[Any] = []

    def send_signal(self, number):
        self.signals.append(number.name)

    def signal_group(self, number):
        self.signals.append(number.name)
        self.ended.set()

    async def wait(self):
        await self.ended.wait()
        return Exit(-9)


class Stage:
    """A session that is ready, whose executor answers a fence after `seconds`."""

    def __init__(self, nursery, folder, seconds):
        self.told: list[Any] = []
        self.ended = trio.Event()
        self.process = Process(self.ended)
        outer = self

        class Makes(Prompt):  # type: ignore[misc]
            async def start(self, channel, output):
                await Prompt.start(self, channel, output)
                return outer.process

        context = context_of(Makes(), folder, self.told)
        cast("Any", context.settings()).name = "b"
        self.executor = Obeys(seconds, self.ended)
        self.session = WorkerSession(replace(context, make_executor=lambda _: self.executor), ORDINARY)
        nursery.start_soon(self.session.run)

    def hung(self):
        return [fields for event, fields in self.told if event == "worker.hung"]


async def test_a_fence_is_done_when_the_worker_says_so(nursery, tmp_path, autojump_clock):
    """A worker that has nothing of the chat is not waited for, and neither is one that is not ready."""
    stage = Stage(nursery, tmp_path, 4.0)
    await stage.session.fence(5, 1)
    assert stage.executor.asked == []
    await trio.testing.wait_all_tasks_blocked()
    await stage.session.fence(6, 1)
    assert trio.current_time() == 0
    await stage.session.fence(5, 1)
    assert trio.current_time() == 4
    assert (stage.process.signals, stage.hung()) == ([], [])
    nursery.cancel_scope.cancel()


async def test_a_worker_that_does_not_answer_is_killed(nursery, tmp_path, autojump_clock):
    """After five seconds, and its stacks; the fence is done when its process has ended."""
    stage = Stage(nursery, tmp_path, 1e6)
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(60):
        await stage.session.fence(5, 3)
    assert stage.process.signals[:2] == ["SIGQUIT", "SIGKILL"]
    assert stage.session._gone.is_set()
    assert trio.current_time() >= FENCE_TIMEOUT + STACKS_TIME
    (hung,) = stage.hung()
    assert (hung["reason"], hung["dialog"], hung["epoch"]) == ("fence not answered", "b/5", 3)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("when", ["while it is asked", "before"])
async def test_the_end_of_the_process_is_an_answer_and_not_that_of_the_channel(
    nursery, tmp_path, autojump_clock, when
):
    """Handlers whose worker closed its channel may still call; a process that has ended calls nothing."""
    stage = Stage(nursery, tmp_path, 1e6)
    fenced: list[float] = []

    async def fence():
        await stage.session.fence(5, 1)
        fenced.append(trio.current_time())

    await trio.testing.wait_all_tasks_blocked()
    if when == "while it is asked":
        nursery.start_soon(fence)
        await trio.sleep(1)
        stage.ended.set()
    else:
        stage.process.signal_group = lambda number: None  # type: ignore[method-assign]
        stage.session._working.cancel()
        await trio.sleep(1)
        nursery.start_soon(fence)
        await trio.sleep(0.5)
        assert fenced == []
        stage.ended.set()
    await trio.sleep(1)
    assert stage.session._gone.is_set()
    assert len(fenced) == 1
    assert stage.hung() == []
    nursery.cancel_scope.cancel()


# -- functions of the daemon, and what waits ---------------------------------------------------------------


@pytest.fixture(autouse=True)
def api(monkeypatch):
    monkeypatch.setattr(function_executor, "BotApi", Api)
    Api.made, Api.open = [], 0


async def test_functions_are_cut_off_but_for_the_callers_own(nursery, autojump_clock):
    """Their updates are put back, and whoever has the chat now gets them."""
    scene = Functions(nursery, update(1, "5"), update(2, "6"))
    scene.dialogs = {"5", "6"}
    ended: list[str] = []

    async def slow(update, bot):
        try:
            await trio.sleep(8)
            ended.append("done")
        finally:
            ended.append("over")

    scene.does = slow
    await trio.sleep(1)
    await scene.functions.fence(5, lambda run: run is slow)
    assert (trio.current_time(), ended) == (1, [])
    scene.dialogs = {"6"}
    with scene.scheduler.hands_to(scene.worker):
        await scene.functions.fence(5, lambda run: False)
        assert (trio.current_time(), ended) == (1, ["over"])
        assert scene.worker.ids == [1]
    await trio.sleep(30)
    assert scene.ends("done") == [(2, "done")]


async def test_a_function_that_takes_no_notice_is_not_waited_for_without_end(nursery, autojump_clock):
    """It cannot be killed; its calls are refused."""
    scene = Functions(nursery, update(1, "5"))
    scene.dialogs = {"5"}

    async def stubborn(update, bot):
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        await bot.send_message(chat_id=5)

    scene.does = stubborn
    await trio.sleep(1)
    await scene.functions.fence(5, lambda run: False)
    assert trio.current_time() == 1 + function_executor.FENCE_TIMEOUT
    scene.dialogs = set()
    await trio.sleep(100)
    assert scene.desk.ends == [(1, "put back", 0.0)]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("moment", ["while its calls are read", "once they are read"])
@pytest.mark.parametrize("taken", [True, False])
async def test_what_is_about_to_be_handed_out_goes_to_who_has_the_chat_now(
    nursery, autojump_clock, moment, taken
):
    """A route that changed before the fence is asked anew for it, also where there is no worker for long."""
    scene = Functions(nursery, update(1, "5", called=True))
    scene.desk.recorded[1] = {KEY: b"5"}
    scene.desk.reading = trio.Event()
    scene.dialogs = set() if taken else {"5"}
    with scene.scheduler.hands_to(scene.worker):
        await trio.testing.wait_all_tasks_blocked()
    if not taken:
        scene.functions.drain()  # for want of room it is read, and not handed out
    if moment == "once they are read":
        scene.desk.reading.set()
        await trio.testing.wait_all_tasks_blocked()
    scene.dialogs = {"5"} if taken else set()
    scene.scheduler.reroute()
    await scene.functions.fence(5, lambda run: True)
    if moment == "while its calls are read":
        scene.desk.reading.set()
    await trio.testing.wait_all_tasks_blocked()
    if taken:
        assert (scene.worker.ids, scene.ends("done")) == ([], [(1, "done")])
    else:
        with scene.scheduler.hands_to(scene.worker):
            await trio.testing.wait_all_tasks_blocked()
        assert (scene.worker.ids, scene.seen) == ([1], [])
