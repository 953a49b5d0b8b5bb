"""The gate: the one way in for a bot's updates, whatever transport brings them.

It asks the bot's judges about each update that did not come before, makes the batch durable, and reports what
came of each update. The exact check against duplicates is part of the commit; a judge is spared those that
are known by then.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trioworkers.arrivals import with_own_lane
from trioworkers.errors import Drop
from trioworkers.inbox.store import DUPLICATE, Kept, OnceSeen, StoreWrite
from trioworkers.records import ONCE_SEEN, Arrival, Once, trace_id

if TYPE_CHECKING:
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import GateVerdict, Inbox
    from trioworkers.inbox.store import ArrivalResult
    from trioworkers.records import Waiting

Judgement: TypeAlias = Drop | Once | tuple[Once | StoreWrite, ...] | None
"""What becomes of an update: `Drop(reason)` drops it, a `Once` drops it if its key counts, None keeps it.

A `StoreWrite` is committed in the transaction of the update, if that is kept.
"""

Judge: TypeAlias = Callable[[Sequence[Arrival]], list[Judgement] | Awaitable[list[Judgement]]]
"""Answers with one judgement for each of these updates, in order."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The update is durable, and will be handled."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The update came before."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The update will not be handled; its id is durable, so that it is a duplicate when it comes again.

    `level`: of the event that says so.
    """

    reason: str
    level: str = "debug"


Admission: TypeAlias = Stored | Duplicate | Dropped
MOST_RECENT = 2000  # ids that a gate remembers at least, and twice as many at most
_STORED, _DUPLICATE, _ONCE_SEEN = Stored(), Duplicate(), Dropped(ONCE_SEEN)  # made once for all


class TakesUpdates(Protocol):
    """Where a transport offers what it received. :class:`Gate` is the one of the daemon."""

    async def offer(self, arrivals: Sequence[Arrival]) -> Sequence[Admission]:
        """Admit or drop a batch; return one admission for each update, in order.

        When it returns, the batch may be confirmed to Telegram.

        Raises:
            StoreError: nothing of the batch is durable.
        """


class Gate:
    """One bot's gate.

    Args:
        bot: the bot's name in events.
        bot_id: whose updates they are.
        inbox: where they become durable.
        events: told `update.accepted` for each batch, `update.stored` or `update.dropped` for each update.
        judges: gives those that are asked now, in this order, about each update that is not known; the first
            `Drop` decides, the keys of all others hold together.
        apart: whether callbacks have lanes of their own now.
    """

    def __init__(
        self,
        bot: str,
        bot_id: int,
        inbox: Inbox,
        events: Events,
        judges: Callable[[], Sequence[Judge]] = tuple,
        apart: Callable[[], bool] = lambda: False,
    ) -> None:
        self._bot = bot
        self._bot_id = bot_id
        self._inbox = inbox
        self._events = events
        self._judges = judges
        self._apart = apart
        self._highest = math.inf  # of the ids that came here; inf: nothing is known of what came before
        self._recent: dict[int, None] = {}  # ids that came here, the oldest first

    async def offer(self, arrivals: Sequence[Arrival]) -> Sequence[Admission]:
        """Admit or drop a batch; return one admission for each update, in order.

        A caller that is cancelled does not know what came of the batch, and has to offer it again. Where two
        transports offer an update at the same moment, the judges may be asked about it twice; so they may for
        one that came in an earlier run, with an id above all that came in this one.

        Raises:
            StoreError: nothing of the batch is durable.
            Exception: whatever a judge raised; nothing of the batch is durable.
        """
        if self._apart():
            arrivals = [with_own_lane(arrival) for arrival in arrivals]
        judges = self._judges()
        verdicts = await self._judge_new(arrivals, judges) if judges else ()
        stored = self._emit_stored if self._events.hears("update.stored") else None
        results = await self._inbox.accept(self._bot_id, arrivals, verdicts, stored)
        if judges and arrivals:
            self._remember(arrivals)
        if verdicts:
            admissions = [*map(_admission, results, verdicts)]
        else:
            admissions = [_admission(result) for result in results]
        self._report(arrivals, admissions)
        return admissions

    async def _judge_new(self, arrivals: Sequence[Arrival], judges: Sequence[Judge]) -> Sequence[GateVerdict]:
        """The verdicts about these updates; what came before has none, and no judge is asked about it."""
        before = self._highest
        for arrival in arrivals:  # nearly all batches are new from the first to the last
            if arrival.update_id <= before or arrival.broken:
                break
            before = arrival.update_id
        else:
            return await judge(arrivals, judges)
        known = await self._known([arrival.update_id for arrival in arrivals])
        verdicts: list[GateVerdict] = [()] * len(arrivals)
        places: list[int] = []
        for place, arrival in enumerate(arrivals):
            if arrival.update_id not in known and not arrival.broken:  # what nobody can decode, no judge can
                known.add(arrival.update_id)  # twice in one batch: the second is a duplicate
                places.append(place)
        judged = await judge([arrivals[place] for place in places], judges)
        for place, verdict in zip(places, judged, strict=True):
            verdicts[place] = verdict
        return verdicts

    async def _known(self, update_ids: list[int]) -> set[int]:
        """Those of these ids that came before.

        The store is asked only about ids that do not lie above all that came here: Telegram's ascend, and a
        question would hold up each batch, and the commits of all bots.
        """
        doubtful = [one for one in update_ids if one <= self._highest]
        known = {update_id for update_id in doubtful if update_id in self._recent}
        if len(known) < len(doubtful):
            asked = [one for one in doubtful if one not in known]
            known |= await self._inbox.known(self._bot_id, asked)
        return known

    def _remember(self, arrivals: Sequence[Arrival]) -> None:
        """These are durable."""
        came = [arrival.update_id for arrival in arrivals]
        highest = max(came)
        self._highest = highest if self._highest == math.inf else max(self._highest, highest)
        self._recent.update(dict.fromkeys(came))
        if len(self._recent) > 2 * MOST_RECENT:
            self._recent = dict.fromkeys(list(self._recent)[-MOST_RECENT:])

    def _emit_stored(self, updates: Sequence[Waiting]) -> None:
        for update in updates:
            self._events.emit(
                "update.stored",
                self._bot,
                trace_id=trace_id(self._bot_id, update.update_id),
                dialog=f"{self._bot}/{update.key}",
                update_id=update.update_id,
                kind=update.kind,
                accepted_at=update.accepted_at,
            )

    def _report(self, arrivals: Sequence[Arrival], admissions: Sequence[Admission]) -> None:
        new, duplicates = admissions.count(_STORED), admissions.count(_DUPLICATE)
        dropped = len(admissions) - new - duplicates
        if self._events.hears("update.accepted"):
            self._events.emit(
                "update.accepted", self._bot, new=new, duplicates=duplicates, dropped=dropped or None
            )
        if not dropped:
            return
        for arrival, admission in zip(arrivals, admissions, strict=True):
            if isinstance(admission, Dropped) and self._events.hears("update.dropped", admission.level):
                self._events.emit(
                    "update.dropped",
                    self._bot,
                    trace_id=trace_id(self._bot_id, arrival.update_id),
                    dialog=f"{self._bot}/{arrival.key}",
                    level=admission.level,
                    reason=admission.reason,
                )


async def judge(arrivals: Sequence[Arrival], judges: Sequence[Judge]) -> Sequence[GateVerdict]:
    """Ask the judges about updates; one verdict for each, in order. An empty one keeps it unconditionally.

    Each judge is asked about all of them together but those that a judge before it has dropped: what guards
    a judge would take as long as the judge, if it were around each update.

    Raises:
        TypeError: a judge answered something that is not a judgement.
        Exception: whatever a judge raised.
    """
    kept: list[tuple[Once | StoreWrite, ...]] = [()] * len(arrivals)
    dropped: dict[int, Drop] = {}
    asked: Sequence[Arrival] = arrivals
    places: Sequence[int] = range(len(arrivals))
    for ask in judges:
        if dropped:
            places = [place for place in places if place not in dropped]
            asked = [arrivals[place] for place in places]
        if not places:
            break
        answers = ask(asked)
        judgements = answers if isinstance(answers, list) else await answers
        for place, judgement in zip(places, judgements, strict=True):
            if type(judgement) is Once:  # the usual one
                kept[place] += (judgement,)
            elif isinstance(judgement, Drop):
                dropped[place] = judgement
            elif judgement is not None:
                kept[place] += _parts(judgement)
    return [dropped.get(place, kept[place]) for place in range(len(arrivals))] if dropped else kept


def _parts(judgement: object) -> tuple[Once | StoreWrite, ...]:
    answers = judgement if isinstance(judgement, tuple) else (judgement,)
    for part in answers:
        if not isinstance(part, Once | StoreWrite):
            message = f"a judge answered {type(part).__name__}, expected Drop, Once, a tuple or None"
            raise TypeError(message)
    return answers


def _admission(result: ArrivalResult, verdict: GateVerdict = ()) -> Admission:
    if isinstance(result, Kept):
        return _STORED
    if result is DUPLICATE:
        return _DUPLICATE
    if isinstance(verdict, Drop):
        return Dropped(verdict.reason)
    for part in verdict:
        if isinstance(part, Once) and isinstance(result, OnceSeen) and part.key == result.key:
            return Dropped(part.reason, part.level)
    return _ONCE_SEEN
