"""What clients of the live stream cost the daemon, in turns with none.

A fleet of echo bots works at an even rate for all of the time. In each round it is measured with no client
and with so many, over the control socket. The clients are one process that reads and throws away. One more
client may be connected that never reads.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import tomli_w

from benchmarks.fleet import HANDLER, wait_ready
from benchmarks.processes import cpu, pss
from benchmarks.standing import standing_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.sharedctypes import Synchronized

UPGRADE = (
    b"GET /api/live HTTP/1.1\r\nHost: control\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SETTLE = 4.0  # seconds from when clients come or go until it is measured


@dataclass
class Turn:
    """What was measured with so many clients: cores of the daemon, bytes per second for each client."""

    cores: float
    bytes: float
    memory: float


def run(bots: int, rate: float, clients: int, seconds: float, rounds: int) -> None:
    """Print a line for each turn and what the clients cost."""
    print(f"{bots} echo bots, {rate:g} updates/s, on {os.cpu_count()} cores that all of it shares")
    print(f"{'clients':>7}  {'daemon, % of a core':>19}  {'kB/s for each':>13}  {'daemon, MB':>10}")
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        measure(Path(folder), bots, rate, clients, seconds, rounds)


def measure(folder: Path, bots: int, rate: float, clients: int, seconds: float, rounds: int) -> None:
    """Run the fleet and take turns."""
    (folder / "echo.py").write_text(HANDLER)
    with standing_in(bots) as standin:
        names = {f"bot{number}": {"token": token} for number, token in enumerate(standin.tokens)}
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
            standin.send(round(rate * (2 * rounds + 1) * (seconds + SETTLE + 2)), rate=rate)
            turns: dict[int, list[Turn]] = {0: [], clients: []}
            for _ in range(rounds):
                for count, done in turns.items():
                    done.append(turn(daemon.pid, control, count, seconds))
                    last = done[-1]
                    figures = f"{100 * last.cores:>18.2f}%  {last.bytes / 1000:>13.1f}  {last.memory:>10.1f}"
                    print(f"{count:>7}  {figures}", flush=True)
            more = mean(turn.cores for turn in turns[clients]) - mean(turn.cores for turn in turns[0])
            print(f"{clients} clients cost {100 * more:.2f} % of a core")
            with deaf(control):
                last = turn(daemon.pid, control, clients, seconds)
                print(f"with one more that never reads: {100 * last.cores:.2f} %, {last.memory:.1f} MB")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


def turn(pid: int, control: Path, clients: int, seconds: float) -> Turn:
    """Measure with so many clients."""
    with reading(control, clients) as counter:
        time.sleep(SETTLE)
        before, read, began = cpu(pid), counter(), time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        return Turn((cpu(pid) - before) / took, (counter() - read) / took / max(1, clients), pss(pid))


@contextmanager
def reading(control: Path, clients: int) -> Iterator[Callable[[], int]]:
    """Run a process with so many clients; gives what tells how many bytes they have read by now."""
    read = multiprocessing.get_context("spawn").Value("q", 0)
    process = multiprocessing.get_context("spawn").Process(
        target=read_all, args=(str(control), clients, read), daemon=True
    )
    process.start()
    try:
        yield lambda: int(read.value)
    finally:
        process.terminate()
        process.join()


def read_all(control: str, clients: int, read: Synchronized[int]) -> None:
    """Be so many clients that read all they are sent, and count it."""
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(control)
            peer.sendall(UPGRADE)
            selector.register(peer, selectors.EVENT_READ)
        while clients:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                read.value += len(key.fileobj.recv(2**18))


@contextmanager
def deaf(control: Path) -> Iterator[None]:
    """A client that never reads."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(control))
        peer.sendall(UPGRADE)
        yield
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
