"""How long after a write of the fleet file an edited setting is in force, and that no process is touched.

In force is when the bot's `settings_changed` runs: the next update is handled with the new value.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import tomli_w

from benchmarks.fleet import wait_ready, wait_status
from benchmarks.standing import standing_in

HANDLER = """
import os, time

async def handle(update, bot): ...

async def settings_changed(bot):
    with open("seen.new", "w") as file:
        file.write(f"{bot.settings['greeting']} {time.monotonic()}")
    os.replace("seen.new", "seen")
"""
LIMIT = 10.0  # seconds for one edit


def run(count: int, edits: int) -> None:
    """Edit one greeting after the other in a running fleet; print the median and the worst."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        seconds, same = measure(Path(folder), count, edits)
    print(f"one greeting edited among {count} bots: {edits} edits, from the write to settings_changed;")
    print(f"{1000 * median(seconds):.0f} ms median, {1000 * max(seconds):.0f} ms at most;", end=" ")
    print("no process id changed" if same else "PROCESS IDS CHANGED")


def measure(folder: Path, count: int, edits: int) -> tuple[list[float], bool]:
    """Seconds for each edit, and whether all workers are those of before."""
    with standing_in(count) as standin:
        (folder / "greets.py").write_text(HANDLER)
        bots = {
            f"bot{number}": {"token": token, "settings": {"greeting": "hi"}}
            for number, token in enumerate(standin.tokens)
        }
        fleet: dict[str, Any] = {
            "fleet": {"api_base": standin.base},
            "limits": {"start_rate": 2000, "max_workers": count, "max_workers_per_core": count},
            "api": {"bind": "127.0.0.1:0"},
            "defaults": {"handler": "greets:handle"},
            "bots": bots,
        }
        file = folder / "fleet.toml"
        file.write_text(tomli_w.dumps(fleet))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "trioworkers.cli", "-c", str(file), "run"], stderr=subprocess.DEVNULL
        )
        try:
            control = folder / "state" / "run" / "control.sock"
            before = wait_ready(control, daemon)
            time.sleep(2)  # the first look at the files is over
            seconds = []
            for number in range(edits):
                greeting = f"hello-{number}"
                bots[f"bot{number * 7 % count}"]["settings"] = {"greeting": greeting}
                text = tomli_w.dumps(fleet)
                began = time.monotonic()
                (folder / "edited").write_text(text)
                os.replace(folder / "edited", file)  # as editors do
                seconds.append(seen(folder / "seen", greeting) - began)
                time.sleep(0.2)
            after = wait_status(control, daemon)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
    pids = [[row["pid"] for row in status["workers"]] for status in (before, after)]
    return seconds, pids[0] == pids[1]


def seen(file: Path, greeting: str) -> float:
    """When the handler saw it, on the monotonic clock."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if file.exists():
            what, at = file.read_text().split()
            if what == greeting:
                return float(at)
        time.sleep(0.005)
    message = f"no handler saw the edit within {LIMIT:g} s"
    raise SystemExit(message)
