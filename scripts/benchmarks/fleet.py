"""Updates per second from a stand-in Bot API to its sendMessage, through the whole fleet.

The stand-in is our simulator in a process of its own; it shares the machine, and what it can serve at
most is a bound of every figure. All updates wait there at the start: a burst. Nothing is left out: the
inbox is durable, each bot has its own process, the handler calls sendMessage.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import tomli_w

HANDLER = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
STANDIN = Path(__file__).with_name("standin.py")
RUNS = 3


def run(counts: list[int], updates: int) -> None:
    """Print a line for each number of bots."""
    print(f"a burst of {updates} updates over 100 chats, echo bots, long polling, durability full;")
    print(f"median of {RUNS}; on {os.cpu_count()} cores that the stand-in shares")
    print(f"{'bots':>5}  {'ready':>7}  {'updates':>9}  {'PSS/bot':>8}  {'daemon PSS':>10}")
    for count in counts:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
            ready, rate, worker, daemon = measure(Path(folder), count, updates)
        print(
            f"{count:>5}  {ready:>6.2f}s  {rate:>7,.0f}/s  {worker:>5.1f} MB  {daemon:>7.1f} MB", flush=True
        )


def measure(folder: Path, count: int, updates: int) -> tuple[float, float, float, float]:
    """Seconds until ready, updates per second, MB (PSS) of a worker and of the daemon."""
    standin = subprocess.Popen(
        [sys.executable, str(STANDIN), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert standin.stdin is not None
    assert standin.stdout is not None
    offered = json.loads(standin.stdout.readline())
    (folder / "echo.py").write_text(HANDLER)
    bots = {f"bot{number}": {"token": token} for number, token in enumerate(offered["tokens"])}
    fleet: dict[str, Any] = {
        "fleet": {"api_base": offered["base"]},
        "limits": {"start_rate": 2000},
        "api": {"bind": "127.0.0.1:0"},
        "defaults": {"handler": "echo:handle"},
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
        seconds = []
        for _ in range(RUNS):
            standin.stdin.write(f"{updates}\n")
            standin.stdin.flush()
            seconds.append(json.loads(standin.stdout.readline()))
        workers = [pss(row["pid"]) for row in status["workers"]]
        return ready, updates / sorted(seconds)[RUNS // 2], sum(workers) / len(workers), pss(daemon.pid)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        standin.stdin.close()
        standin.wait()


def wait_ready(control: Path, daemon: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait until the fleet runs; the status document."""
    transport = httpx.HTTPTransport(uds=str(control))
    with httpx.Client(transport=transport, base_url="http://control") as client:
        while daemon.poll() is None:
            try:
                if client.get("/ready").status_code == 200:
                    document: dict[str, Any] = client.get("/api/workers/status").json()
                    return document
            except httpx.TransportError:
                pass
            time.sleep(0.02)
    message = "the daemon ended by itself"
    raise SystemExit(message)


def pss(pid: int) -> float:
    """A process's proportional share of memory, MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
