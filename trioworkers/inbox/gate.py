"""The gate: the one way in for a bot's updates, whatever transport brings them.

It asks the bot's judges about each update that did not come before, makes the batch durable, and reports what
came of each update. The exact check against duplicates is part of the commit; a judge is spared those that
are known by then.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
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

Judge: TypeAlias = Callable[[Arrival], Judgement | Awaitable[Judgement]]


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
        verdicts = await self._judge_new(arrivals, judges) if judges else {}
        stored = self._emit_stored if self._events.hears("update.stored") else None
        results = await self._inbox.accept(self._bot_id, arrivals, verdicts, stored)
        if judges and arrivals:
            self._remember(arrivals)
        admissions = [_admission(result, verdicts.get(place)) for place, result in enumerate(results)]
        self._report(arrivals, admissions)
        return admissions

    async def _judge_new(
        self, arrivals: Sequence[Arrival], judges: Sequence[Judge]
    ) -> dict[int, GateVerdict]:
        """The verdicts about the updates that are not known, by their places; none keeps the update."""
        known = await self._known([arrival.update_id for arrival in arrivals])
        verdicts: dict[int, GateVerdict] = {}
        for place, arrival in enumerate(arrivals):
            if arrival.update_id not in known and not arrival.broken:  # what nobody can decode, no judge can
                known.add(arrival.update_id)  # twice in one batch: the second is a duplicate
                verdict = judge(arrival, judges)
                if verdict is not None and not isinstance(verdict, (tuple, Drop)):
                    verdict = await verdict
                if verdict is not None:
                    verdicts[place] = verdict
        return verdicts

    async def _known(self, update_ids: list[int]) -> set[int]:
        """Those of these ids that came before.

        The store is asked only about ids that do not lie above all that came here: Telegram's ascend, and a
        question would hold up each batch, and the commits of all bots.
        """
        known = {update_id for update_id in update_ids if update_id in self._recent}
        doubtful = [one for one in update_ids if one <= self._highest and one not in known]
        if doubtful:
            known |= await self._inbox.known(self._bot_id, doubtful)
        return known

    def _remember(self, arrivals: Sequence[Arrival]) -> None:
        """These are durable."""
        came = [arrival.update_id for arrival in arrivals]
        highest = max(came, default=-math.inf)
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


def judge(
    arrival: Arrival, judges: Sequence[Judge], kept: tuple[Once | StoreWrite, ...] = ()
) -> GateVerdict | Coroutine[None, None, GateVerdict | None] | None:
    """Ask the judges about an update; None keeps it without a condition.

    The verdict has to be awaited only where a judgement has to be: most judges are plain functions, and a
    coroutine for each update would take a tenth of their time.

    Args:
        arrival: the update.
        judges: those that are asked, in this order.
        kept: what those before them answered.

    Raises:
        TypeError: a judge answered something that is not a judgement.
        Exception: whatever a judge raised.
    """
    for place, ask in enumerate(judges):
        judgement = ask(arrival)
        if judgement is None:
            continue
        if type(judgement) is Once:  # the usual one; isinstance of an Awaitable takes longer than all else
            kept = (*kept, judgement)
            continue
        if isinstance(judgement, Drop):
            return judgement
        if isinstance(judgement, Awaitable):
            return _judge_on(judgement, arrival, judges[place + 1 :], kept)
        kept = (*kept, *_parts(judgement))
    return kept or None


async def _judge_on(
    first: Awaitable[Judgement],
    arrival: Arrival,
    judges: Sequence[Judge],
    kept: tuple[Once | StoreWrite, ...],
) -> GateVerdict | None:
    """Await a judgement, then ask the judges that are left."""
    judgement = await first
    if isinstance(judgement, Drop):
        return judgement
    verdict = judge(arrival, judges, (*kept, *_parts(judgement)))
    if verdict is None or isinstance(verdict, (tuple, Drop)):
        return verdict
    return await verdict


def _parts(judgement: object) -> tuple[Once | StoreWrite, ...]:
    answers = judgement if isinstance(judgement, tuple) else () if judgement is None else (judgement,)
    for part in answers:
        if not isinstance(part, Once | StoreWrite):
            message = f"a judge answered {type(part).__name__}, expected Drop, Once, a tuple or None"
            raise TypeError(message)
    return answers


def _admission(result: ArrivalResult, verdict: GateVerdict | None) -> Admission:
    if isinstance(result, Kept):
        return _STORED
    if result is DUPLICATE:
        return _DUPLICATE
    if isinstance(verdict, Drop):
        return Dropped(verdict.reason)
    for part in verdict or ():
        if isinstance(part, Once) and isinstance(result, OnceSeen) and part.key == result.key:
            return Dropped(part.reason, part.level)
    return _ONCE_SEEN
