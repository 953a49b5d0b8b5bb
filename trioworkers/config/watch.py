"""Notices that the fleet may have become another one: a service that waits for files to change.

What the system tells is a hint only, the contents are the truth: after each hint, and every `poll` seconds
without one, they are hashed and compared. So nothing depends on which events an editor's rename, a swapped
link or a network share makes, and where inotify is not available the same loop is the poll.

There are changes without any hint: a file that is mounted alone into a container and written outside, a share
that another machine writes. So sizes and times are glanced at every 1.5 s, which reads nothing.

watchfiles was rejected. Its `awatch` on Trio cannot be cancelled while it waits, 5 s unless told otherwise.
Its Rust part, used from a thread, woke up 50 times a second, did not say that the system's limit of watches
was reached, and aborted the process when it could not start a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trioworkers.awake import next_beat
from trioworkers.config.hints import POLL_ALONE, Hints, Trouble, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.config.watched import Watched

_T = TypeVar("_T")

SETTLE = 0.05  # seconds without a change until a file counts as written
GLANCE = 1.5  # seconds between two glances at sizes and times
POLL = 30.0  # seconds between two looks without a hint
_RESTLESS = 20  # looks at what never settles, until it is taken as it is


@dataclass(frozen=True, slots=True)
class Pace:
    """How often files are looked at, in seconds.

    Attributes:
        settle: without a change, until a file counts as written.
        glance: between two glances at sizes and times.
        poll: until a look without a hint; at most 2 where the system gives none.
    """

    settle: float = SETTLE
    glance: float = GLANCE
    poll: float = POLL


async def serve_watch(
    watched: Callable[[], Watched],
    changed: Callable[[], Awaitable[object]],
    emit_trouble: Callable[[str], object],
    *,
    pace: Pace | None = None,
    asked: Callable[[], Awaitable[object]] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `changed` whenever the contents that the fleet was read from differ, until cancelled.

    It is also called once at the beginning, and once after `watched` named other paths: they may have
    changed since they were read. Whoever is called reads the fleet and compares its digest. Started means
    that from now on no change is missed.

    Half-written files are waited for: all contents have to be the same for a while. Cancelling
    ends it at once and closes its descriptor.

    Args:
        watched: returns what to watch; asked before each look.
        changed: called without overlap; what changes meanwhile leads to another call.
        emit_trouble: called with the reason when files can only be looked at now and then, and with what to
            do about it; once for as long as the reason stays the same.
        pace: how often it looks; None: the usual.
        asked: returns when somebody wants `watched` and `changed` to be called, though no file has changed.
        task_status: told when the watches are set.
    """
    trouble = Trouble(emit_trouble)
    in_thread = _Thread(trouble)
    pace = pace or Pace()
    seen: tuple[Watched, bytes] | None = None
    await in_thread.run(load)
    with Hints(trouble) as hints:
        while True:
            what = watched()
            hints.open()
            hints.take(await in_thread.run(partial(hints.place, what.names)))
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            # from here on whatever changes is hinted at; what changed before is in the contents
            stamps, now = await in_thread.run(what.look)
            if seen != (what, now):
                seen = what, await _settled(what, now, pace.settle, in_thread)
                await changed()
                continue
            deadline = trio.current_time() + hints.patience(pace.poll)
            is_asked = False
            while not is_asked:
                until = min(deadline, next_beat(pace.glance))
                left = max(0.0, until - trio.current_time())  # the last glance may have taken until later
                hinted, is_asked = await _wait(hints, left, asked)
                if hinted or trio.current_time() >= deadline or stamps != await in_thread.run(what.stamps):
                    break
            if is_asked:
                seen = None


async def _wait(
    hints: Hints, seconds: float, asked: Callable[[], Awaitable[object]] | None
) -> tuple[bool, bool]:
    """Wait at most so many seconds; whether there was a hint, and whether somebody asked."""
    if asked is None:
        return await hints.wait(seconds), False
    hinted = was_asked = False
    async with trio.open_nursery() as nursery:

        async def wait_asked() -> None:
            nonlocal was_asked
            await asked()
            was_asked = True
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_asked)
        hinted = await hints.wait(seconds)
        nursery.cancel_scope.cancel()
    return hinted and not was_asked, was_asked


async def _settled(what: Watched, found: bytes, settle: float, in_thread: _Thread) -> bytes:
    for _ in range(_RESTLESS):
        await trio.sleep(settle)
        before, found = found, await in_thread.run(what.fingerprint)
        if before == found:
            break
    return found


class _Thread:
    """Looks at files in a thread, one at a time: a share that hangs must hold neither the loop nor a stop.

    Args:
        trouble: told when the system cannot start a thread.
    """

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, look: Callable[[], _T]) -> _T:
        """Return what `look` returns; wait until a thread can be started. Cancelling leaves it behind."""
        while True:
            try:
                return await trio.to_thread.run_sync(look, limiter=self._limiter, abandon_on_cancel=True)
            except RuntimeError as error:  # looks raise none
                self._trouble.is_now(f"files cannot be looked at: {error} (raise the limit of processes)")
            await trio.sleep(POLL_ALONE)
