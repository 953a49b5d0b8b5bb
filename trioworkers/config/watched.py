"""What a fleet was read from, and whether any of it has changed since.

A file is reached through names: its own, and that of every symbolic link on the way. Kubernetes swaps a
link that the mounted files only pass through (`token -> ..data/token`, `..data -> ..2026_11_24`), releases
are often switched the same way; whoever looks at the file alone keeps looking at the old one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/namei.h, MAXSYMLINKS: the kernel gives up after as many.
_MOST_LINKS = 40
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """The paths that a fleet depends on, whether they exist or not.

    Attributes:
        files: the fleet file and the files of secrets.
        folders: both `fleet.d`; their `*.toml` count.
    """

    files: frozenset[Path]
    folders: frozenset[Path]

    def names(self) -> dict[Path, set[str]]:
        """Returns the folders to be watched, none a link, each with the names in it that matter.

        The name `*.toml` stands for all such files. A folder that is absent has its nearest ancestor
        watched for the name that is missing.
        """
        found: dict[Path, set[str]] = {}
        for path in (*self.files, *self._listed(), *(folder / "*.toml" for folder in self.folders)):
            for folder, name in _names(path):
                found.setdefault(folder, set()).add(name)
        return found

    def fingerprint(self) -> bytes:
        """Returns a hash of everything that can be read there: of names and contents, not of times."""
        digest = hashlib.sha256()
        for path in sorted({*self.files, *self._listed()}):
            digest.update(os.fsencode(path) + b"\0" + _content(path) + b"\0")
        return digest.digest()

    def look(self) -> tuple[tuple[object, ...], bytes]:
        """Returns :meth:`stamps` as they were just before, and the :meth:`fingerprint`."""
        return self.stamps(), self.fingerprint()

    def stamps(self) -> tuple[object, ...]:
        """Returns what changes with nearly every change, without reading anything: 4 µs for each file."""
        return tuple([(path, _stamp(path)) for path in sorted({*self.files, *self._listed()})])

    def _listed(self) -> Iterator[Path]:
        for folder in self.folders:
            with suppress(OSError, ValueError):
                yield from (folder / name for name in os.listdir(folder) if is_of_fleet_d(name))


def is_of_fleet_d(name: str) -> bool:
    """Whether a file of this name in `fleet.d` is read: hidden ones are half-written or an editor's."""
    return name.endswith(".toml") and not name.startswith(".")


def _stamp(path: Path) -> tuple[int, ...]:
    """Returns which file it is, its size and its times; the error's number when it cannot be found out."""
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _content(path: Path) -> bytes:
    """Returns a hash of a file's contents; of what is there instead when it cannot be read."""
    try:
        # A fifo would block, a device would never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return b"no file"
            # not more than there is: what is asked for is allocated
            return hashlib.sha256(file.read(min(found.st_size, _LARGEST) + 1)).digest()
    except OSError as error:
        return f"error {error.errno}".encode()
    except ValueError:
        return b"no path"


def _names(path: Path) -> Iterator[tuple[Path, str]]:
    """Yields each folder and name on the way to `path` that another link or file may take the place of.

    Plain folders on the way do not count, the last name does: to watch every folder up to the root would
    cost a wake-up for each file that anybody makes in them.
    """
    here = Path("/")
    todo = list(reversed(path.absolute().parts[1:]))
    links = 0
    while todo:
        name = todo.pop()
        if name in (".", ".."):
            here = here.parent if name == ".." else here
            continue
        try:
            mode = os.lstat(here / name).st_mode
        except (OSError, ValueError):
            yield here, name
            return
        if stat.S_ISLNK(mode):
            yield here, name
            links += 1
            if links > _MOST_LINKS:
                return
            try:
                target = Path(os.readlink(here / name))
            except OSError:  # it was swapped just now, which whoever watches its name notices
                return
            if target.is_absolute():
                here = Path("/")
            todo.extend(part for part in reversed(target.parts) if part != "/")
        elif todo and stat.S_ISDIR(mode):
            here = here / name
        else:
            yield here, name
            return
