"""Events of updates as lines of `trace.log`, and the choice of those that are kept. Pure."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from trioworkers_plugins.trace.ids import in_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers import Event

TRACED = frozenset(
    {
        "update.stored",
        "update.delivered",
        "update.call",
        "update.returned",
        "update.done",
        "update.dropped",
        "update.expired",
        "update.repeated",
        "update.retried",
        "update.diverged",
        "update.dead",
    }
)
"""The events about one update."""

FINISHED = frozenset({"update.done", "update.dropped", "update.expired", "update.dead"})
"""After these an update has no further events, unless it is a dead letter that is replayed."""

FIELDS = frozenset(
    {
        *("dialog", "update_id", "kind", "accepted_at", "waited", "attempt", "attempts", "took", "total"),
        *("wait", "counted", "call", "calls", "unknown", "result", "error", "reason"),
    }
)
"""What is written of an event: ids, states and times. A field that is added to an event is not written until
it is named here."""

MOST_KEPT = 10_000  # failed updates outside of the sample that are followed at a time

_encode_lines = msgspec.json.Encoder(enc_hook=str).encode_lines


class Sample:
    """Chooses the events that are kept.

    All events of an update are kept or none, by its trace id. An update that fails is kept from its failure
    on; `most` of these are followed at a time.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._failed: OrderedDict[str, None] = OrderedDict()

    def chosen(self, events: Iterable[Event], share: float) -> list[Event]:
        """Those of the events that are kept; `share`: of all updates, 0 to 1."""
        if share >= 1.0:
            return [event for event in events if event.trace_id is not None]
        return [event for event in events if event.trace_id is not None and self._keeps(event, share)]

    def _keeps(self, event: Event, share: float) -> bool:
        id_, name = event.trace_id or "", event.event
        if in_sample(id_, share):
            return True
        if name in ("update.retried", "update.dead"):
            self._failed[id_] = None
            if len(self._failed) > self._most:
                self._failed.popitem(last=False)
        kept = id_ in self._failed
        if kept and name in FINISHED:
            del self._failed[id_]
        return kept


def encode(events: Iterable[Event]) -> bytes:
    """The events as lines of JSON."""
    return bytes(_encode_lines([_line(event) for event in events]))


def lost(count: int, at: float) -> bytes:
    """The line that reports how many events could not be written."""
    return bytes(_encode_lines([{"event": "trace.lost", "level": "warn", "at": stamp(at), "count": count}]))


def stamp(at: float) -> str:
    """Unix seconds as the `at` of a line, in microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _line(event: Event) -> dict[str, Any]:
    return {
        "event": event.event,
        "level": event.level,
        "at": stamp(event.at),
        "bot": event.bot,
        "trace_id": event.trace_id,
        **{name: value for name, value in event.fields.items() if name in FIELDS},
    }
