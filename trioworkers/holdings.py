"""What a daemon holds on disk beside its database, and how it comes back when somebody removes it.

The daemon's folders lie beside the fleet file by default, where `rm -rf state` or a deploy with
`rsync --delete` removes them. Then its lock and its socket have no name any more: a second daemon could begin
on the same tokens, and no command would find this one. Bots that were added by command, and which bots are
paused, would be forgotten at the next start. So the names are looked at each second. The database looks after
itself (:mod:`trioworkers.inbox.sqlite.place`).
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import trio

from trioworkers.awake import next_beat
from trioworkers.errors import TrioworkersError
from trioworkers.folders import make_folder
from trioworkers.private import write_private
from trioworkers.shortage import in_thread
from trioworkers.starved import is_starved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trioworkers.folders import Lock
    from trioworkers.web.sockets import UnixSocket

    Stamp: TypeAlias = tuple[int, int, int]

LOOK_EVERY = 1.0  # seconds
GONE_AFTER = 3  # looks in a row at which a file is absent, and the lock is not, until that is meant
LIST_EVERY = 30  # looks between two listings of a folder that seems to be the same
LARGEST = 1 << 20  # bytes of a file that is kept in memory


class Keepsakes:
    """Small files of the daemon's, as they were when all was well.

    Args:
        files: by name; each may be absent.
        folder: a folder whose `*.toml` are kept, too.
        largest: bytes; what is larger is not kept.

    Attributes:
        files: those that are kept by name.
    """

    def __init__(self, files: Sequence[Path], folder: Path, largest: int = LARGEST) -> None:
        self.files = files
        self._largest = largest
        self._folder = folder
        self._kept: dict[Path, tuple[Stamp, bytes]] = {}
        self._absent: dict[Path, int] = {}
        self._listed: tuple[int, list[Path]] = 0, []
        self._looks = 0

    def look(self) -> None:
        """Read what has changed. What has been absent for some looks was removed on purpose."""
        for path in {*self.files, *self._names(), *self._kept}:
            try:
                found = path.stat()
                stamp = found.st_ino, found.st_mtime_ns, found.st_size
                if (kept := self._kept.get(path)) is None or kept[0] != stamp:
                    self._kept.pop(path, None)
                    if found.st_size <= self._largest:
                        self._kept[path] = stamp, path.read_bytes()
            except OSError as error:
                if is_starved(error):  # it cannot be looked at now, which says nothing of it
                    continue
                self._absent[path] = self._absent.get(path, 0) + 1
                if self._absent[path] >= GONE_AFTER:
                    self._kept.pop(path, None)
            else:
                self._absent.pop(path, None)

    def put_back(self, folder: Path | None = None) -> list[Path]:
        """Write those that are absent as they were, all or those right in a folder; return which.

        Raises:
            OSError: one cannot be written.
        """
        wanted = [path for path in sorted(self._kept) if folder in (None, path.parent)]
        written = [path for path in wanted if not os.path.lexists(path)]
        for path in written:
            write_private(path, self._kept[path][1])
        return written

    def _names(self) -> list[Path]:
        try:
            changed_at = self._folder.stat().st_mtime_ns
            if self._listed[0] != changed_at or self._looks % LIST_EVERY == 0:
                self._listed = changed_at, sorted(self._folder.glob("*.toml"))
        except OSError as error:
            if not is_starved(error):
                self._listed = 0, []
        self._looks += 1
        return self._listed[1]


class Holdings:
    """Folders, lock, sockets and small files of a running daemon.

    Args:
        folders: the state folder first.
        lock: of the state folder.
        kept: small files in them.
        sockets: that listen at paths in them.
    """

    def __init__(
        self, folders: Sequence[Path], lock: Lock, kept: Keepsakes, sockets: Sequence[UnixSocket]
    ) -> None:
        self._folders = folders
        self._lock = lock
        self._kept = kept
        self.sockets = [*sockets]
        self._turn = threading.Lock()
        self._put_back: list[str] = []
        self._owed = False
        self._files_in = {path.parent for path in kept.files}

    def reclaim(self) -> None:
        """Make sure that all of it is there and ours; from any thread.

        Raises:
            AlreadyRunningError: another daemon has the lock by now, or listens on a socket's path.
            PermissionError: others may write into a folder that stands there now.
            ListenError, OSError: something cannot be made. It is tried again at the next look.
        """
        with self._turn:
            state, *others = self._folders
            if self._lock.is_lost():
                self._owed = True
                make_folder(state)
                self._lock.hold()
                self._put_back.append(str(self._lock.path))
            for folder in others:
                absent = not folder.is_dir()
                if self._owed or absent:
                    make_folder(folder)
                if absent:
                    self._put_back.append(str(folder))
                    if folder in self._files_in:
                        self._put_back += map(str, self._kept.put_back(folder))
            if self._owed:
                self._put_back += map(str, self._kept.put_back())
                self._owed = False
            else:
                self._kept.look()
            for held in self.sockets:
                if held.is_lost():
                    held.bind_again()
                    self._put_back.append(str(held.path))

    async def serve(
        self,
        restored: Callable[[list[str]], object],
        lost: Callable[[str], object],
        every: float = LOOK_EVERY,
    ) -> None:
        """Look each second, or as often as `every` says, until cancelled.

        Args:
            restored: called with the paths of what was put back.
            lost: called with the reason when something cannot be put back; once while it stays the same.
        """
        limiter = trio.CapacityLimiter(1)
        said = ""
        while True:
            try:
                # RuntimeError: no thread can be had now; the next look comes soon
                with suppress(RuntimeError):
                    await in_thread(self.reclaim, limiter=limiter, abandon_on_cancel=True)
                    said = ""
            except (TrioworkersError, OSError) as error:
                why = _words(error)
                if why != said:
                    lost(why)
                said = why
            for held in self.sockets:
                held.announce()
            if self._put_back:
                put_back, self._put_back = self._put_back, []
                restored(sorted(set(put_back)))
            await trio.sleep_until(next_beat(every))


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename or '')}: {error.strerror.lower()}"
    return str(error)
