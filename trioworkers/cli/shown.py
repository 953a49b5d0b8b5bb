"""What commands show on a terminal: texts of others made harmless, times, counts."""

from __future__ import annotations

import time


def printable(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def moment(unix: float) -> str:
    """A moment in local time, to the second: `2026-11-24 02:36:51`."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))
    except (OverflowError, ValueError, OSError):
        return "?"


def counted(number: int, what: str) -> str:
    """`1 dead letter`, `12,000 dead letters`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
