"""The table of `bench all`, as Markdown: products side by side, and ours by the best other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.products import OURS, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Mapping

EVEN = 0.05  # of the best other: what one run differs from the next


@dataclass(frozen=True)
class Figure:
    """A line for each number of bots.

    Attributes:
        title: what it is, with `{bots}` for their number.
        factor: from what was measured to the unit of the table.
        form: how a value is written.
        more: whether more of it is better; None if it is told, not compared.
    """

    title: str
    factor: float
    form: str
    more: bool | None = False


FIGURES = {
    "start": Figure("start until all {bots} poll", 1, "{:.1f} s"),
    "start of one": Figure("start, for each of {bots}", 1000, "{:.0f} ms"),
    "memory": Figure("memory for each of {bots}, fresh", 1, "{:.1f} MB"),
    "memory worked": Figure("memory for each of {bots}, worked", 1, "{:.1f} MB"),
    "burst": Figure("burst, {bots} bots", 1, "{:,.0f}/s", more=True),
    "cpu": Figure("CPU of one update in it, {bots} bots", 1e6, "{:.0f} µs"),
    "stand-in": Figure("the stand-in's own, {bots} bots", 1e6, "{:.0f} µs", more=None),
    "disordered": Figure("answers out of their chat's order in it, {bots} bots", 1, "{:.0f}", more=None),
    "p50": Figure("latency at 200/s, {bots} bots, median", 1000, "{:.1f} ms"),
    "p99": Figure("latency at 200/s, {bots} bots, 99 %", 1000, "{:.1f} ms"),
    "idle": Figure("idle CPU of {bots} bots", 100, "{:.1f} %"),
    "lost": Figure("lost of 600, half of {bots} bots killed", 1, "{:.0f}"),
    "twice": Figure("answered twice", 1, "{:.0f}", more=None),
    "lost daemon": Figure("lost of 600, the daemon killed, too, {bots} bots", 1, "{:.0f}", more=None),
    "twice daemon": Figure("answered twice", 1, "{:.0f}", more=None),
}


def table(kept: Mapping[str, Mapping[str, float]], counts: list[int], names: list[str]) -> list[str]:
    """The lines of what was measured of these products at these sizes."""
    titles = [PRODUCTS[name].title for name in names]
    lines = [f"| | {' | '.join(titles)} | ours ÷ best other |", "| --- " * (len(names) + 2) + "|"]
    for key, figure in FIGURES.items():
        for count in counts:
            values = {name: kept.get(f"{name} {count}", {}).get(key) for name in names}
            if any(value is not None for value in values.values()):
                cells = [_cell(figure, value) for value in values.values()]
                title = figure.title.format(bots=count)
                lines.append(f"| {title} | {' | '.join(cells)} | {_ratio(figure, values)} |")
    return lines


def _cell(figure: Figure, value: float | None) -> str:
    return "" if value is None else figure.form.format(value * figure.factor)


def _ratio(figure: Figure, values: Mapping[str, float | None]) -> str:
    """Ours divided by the best of the others, and whether that is ahead."""
    ours = values.get(OURS)
    others = [value for name, value in values.items() if name != OURS and value is not None]
    if figure.more is None or ours is None or not others:
        return ""
    best = max(others) if figure.more else min(others)
    if abs(ours - best) <= EVEN * best:
        return "even"
    ahead = (ours > best) == figure.more
    ratio = f"{ours / best:.2f}" if best else "∞"
    return f"{ratio}, {'ahead' if ahead else 'behind'}"
