"""A worker's life over its channel, in this process: deliveries, outcomes, time limits, drain."""

from __future__ import annotations

import gc
import json
import mmap
import socket
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.errors import Dead, Drop, Retry
from trioworkers.nursery.worker import START_TIMEOUT
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    Called,
    Calling,
    Configure,
    Deliver,
    Drain,
    FromWorker,
    Heartbeat,
    Outcome,
    Ready,
    Retune,
    ToWorker,
)
from trioworkers.worker import process
from trioworkers.worker.handler import Handler
from trioworkers.worker.memory import LOOK_EVERY
from trioworkers.worker.process import Worker


class Patient:
    """A Bot API that asks each call to wait."""

    def turn(self, method, params, caller):
        """Nothing is limited."""

    async def call(self, method, params, *, patience, again):
        await patience.wait(params["seconds"])
        return msgspec.Raw(b"true")


def tuning(settings, handler_timeout=10.0):
    return Retune(settings, handler_timeout, 60.0, 60.0, "error")


class Daemon:
    """The daemon's end of the channel, and the worker at the other one."""

    def __init__(self, nursery):
        self.nursery = nursery
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours, FromWorker)
        self.theirs = Channel(theirs, ToWorker)
        self.frames: list[Any] = []
        self.code: int | None = None
        nursery.start_soon(self.channel.serve_writes)
        nursery.start_soon(self.listen)

    def start(self, handle, *others, start=None, stop=None, settings_changed=None):
        configure = Configure("echo", 42, "42:x", "http://x", "h:h", [], 4, tuning({"a": 1}))
        handler = Handler(handle, start, stop, settings_changed, "c0de")
        worker = Worker(configure, handler, self.theirs, Patient())  # type: ignore[arg-type]

        async def run():
            self.code = await worker.run(list(others))
            self.theirs.close()

        self.nursery.start_soon(run)

    async def listen(self):
        while frames := await self.channel.receive():
            self.frames += frames

    def outcomes(self):
        return [frame for frame in self.frames if isinstance(frame, Outcome)]

    async def end(self):
        """Drain, and return all outcomes."""
        self.channel.send(Drain())
        with trio.fail_after(1000):
            while self.code is None:  # noqa: ASYNC110 - the exit code is a plain attribute
                await trio.sleep(0.5)
        await trio.testing.wait_all_tasks_blocked()
        return self.outcomes()


@pytest.fixture
async def daemon(nursery):
    daemon = Daemon(nursery)
    yield daemon
    nursery.cancel_scope.cancel()
    daemon.channel.close()
    daemon.theirs.close()


def deliver(delivery, text="x", attempt=0):
    body = json.dumps({"update_id": delivery, "message": {"chat": {"id": 1}, "text": text}}).encode()
    return Deliver(delivery, attempt, False, msgspec.Raw(body))


async def test_it_says_ready_and_beats(daemon, autojump_clock):
    """Ready comes first, with the code's fingerprint; a heartbeat at once and at each interval."""

    async def handle(update, bot): ...

    daemon.start(handle)
    await trio.sleep(130)
    assert daemon.frames[0] == Ready("c0de")
    beats = [frame for frame in daemon.frames if isinstance(frame, Heartbeat)]
    assert len(beats) == 3
    assert beats[0].memory > 1_000_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("at once", [Calling, Outcome]),
        ("later", [Calling, Called, Outcome]),
        ("fails", [Calling, Called, Outcome]),
        ("twice", [Calling, Called, Calling, Outcome]),
    ],
)
async def test_an_answer_is_told_unless_its_handling_is_done_with_it(daemon, autojump_clock, text, told):
    """What is done needs no records; else it leaves in the turn in which it came."""

    async def handle(update, bot):
        await bot.wait(seconds=0)
        if text == "twice":
            await bot.wait(seconds=0)
        if text == "later":
            await trio.sleep(1)
        if text == "fails":
            raise Retry(3)

    daemon.start(handle)
    daemon.channel.send(msgspec.structs.replace(deliver(1), calls=[]))
    await trio.sleep(0.5)
    assert [type(frame) for frame in daemon.frames[2:]] == [
        kind for kind in told if text != "later" or kind != Outcome
    ]
    await daemon.end()
    assert [type(frame) for frame in daemon.frames[2:]] == told


async def test_garbage_that_holds_much_is_collected_however_few_objects_it_is(daemon):
    """Python counts objects; a handler that leaves a picture behind each time would fill the memory."""
    alive, most = 0, 0

    class Picture:
        def __init__(self):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            self.itself, self.content = self, mmap.mmap(-1, 2**20)
            self.content.write(bytes(2**20))

        def __del__(self):
            nonlocal alive
            alive -= 1

    async def handle(update, bot):
        Picture()
        await trio.sleep(LOOK_EVERY)

    gc.disable()
    gc.freeze()  # a worker's collection is a short one
    try:
        daemon.start(handle)
        for number in range(200):
            daemon.channel.send(deliver(number))
            if number % 8 == 7:
                with trio.fail_after(10):
                    while len(daemon.outcomes()) <= number:  # noqa: ASYNC110 - what the daemon has heard
                        await trio.sleep(LOOK_EVERY)
    finally:
        gc.unfreeze()
        gc.enable()
        gc.collect()
    # of 200: what the first collection found; a busy machine may not let it look again for long
    assert most < 180


async def test_every_delivery_has_its_outcome(daemon, autojump_clock):
    """Deliveries are handled at the same time; each is answered under its number."""

    async def handle(update, bot):
        await trio.sleep({"slow": 5, "fast": 1}.get(update.text, 0))
        errors = {"retry": Retry(3), "dead": Dead("no"), "drop": Drop("no"), "bug": ZeroDivisionError()}
        if update.text in errors:
            raise errors[update.text]

    daemon.start(handle, *[deliver(n, text) for n, text in enumerate(["slow", "fast", "retry"])])
    for number, text in enumerate(["dead", "drop", "bug"], 10):
        daemon.channel.send(deliver(number, text))
    outcomes = {outcome.delivery: outcome.result for outcome in await daemon.end()}
    assert outcomes == {0: "done", 1: "done", 2: "retry", 10: "dead", 11: "drop", 12: "retry"}
    assert [outcome.delivery for outcome in daemon.outcomes()][-2:] == [1, 0]
    assert daemon.code == 0


async def test_an_update_that_cannot_be_read_harms_no_other(daemon, autojump_clock):
    """It is retried, until it is dead by the policy; the worker lives."""

    async def handle(update, bot): ...

    daemon.start(handle, Deliver(1, 0, False, msgspec.Raw(b'{"no":1}')), deliver(2))
    outcomes = {outcome.delivery: outcome for outcome in await daemon.end()}
    assert (outcomes[1].result, outcomes[2].result) == ("retry", "done")
    assert outcomes[1].error.startswith("ValueError at ")


async def test_a_handler_that_takes_too_long_is_cancelled(daemon, autojump_clock):
    """At its time limit, to the second; what it does about it does not matter."""
    ended: list[float] = []

    async def handle(update, bot):
        try:
            await trio.sleep(100)
        finally:
            ended.append(trio.current_time())

    daemon.start(handle, deliver(1))
    (outcome,) = await daemon.end()
    assert outcome.result == "retry"
    assert outcome.error.startswith("took longer than 10 s at test_worker_process.py:")
    assert outcome.error.endswith(" in handle")
    assert ended == [10]


async def test_waits_that_telegram_asks_for_move_the_limit(daemon, autojump_clock):
    """Nine seconds of 429 and nine of work are within ten; a wait that is longer than what is left is not."""

    async def handle(update, bot):
        await bot.call("x", seconds=9 if update.text == "short" else 11)
        await trio.sleep(9)

    daemon.start(handle, deliver(1, "short"), deliver(2, "long"))
    outcomes = {outcome.delivery: outcome for outcome in await daemon.end()}
    assert outcomes[1] == Outcome(1, "done")
    assert outcomes[2] == Outcome(2, "retry", after=11, counted=False, error="the handler said so")


async def test_new_values_apply_to_what_follows(daemon, autojump_clock):
    """A handling keeps its settings and limit; `settings_changed` runs only if the settings did change."""
    seen: list[Any] = []

    async def handle(update, bot):
        await trio.sleep(3)
        seen.append((update.update_id, bot.settings))

    async def settings_changed(bot):
        seen.append(("changed", bot.settings))

    daemon.start(handle, deliver(1), settings_changed=settings_changed)
    await trio.sleep(1)
    daemon.channel.send(tuning({"a": 1}))
    daemon.channel.send(tuning({"a": 2}, 2.0))
    daemon.channel.send(deliver(2))
    outcomes = {outcome.delivery: outcome for outcome in await daemon.end()}
    assert seen == [("changed", {"a": 2}), (1, {"a": 1})]
    assert outcomes[1].result == "done"
    assert outcomes[2].error.startswith("took longer than 2 s at ")


async def test_draining_finishes_what_is_in_flight_and_then_stops(daemon, autojump_clock):
    """The outcomes leave, then `stop` runs, then the channel closes with exit code 0."""
    order: list[str] = []

    async def handle(update, bot):
        await trio.sleep(5)
        order.append("handled")

    async def stop(bot):
        order.append("stop")
        raise ZeroDivisionError

    daemon.start(handle, deliver(1), stop=stop)
    assert await daemon.end() == [Outcome(1, "done")]
    assert order == ["handled", "stop"]
    assert daemon.code == 0


async def test_the_last_outcomes_leave_however_close_to_each_other(daemon, autojump_clock):
    """Handlers that end turn by turn while the worker drains lose none of them."""

    async def handle(update, bot):
        await trio.sleep(1)
        for _ in range(update.update_id):
            await trio.lowlevel.checkpoint()

    daemon.start(handle, *[deliver(number) for number in range(40)])
    assert sorted(outcome.delivery for outcome in await daemon.end()) == list(range(40))
    assert daemon.code == 0


async def test_a_start_that_fails_is_no_start(daemon, autojump_clock):
    """It is never ready, handles nothing and ends with 1."""

    async def handle(update, bot): ...

    async def start(bot):
        raise ZeroDivisionError

    daemon.start(handle, deliver(1), start=start)
    await trio.sleep(1)
    assert daemon.code == 1
    assert daemon.frames == []


# -- limits around a worker's life --------------------------------------------------------------------


def errors_of(text):
    return [(line["event"], line["error"]) for line in map(json.loads, text.splitlines())]


@pytest.mark.parametrize("way", ["sleeps", "is asked to wait"])
async def test_what_runs_around_the_handling_has_its_time_limit(daemon, autojump_clock, capsys, way):
    """`settings_changed` and `stop` that never end are cut off after `handler_timeout`, and logged."""
    ended: list[float] = []

    async def handle(update, bot): ...

    async def hang(bot):
        try:
            if way == "sleeps":
                await trio.sleep_forever()
            await bot.call("x", seconds=3600)
        finally:
            ended.append(trio.current_time())

    async def settings_changed(bot):
        await hang(bot)

    async def stop(bot):
        await hang(bot)

    daemon.start(handle, stop=stop, settings_changed=settings_changed)
    daemon.channel.send(tuning({"a": 2}, 7.0))
    await daemon.end()
    assert daemon.code == 0
    assert ended == ([7, 14] if way == "sleeps" else [0, 0])
    failed = errors_of(capsys.readouterr().out)
    assert [event for event, _ in failed] == ["settings_changed failed", "stop failed"]
    words = "took longer than 7 s" if way == "sleeps" else "WaitsTooLong at "
    assert [error[: len(words)] for _, error in failed] == [words, words]


async def test_a_start_is_not_prolonged_beyond_what_the_daemon_waits(daemon, autojump_clock, capsys):
    """A 429 of an hour in `start` fails it at once, with a word in the log."""
    assert process.START_TIMEOUT == START_TIMEOUT

    async def handle(update, bot): ...

    async def start(bot):
        await bot.call("x", seconds=3600)

    daemon.start(handle, start=start)
    await trio.sleep(0.1)
    assert daemon.code == 1
    ((event, error),) = errors_of(capsys.readouterr().out)
    assert event == "start failed"
    assert error.startswith("WaitsTooLong at ")


class Gone(BaseException):
    """In the place of the end of this process."""


@pytest.mark.parametrize("where", ["start", "handle", "stop"])
@pytest.mark.parametrize("how", ["end", "garbage"])
async def test_the_channel_is_read_for_the_whole_life(autojump_clock, monkeypatch, where, how):
    """Its end, or garbage, ends a worker that is in its `start` or `stop` like any other."""

    def gone():
        raise Gone

    async def hang(*args):
        await trio.sleep_forever()

    async def nothing(*args): ...

    monkeypatch.setattr(process, "end_group", gone)
    hooks = {hook: hang if hook == where else nothing for hook in ("start", "stop")}
    with pytest.RaisesGroup(Gone, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            daemon = Daemon(nursery)
            daemon.start(hang if where == "handle" else nothing, deliver(1), **hooks)
            if where == "stop":
                daemon.channel.send(Drain())
            await trio.testing.wait_all_tasks_blocked(0.01)
            if how == "end":
                daemon.channel.close()
            else:
                daemon.channel._end.send(b"\x01\0\0\0x")
            await trio.sleep(1000)
            nursery.cancel_scope.cancel()
    daemon.channel.close()
    daemon.theirs.close()
