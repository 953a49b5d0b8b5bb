"""What changed in a row, and since when: pure, and independent of clients.

Each field of a row carries the number of the message that changed it last. So what a client has to be told
that knows everything up to some message is worked out from the rows alone, and nothing is kept for it.

Some figures run on by themselves, such as an uptime: they are not a change while they run as they should.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

RUNNING = ("uptime_ms", "last_heartbeat_age_ms")
"""Fields whose value grows with time. They change only when they begin anew."""
SLACK = 1000  # milliseconds by which such a field may be off before it counts as changed
BRIEF = 1000  # milliseconds; an update that is in flight for less is not worth a message
MOST_GONE = 1000  # rows that are gone and remembered


class Board:
    """The rows as the clients know them. The row of the daemon itself has the name None.

    Attributes:
        rows: the rows, in the order in which they came.
        floor: what a client knows that got fewer messages than this cannot be completed from the rows.
    """

    def __init__(self, floor: int) -> None:
        self.rows: dict[str | None, Row] = {}
        self.floor = floor
        self._gone: dict[str | None, None] = {}
        self._taken_at: dict[str | None, float] = {}
        self._seqs: dict[str | None, dict[str, int]] = {}
        self._last: dict[str | None, int] = {}  # the number of each row's last message, removed rows included

    def difference(self, name: str | None, row: Row | None, now: float) -> Row | bool | None:
        """What of a row changed: the fields; None: the row is gone; False: nothing.

        Args:
            name: the bot.
            row: the row as it is; None: there is no such bot.
            now: any clock's seconds.
        """
        known = self.rows.get(name)
        if row is None:
            return False if known is None else None
        if known is None:
            return row
        passed = (now - self._taken_at[name]) * 1000
        changed = {
            field: value
            for field, value in row.items()
            if field not in known or (value != known[field] and not _runs(field, known[field], value, passed))
        }
        changed |= {field: None for field in known.keys() - row.keys()}
        return changed or False

    def apply(self, name: str | None, row: Row | None, changed: Row | None, seq: int, now: float) -> None:
        """Note that the message `seq` has told this change, of :meth:`difference`."""
        self._last.pop(name, None)
        self._last[name] = seq  # the latest is the last
        self._gone.pop(name, None)
        if row is None or changed is None:
            self._forget(name)
            self.rows.pop(name, None)
            self._seqs.pop(name, None)
            self._taken_at.pop(name, None)
            return
        self._seqs.setdefault(name, {}).update(dict.fromkeys(changed, seq))
        known = self.rows.get(name, row)
        passed = (now - self._taken_at.get(name, now)) * 1000
        # what was not told keeps running from where the clients know it
        kept = {
            field: _run_on(known[field], passed)
            for field in RUNNING
            if field not in changed and field in known
        }
        self.rows[name] = {**row, **kept}
        self._taken_at[name] = now

    def _forget(self, name: str | None) -> None:
        self._gone[name] = None
        if len(self._gone) > MOST_GONE:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self.floor = max(self.floor, self._last.pop(oldest))

    def changed_since(self, seq: int) -> list[str | None]:
        """The names of the rows that changed after the message `seq`, those that are gone included."""
        names = []
        for name in reversed(self._last):
            if self._last[name] <= seq:
                break
            names.append(name)
        return names[::-1]

    def fields_since(self, name: str | None, seq: int) -> Row | None:
        """What of a row changed after the message `seq`; None: the row is gone."""
        if name not in self.rows:
            return None
        row = self.rows[name]
        return {field: row.get(field) for field, at in self._seqs[name].items() if at > seq}

    def rows_at(self, now: float) -> dict[str | None, Row]:
        """All rows, with the running figures as they are now."""
        rows: dict[str | None, Row] = {}
        for name, row in self.rows.items():
            passed = (now - self._taken_at[name]) * 1000
            rows[name] = {**row, **{field: _run_on(row[field], passed) for field in RUNNING if field in row}}
        return rows


def _run_on(value: Any, passed: float) -> Any:
    return value if value is None else round(value + passed)


def _runs(field: str, known: Any, value: Any, passed: float) -> bool:
    """Whether a field's new value says nothing new."""
    if field in RUNNING:
        return known is not None and value is not None and abs(known + passed - value) < SLACK
    return field == "health" and _steady(known) == _steady(value)


def _steady(health: Any) -> Any:
    """The health of a bot without how long its oldest update is in flight while that is brief."""
    if not isinstance(health, Mapping) or health.get("oldest_in_flight_ms", 0) >= BRIEF:
        return health
    return {**health, "oldest_in_flight_ms": 0}
