"""Where things are counted: at ends of handlings, at commits, at deliveries, in workers; and snapshots."""

from __future__ import annotations

import random
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trioworkers import snapshot
from trioworkers.botapi.meter import CallMeter
from trioworkers.config.settings import RetrySettings
from trioworkers.events import Events
from trioworkers.figures import Commits, Figures, Histogram, ReloadFigures
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.queue import Queue
from trioworkers.inbox.store import Accept, StoreFullError
from trioworkers.inbox.writer import Writer
from trioworkers.nursery.delivery import Activity, Delivery, Settling
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    Configure,
    Drain,
    FromWorker,
    Heartbeat,
    Outcome,
    Ready,
    Retune,
    ToWorker,
)
from trioworkers.ratelimit.pace import Paces
from trioworkers.records import Waiting
from trioworkers.snapshot import Snapshots
from trioworkers.transport.deliveries import REASONS, Deliveries
from trioworkers.worker.handler import Handler
from trioworkers.worker.process import Worker

BOT, START = 7, 1_700_000_000.0


def clock() -> float:
    return START + trio.current_time()


def waiting(id_: int, key: str = "", accepted_at: float = START, **more: Any) -> Waiting:
    return Waiting(id_, BOT, id_, key or str(id_), b'{"update_id":1}', accepted_at, **more)


def observed(histogram: Histogram) -> tuple[int, float]:
    """How many values a histogram has, and their sum."""
    taken = histogram.taken()
    return sum(taken.counts), round(taken.total, 6)


def delivered(figures: Figures | None) -> Delivery:
    backlog: Any = SimpleNamespace(
        finish=lambda *_: None, retry=lambda *_: None, dead_letter=lambda *_: None, put_back=lambda *_: None
    )
    settings: Any = SimpleNamespace(retry=RetrySettings(initial=1, max=1), on_failure="block")
    activity, rng = Activity(), random.Random(1)
    settling = Settling("b", backlog, lambda: settings, Events(), rng, clock, activity, figures=figures)
    return Delivery(settling, waiting(1, accepted_at=START - 5), None, None)


@pytest.mark.parametrize(
    ("outcome", "ends", "deaths"),
    [
        (Outcome(1, "done"), 1, 0),
        (Outcome(1, "drop", error="no"), 1, 0),
        (Outcome(1, "retry", error="ValueError"), 0, 0),
        (Outcome(1, "dead", error="Dead"), 0, 1),
    ],
)
async def test_a_handling_is_counted_with_its_time(autojump_clock, outcome, ends, deaths):
    """Each has a duration; an update's latency, from its acceptance, is known once it is done or dropped."""
    figures = Figures()
    delivery = delivered(figures)
    await trio.sleep(2)
    delivery.settle(outcome)
    assert observed(figures.handling) == (1, 2.0)
    assert observed(figures.end_to_end) == (ends, 7.0 * ends)
    assert figures.deaths[BOT] == deaths


async def test_what_was_not_handled_is_not_counted(autojump_clock):
    """An update that is put back comes again; one whose worker ended was handled, and has no latency yet."""
    figures = Figures()
    delivered(figures).put_back()
    assert observed(figures.handling) == (0, 0.0)
    delivered(figures).lose(alone=False)
    assert observed(figures.handling) == (1, 0.0)
    assert observed(figures.end_to_end) == (0, 0.0)
    delivered(None).settle(Outcome(1, "done"))


class Failing(MemoryStore):
    """A store whose disk is full while `full` is set."""

    full = False

    def commit(self, operations):
        if self.full:
            message = "the disk is full"
            raise StoreFullError(message)
        return super().commit(operations)


async def test_commits_are_counted_with_their_operations(nursery):
    """Those that succeeded by time and size; those that failed apart."""
    store, commits = Failing(), Commits()
    writer = Writer(store, commits=commits)
    await nursery.start(writer.serve)
    accepts = [Accept(BOT, number, "", b"{}", 1.0) for number in range(3)]
    await writer.commit(accepts, lambda _: None)
    store.full = True
    with pytest.raises(StoreFullError):
        await writer.commit(accepts, lambda _: None)
    writer.close()
    assert observed(commits.operations) == (1, 3.0)
    assert observed(commits.seconds)[0] == 1
    assert commits.failed == 1


def test_the_oldest_update_is_known_without_asking_the_store():
    """Wherever it stands: in flight, waiting for a retry, or behind others in another chat."""
    queue = Queue(behind=False)
    assert queue.oldest_at() is None
    for id_, key in enumerate("abab", 1):
        queue.offer(waiting(id_, key, accepted_at=float(id_)))
    assert queue.oldest_at() == 1.0
    first, second = queue.take(0.0), queue.take(0.0)
    assert first is not None
    assert second is not None
    assert queue.oldest_at() == 1.0
    queue.finish(first.id)
    assert queue.oldest_at() == 2.0
    queue.put_back(waiting(second.id, second.key, accepted_at=second.accepted_at, due=100.0, attempt=1))
    assert queue.oldest_at() == 2.0
    last = queue.take(0.0)
    assert last is not None
    assert last.id == 3
    queue.finish(last.id)
    assert queue.oldest_at() == 2.0


async def test_answers_to_deliveries_outlive_their_bots():
    """A bot that goes takes its own statistics along; the counters of the fleet do not go back."""
    deliveries = Deliveries()
    gate: Any = None
    deliveries.open("one", BOT, gate).add_secret("right")
    assert await deliveries.deliver("one", b"wrong", b"{}") == 401
    deliveries.remove("one")
    assert await deliveries.deliver("one", b"right", b"{}") == 404
    assert deliveries.answered == {401: 1, 404: 1}


async def test_a_worker_says_what_it_called_before_it_leaves(nursery):
    """Else what it did since its last heartbeat would be lost at each restart."""
    ours, theirs = socket.socketpair()
    daemon, its = Channel(ours, FromWorker), Channel(theirs, ToWorker)
    nursery.start_soon(daemon.serve_writes)
    meter = CallMeter()

    async def stop(bot):
        meter.count("sendMessage", "ok", 2)
        meter.waited = 1.5

    async def handle(update, bot): ...

    tuning = Retune({}, 1.0, 3600.0, 3600.0, "error")
    configure = Configure("b", BOT, "7:x", "http://x", "h:h", [], 1, tuning, counts_calls=True)
    nothing: Any = None
    worker = Worker(configure, Handler(handle, None, stop, None, "c0de"), its, nothing, meter)

    async def run() -> None:
        assert await worker.run([]) == 0
        its.close()

    nursery.start_soon(run)
    frames: list[Any] = []
    while more := await daemon.receive():
        frames += more
        if any(isinstance(frame, Ready) for frame in more):
            daemon.send(Drain())
    daemon.close()
    ours.close()
    theirs.close()
    beats = [frame for frame in frames if isinstance(frame, Heartbeat)]
    assert [(one.method, one.result, one.times) for one in beats[-1].calls] == [("sendMessage", "ok", 2)]
    assert beats[-1].waited == 1.5
    nursery.cancel_scope.cancel()


def snapshots(figures: Figures | None, bots: dict[str, Any]) -> Snapshots:
    parts: dict[str, Any] = {
        "fleet": SimpleNamespace(get_bots=lambda: bots),
        "reload": SimpleNamespace(figures=ReloadFigures(0, 0, True, START, 0.0)),
    }
    return Snapshots(
        figures=figures,
        deliveries=Deliveries(),
        slots=WorkerSlots(lambda: 5),
        database=None,
        started_at=START,
        paces=Paces(),
        **cast("Any", parts),
    )


async def test_a_snapshot_of_many_bots_lets_the_loop_turn(nursery, monkeypatch):
    """After half a millisecond of work others have their turn: here after every third bot."""
    now = 0.0

    def perf_counter() -> float:
        nonlocal now
        now += 0.0002
        return now

    monkeypatch.setattr(snapshot, "time", SimpleNamespace(perf_counter=perf_counter, time=lambda: START))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    bots = {str(number): SimpleNamespace(figures=lambda _, number=number: number) for number in range(99)}
    nursery.start_soon(turn)
    taken = await snapshots(Figures(), bots).take()
    assert taken is not None
    assert [str(bot) for bot in taken.bots] == [*bots]
    assert turns >= 99 // 3
    nursery.cancel_scope.cancel()


async def test_all_causes_and_statuses_are_there_from_the_start():
    """A rate needs a counter to begin at 0."""
    taken = await snapshots(Figures(), {}).take()
    assert taken is not None
    assert set(taken.exits.values()) == {0}
    assert taken.deliveries.keys() == {200, *REASONS}


async def test_nothing_is_taken_where_nothing_is_counted():
    """And nothing is measured."""
    assert await snapshots(None, {}).take() is None
    await snapshots(None, {}).serve()


async def test_the_lag_of_the_loop_is_measured(nursery, autojump_clock):
    """Twice a second, for as long as the daemon runs."""
    figures = Figures()
    nursery.start_soon(snapshots(figures, {}).serve)
    await trio.sleep(10.1)
    await wait_all_tasks_blocked()
    assert observed(figures.loop) == (20, 0.0)
    nursery.cancel_scope.cancel()
