"""Accept and done per second of several nodes on one PostgreSQL server, each with bots of its own.

The processor time of an update is free of what else the machine does: it says how far more machines would go.
"""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import closing, suppress
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import trio

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "postgres"))

from postgres_server import Server

from benchmarks.inbox import measure_pairs
from benchmarks.postgres import SETTINGS, OfNode
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.run import COLLECT, SWITCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence


class Turn(NamedTuple):
    """Pairs per second, and the microseconds of a processor that a pair takes a node and the server."""

    rate: float
    node: float
    server: float


def run(nodes: Sequence[int], producers: int, bots: int, seconds: float, rounds: int) -> None:
    """Print a line for each number of nodes: medians of the rounds."""
    with closing(Server(**SETTINGS)) as server:
        server.start()
        print(f"{'nodes':>5}  {'accept + done':>13}  {'':>4}  CPU of a pair, {producers} producers each")
        turns = [
            [_measure(server, number, producers, bots, seconds) for number in nodes] for _ in range(rounds)
        ]
        shown = [Turn(*map(median, zip(*of_number, strict=True))) for of_number in zip(*turns, strict=True)]
        for number, turn in zip(nodes, shown, strict=True):
            cpu = f"{turn.node:.0f} µs node, {turn.server:.0f} µs server"
            print(f"{number:>5}  {turn.rate:>11,.0f}/s  {turn.rate / shown[0].rate:.2f}  {cpu}", flush=True)


def _measure(server: Server, nodes: int, producers: int, bots: int, seconds: float) -> Turn:
    """What nodes that begin together do in so many seconds."""
    context = get_context("spawn")
    url, barrier, done = server.admin(server.database()), context.Barrier(nodes), context.Queue()
    with closing(postgres_store(url, OfNode())) as store:
        store.open()  # the tables
    processes = [
        context.Process(
            target=_run_node,
            args=(url, barrier, done, producers, range(node * bots, (node + 1) * bots), seconds),
        )
        for node in range(nodes)
    ]
    before = _cpu_of_servers()
    for process in processes:
        process.start()
    found = [done.get(timeout=60 + seconds) for _ in processes]
    for process in processes:
        process.join()
    pairs = sum(pairs for _, pairs, _ in found)
    node = 1e6 * sum(cpu for _, _, cpu in found) / pairs
    return Turn(sum(rate for rate, _, _ in found), node, 1e6 * (_cpu_of_servers() - before) / pairs)


def _cpu_of_servers() -> float:
    """Processor seconds of the servers that this process has started, and of their processes."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "postgres":
                times = child.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _run_node(url: str, barrier: Any, done: Any, producers: int, bots: range, seconds: float) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)  # as the daemon does
    gc.freeze()
    gc.set_threshold(*COLLECT)
    store = postgres_store(url, OfNode())
    store.open()
    barrier.wait()
    began = _own_cpu()
    rate = trio.run(measure_pairs, store, producers, bots, 1, seconds)
    done.put((rate, rate * seconds, _own_cpu() - began))


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
