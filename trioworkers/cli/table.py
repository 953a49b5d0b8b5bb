"""Tables of the commands: whole where a program reads them, as wide as the screen for a person. Pure.

A cell is never cut. On a terminal, columns are left out, the least important first, until the rows fit. A
text of any length stands last, on lines of its own where there is little room beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trioworkers.cli.shown import Paper

GAP = 2  # columns between two cells
ALWAYS = 99
INDENT = 4  # of a text on lines of its own


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `keep`: columns with a lower one are left out first; those with `ALWAYS` never are.

    `is_text`: it holds sentences; it has to be the last column. Columns with a lower `keep` give way to it,
    until it has `least` columns or fits; when that is not enough, it has lines of its own.
    """

    title: str
    keep: int = ALWAYS
    is_right: bool = False
    is_text: bool = False
    least: int = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell in a colour that `click.style` knows."""

    text: str
    colour: str | None = None


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], paper: Paper) -> list[str]:
    """The lines of a table with its titles; `rows` have a cell for each of the columns."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [
        max(len(column.title), *(len(row[place].text) for row in cells)) if cells else len(column.title)
        for place, column in enumerate(columns)
    ]
    text = next((place for place, column in enumerate(columns) if column.is_text), None)
    shown, is_below = _fitting(columns, widths, paper.width)
    beside = sum(widths[place] + GAP for place in shown)
    left = 0 if paper.width is None else paper.width - beside
    head = _line(columns, [Cell(column.title) for column in columns], shown, widths, has_colours=False)
    if text is not None and not is_below:
        head += columns[text].title
    lines = [click.style(head.rstrip(), bold=True) if paper.has_colours else head.rstrip()]
    for row in cells:
        line = _line(columns, row, shown, widths, has_colours=paper.has_colours)
        words = "" if text is None else row[text].text
        if not words:
            lines.append(line.rstrip())
        elif is_below:
            lines += [line.rstrip(), *folded(words, paper.width, " " * INDENT, " " * INDENT)]
        else:
            first, *more = [words] if paper.width is None else folded(words, left, "", "")
            lines.append(line + first)
            lines += [" " * beside + part for part in more]
    return lines


def folded(line: str, width: int | None, indent: str = "", further: str = "    ") -> list[str]:
    """The line on as many lines as the screen needs; whole where a program reads it. Words are never cut."""
    if width is None:
        return [indent + line]
    return wrap(
        line,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> tuple[list[int], bool]:
    """The columns that are shown, without the text; and whether that has lines of its own."""
    plain = [place for place, column in enumerate(columns) if not column.is_text]
    text = next((place for place, column in enumerate(columns) if column.is_text), None)
    if width is None:
        return plain, False
    if text is not None:
        keep = columns[text].keep
        needed = min(widths[text], columns[text].least)
        beside = _without(columns, plain, widths, width - GAP - needed, lambda column: column.keep < keep)
        if _total(beside, widths) + GAP + needed <= width:
            return beside, False
    return _without(columns, plain, widths, width, lambda column: True), True


def _without(
    columns: Sequence[Column],
    shown: Sequence[int],
    widths: Sequence[int],
    width: int,
    may_go: Callable[[Column], bool],
) -> list[int]:
    """The columns but for the least important ones that may go, if the others do not fit."""
    may_leave = [place for place in shown if columns[place].keep < ALWAYS and may_go(columns[place])]
    left = [place for place in shown if place not in may_leave]
    for place in sorted(may_leave, key=lambda place: -columns[place].keep):
        if _total([*left, place], widths) <= width:
            left.append(place)
    return sorted(left)


def _total(shown: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[place] + GAP for place in shown) - GAP


def _line(
    columns: Sequence[Column],
    row: Sequence[Cell],
    shown: Sequence[int],
    widths: Sequence[int],
    *,
    has_colours: bool,
) -> str:
    def parts() -> Iterator[str]:
        for place in shown:
            text, width = row[place].text, widths[place]
            padded = text.rjust(width) if columns[place].is_right else text.ljust(width)
            colour = row[place].colour if has_colours else None
            yield click.style(padded, fg=colour) if colour else padded
            yield " " * GAP

    return "".join(parts())
