"""The gate: the one way in for a bot's updates, whatever transport brings them.

It asks the bot's judges about each update that did not come before, makes the batch durable, and reports what
came of each update. The exact check against duplicates is part of the commit; a judge is spared those that
are known by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trioworkers.errors import Drop
from trioworkers.inbox.store import DUPLICATE, Kept
from trioworkers.records import Arrival, Once, trace_id

if TYPE_CHECKING:
    from trioworkers.events import Events
    from trioworkers.inbox.inbox import GateVerdict, Inbox
    from trioworkers.inbox.store import ArrivalResult

Judgement: TypeAlias = Drop | Once | tuple[Once, ...] | None
"""What becomes of an update: `Drop(reason)` drops it, a `Once` drops it if its key counts, None keeps it."""

Judge: TypeAlias = Callable[[Arrival], Judgement]

ONCE_SEEN = "another update of the same key came within the window"  # the key itself may tell content


@dataclass(frozen=True, slots=True)
class Stored:
    """The update is durable, and will be handled."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The update came before."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The update will not be handled; its id is durable, so that it is a duplicate when it comes again."""

    reason: str


Admission: TypeAlias = Stored | Duplicate | Dropped
_STORED, _DUPLICATE, _ONCE_SEEN = Stored(), Duplicate(), Dropped(ONCE_SEEN)


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
        events: told `update.accepted` for each batch and `update.dropped` for each dropped update.
        judges: asked in this order about each update that is not known; the first `Drop` decides, the keys
            of all others hold together.
    """

    def __init__(
        self, bot: str, bot_id: int, inbox: Inbox, events: Events, judges: Sequence[Judge] = ()
    ) -> None:
        self._bot = bot
        self._bot_id = bot_id
        self._inbox = inbox
        self._events = events
        self._judges = judges

    async def offer(self, arrivals: Sequence[Arrival]) -> Sequence[Admission]:
        """Admit or drop a batch; return one admission for each update, in order.

        A caller that is cancelled does not know what came of the batch, and has to offer it again. Where two
        transports offer an update at the same moment, the judges may be asked about it twice.

        Raises:
            StoreError: nothing of the batch is durable.
            Exception: whatever a judge raised; nothing of the batch is durable.
        """
        verdicts = await self._judge_new(arrivals) if self._judges else {}
        results = await self._inbox.accept(self._bot_id, arrivals, verdicts)
        admissions = [_admission(result, verdicts.get(place)) for place, result in enumerate(results)]
        self._report(arrivals, admissions)
        return admissions

    async def _judge_new(self, arrivals: Sequence[Arrival]) -> dict[int, GateVerdict]:
        """The verdicts about the updates that are not known, by their places; none keeps the update."""
        known = await self._inbox.known(self._bot_id, [arrival.update_id for arrival in arrivals])
        verdicts: dict[int, GateVerdict] = {}
        for place, arrival in enumerate(arrivals):
            if arrival.update_id not in known:
                known.add(arrival.update_id)  # twice in one batch: the second is a duplicate
                verdict = judge(arrival, self._judges)
                if verdict is not None:
                    verdicts[place] = verdict
        return verdicts

    def _report(self, arrivals: Sequence[Arrival], admissions: Sequence[Admission]) -> None:
        if not (self._events.hears("update.accepted") or self._events.hears("update.dropped")):
            return
        new, duplicates = admissions.count(_STORED), admissions.count(_DUPLICATE)
        dropped = len(admissions) - new - duplicates
        self._events.emit(
            "update.accepted", self._bot, new=new, duplicates=duplicates, dropped=dropped or None
        )
        if not dropped:
            return
        for arrival, admission in zip(arrivals, admissions, strict=True):
            if isinstance(admission, Dropped):
                self._events.emit(
                    "update.dropped",
                    self._bot,
                    trace_id=trace_id(self._bot_id, arrival.update_id),
                    dialog=f"{self._bot}/{arrival.key}",
                    reason=admission.reason,
                )


def judge(arrival: Arrival, judges: Sequence[Judge]) -> GateVerdict | None:
    """Ask the judges about an update; None keeps it without a condition.

    Raises:
        TypeError: a judge answered something that is not a judgement.
        Exception: whatever a judge raised.
    """
    keys: list[Once] = []
    for ask in judges:
        judgement = ask(arrival)
        if isinstance(judgement, Drop):
            return judgement
        answers = judgement if isinstance(judgement, tuple) else () if judgement is None else (judgement,)
        for once in answers:
            if not isinstance(once, Once):
                message = (
                    f"a judge answered {type(once).__name__}, expected Drop, Once, Onces in a tuple or None"
                )
                raise TypeError(message)
            keys.append(once)
    return tuple(keys) or None


def _admission(result: ArrivalResult, verdict: GateVerdict | None) -> Admission:
    if isinstance(result, Kept):
        return _STORED
    if result is DUPLICATE:
        return _DUPLICATE
    return Dropped(verdict.reason) if isinstance(verdict, Drop) else _ONCE_SEEN
