"""The desk of the tests does what the backlog does that it stands for, in a walk over both at once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from desk import BOT, START, Desk  # type: ignore[import-not-found] # it lies beside
from msgspec.structs import replace

from trioworkers.breakage import Breakage
from trioworkers.inbox.inbox import Inbox, open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.records import Arrival, Attempt, Waiting

if TYPE_CHECKING:
    from trioworkers.inbox.backlog import Backlog

FAILURE = Attempt(START, "ValueError")
KEYS = ("a", "a", "b", "c", "")


class Both:
    """A backlog over a store, and a desk; each is told everything, and each has to answer alike."""

    def __init__(self, inbox: Inbox, dice: random.Random) -> None:
        self.now = START
        self.dice = dice
        self._inbox = inbox
        self.backlog: Backlog = inbox.claim(BOT, Breakage())
        self.desk = Desk()
        for feed in (self.desk.ordinary, self.desk.suspects):
            feed._clock = lambda: self.now
        self.taken: dict[int, tuple[Waiting, Waiting]] = {}  # as the backlog gave it, and as the desk did
        self.accepted = 0

    async def settle(self) -> None:
        """All that the backlog was told is durable, and it has heard of it."""
        with trio.fail_after(20):
            while self.backlog.records_written < self.backlog.records:  # noqa: ASYNC110
                await trio.sleep(0.001)
            for _ in range(4):  # what it reads may let it ask for more
                await self._inbox.answers()

    async def accept(self) -> None:
        """A new update comes."""
        self.accepted += 1
        number, key = self.accepted, self.dice.choice(KEYS)
        arrival = Arrival(number, "message", key, None, None, b'{"update_id":%d}' % number)
        await self._inbox.accept(BOT, [arrival])
        self.desk.offer(Waiting(number, BOT, number, key, arrival.body, self.now))

    def take(self) -> None:
        """Take what can be taken, of ordinary ones or of suspects."""
        for kind in ("ordinary", "suspects"):
            real, played = getattr(self.backlog, kind), getattr(self.desk, kind)
            assert real.has_work == played.has_work
            if self.dice.random() < 0.5:
                continue
            given, shown = real.take(), played.take()
            assert self._facts(given) == self._facts(shown)
            if given is not None:
                self.taken[given.update_id] = given, shown

    def end(self) -> None:
        """One of those in hand ends, in one of all ways."""
        if not self.taken:
            return
        update_id = self.dice.choice(sorted(self.taken))
        real, played = self.taken.pop(update_id)
        later = self.now + self.dice.choice([0.0, 0.0, 5.0, 60.0])
        changes = {"attempt": real.attempt + 1, "due": later, "suspect": self.dice.random() < 0.3}
        changes["skipped"] = real.skipped or self.dice.random() < 0.2
        way = self.dice.randrange(4)
        for stands, update in ((self.backlog, real), (self.desk, played)):
            place: Any = stands
            if way == 0:
                place.finish(update, "done")
            elif way == 1:
                place.dead_letter(update, "no use", 1, FAILURE)
            elif way == 2:
                place.retry(replace(update, **changes), FAILURE)
            else:
                place.put_back(update, later)

    async def call(self) -> None:
        """One of those in hand makes a call, which ends or does not; both know the same calls."""
        if not self.taken:
            return
        real, played = self.taken[self.dice.choice(sorted(self.taken))]
        key, answer = self.dice.choice("xyz"), self.dice.choice([None, b"{}", b"[1]"])
        ends = self.dice.random() < 0.7
        for place, update in ((self.backlog, real), (self.desk, played)):
            place.calling(update, key)
            if ends:
                place.called(update, key, answer)
        await self.settle()
        await self.desk.wait_recorded()
        await self.backlog.wait_recorded()
        known = {call.key: call.answer for call in await self.backlog.calls(real)}
        assert known == {call.key: call.answer for call in await self.desk.calls(played)}

    @staticmethod
    def _facts(update: Waiting | None) -> Any:
        if update is None:
            return None
        return update.update_id, update.key, update.attempt, update.due, update.suspect, update.skipped


@pytest.mark.parametrize("seed", range(20))
async def test_a_desk_hands_out_and_keeps_what_a_backlog_does(seed: int) -> None:
    """New updates, all ways in which one ends, its calls, and time that goes on, in any order."""
    dice = random.Random(seed)
    places: list[Both] = []
    async with open_inbox(MemoryStore(), clock=lambda: places[0].now if places else START) as inbox:
        both = Both(inbox, dice)
        places.append(both)
        for _ in range(60):
            match dice.randrange(6):
                case 0 | 1:
                    await both.accept()
                case 2 | 3:
                    both.end()
                case 4:
                    await both.call()
                case _:
                    both.now += dice.choice([0.0, 1.0, 30.0])
            await both.settle()
            both.take()
        assert both.accepted > 5
