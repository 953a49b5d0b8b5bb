"""inotify as hints: the loop is woken when a name that matters was touched in a watched folder.

The descriptor is read by the loop itself, so waiting costs nothing. Only setting watches needs a thread: it
looks folders up, and a network share may hang there.

No error of inotify leaves this module. Whatever cannot be watched is looked at every 2 s instead, setting
the watches is tried again at each look, and the reason is reported with what can be done about it.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from inotify_simple import INotify, flags

from trioworkers.config.watched import is_of_fleet_d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

POLL_ALONE = 2.0  # seconds between two looks where the system gives no hints
_RESTLESS = 20  # times that watches are set on folders which change meanwhile
# Seconds without reading after hints that do not matter. An editor writes another file first and renames it
# then, so the rest is short at first; an inbox may be written in that folder all the time, so it doubles.
_FIRST_REST = 0.001
_LONGEST_REST = 0.05

_EVENTS = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.MODIFY
    | flags.CLOSE_WRITE  # what was written through a mapping is told by this one alone
    | flags.ATTRIB  # permissions decide whether it can be read
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
)

# inotify_init1(2), inotify_add_watch(2): these are about the system, not about a folder
_REMEDIES = {
    errno.ENOSPC: "raise the sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "raise the sysctl fs.inotify.max_user_instances, or the daemon's limit of open files",
    errno.ENFILE: "raise the sysctl fs.file-max",
    errno.ENOMEM: "the kernel is out of memory",
    errno.ENOSYS: "this system has no inotify",
}


def load() -> None:
    """Load the C library through which inotify is called. It may start a process to find it: use a thread."""
    with suppress(OSError):
        INotify().close()


class Trouble:
    """Reports why watching does not work: each reason once for as long as it stays the same.

    Args:
        emit: called with a reason.
    """

    def __init__(self, emit: Callable[[str], object]) -> None:
        self._emit = emit
        self._last: str | None = None

    def is_now(self, reason: str | None) -> None:
        """Note what is wrong now; None: nothing is."""
        if reason is not None and reason != self._last:
            self._emit(reason)
        self._last = reason


@dataclass(frozen=True, slots=True)
class Placed:
    """The watches that were set.

    Attributes:
        names: by watch descriptor, the names that matter in its folder.
        complete: whether there is a watch on each folder.
        reason: why a folder cannot be watched; None also when one vanished just then.
    """

    names: Mapping[int, frozenset[str]]
    complete: bool
    reason: str | None = None


_NOTHING = Placed({}, complete=False)


class Hints:
    """inotify watches on some folders; a context manager that closes their descriptor.

    Before each look at the files, call :meth:`open`, :meth:`place` in a thread, and :meth:`take` with its
    result: from then on every change causes a hint, also in a folder that took the place of another one.

    Args:
        trouble: told what cannot be watched.
    """

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._inotify: INotify | None = None
        self._placed = _NOTHING

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def open(self) -> None:
        """Make sure that there is a descriptor, and forget the hints so far. It does not block."""
        try:
            if self._inotify is None:
                # Made here, not in a thread: one that is abandoned could not give it back.
                self._inotify = INotify(nonblocking=True)
            self._inotify.read(timeout=0)
        except OSError as error:
            self._fail(error)

    def place(self, find: Callable[[], Mapping[Path, set[str]]]) -> Placed:
        """Set watches on the folders that `find` returns, and remove the others; for a thread.

        A folder that has a watch already gets the same descriptor again, another folder under the same name
        gets a new one. So `find` is asked again until nothing is new: what it found last was watched before.

        Changes nothing in this object. When that was closed meanwhile, a ValueError is raised.
        """
        inotify, placed = self._inotify, self._placed
        if inotify is None:
            return _NOTHING
        for _ in range(_RESTLESS):
            names: dict[int, frozenset[str]] = {}
            refused: dict[Path, OSError] = {}
            for folder, wanted in find().items():
                try:
                    watch = inotify.add_watch(folder, _EVENTS)
                except OSError as error:
                    refused[folder] = error
                else:  # a folder that is mounted twice has one watch
                    names[watch] = names.get(watch, frozenset()) | wanted
            for watch in placed.names.keys() - names.keys():
                with suppress(OSError):  # the kernel removed it together with its folder
                    inotify.rm_watch(watch)
            before, placed = placed, Placed(names, not refused, _reason(refused))
            if before.names == names and not _vanished(refused):
                return placed
        return Placed(placed.names, complete=False, reason=placed.reason)

    def take(self, placed: Placed) -> None:
        """Wait for hints from these watches from now on, and report what could not be watched."""
        self._placed = placed
        if self._inotify is not None:  # otherwise it has been reported why there is none
            self._trouble.is_now(placed.reason)

    def patience(self, seconds: float) -> float:
        """Seconds until the next look: `seconds`, and 2 at most while not every folder is watched."""
        return seconds if self._placed.complete else min(seconds, POLL_ALONE)

    async def wait(self, seconds: float) -> bool:
        """Return True when a name that matters was touched, or False after `seconds`.

        After 2 seconds at most while not every folder is watched. Also True, after that time, when inotify
        broke: the watches have to be set again.
        """
        broke = False
        with trio.move_on_after(self.patience(seconds)):
            try:
                await self._wait_touched()
            except OSError as error:
                self._fail(error)
                broke = True
                await trio.sleep(POLL_ALONE)
            return True
        return broke

    async def _wait_touched(self) -> None:
        if self._inotify is None:
            await trio.sleep_forever()
        rest = _FIRST_REST
        while True:
            began = trio.current_time()
            await trio.lowlevel.wait_readable(self._inotify)
            if trio.current_time() - began > _LONGEST_REST:
                rest = _FIRST_REST
            if any(self._matters(*event) for event in self._inotify.read(timeout=0)):
                return
            await trio.sleep(rest)
            rest = min(2 * rest, _LONGEST_REST)

    def _matters(self, watch: int, mask: int, _cookie: int, name: str) -> bool:
        if mask & flags.Q_OVERFLOW:
            return True  # hints were lost
        names = self._placed.names.get(watch)
        if names is None:  # of a watch that was removed
            return False
        if not name:  # the folder itself was moved, deleted, unmounted, or may be read by others now
            return True
        return name in names or ("*.toml" in names and is_of_fleet_d(name))

    def _fail(self, error: OSError) -> None:
        self._close()
        self._trouble.is_now(_explain(error))

    def _close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
        self._inotify, self._placed = None, _NOTHING


def _vanished(refused: Mapping[Path, OSError]) -> bool:
    return any(error.errno in (errno.ENOENT, errno.ENOTDIR) for error in refused.values())


def _reason(refused: Mapping[Path, OSError]) -> str | None:
    """Why folders have no watch; one reason that stays the same, whichever of them are hit."""
    reasons = [
        _explain(error, folder)
        for folder, error in sorted(refused.items())
        if error.errno not in (errno.ENOENT, errno.ENOTDIR)
    ]
    return reasons[0] if reasons else None


def _explain(error: OSError, folder: Path | None = None) -> str:
    what = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is not None:
        what = f"{what} ({remedy})"
    elif folder is not None:
        what = f"{folder}: {what}"
    return f"inotify: {what}; files are looked at every {POLL_ALONE:g} s instead"
