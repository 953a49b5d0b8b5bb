"""Webhook deliveries per second on one core each, beside bare hypercorn and aiogram's server.

Every server is a process of its own; the client is another, with kept-alive connections that each have one
delivery in flight, as Telegram has for each chat. Bare hypercorn reads the body and answers 200: the
ceiling of what stands on it. Ours checks the secret, reads the update and commits it before it answers.
aiogram answers before anything was handled, and makes nothing durable.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import foreign

SERVERS = Path(__file__).with_name("webhook_servers.py")
CLIENT = Path(__file__).with_name("webhook_client.py")
DURABLE = {"bare": "nothing", "ours": "committed, synced", "aiogram": "nothing"}
NAMES = {"bare": "bare hypercorn, ASGI", "ours": "trioworkers", "aiogram": "aiogram on aiohttp"}


def run(bots: int, connections: int, seconds: float, rounds: int) -> None:
    """Print a line for each server: medians, of the ratios too, over rounds in which all take turns."""
    print(f"{bots} bots, {connections} connections, updates of some 600 bytes, {os.cpu_count()} cores")
    print(f"that the client shares; median of {rounds} rounds of {seconds:g} s, servers taking turns")
    interpreters = {"bare": sys.executable, "ours": sys.executable, "aiogram": str(foreign.python())}
    rates: dict[str, list[float]] = {name: [] for name in interpreters}
    costs: dict[str, list[float]] = {name: [] for name in interpreters}
    for _ in range(rounds):
        for name, interpreter in interpreters.items():
            rate, cost = measure(name, interpreter, bots, connections, seconds)
            rates[name].append(rate)
            costs[name].append(cost)
    print(f"{'':>22}  {'deliveries':>10}  {'of bare':>7}  {'CPU of one':>10}  durable before 200")
    for name in interpreters:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        ratio = statistics.median(own / bare for own, bare in zip(rates[name], rates["bare"], strict=True))
        print(f"{NAMES[name]:>22}  {rate:>8,.0f}/s  {ratio:>7.2f}  {cost:>7.0f} µs  {DURABLE[name]}")


def measure(name: str, interpreter: str, bots: int, connections: int, seconds: float) -> tuple[float, float]:
    """Deliveries per second, and the server's CPU µs for each."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, _folder() as folder:
        descriptor = listener.fileno()
        server = subprocess.Popen(
            [interpreter, str(SERVERS), name, str(descriptor), str(bots), folder],
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert server.stdout is not None
            if not server.stdout.readline():
                message = f"{NAMES[name]} did not start"
                raise SystemExit(message)
            port = str(listener.getsockname()[1])
            client = [sys.executable, str(CLIENT), port, str(bots), str(connections), str(seconds)]
            before = _cpu(server.pid)
            told = json.loads(subprocess.run(client, check=True, capture_output=True).stdout)
            spent = _cpu(server.pid) - before
        finally:
            server.kill()
            server.wait()
            if server.stdout is not None:
                server.stdout.close()
    return told["done"] / told["seconds"], 1e6 * spent / told["done"]


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-")


def _cpu(pid: int) -> float:
    """Seconds of processor that a process has used (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
