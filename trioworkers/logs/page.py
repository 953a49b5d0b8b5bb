"""A log in pages, for callers that look at it now and then: the last lines, then what came since.

Where one look ended is a text that the caller gives back: the inode of a file, a place in it, and a checksum
of what stands before. So nothing is kept open or remembered between two looks, and a rotation in between
loses no line.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.logs.read import LogReader

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_LINE = 4096  # characters of a line that are shown
_PLACE = re.compile(r"(\d{1,20})-(\d{1,20})-(\d{1,10})")


class PlaceError(ValueError):
    """A text is not a place that a page ended at."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines of a log, oldest first.

    Attributes:
        lines: without their ends, and cut where they are very long.
        next: where the next page begins.
        skipped: how many lines came before these that were too many for the page.
        missed: files were rotated away before they were read.
    """

    lines: tuple[str, ...]
    next: str
    skipped: int = 0
    missed: bool = False


def last_lines(path: Path, count: int) -> LogPage:
    """The last `count` lines of a log. Reads files: for a thread.

    Raises:
        OSError: a file is there that cannot be read.
    """
    with closing(LogReader(path)) as reader:
        lines = reader.last(count)
        return LogPage(tuple(map(_shown, lines)), _text(reader.place))


def lines_after(path: Path, place: str, most: int) -> LogPage:
    """The lines that came after the page that ended at `place`, the last `most` of them. For a thread.

    Raises:
        PlaceError: `place` is not a place.
        OSError: a file is there that cannot be read.
    """
    match = _PLACE.fullmatch(place)
    if match is None:
        raise PlaceError("expected the next of an earlier page")
    with closing(LogReader(path)) as reader:
        reader.resume(int(match[1]), int(match[2]), int(match[3]))
        lines: deque[bytes] = deque(maxlen=most)
        count = 0
        for line in reader.more():
            lines.append(line)
            count += 1
        return LogPage(tuple(map(_shown, lines)), _text(reader.place), count - len(lines), reader.missed)


def _text(place: tuple[int, int, int]) -> str:
    return "-".join(map(str, place))


def _shown(line: bytes) -> str:
    text = line[: 4 * LONGEST_LINE].decode(errors="replace")
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
