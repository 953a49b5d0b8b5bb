"""The quarantine's worker: there while there are suspects, gone when there are none."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio
import trio.testing
from desk import START, Desk, clock, update  # type: ignore[import-not-found] # it lies beside
from played_workers import CONFIGURE, Makes  # type: ignore[import-not-found] # as above

from trioworkers.breakage import Breakage
from trioworkers.config.settings import BotSettings, LogSettings
from trioworkers.events import Events
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.delivery import Activity, Settling
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output
from trioworkers.nursery.quarantine import FAILED_START, IDLE, Quarantine
from trioworkers.nursery.scheduler import Scheduler
from trioworkers.nursery.session import SessionContext
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.protocol.frames import Deliver, Drain, Outcome, Ready

SETTINGS = BotSettings.model_validate(
    {"name": "b", "token": "7:x", "handler": "h:h", "retry": {"initial": 0, "max": 0}}
)
POISON = 666


def number_of(frame):
    return msgspec.json.decode(frame.update)["update_id"]


async def answers(process):
    """A good worker, but for update 666."""
    process.channel.send(Ready("c0de"))
    await process.channel.flush()
    while frames := await process.channel.receive():
        for frame in frames:
            if isinstance(frame, Drain):
                return
            if isinstance(frame, Deliver) and number_of(frame) == POISON:
                return
            if isinstance(frame, Deliver):
                process.channel.send(Outcome(frame.delivery, "done"))
        await process.channel.flush()


async def is_late(process):
    """One that is never ready."""


class Ward:
    def __init__(self, nursery, tmp_path):
        self.desk = Desk()
        self.makes = Makes(nursery, answers)
        self.told: list[str] = []
        self.turns = 0
        self.slow = 0.0  # seconds until its turn comes
        self.ended = trio.Event()
        self.activity = Activity()
        settling = Settling(
            "b", self.desk, lambda: SETTINGS, Events(), random.Random(1), clock, self.activity
        )
        scheduler = Scheduler(settling, Breakage(), lambda: self.paused)
        nursery.start_soon(scheduler.run)
        context = SessionContext(
            makes=self.makes,
            settings=lambda: SETTINGS,
            configure=lambda: CONFIGURE,
            output=Output(RotatedFile(tmp_path / "log", LogSettings), "7:x"),
            make_executor=lambda worker: WorkerExecutor(worker, scheduler, settling, alone=True),
            emit=lambda event, **fields: self.told.append(event),
            oom=OomKills(None),
        )  # fmt: skip
        self.paused = False
        self.quarantine = Quarantine(context, scheduler.suspect_work, self.turn, lambda: self.paused)
        nursery.start_soon(self.serve)

    async def turn(self):
        self.turns += 1
        await trio.sleep(self.slow)

    async def serve(self):
        await self.quarantine.serve()
        self.ended.set()


@pytest.fixture
def ward(nursery, tmp_path):
    return Ward(nursery, tmp_path)


async def test_without_a_suspect_there_is_no_worker(ward, autojump_clock):
    """Nor any turn taken from other bots' starts; updates in good standing do not matter."""
    ward.desk.offer(update(1))
    await trio.sleep(3600)
    assert (ward.makes.made, ward.turns, ward.told) == (0, 0, [])


async def test_its_worker_lives_while_there_are_suspects(ward, autojump_clock):
    """Started at the first, it takes what comes while it lives, and is drained when nothing does."""
    ward.desk.offer(update(1, suspect=True))
    await trio.sleep(IDLE / 2)
    ward.desk.offer(update(2, suspect=True))
    await trio.sleep(IDLE / 2 + 0.1)
    assert ward.desk.ends == [(1, "done"), (2, "done")]
    assert ward.told == ["worker.starting", "worker.ready"]
    await trio.sleep(2 * IDLE)
    assert ward.told == ["worker.starting", "worker.ready", "worker.exited"]
    ward.desk.offer(update(3, suspect=True))
    await trio.sleep(1)
    assert ward.makes.made == 2
    assert ward.activity.messages == 3


async def test_one_that_kills_is_dead_and_the_next_is_handled(ward, autojump_clock):
    """Three workers end by it, beside which the other one is handled in good standing."""
    ward.desk.offer(update(666, suspect=True))
    ward.desk.offer(update(667, suspect=True))
    await trio.sleep(60)
    ends = [end for end in ward.desk.ends if isinstance(end[0], int)]
    assert [end[:2] for end in ends] == [(667, "done"), (666, "dead")]
    assert ward.makes.made == ward.turns == 3
    assert ward.told.count("worker.exited") == 3


@pytest.mark.parametrize("life", [is_late, None])
async def test_a_worker_that_is_never_ready_is_tried_again_later(ward, autojump_clock, life):
    """Whether it ended before, or the system had no room for it."""
    ward.makes.lives = [life, answers]
    ward.desk.offer(update(1, suspect=True))
    await trio.sleep(FAILED_START - 1)
    assert ward.makes.made == 1
    assert ward.desk.ends == []
    await trio.sleep(2)
    assert ward.desk.ends == [(1, "done")]


async def test_a_drain_ends_it_whatever_it_does(ward, autojump_clock):
    """While it waits for suspects, for another try, and with a suspect that is not due yet."""
    ward.desk.offer(update(1, suspect=True, due=START + 10**6))
    await trio.sleep(10)
    assert ward.told == []
    ward.quarantine.drain()
    await ward.ended.wait()
    assert ward.desk.ends == []
    ward.quarantine.drain()


async def test_a_drain_ends_one_that_waits_for_suspects(ward, autojump_clock):
    """It has no worker to drain."""
    await trio.sleep(1)
    ward.quarantine.drain()
    await ward.ended.wait()
    assert ward.makes.made == 0


async def test_a_drain_ends_one_that_waits_for_another_try(ward, autojump_clock):
    """The pause after a failed start is no reason to be late."""
    ward.makes.lives = [None]
    ward.desk.offer(update(1, suspect=True))
    await trio.sleep(1)
    before = trio.current_time()
    ward.quarantine.drain()
    await ward.ended.wait()
    assert trio.current_time() == before


async def test_a_drain_ends_one_that_waits_for_its_turn(ward, autojump_clock):
    """It does not wait for other bots' starts, and begins nothing of its own."""
    ward.slow = 1000.0
    ward.desk.offer(update(1, suspect=True))
    await trio.sleep(1)
    assert ward.turns == 1
    before = trio.current_time()
    ward.quarantine.drain()
    await ward.ended.wait()
    assert (trio.current_time(), ward.makes.made) == (before, 0)


async def test_a_pause_keeps_suspects_waiting(ward, autojump_clock):
    """There is no worker for them before it is over."""
    ward.paused = True
    ward.desk.offer(update(1, suspect=True))
    await trio.sleep(3600)
    assert ward.makes.made == 0
    ward.paused = False
    ward.desk.poke()
    await trio.sleep(1)
    assert ward.desk.ends == [(1, "done")]
