"""What commands show: texts of others made harmless, times, counts, and how wide the screen is."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from trioworkers.top.words import moment

__all__ = ["Paper", "counted", "find_paper", "moment", "printable", "printable_lines"]


@dataclass(frozen=True, slots=True)
class Paper:
    """What a command prints on.

    Attributes:
        width: columns of the terminal; None: it is a file or a program, for which nothing is cut or left out.
        has_colours: whether words may be coloured.
    """

    width: int | None = None
    has_colours: bool = False


def find_paper() -> Paper:
    """Standard output, as it is. `COLUMNS` counts on a terminal only, and `NO_COLOR` is obeyed."""
    if not sys.stdout.isatty():
        return Paper()
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(max(20, shutil.get_terminal_size().columns), colours)


def printable(text: str) -> str:
    """The text on one line, without what would steer a terminal; lines are joined by spaces."""
    joined = " ".join(text.split("\n")).replace("\t", " ")
    return "".join(character if character.isprintable() else "?" for character in joined)


def printable_lines(text: str) -> str:
    """The text without what would steer a terminal, its lines kept."""
    return "\n".join(map(printable, text.splitlines()))


def counted(number: int, what: str) -> str:
    """`1 dead letter`, `12,000 dead letters`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
