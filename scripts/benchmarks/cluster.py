"""Accept and done per second of several nodes on one PostgreSQL server, each with bots of its own."""

from __future__ import annotations

import gc
import sys
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import trio

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "postgres"))

from postgres_server import Server

from benchmarks.inbox import measure_pairs
from benchmarks.postgres import SETTINGS, OfNode
from trioworkers.inbox.postgres.store import postgres_store
from trioworkers.run import COLLECT, SWITCH_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(nodes: Sequence[int], producers: int, bots: int, seconds: float, rounds: int) -> None:
    """Print a line for each number of nodes: the median of the rounds, and of the single node's."""
    with closing(Server(**SETTINGS)) as server:
        server.start()
        print(f"{'nodes':>5}  {'accept + done':>13}  of one node's, {producers} producers each")
        turns = [
            [_measure(server, number, producers, bots, seconds) for number in nodes] for _ in range(rounds)
        ]
        rates = [median(rates) for rates in zip(*turns, strict=True)]
        for number, rate in zip(nodes, rates, strict=True):
            print(f"{number:>5}  {rate:>11,.0f}/s  {rate / rates[0]:.2f}", flush=True)


def _measure(server: Server, nodes: int, producers: int, bots: int, seconds: float) -> float:
    """The sum of the rates of nodes that begin together."""
    context = get_context("spawn")
    url, barrier, rates = server.admin(server.database()), context.Barrier(nodes), context.Queue()
    postgres_store(url, OfNode()).open()  # the tables
    processes = [
        context.Process(
            target=_run_node,
            args=(url, barrier, rates, producers, range(node * bots, (node + 1) * bots), seconds),
        )
        for node in range(nodes)
    ]
    for process in processes:
        process.start()
    total = sum(rates.get(timeout=60 + seconds) for _ in processes)
    for process in processes:
        process.join()
    return float(total)


def _run_node(url: str, barrier: Any, rates: Any, producers: int, bots: range, seconds: float) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL)  # as the daemon does
    gc.freeze()
    gc.set_threshold(*COLLECT)
    store = postgres_store(url, OfNode())
    store.open()
    barrier.wait()
    rates.put(trio.run(measure_pairs, store, producers, bots, 1, seconds))
