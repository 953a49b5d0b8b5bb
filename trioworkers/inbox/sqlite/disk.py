"""Room on the disk: new updates are refused while there is still some for everything else.

On a full disk SQLite can neither delete nor update, so that not even an end could be written down. So
accepting stops at a low-water mark, and where somebody else fills the disk past it, a ballast file is given
up: its room is enough for ends, recorded calls and checkpoints until there is more. Both come back by
themselves. A bot loses nothing meanwhile: a poll does not confirm what was refused, a webhook answers 503.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from trioworkers.inbox.store import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOW_WATER = 64 << 20  # bytes; a second at the rate measured (78,934 updates/s) is 47 MB
BALLAST = 16 << 20  # bytes; SQLite moves its journal into the file at 4 MB (wal_autocheckpoint)
OF_SMALL_DISK = 4, 8  # parts of a smaller disk that low-water mark and ballast are at most
LOOK_EVERY = 0.25  # seconds between two looks at the disk; one takes 2 µs
BALLAST_SUFFIX = ".ballast"


class Room:
    """The room beside a database, used by the store's thread only. Making it looks at the disk."""

    def __init__(
        self,
        database: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        free_and_total: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:
        self._folder = database.parent
        self._ballast = database.with_name(database.name + BALLAST_SUFFIX)
        self._clock = clock
        self._measure = free_and_total or measure
        self._looked = 0.0
        self._short = False
        self._spent = False
        self._says = ""
        with suppress(StoreFullError):
            self.look()

    def check(self) -> None:
        """See that new updates may be accepted; most often without a look at the disk.

        Raises:
            StoreFullError: they may not, now.
        """
        if self._clock() - self._looked >= LOOK_EVERY:
            self.look()
        elif self._short:
            raise StoreFullError(self._says)

    def look(self) -> None:
        """Measure now, and put the ballast there when it is not and fits.

        Raises:
            StoreFullError: new updates may not be accepted.
        """
        self._looked = self._clock()
        try:
            free, total = self._measure(self._folder)
        except OSError:  # whatever is the matter with the disk, SQLite says it better
            return
        low, ballast = marks(total)
        self._short = free < wanted(low, ballast, short=self._short, spent=self._spent)
        if not self._short and free >= low + ballast and not self._ballast.exists():
            self._short = not self._fill(ballast) and self._spent
        if self._short:
            self._says = f"{self._folder}: {free >> 20} MB are free, expected {low >> 20} MB for new updates"
            raise StoreFullError(self._says)
        self._spent = False

    def spend(self) -> None:
        """The disk is full for SQLite: give the ballast up, and refuse new updates until it is back."""
        self._short = self._spent = True
        self._says = f"{self._folder}: the disk is full"
        self._looked = self._clock()
        with suppress(OSError):
            self._ballast.unlink()

    def _fill(self, size: int) -> bool:
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:  # a quota, which the disk's own numbers do not tell
            self._ballast.unlink()
            return False
        finally:
            os.close(descriptor)
        return True


def marks(total: int) -> tuple[int, int]:
    """Low-water mark and size of the ballast on a disk of so many bytes."""
    of_low, of_ballast = OF_SMALL_DISK
    return min(LOW_WATER, total // of_low), min(BALLAST, total // of_ballast)


def wanted(low: int, ballast: int, *, short: bool, spent: bool) -> int:
    """Bytes that have to be free for accepting; more to begin again than to go on, so as not to flicker."""
    return low + (low // 4 if short else 0) + (ballast if spent else 0)


def measure(folder: Path) -> tuple[int, int]:
    """Bytes that are free for us on the disk of a folder, and bytes in all (statvfs(3))."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
