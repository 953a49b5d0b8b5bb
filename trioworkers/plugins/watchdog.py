"""Names in the log a plugin that holds the daemon's loop, from a thread and while it does so.

The thread looks four times a second while hooks are called, and sleeps for good while none is.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import trio

from trioworkers.plugins.steps import in_steps
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from trioworkers.plugins.plugin import Plugin

T = TypeVar("T")
Call: TypeAlias = "tuple[Plugin, str]"
"""Whose hook is called, and which."""

LOOK_EVERY = 0.25  # seconds
HELD = 1.0  # seconds of one call after which it is named
HOLD = 1.0  # seconds of one call, or of one stretch of an async one, that switch the plugin off
IDLE_LOOKS = 8  # looks without any call until the thread sleeps


class Watchdog:
    """Watches calls on the loop. :meth:`serve` runs its thread.

    Args:
        report: called from the thread with a plugin's name, the hook and the seconds so far, once for each
            call.

    Attributes:
        call: the call under way. Whoever began it sets None at its end.
        began: when the last call began, by `time.perf_counter`. It tells one call from another, so whoever
            makes several in a row, with one `begin` before them, sets it before each.
    """

    def __init__(self, report: Callable[[str, str, float], None]) -> None:
        self._report = report
        self.call: Call | None = None
        self.began = 0.0
        self._sleeps = False
        self._wake = threading.Event()
        self._ends = False

    @contextmanager
    def watches(self, plugin: Plugin, hook: str) -> Iterator[None]:
        """Around a stretch on the loop: what is slow is reported, and a hold switches the plugin off."""
        began = self.begin((plugin, hook))
        try:
            yield
        finally:
            self.call = None
            plugin.held_loop(hook, time.perf_counter() - began, HOLD)

    async def in_steps(self, plugin: Plugin, hook: str, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a plugin's coroutine; each stretch between two waits is watched as a call is."""
        return await in_steps(coroutine, partial(self.watches, plugin, hook))

    def begin(self, call: Call) -> float:
        """A call on the loop begins; return when, of `time.perf_counter`."""
        self.began = began = time.perf_counter()
        self.call = call
        if self._sleeps:
            self._wake.set()
        return began

    async def serve(self) -> None:
        """Watch until cancelled."""
        try:
            await in_thread(self._look, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        finally:
            self._ends = True
            self._wake.set()

    def _look(self) -> None:
        named = 0.0
        before, idle = -1.0, 0
        while not self._ends:
            call, began = self.call, self.began
            if call is not None and began == before and began != named:  # the same since the last look
                held = time.perf_counter() - began
                if held >= HELD:
                    named = began
                    plugin, hook = call
                    self._report(plugin.name, hook, held)
            idle = idle + 1 if began == before and call is None else 0
            before = began
            if idle < IDLE_LOOKS:
                time.sleep(LOOK_EVERY)
                continue
            self._wake.clear()
            self._sleeps = True
            if self.began == before and not self._ends:
                self._wake.wait()
            self._sleeps = False
            idle = 0
