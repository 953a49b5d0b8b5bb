"""The dashboard with 1,000 bots under load: frames while it scrolls, its memory, its cost to the daemon.

A real Chromium, without a window, shows the table of bots of a real daemon, and scrolls it all the time.
Frames are those that the page itself is given (requestAnimationFrame); "busy" is the time of its main thread.
Memory is its heap after a collection, with its nodes and listeners, as the debugger tells them. The
daemon, its workers and the stand-in for Telegram share the cores of this machine with it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from benchmarks.fleet import HANDLER, wait_ready
from benchmarks.processes import cpu
from benchmarks.standing import standing_in

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "browsing"))

from dashboard_browser import started

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

SETTLE = 5.0  # seconds from when the page is open until it is measured
LOOK_EVERY = 10.0  # seconds between two lines
STEP = 12  # pixels that are scrolled in each frame

# Counts frames and their longest gap, and scrolls a little in each.
SCROLL = """step => {
    const box = document.querySelector('.fleet-scroll');
    const seen = window.seen = { frames: 0, worst: 0, late: 0 };
    let last = performance.now(), by = step;
    function next(now) {
        seen.frames += 1;
        seen.worst = Math.max(seen.worst, now - last);
        if (now - last > 34) seen.late += 1;
        last = now;
        if (box.scrollTop + box.clientHeight >= box.scrollHeight - 1) by = -step;
        if (box.scrollTop <= 0) by = step;
        box.scrollTop += by;
        requestAnimationFrame(next);
    }
    requestAnimationFrame(next);
}"""
TAKEN = """() => {
    const taken = { ...window.seen };
    Object.assign(window.seen, { frames: 0, worst: 0, late: 0 });
    return taken;
}"""
HEAD = "seconds  frames/s   late  longest, ms  busy, %  heap, MB   nodes  listeners"


def run(bots: int, rate: float, seconds: float, pictures: Path | None) -> None:
    """Print a line each ten seconds, and what the page costs the daemon."""
    print(f"{bots} echo bots, {rate:g} updates/s, on {os.cpu_count()} cores that all of it shares")
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        measure(Path(folder), bots, rate, seconds, pictures)


def measure(folder: Path, bots: int, rate: float, seconds: float, pictures: Path | None) -> None:
    """Run the fleet, without and with a page."""
    (folder / "echo.py").write_text(HANDLER)
    with standing_in(bots) as standin:
        names = {f"bot{number:04}": {"token": token} for number, token in enumerate(standin.tokens)}
        fleet = {
            "fleet": {"api_base": standin.base},
            "limits": {"start_rate": 2000, "max_workers": bots, "max_workers_per_core": bots},
            "api": {"bind": "127.0.0.1:0"},
            "defaults": {"handler": "echo:handle"},
            "bots": names,
        }
        (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"],
            stderr=subprocess.DEVNULL,
        )
        try:
            control = folder / "state" / "run" / "control.sock"
            wait_ready(control, daemon)
            standin.wait_polled()
            alone = min(60.0, seconds)
            standin.send(round(rate * (alone + seconds + 6 * SETTLE)), rate=rate)
            time.sleep(SETTLE)
            without = load(daemon.pid, alone)
            print(f"the daemon without a page: {100 * without:.1f} % of a core")
            with started() as browser:
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                address = login_link(control)
                page.goto(address)
                page.goto(f"{address.partition('/login')[0]}/#/bots?sort=bot")
                page.wait_for_selector(".fleet tbody tr")
                time.sleep(SETTLE)
                more = watch(page, daemon.pid, seconds)
                costs = f"the page costs {100 * (more - without):.1f} %"
                print(f"the daemon with the page: {100 * more:.1f} %; {costs}")
                if pictures is not None:
                    page.screenshot(path=pictures / "crowded.png")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


def watch(page: Page, pid: int, seconds: float) -> float:
    """Scroll for so long, and print what is seen; return the daemon's load."""
    debugger = page.context.new_cdp_session(page)
    debugger.send("Performance.enable")
    page.evaluate(SCROLL, STEP)
    used, began = cpu(pid), time.perf_counter()
    print(HEAD)
    end = began + seconds
    while (now := time.perf_counter()) < end:
        busy = metrics(debugger)["TaskDuration"]
        page.evaluate(TAKEN)
        time.sleep(min(LOOK_EVERY, max(1.0, end - now)))
        took = time.perf_counter() - now
        seen: dict[str, Any] = page.evaluate(TAKEN)
        busy = metrics(debugger)["TaskDuration"] - busy
        debugger.send("HeapProfiler.collectGarbage")
        kept = metrics(debugger)
        frames = f"{seen['frames'] / took:>8.1f}  {seen['late']:>5}  {seen['worst']:>11.0f}"
        memory = (
            f"{kept['JSHeapUsedSize'] / 1e6:>8.2f}  {kept['Nodes']:>6.0f}  {kept['JSEventListeners']:>9.0f}"
        )
        line = f"{time.perf_counter() - began:>7.0f}  {frames}  {100 * busy / took:>6.1f}  {memory}"
        print(line, flush=True)
    return (cpu(pid) - used) / (time.perf_counter() - began)


def metrics(debugger: CDPSession) -> dict[str, float]:
    """What the debugger's protocol tells of the page now."""
    return {metric["name"]: metric["value"] for metric in debugger.send("Performance.getMetrics")["metrics"]}


def load(pid: int, seconds: float) -> float:
    """The part of a core that a process uses."""
    before, began = cpu(pid), time.perf_counter()
    time.sleep(seconds)
    return (cpu(pid) - before) / (time.perf_counter() - began)


class _Control(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("control", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def login_link(control: Path) -> str:
    """A link that signs in."""
    with closing(_Control(control)) as connection:
        connection.request("POST", "/api/login-link")
        url: str = json.loads(connection.getresponse().read())["url"]
        return url
