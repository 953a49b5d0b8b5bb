"""The start of a large fleet: seconds, processor time and memory, in turns with other checkouts.

A checkout is a folder with `.venv` and `trioworkers` in it, so that a change can be compared with the commit
before it: both are measured in one run, since the speed of a machine varies within minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import tomli_w

from benchmarks.fleet import HANDLER, wait_ready
from benchmarks.processes import cpu, pss
from benchmarks.standing import StandIn, standing_in

ROOT = Path(__file__).resolve().parents[2]
SETTLE = 3.0  # seconds from the readiness of all until memory is measured


@dataclass(frozen=True)
class Start:
    """What one start took, in seconds and MB.

    Attributes:
        polling: from the daemon's start until each bot has asked for updates.
        ready: until each bot has its first verdict.
        spent: processor time of all processes by then, the end of those that have ended included.
        daemon: processor time of the daemon by then.
        memory: of all processes, for each bot.
        daemon_memory: of the daemon.
        worker_memory: of one worker.
    """

    polling: float
    ready: float
    spent: float
    daemon: float
    memory: float
    daemon_memory: float
    worker_memory: float


def run(count: int, rounds: int, rate: float, others: list[Path]) -> None:
    """Print medians of this checkout and of others, and their ratios."""
    checkouts = [ROOT, *others]
    found: dict[Path, list[Start]] = {checkout: [] for checkout in checkouts}
    names = [field.name.replace("_", " ") for field in fields(Start)]
    print(f"{count} bots on {os.cpu_count()} cores that the stand-in shares; seconds and MB")
    print(" ".join(f"{name:>13}" for name in names))
    for _ in range(rounds):
        for checkout in checkouts:
            one = measured(checkout, count, rate)
            found[checkout].append(one)
            print(_line(list(astuple(one))), checkout.name, flush=True)
        checkouts.reverse()  # whoever is second has it warmer, or more crowded
    print("medians")
    medians = {checkout: _medians(starts) for checkout, starts in found.items()}
    for checkout, row in medians.items():
        print(_line(row), checkout.name)
    for checkout in others:
        ratios = [ours / theirs for ours, theirs in zip(medians[ROOT], medians[checkout], strict=True)]
        print(_line(ratios), f"{ROOT.name} ÷ {checkout.name}")


def _medians(starts: list[Start]) -> list[float]:
    return [median(column) for column in zip(*map(astuple, starts), strict=True)]


def _line(values: list[float]) -> str:
    return " ".join(f"{value:>13.2f}" for value in values)


def measured(checkout: Path, count: int, rate: float) -> Start:
    """Start a fleet beside a stand-in of its own, and end it."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder,
        standing_in(count) as standin,
    ):
        return _measure(checkout, Path(folder), count, rate, standin)


def _measure(checkout: Path, folder: Path, count: int, rate: float, standin: StandIn) -> Start:
    (folder / "echo.py").write_text(HANDLER)
    fleet: dict[str, Any] = {
        "fleet": {"api_base": standin.base},
        "limits": {"start_rate": rate, "max_workers": count, "max_workers_per_core": count},
        "api": {"bind": "127.0.0.1:0"},
        "defaults": {"handler": "echo:handle"},
        "bots": {f"bot{number}": {"token": token} for number, token in enumerate(standin.tokens)},
    }
    (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
    python = str(checkout / ".venv" / "bin" / "python")
    began = time.perf_counter()
    daemon = subprocess.Popen(
        [python, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"],
        cwd=checkout,
        stderr=subprocess.DEVNULL,
    )
    try:
        polling = standin.wait_polled() - began
        status = wait_ready(folder / "state" / "run" / "control.sock", daemon)
        ready = time.perf_counter() - began
        workers = [row["pid"] for row in status["workers"]]
        zygote = [child.pid for child in psutil.Process(daemon.pid).children()]
        everyone = [daemon.pid, *zygote, *workers]
        spent, daemon_spent = sum(map(cpu, everyone)), cpu(daemon.pid)
        time.sleep(SETTLE)
        memory = sum(map(pss, everyone))
        worker_memory = sum(map(pss, workers)) / len(workers)
        return Start(polling, ready, spent, daemon_spent, memory / count, pss(daemon.pid), worker_memory)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
