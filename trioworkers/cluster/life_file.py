"""The life of a node that this state folder's daemon had last: its successor need not wait for its lease.

Whoever holds the lock of the state folder knows that the former daemon has ended, if that was on the same
machine since it started. The boot's id says so, and the folder's place on its disk: a folder that was copied
has the life of a node that may well work.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec

from trioworkers.private import write_private

NAME = "node-life"
BOOT = Path("/proc/sys/kernel/random/boot_id")


class LifeFile:
    """The file in a state folder. Its daemon has the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> UUID | None:
        """The life that has ended; None: it is not known of any."""
        with suppress(OSError, ValueError, msgspec.DecodeError):
            life, *where = msgspec.json.decode(self._path.read_bytes(), type=tuple[str, str, int, int])
            if where == self._where():
                return UUID(life)
        return None

    def write(self, life: UUID) -> None:
        """A life is about to begin. Where that cannot be written, its successor waits for its lease."""
        with suppress(OSError):
            write_private(self._path, msgspec.json.encode((str(life), *self._where())))

    def _where(self) -> list[str | int]:
        folder = self._path.parent.stat()
        return [BOOT.read_text(), folder.st_dev, folder.st_ino]
