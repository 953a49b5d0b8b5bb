"""Notices that the fleet may have become another one: a service that waits for files to change.

What the system tells is a hint only, the contents are the truth: after each hint, and every `poll` seconds
without one, they are hashed and compared. So nothing depends on which events an editor's rename, a swapped
link or a network share makes, and where inotify is not available the same loop is the poll.

watchfiles' `awatch` was rejected: on Trio it cannot be cancelled while it waits, 5 s unless told otherwise,
and it tells neither when its watches are set nor that one of them is gone. Its Rust part does both.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio
from watchfiles._rust_notify import RustNotify

from trioworkers.config.watched import is_of_fleet_d

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.config.watched import Watched

_T = TypeVar("_T")

SETTLE = 0.05  # seconds without a change until a file counts as written
POLL = 30.0  # seconds between two looks without a hint
POLL_ALONE = 2.0  # the same where the system gives no hints
_RESTLESS = 20  # looks at what never settles, until it is taken as it is
_STEP = 20  # ms between two looks of the waiting thread, at hints and at its stop
_GROUP = 500  # ms that hints which follow each other are gathered


async def serve_watch(
    watched: Callable[[], Watched],
    changed: Callable[[], Awaitable[object]],
    *,
    settle: float = SETTLE,
    poll: float = POLL,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `changed` whenever what the fleet was read from is another than before, until cancelled.

    It is also called once at the beginning, and once after `watched` named other paths: they may have
    changed since they were read. Whoever is called reads the fleet and compares its digest. Started means
    that from now on no change is missed.

    Half-written files are waited for: all contents have to be the same for `settle` seconds. Cancelling
    ends it at once; a thread of it ends within 20 ms.

    Args:
        watched: what to watch; asked before each wait.
        changed: called without overlap; what changes meanwhile leads to another call.
        settle: seconds.
        poll: seconds after which to look without a hint; at most 2 where the system gives none.
        task_status: told when the watches are set.
    """
    limiter = trio.CapacityLimiter(1)
    seen: tuple[Watched, bytes] | None = None
    while True:
        what = watched()
        names = await _in_thread(what.names, limiter)
        hints = _Hints(names, limiter)
        task_status.started()
        task_status = trio.TASK_STATUS_IGNORED
        # from here on whatever changes is hinted at; what changed before is in the contents
        while not hints.stale and what == watched() and names == await _in_thread(what.names, limiter):
            now = await _in_thread(what.fingerprint, limiter)
            if seen != (what, now):
                seen = what, await _settled(what, now, settle, limiter)
                await changed()
            else:
                await hints.wait(poll)


async def _settled(what: Watched, found: bytes, settle: float, limiter: trio.CapacityLimiter) -> bytes:
    for _ in range(_RESTLESS):
        await trio.sleep(settle)
        before, found = found, await _in_thread(what.fingerprint, limiter)
        if before == found:
            break
    return found


async def _in_thread(look: Callable[[], _T], limiter: trio.CapacityLimiter) -> _T:
    # a folder on a share that hangs must hold neither the loop nor a stop
    return await trio.to_thread.run_sync(look, limiter=limiter, abandon_on_cancel=True)


class _Hints:
    """The system's watches on some folders; set as soon as it is made.

    Args:
        names: folders, each with the names in it that matter.

    Attributes:
        stale: a folder itself was touched: perhaps another one has its name now, which nobody watches.
    """

    def __init__(self, names: Mapping[Path, set[str]], limiter: trio.CapacityLimiter) -> None:
        self._names = names
        self._limiter = limiter
        self.stale = False
        self._notify: RustNotify | None = None
        with suppress(OSError, RuntimeError):  # no watches left, or a folder is gone already
            # not recursive: the state, with an inbox that is always written, often lies beside the file
            self._notify = RustNotify(list(map(str, names)), False, False, 0, False, True)

    async def wait(self, seconds: float) -> None:
        """Return when a name that matters was touched, or after `seconds`; sooner without watches."""
        if self._notify is None:
            await trio.sleep(min(seconds, POLL_ALONE))
            return
        with trio.move_on_after(seconds):
            while not self._matters(await self._next(self._notify)):
                pass

    async def _next(self, notify: RustNotify) -> set[Path]:
        stop = threading.Event()
        wait = partial(notify.watch, _GROUP, _STEP, 0, stop)
        try:
            found = await trio.to_thread.run_sync(wait, limiter=self._limiter, abandon_on_cancel=True)
        except RuntimeError:
            self._notify = None  # it broke: look without it from now on
            return set(self._names)
        finally:
            stop.set()
        return {Path(path) for _, path in found} if isinstance(found, set) else set()

    def _matters(self, paths: set[Path]) -> bool:
        self.stale = self.stale or any(path in self._names for path in paths)
        return self.stale or any(self._is_meant(path) for path in paths)

    def _is_meant(self, path: Path) -> bool:
        names = self._names.get(path.parent, set())
        return path.name in names or ("*.toml" in names and is_of_fleet_d(path.name))
