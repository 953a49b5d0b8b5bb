"""What batches give: frames that leave together against one write each, outcomes that share a commit against
one commit each. How many are under way is what a bot's `concurrency` allows.
"""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import trio

from benchmarks.inbox import BODY
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, Finish, Kept
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Deliver, FromWorker, Outcome, ToWorker

AT_ONCE = (1, 4, 16, 64, 256)


def run(updates: int) -> None:
    """Print a line for each number of updates under way."""
    print(f"{updates} updates of {len(BODY)} bytes; frames: to a worker and back, both ends in one process;")
    print("commits: accept and done, synchronous=FULL")
    names = f"{'a write each':>13} {'together':>10} {'':>6}  {'a commit each':>13} {'together':>10}"
    print(f"{'under way':>9}  {names}   (µs an update)")
    for at_once in AT_ONCE:
        single, together = (trio.run(_frames, updates, at_once, one) for one in (True, False))
        alone, grouped = (_commits(updates, size) for size in (1, at_once))
        shown = f"{at_once:>9}  {single:>13.1f} {together:>10.1f} {single / together:>5.1f}x"
        print(f"{shown}  {alone:>13.1f} {grouped:>10.1f} {alone / grouped:>5.1f}x", flush=True)


async def _frames(updates: int, at_once: int, one_write_each: bool) -> float:
    """Microseconds for an update's delivery and outcome."""
    ours, theirs = socket.socketpair()
    daemon = Channel(ours, FromWorker)
    worker = Channel(theirs, ToWorker)
    body = msgspec.Raw(BODY)
    left = updates

    async def say(channel: Channel, frames: list[Any]) -> None:
        for frame in frames:
            channel.send(frame)
            if one_write_each:
                await channel.flush()
        await channel.flush()

    async def work() -> None:
        while frames := await worker.receive():
            await say(worker, [Outcome(frame.delivery, "done") for frame in frames])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        began = time.perf_counter()
        first = [Deliver(number, 0, False, body, []) for number in range(at_once)]
        await say(daemon, first)
        given = at_once
        while left > 0:
            came = await daemon.receive()
            left -= len(came)
            more = min(len(came), max(0, updates - given))
            given += more
            await say(daemon, [Deliver(number, 0, False, body, []) for number in range(more)])
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    daemon.close()
    worker.close()
    return 1e6 * took / updates


def _commits(updates: int, size: int) -> float:
    """Microseconds for an update's accept and done, so many in each commit."""
    updates = min(updates, 2000 * size)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        store = open_sqlite(Path(folder) / "inbox.db")
        began = time.perf_counter()
        for start in range(0, updates, size):
            ids = range(start, min(start + size, updates))
            kept = store.commit([Accept(1, id_, str(id_), BODY, 0.0) for id_ in ids])
            store.commit([Finish(one.id, 1, "done") for one in kept if isinstance(one, Kept)])
        took = time.perf_counter() - began
        store.close()
    return 1e6 * took / updates
