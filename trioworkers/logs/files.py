"""Log files on disk: appended to, and rotated by size (`x.log`, then `x.log.1`, the older the higher).

A file is open only while something is written: a thousand bots need no descriptors, whoever moves a log
away needs to tell nobody, and the folder may come and go. That costs 2 µs a write more than to keep it open.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# O_NONBLOCK: a FIFO in the file's place fails instead of waiting for a reader
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Rotation(Protocol):
    """The limits of a log: `config.LogSettings`."""

    @property
    def max_size(self) -> int:
        """Bytes; what would not fit goes into a new file. 0: never rotate."""

    @property
    def keep(self) -> int:
        """How many rotated files are kept."""


class RotatedFile:
    """One log file with the rotations behind it; it has no other writer.

    Args:
        path: made with mode 0600, appended to.
        limits: those in force, read at each write.

    Attributes:
        inside: what was written last did not end its line.
    """

    def __init__(self, path: Path, limits: Callable[[], Rotation]) -> None:
        self._path = path
        self._limits = limits
        self.inside = False

    def append(self, data: bytes) -> int:
        """Write `data` at the end of the file; returns how many bytes of it were written, without raising.

        Of fewer than all, the rest could not be: the disk is full, or something else is in the way.
        """
        written = 0
        try:
            log = self._open(len(data))
            try:
                while written < len(data):
                    written += os.write(log, data[written:])
            finally:
                os.close(log)
        except OSError:
            pass
        if written:
            self.inside = data[written - 1] != ord("\n")
        return written

    def _open(self, more: int) -> int:
        """Open the file, a new one if `more` bytes would make it too large.

        One that cannot be rotated is written on: rather too large than something lost.
        """
        log = os.open(self._path, _FLAGS, 0o600)
        limit = self._limits().max_size
        found = os.fstat(log)
        fits = found.st_size == 0 or found.st_size + more <= limit
        if fits or limit == 0 or not stat.S_ISREG(found.st_mode):
            return log
        with suppress(OSError):
            self._rotate()
            fresh = os.open(self._path, _FLAGS, 0o600)
            os.close(log)
            return fresh
        return log

    def _rotate(self) -> None:
        """Move each file one number up, as far as there is a gap: a crash in between loses none."""
        keep = self._limits().keep
        last = next((number for number in range(1, keep) if not self._exists(number)), keep)
        for number in range(last, 0, -1):
            rotation(self._path, number - 1).rename(rotation(self._path, number))
        beyond = keep + 1
        while self._exists(beyond):  # `keep` was larger once
            rotation(self._path, beyond).unlink()
            beyond += 1

    def _exists(self, number: int) -> bool:
        return os.path.lexists(rotation(self._path, number))


def rotation(path: Path, number: int) -> Path:
    """The rotated file of that number; 0 is the live one."""
    return path.with_name(f"{path.name}.{number}") if number else path


def rotations(path: Path) -> list[Path]:
    """Where the files of a log are, newest first, the live one included, if they are there.

    Every number up to two more than the largest that was seen: while files are looked at, each may move
    up, and a listing may miss one that moves.
    """
    largest = 0
    with suppress(OSError):
        for other in path.parent.iterdir():
            base, _, number = other.name.rpartition(".")
            if base == path.name and re.fullmatch("[1-9][0-9]{0,3}", number):
                largest = max(largest, int(number))
    return [rotation(path, number) for number in range(largest + 3)]
