"""Figures as people read them, in few columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trioworkers.logs.render import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
ABSURD = 10**15  # no memory, uptime or count comes near it; a worker, which runs a bot's code, may report any


def plain(text: object) -> str:
    """A text of others on one line, without what would steer the terminal."""
    return printable(str(text).replace("\n", " ")).replace("\t", " ")


def span(milliseconds: float | None) -> str:
    """A long time: `42s`, `7m 05s`, `3h 12m`, `9d 04h`."""
    if milliseconds is None:
        return "-"
    if not -ABSURD < milliseconds < ABSURD:
        return "?"
    seconds = int(milliseconds) // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600:02}h"


def moment(unix: float) -> str:
    """A moment in UTC, as logs begin their lines: `2026-11-24T02:36:51Z`."""
    try:
        return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "?"


def clock(unix: float) -> str:
    """The time of that moment: `02:36:51Z`."""
    return moment(unix).rpartition("T")[2]


def shortened(names: Sequence[str], width: int, *, is_plain: bool = False) -> list[str]:
    """The names in so many columns, cut where they still differ: at the end, in the middle or in front.

    Names that no cut keeps apart are returned whole.
    """
    mark = "~" if is_plain else "…"
    left = width - len(mark)
    half = left // 2
    if left < 1:
        return list(names)
    for kept in (left, left - half, 0):  # columns of the beginning; the others are of the end
        short = [
            name if len(name) <= width else name[:kept] + mark + name[len(name) - (left - kept) :]
            for name in names
        ]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def brief(milliseconds: float | None) -> str:
    """A short time: `0.4ms`, `12ms`, `1.5s`, `3m 07s`."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10:
        return f"{milliseconds:.1f}ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f}ms"
    return f"{milliseconds / 1000:.1f}s" if milliseconds < 60_000 else span(milliseconds)


def size(number: float | None) -> str:
    """Bytes: `29 MB`, `1.2 GB`."""
    if number is None:
        return "-"
    if not -ABSURD < number < ABSURD:
        return "?"
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.1f} MB"


def count(number: float | None) -> str:
    """A count in at most six columns: `7`, `12,345`, `1.2M`."""
    if number is None:
        return "-"
    if not -ABSURD < number < ABSURD:
        return "?"
    if number < 100_000:
        return f"{number:,.0f}"
    return (
        f"{number / 1e3:.0f}k"
        if number < 1e6
        else f"{number / 1e6:.1f}M"
        if number < 1e9
        else f"{number / 1e9:.1f}G"
    )


def rate(number: float) -> str:
    """Updates per second: `0`, `0.4`, `12`."""
    return "0" if number == 0 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def spark(values: Sequence[float], width: int, *, is_plain: bool = False) -> str:
    """The last `width` values as bars, the latest at the right; empty where none of them is above 0."""
    latest = list(values)[-width:]
    most = max(latest, default=0)
    if most <= 0 or is_plain:
        return ""
    bars = (
        BARS[min(len(BARS) - 1, round(value / most * (len(BARS) - 1)))] if value else " " for value in latest
    )
    return "".join(bars).rjust(width)
