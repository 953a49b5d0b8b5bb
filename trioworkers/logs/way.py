"""The way of one update, put together from what the logs hold about it. Pure.

Lines come from three kinds of logs: `master.log` and `trace.log`, which the daemon writes, and the logs of
bots, which hold whatever a bot printed. So a bot's line is never taken for an event of the daemon.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MASTER, TRACE = "master.log", "trace.log"
LATEST = 253_402_300_800.0  # Unix seconds; what a bot calls a time may lie beyond the year 9999 in UTC
LOST = b'{"event":"trace.lost"'
SOON = 60.0  # seconds after the last line of an update within which the loss of one is reported
ENDS = frozenset({"update.done", "update.dead", "update.dropped", "update.expired"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line about an update.

    Attributes:
        source: the name of the log, without the number of a rotated file.
        at: Unix seconds.
        told: the line itself.
    """

    source: str
    at: float
    told: Mapping[str, Any]

    @property
    def is_event(self) -> bool:
        """Whether the daemon wrote it."""
        return self.source in (MASTER, TRACE)


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of one update.

    Attributes:
        trace_id: its trace id.
        bot: its bot's name; None when no line of the daemon was found.
        dialog: its dialog.
        began_at: when it was accepted, or else the time of the first line; Unix seconds.
        lines: in the order of their times.
        missing: what may be missing, and why, in sentences without a full stop.
    """

    trace_id: str
    bot: str | None
    dialog: str | None
    began_at: float
    lines: Sequence[Line]
    missing: Sequence[str]


def find_lines(source: str, lines: Iterable[bytes], prefix: str, lost: list[float]) -> Iterator[Line]:
    """Yield those of a log's lines whose trace id begins with `prefix`.

    `lost` gets the times at which the log says that lines were lost before.
    """
    needle = prefix.encode()
    for line in lines:
        is_loss = source == TRACE and line.startswith(LOST)
        if needle not in line and not is_loss:
            continue
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if is_loss and (lost_at := _unix(told.get("at"))) is not None:
            lost.append(lost_at)
        if not isinstance(told, dict) or "event" not in told:
            continue
        id_, at = told.get("trace_id"), _unix(told.get("at"))
        if at is not None and isinstance(id_, str) and id_.startswith(prefix):
            yield Line(source, at, told)


def way_of(lines: Iterable[Line], *, has_trace_log: bool, lost: Iterable[float] = ()) -> Way:
    """Put the lines about one update together; there is at least one. `lost`: when lines were lost.

    An event that both logs of the daemon have is kept once, as `trace.log` has it, whose times are finer;
    one that a bot's log has, too, is kept as the daemon's.
    """
    lines = sorted(_without_doubles(list(lines)), key=lambda line: line.at)
    events = [line.told for line in lines if line.is_event]
    times = [told["accepted_at"] for told in events if isinstance(told.get("accepted_at"), float)]
    began_at = min([lines[0].at, *times])
    is_lossy = any(began_at <= at <= lines[-1].at + SOON for at in lost)
    return Way(
        trace_id=str(lines[0].told["trace_id"]),
        bot=_first(events, "bot"),
        dialog=_first(events, "dialog"),
        began_at=began_at,
        lines=lines,
        missing=_missing(events, has_trace_log=has_trace_log, is_lossy=is_lossy),
    )


def _without_doubles(lines: list[Line]) -> Iterator[Line]:
    traced = Counter(_moment(line) for line in lines if line.source == TRACE)
    events = {_moment(line) for line in lines if line.is_event}
    for line in lines:
        if not line.is_event and _moment(line) in events:  # the daemon's own, in the bot's log, too
            continue
        if line.source == MASTER and traced[_moment(line)] > 0:
            traced[_moment(line)] -= 1
        else:
            yield line


def _moment(line: Line) -> tuple[str, str, str]:
    """What the lines of one event have in common: `master.log` has milliseconds, cut off."""
    told = line.told
    return str(told["event"]), str(told["at"])[: len("2026-01-01T00:00:00.000")], str(told.get("call"))


def _missing(events: Sequence[Mapping[str, Any]], *, has_trace_log: bool, is_lossy: bool) -> list[str]:
    names = {str(told["event"]) for told in events}
    missing = []
    if "update.delivered" not in names:
        missing.append(
            "trace.log does not have this update: it is not in the sample, or its lines were rotated away"
            if has_trace_log
            else "steps of the level debug were not logged: the trace plugin is off (no [plugins.trace] in "
            'the fleet file), and log.level was not "debug"'
        )
    elif "update.stored" not in names and not names & {"update.retried", "update.returned"}:
        missing.append("the beginning is not logged: it was rotated away, or logged at a higher level")
    if not names & ENDS:
        missing.append("no end is logged: the update waits or is in flight, or its end was not logged")
    if any("repeats" in told for told in events):
        missing.append("of repeated lines only some are in master.log (log.throttle_window)")
    if is_lossy:
        missing.append("trace.log lost lines of this time: they came too fast, or the disk was full")
    return missing


def _first(events: Iterable[Mapping[str, Any]], name: str) -> str | None:
    return next((told[name] for told in events if isinstance(told.get(name), str)), None)


def _unix(at: object) -> float | None:
    """The Unix seconds of a line's time; None when it is not one that could be shown."""
    try:
        moment = datetime.fromisoformat(str(at))
        unix = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return unix if 0 <= unix < LATEST else None
