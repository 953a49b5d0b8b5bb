"""What a scrape of `/metrics` costs with many bots: CPU time, and how long the loop is held up.

The snapshot is taken of a fleet whose bots are records of this file's own, with the fields of real ones; the
loop meanwhile measures how late it is.
"""

from __future__ import annotations

import time
from functools import partial
from importlib import import_module
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio
from trioworkers_plugins.metrics.families import View
from trioworkers_plugins.metrics.render import compressed, make_process_collector, render

from trioworkers.figures import BotFigures, Figures, ReloadFigures
from trioworkers.inbox.queue import Queue
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.records import Waiting
from trioworkers.snapshot import Snapshots
from trioworkers.transport.deliveries import Deliveries

if TYPE_CHECKING:
    from collections.abc import Mapping

CHATS = 10  # with an update that waits, of each bot
BUSY = 0.0003  # seconds of work, and as many without, where the loop is busy
TICK = 0.001  # seconds, from one look at the loop's lag to the next
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def run(bots: int, scrapes: int, *, busy: bool) -> None:
    """Scrape so often; print the medians and the longest pause of the loop."""
    trio.run(_run, bots, scrapes, busy)


class _Bot:
    """A bot with updates that wait."""

    def __init__(self, number: int) -> None:
        self._name = f"bot_number_{number}"
        self._queue = Queue(behind=False)
        for chat in range(CHATS):
            self._queue.offer(Waiting(chat + 1, number, chat, str(chat), b"{}", time.time()))

    def figures(self, _: Figures) -> BotFigures:
        oldest = self._queue.oldest_at()
        return BotFigures(
            self._name, "running", 123456, 123400, 3, 20, 1, 2, 10, 3, 0, 1, oldest, 2, 5_600_000, 12.345678
        )


class _Fleet:
    def __init__(self, bots: int) -> None:
        self._bots = {str(number): _Bot(number) for number in range(bots)}

    def get_bots(self) -> Mapping[str, _Bot]:
        return self._bots


class _Reload:
    figures = ReloadFigures(1, 0, True, time.time(), 0.1)


async def _run(bots: int, scrapes: int, busy: bool) -> None:
    figures = Figures()
    for method in range(30):
        figures.calls.count(f"method{'abcdefghijklmnopqrstuvwxyzABCD'[method]}", "ok", 1000)
    parts: dict[str, Any] = {"fleet": _Fleet(bots), "reload": _Reload()}
    snapshots = Snapshots(
        figures=figures,
        deliveries=Deliveries(),
        slots=WorkerSlots(lambda: bots),
        database=None,
        started_at=time.time(),
        **cast("Any", parts),
    )
    plugins = [
        {"name": name, "calls": 1, "failures": 0, "seconds": 1.5, "missed_events": 0, "state": "active"}
        for name in "abcdef"
    ]
    process = make_process_collector()
    taken: list[float] = []
    spent: list[float] = []
    packed: list[float] = []
    took: list[float] = []
    lags: list[float] = []
    size = 0

    stretches: list[float] = []  # CPU time of the thread between two rests
    last = 0.0

    def rest(seconds: float) -> None:
        nonlocal last
        stretches.append(time.thread_time() - last)
        time.sleep(seconds)
        last = time.thread_time()

    vars(import_module(render.__module__))["time"] = SimpleNamespace(
        sleep=rest, perf_counter=time.perf_counter
    )

    def in_thread(view: View) -> tuple[bytes, float, float]:
        nonlocal last
        began = last = time.thread_time()
        body, _ = render(view, process, ACCEPT)
        rendered = time.thread_time()
        stretches.append(rendered - last)
        compressed(body, "gzip")
        return body, rendered - began, time.thread_time() - rendered

    async def watch() -> None:
        while True:
            due = time.perf_counter() + TICK
            await trio.sleep(TICK)
            lags.append(time.perf_counter() - due)

    async def work() -> None:
        while True:
            until = time.perf_counter() + BUSY
            while time.perf_counter() < until:
                pass
            await trio.sleep(BUSY)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        if busy:
            nursery.start_soon(work)
        await trio.sleep(2.0)
        quiet = max(lags)
        lags.clear()
        for _ in range(scrapes):
            began, cpu = time.perf_counter(), time.thread_time()
            snapshot = await snapshots.take()
            taken.append(time.thread_time() - cpu)
            assert snapshot is not None
            view = View(snapshot, plugins, {"database": 1, "wal": 1})
            body, rendering, packing = await trio.to_thread.run_sync(partial(in_thread, view))
            took.append(time.perf_counter() - began)
            spent.append(rendering)
            packed.append(packing)
            size = len(body)
        nursery.cancel_scope.cancel()
    lags.sort()
    print(f"{bots} bots, {body.count(10)} lines, {size / 1e6:.2f} MB; medians of {scrapes} scrapes:")
    print(f"  snapshot on the loop, in turns: {1000 * median(taken):.1f} ms")
    print(f"  rendering, CPU of its thread:   {1000 * median(spent):.1f} ms")
    print(f"  gzip, without the interpreter:  {1000 * median(packed):.1f} ms")
    print(f"  a scrape takes:                 {1000 * median(took):.1f} ms")
    print(f"  longest work without a rest:    {1000 * max(stretches):.1f} ms")
    print(
        f"  the loop was late meanwhile:    99.9 % {1000 * lags[int(len(lags) * 0.999)]:.1f} ms, "
        f"at most {1000 * lags[-1]:.1f} ms (else at most {1000 * quiet:.1f} ms)"
    )
