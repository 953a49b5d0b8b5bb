"""Updates per second from a stand-in Bot API to its sendMessage, through the whole fleet.

The stand-in is a process of its own that shares the machine. All updates wait there at the start: a burst.
Nothing is left out: the inbox is durable, each bot has its own process, the handler calls sendMessage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import tomli_w

from benchmarks.processes import cpu, pss, used_while_idle
from benchmarks.standing import StandIn, standing_in

HANDLER = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
RUNS = 3
KILLS = 5  # bots whose worker is killed, one after the other
SETTLE, IDLE = 5.0, 50.0  # seconds; a heartbeat is every 45, a poll every 50


def run(counts: list[int], ways: list[str], updates: int) -> None:
    """Print a line for each number of bots and way of starting their workers."""
    print(f"a burst of {updates} updates over 100 chats, echo bots, long polling, durability full;")
    print(f"median of {RUNS}; on {os.cpu_count()} cores that the stand-in shares")
    print(f"{'':>23}  {'PSS, MB':^22}  {'':>8}  {'':>6}  {'':>9}  {'CPU of one update, µs':^26}")
    memory = f"{'bot':>6}  {'worked':>6}  {'daemon':>6}"
    names = f"{'idle CPU':>8}  {'killed':>6}  {'updates':>9}  {'daemon':>7} {'worker':>8} {'stand-in':>9}"
    print(f"{'bots':>5}  {'start':>5}  {'ready':>7}  {memory}  {names}")
    for count, way in product(counts, ways):
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
            row = measure(Path(folder), count, way, updates)
        start = f"{count:>5}  {way:>5}  {row.ready:>6.2f}s"
        memory = f"{row.fresh_memory:>6.1f}  {row.worker_memory:>6.1f}  {row.memory:>6.1f}"
        spent = f"{row.cpu[0]:>7.0f} {row.cpu[1]:>8.0f} {row.cpu[2]:>9.0f}"
        idle = f"{100 * row.idle:>7.1f}%  {1000 * row.back:>4.0f}ms"
        print(f"{start}  {memory}  {idle}  {row.rate:>7,.0f}/s  {spent}", flush=True)


@dataclass
class Row:
    """One line: seconds until ready, updates/s, MB of PSS, and CPU µs of daemon, workers and stand-in.

    The memory of a worker before and after it has worked; of the daemon with the zygote. `idle`: cores that
    all of these use while nothing happens. `back`: seconds from a worker's SIGKILL until its bot has
    answered an update that came then, at the first crash and with `restart.initial = 0`.
    """

    ready: float
    rate: float
    fresh_memory: float
    worker_memory: float
    memory: float
    idle: float
    back: float
    cpu: tuple[float, float, float]


def measure(folder: Path, count: int, way: str, updates: int) -> Row:
    """Run a fleet of so many bots and answer all updates with it, a few times."""
    with standing_in(count) as standin:
        return measure_beside(folder, count, way, updates, standin)


def measure_beside(folder: Path, count: int, way: str, updates: int, standin: StandIn) -> Row:
    """The same, beside a stand-in that runs."""
    (folder / "echo.py").write_text(HANDLER)
    bots = {f"bot{number}": {"token": token} for number, token in enumerate(standin.tokens)}
    fleet: dict[str, Any] = {
        "fleet": {"api_base": standin.base, "worker_start": way},
        "limits": {"start_rate": 2000, "max_workers": count, "max_workers_per_core": count},
        "api": {"bind": "127.0.0.1:0"},
        "defaults": {"handler": "echo:handle", "restart": {"initial": 0}},
        "bots": bots,
    }
    (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
    began = time.perf_counter()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"],
        stderr=subprocess.DEVNULL,
    )
    try:
        status = wait_ready(folder / "state" / "run" / "control.sock", daemon)
        ready = time.perf_counter() - began
        workers = [row["pid"] for row in status["workers"]]
        ours = [
            daemon.pid,
            *map(int, Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()),
        ]
        groups = [ours, workers, [standin.pid]]
        fresh = sum(map(pss, workers)) / len(workers)
        idle = used_while_idle([*ours, *workers], SETTLE, IDLE)
        before = [sum(map(cpu, group)) for group in groups]
        seconds = [standin.answered(updates) for _ in range(RUNS)]
        used = [sum(map(cpu, group)) - start for group, start in zip(groups, before, strict=True)]
        daemon_cpu, worker_cpu, standin_cpu = (1e6 * spent / (RUNS * updates) for spent in used)
        worked, ours_memory = sum(map(pss, workers)) / len(workers), sum(map(pss, ours))
        back = median(killed(status, standin, bot) for bot in range(min(KILLS, count)))
        return Row(
            ready,
            updates / sorted(seconds)[RUNS // 2],
            fresh,
            worked,
            ours_memory,
            idle,
            back,
            (daemon_cpu, worker_cpu, standin_cpu),
        )
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def killed(status: dict[str, Any], standin: StandIn, number: int) -> float:
    """Seconds from the SIGKILL of a bot's worker until an update that comes then is answered."""
    pid = next(row["pid"] for row in status["workers"] if row["bot"] == f"bot{number}")
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    standin.answered(1, number)
    return time.perf_counter() - began


def wait_ready(control: Path, daemon: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait until every bot has a verdict; the status document."""
    return wait_status(control, daemon, "/ready")


def wait_status(control: Path, daemon: subprocess.Popen[bytes], first: str = "/health") -> dict[str, Any]:
    """The status document, once the daemon answers a request for `first` with 200."""
    transport = httpx.HTTPTransport(uds=str(control))
    with httpx.Client(transport=transport, base_url="http://control") as client:
        while daemon.poll() is None:
            try:
                if client.get(first).status_code == 200:
                    document: dict[str, Any] = client.get("/api/workers/status").json()
                    return document
            except httpx.TransportError:
                pass
            time.sleep(0.05)  # each question costs the daemon a millisecond
    message = "the daemon ended by itself"
    raise SystemExit(message)
