"""Events for plugins: each that hears them has a bounded queue of its own, so a slow one delays nobody."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.plugin_types import HEARS, Hearing
from trioworkers.plugins.apart import call_apart
from trioworkers.plugins.breaker import MOST_FAILURES
from trioworkers.plugins.errors import RAISED
from trioworkers.shortage import NoThreadError, in_thread, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.events import Event, Events
    from trioworkers.plugins.plugin import Plugin
    from trioworkers.plugins.watchdog import Watchdog

EVENT = "trioworkers_event"
GATHERING = 0.1  # seconds for which events gather, so that a batch is worth its thread


@dataclass(frozen=True, slots=True)
class FeedTimes:
    """Seconds that a plugin's events may take.

    Attributes:
        event: one event.
        no_thread: where no thread can be had, until one is asked for again.
    """

    event: float = 5.0
    no_thread: float = 1.0


async def serve_events(plugin: Plugin, events: Events, watchdog: Watchdog, times: FeedTimes) -> None:
    """Call a plugin's `trioworkers_event` with what happens, until cancelled or until it is switched off.

    `watchdog` watches async functions, which run on the loop.
    """
    hook = plugin.hooks[EVENT]
    hearing: Hearing = getattr(hook.function, HEARS, Hearing())
    call = partial(_call_async, watchdog) if hook.is_async else _call_plain
    with events.subscribe(hearing.least, hearing.capacity, hearing.names, hearing.without) as subscription:
        while plugin.is_active:
            batch, missed = await subscription.receive()
            plugin.account.missed += missed
            await call(plugin, batch, times)
            await trio.sleep(GATHERING)


async def _call_async(watchdog: Watchdog, plugin: Plugin, batch: Sequence[Event], times: FeedTimes) -> None:
    hook = plugin.hooks[EVENT]

    async def run(**given: Any) -> None:
        await watchdog.in_steps(plugin, EVENT, hook.function(**given))

    for event in batch:
        if not plugin.is_active:
            return
        began = trio.current_time()
        try:
            await call_apart(run, plugin.arguments(hook, event=event), times.event)
        except trio.TooSlowError:
            plugin.failed(f"{EVENT} took longer than {times.event:g} s")
        except RAISED as error:
            plugin.raised(EVENT, error)
        finally:
            plugin.account.add(trio.current_time() - began)


async def _call_plain(plugin: Plugin, batch: Sequence[Event], times: FeedTimes) -> None:
    """Call it in a thread with the whole batch; an event that takes too long switches the plugin off.

    Its thread cannot be ended, and a second one beside it would break the promise of order. Where no thread
    can be had, the batch waits for one: what comes meanwhile waits in the queue.
    """
    work = _Batch(plugin, batch)
    finished = trio.Event()

    async def run() -> None:
        said: str | None = None
        while not finished.is_set():
            try:
                await in_thread(work.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
                finished.set()
            except NoThreadError as error:
                if said != (said := words_of(error)):
                    plugin.has_no_room(f"{EVENT}: {said}")
                await trio.sleep(times.no_thread)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        while not finished.is_set():
            done = work.done
            with trio.move_on_after(times.event):
                await finished.wait()
            if not finished.is_set() and work.has_begun and work.done == done:
                work.ends = True
                plugin.switch_off(f"{EVENT} took longer than {times.event:g} s, and was left behind")
                nursery.cancel_scope.cancel()
                return
    plugin.account.calls += work.done
    plugin.account.seconds += work.seconds
    plugin.account.slowest = max(plugin.account.slowest, work.slowest)
    for error in work.failures:
        plugin.raised(EVENT, error)


class _Batch:
    """Events for a plain function, in its thread; it stops after as many failures as switch a plugin off."""

    def __init__(self, plugin: Plugin, batch: Sequence[Event]) -> None:
        self.has_begun = False
        self.done = 0
        self.seconds = 0.0
        self.slowest = 0.0
        self.failures: list[BaseException] = []
        self.ends = False
        self._plugin = plugin
        self._batch = batch

    def run(self) -> None:
        self.has_begun = True
        hook = self._plugin.hooks[EVENT]
        call = hook.function
        if "plugin" in hook.takes:
            call = partial(call, plugin=self._plugin)
        takes_event = "event" in hook.takes
        began = time.perf_counter()
        for event in self._batch:
            if self.ends or len(self.failures) >= MOST_FAILURES:
                return
            try:
                if takes_event:
                    call(event=event)
                else:
                    call()
            except RAISED as error:
                self.failures.append(error)
            ended = time.perf_counter()
            took = ended - began
            began = ended
            self.seconds += took
            if took > self.slowest:
                self.slowest = took
            self.done += 1
