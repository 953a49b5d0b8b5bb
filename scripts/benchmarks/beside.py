"""`bench all`: trioworkers side by side with what users run today, the same bots and the same stand-in.

All of it shares this machine's cores with the stand-in, which says what it used. Each figure is kept in
`.bench/figures.json`, so that a comparison may be measured in parts; the table is of all that is there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import figures, foreign
from benchmarks.processes import cpu, pss, used_while_idle
from benchmarks.products import PRODUCTS, Running, running
from benchmarks.standing import StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = foreign.FOLDER / "figures.json"
BURST, RUNS = 5000, 3
RATE, STEADY = 200.0, 4000  # updates per second, and in all
SETTLE, IDLE = 5.0, 50.0  # seconds; a poll takes 50
SLOW, KILL_AFTER = 600, 1.5  # updates for handlers of 0.3 s, at the same rate; seconds
PATIENCE = 15.0  # seconds without any answer, and half a second more for each bot: what may have to start

Figures = dict[str, float]


def run(counts: list[int], parts: list[str], names: list[str], rounds: int) -> None:
    """Measure what is asked for, medians of rounds in which the products take turns; print the table."""
    kept: dict[str, Figures] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in names if parts else []:
        PRODUCTS[name].install()
    for count in counts if parts else []:
        found: dict[str, list[Figures]] = {name: [] for name in names}
        for name in names * rounds:
            print(f"{PRODUCTS[name].title}, {count} bots", file=sys.stderr)
            found[name].append(measured(name, count, parts))
            medians = {key: median(one[key] for one in found[name]) for key in found[name][0]}
            kept.setdefault(f"{name} {count}", {}).update(medians)
            FIGURES.parent.mkdir(exist_ok=True)
            FIGURES.write_text(json.dumps(kept, indent=1))
    print(f"{os.cpu_count()} cores, which the stand-in shares; bursts of {BURST} updates, median of {RUNS}")
    print(f"after one to warm up; {STEADY} updates at {RATE:g}/s; {IDLE:g} s idle; {SLOW} slow updates")
    print("\n".join(figures.table(kept, counts, names)))


def measured(name: str, count: int, parts: list[str]) -> Figures:
    """Run a product with so many bots and measure the parts."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-", ignore_cleanup_errors=True) as folder,
        standing_in(count) as standin,
        running(name, Path(folder), standin) as product,
    ):
        ready = standin.wait_polled() - product.began
        found = {"start": ready, "start of one": ready / count} if "start" in parts else {}
        if "memory" in parts:
            time.sleep(SETTLE)
            found["memory"] = _memory(product, count)
        if {"memory", "burst", "latency"} & set(parts):
            standin.answered(BURST)
        for part, measure in MEASURES.items():
            if part in parts:
                found |= measure(product, standin, count)
        return found


def _burst(product: Running, standin: StandIn, _count: int) -> Figures:
    pids = product.processes()
    before, rates, used, disordered = sum(map(cpu, pids)), [], 0.0, 0
    for _ in range(RUNS):
        standin.send(BURST)
        told = standin.told()
        rates.append(len(told.latencies) / told.seconds)
        used, disordered = used + told.cpu, disordered + told.disordered
        _complain(told.lost + told.twice + told.wrong)
    spent = sum(map(cpu, pids)) - before
    return {
        "burst": median(rates),
        "cpu": spent / RUNS / BURST,
        "stand-in": used / RUNS / BURST,
        "disordered": disordered / RUNS,
    }


def _worked(product: Running, _standin: StandIn, count: int) -> Figures:
    return {"memory worked": _memory(product, count)}


def _latency(_product: Running, standin: StandIn, _count: int) -> Figures:
    standin.send(STEADY, rate=RATE)
    told = standin.told()
    _complain(told.lost + told.twice + told.wrong)
    return {"p50": told.percentile(50), "p99": told.percentile(99)}


def _idle(product: Running, _standin: StandIn, _count: int) -> Figures:
    return {"idle": used_while_idle(product.processes(), SETTLE, IDLE)}


def _loss(product: Running, standin: StandIn, count: int) -> Figures:
    found = _killed(product, standin, count, "")
    if product.survives():
        standin.answered(count)  # all of them are back
        found |= _killed(product, standin, count, " daemon")
    return found


def _killed(product: Running, standin: StandIn, count: int, which: str) -> Figures:
    """Kill half of the bots at once while all of them are at work, and the daemon, if it is its turn."""
    victims = product.bots(count)[::2]
    standin.send(SLOW, rate=RATE, word="slow", patience=PATIENCE + count / 2)
    time.sleep(KILL_AFTER)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    if which:
        product.kill_supervisor()
    told = standin.told()
    _complain(told.wrong)
    return {f"lost{which}": told.lost, f"twice{which}": told.twice}


MEASURES: dict[str, Callable[[Running, StandIn, int], Figures]] = {
    "burst": _burst,
    "memory": _worked,
    "latency": _latency,
    "idle": _idle,
    "loss": _loss,
}
PARTS = ["start", *MEASURES]


def _memory(product: Running, count: int) -> float:
    """MB for each bot: all processes of the product, its supervisor's included, divided."""
    return sum(map(pss, product.processes())) / count


def _complain(wrong: int) -> None:
    """Stop where a product did not do what it is measured for."""
    if wrong:
        message = f"{wrong} updates were lost, answered twice or answered wrongly"
        raise SystemExit(message)
