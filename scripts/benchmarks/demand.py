"""A large fleet of bots that sleep until they are wanted: what a sleeping one costs, and its waking.

All bots poll; as many are awake at a time as there are places for workers, so that each wake beyond them
lets the longest idle worker sleep first.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import tomli_w

from benchmarks.fleet import HANDLER, wait_ready, wait_status
from benchmarks.processes import pss
from benchmarks.standing import StandIn, standing_in

PROBES = 30  # bots whose first and second answer are timed
SETTLE = 10.0  # seconds for all polls to be under way


def run(count: int, awake: int, rounds: int) -> None:
    """Print what such a fleet costs, and how long answers take."""
    few = measured(1, awake, 0)[0]
    sleeping, first, second, daemon, rate, state = measured(count, awake, rounds)
    print(f"{count} bots on demand, at most {awake} awake:")
    print(
        f"daemon {sleeping:.0f} MB while all sleep, {1000 * (sleeping - few) / count:.0f} kB a bot;", end=" "
    )
    print(f"after {rounds} rounds {daemon:.0f} MB")
    print(f"first answer {1000 * first:.0f} ms, of one that is awake {1000 * second:.0f} ms", end=" ")
    print(f"(medians of {PROBES})")
    if rounds:
        print(f"{rate:,.0f} updates/s, each to another bot that has to be woken; states at the end: {state}")


def measured(count: int, awake: int, rounds: int) -> tuple[float, float, float, float, float, str]:
    """Run such a fleet beside a stand-in."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder,
        standing_in(count) as standin,
    ):
        return measure(Path(folder), count, awake, rounds, standin)


def measure(
    folder: Path, count: int, awake: int, rounds: int, standin: StandIn
) -> tuple[float, float, float, float, float, str]:
    """MB while all sleep, seconds to the first and the second answer, MB at the end, updates/s, states."""
    (folder / "echo.py").write_text(HANDLER)
    fleet: dict[str, Any] = {
        "fleet": {"api_base": standin.base},
        "limits": {"start_rate": 2000, "max_workers": awake, "max_workers_per_core": awake},
        "api": {"bind": "127.0.0.1:0"},
        "defaults": {"handler": "echo:handle", "worker": "on_demand", "idle_stop": "10m"},
        "bots": {f"bot{number}": {"token": token} for number, token in enumerate(standin.tokens)},
    }
    (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
    daemon = subprocess.Popen(
        [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"],
        stderr=subprocess.DEVNULL,
    )
    try:
        control = folder / "state" / "run" / "control.sock"
        wait_ready(control, daemon)
        standin.answered(1, 0)
        time.sleep(SETTLE if count > 1 else 1)
        sleeping = pss(daemon.pid)
        times = [[standin.answered(1, number % count) for _ in range(2)] for number in range(1, 1 + PROBES)]
        rate = 0.0
        if rounds:
            began = time.perf_counter()
            for number in range(rounds):
                standin.answered(awake, (1 + PROBES + number * awake) % count)
            rate = rounds * awake / (time.perf_counter() - began)
        states = [row["state"] for row in wait_status(control, daemon)["workers"]]
        told = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        return sleeping, median(t[0] for t in times), median(t[1] for t in times), pss(daemon.pid), rate, told
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
