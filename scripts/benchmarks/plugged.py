"""`bench plugins`: what plugins cost on the way of updates: none of them, each alone, and all, in turns.

Each variant runs the same echo bots at the same stand-in. Metrics are scraped once a second where they are
on.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.beside import MEASURES
from benchmarks.products import Running, run_ours
from benchmarks.standing import StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTENER = """
from trioworkers import hookimpl

@hookimpl
def trioworkers_event(event, plugin):
    plugin.memory[event.event] = plugin.memory.get(event.event, 0) + 1
"""
OFF: dict[str, Any] = {"fleet": {"disabled_plugins": ["metrics"]}}
ALERTS = {"url": "http://127.0.0.1:9/"}  # nobody listens there, and nothing is alerted
ALL = {"dedup": {}, "handoff": {}, "alerts": ALERTS}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": OFF,
    "metrics": {},
    "dedup": {**OFF, "plugins": {"dedup": {}}},
    "handoff": {**OFF, "plugins": {"handoff": {}}},
    "listener": {**OFF, "listener": LISTENER},
    "alerts": {**OFF, "plugins": {"alerts": ALERTS}},
    "trace": {**OFF, "plugins": {"trace": {}}},
    "all": {"plugins": ALL, "listener": LISTENER},
    "traced": {"plugins": {**ALL, "trace": {}}, "listener": LISTENER},
}
"""What is added to the fleet file; `all` is dedup, handoff, alerts, metrics and a listener to all events but
those of each step of an update; `traced` is all of that, and each update's way in trace.log.
"""
WARM = 5000  # updates
SCRAPE_EVERY = 1.0  # seconds


def run(count: int, names: list[str], rounds: int) -> None:
    """Measure the variants in turns, the first one as what the others are compared to; print ratios.

    All of them live all the time, so that a turn follows the one that it is compared to within seconds:
    a machine's speed changes by more than what is measured here. What differs from one start to the next is
    not seen so: run it more than once.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        living = {name: stack.enter_context(_living(name, count)) for name in names}
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                print(f"round {number + 1}: {name}", file=sys.stderr)
                found[name].append(_measured(*living[name], count))
    python = sys.version.partition(" ")[0]
    print(f"{count} echo bots, {rounds} rounds in turns, {os.cpu_count()} cores, Python {python}")
    print(f"ratios to {names[0]}, median (each round)")
    for name in names:
        rows = []
        for key in ("burst", "cpu", "p50"):
            ratios = [one[key] / base[key] for one, base in zip(found[name], found[names[0]], strict=True)]
            rows.append(f"{key} {median(ratios):.2f} ({' '.join(f'{ratio:.2f}' for ratio in ratios)})")
        more = 1e3 * (
            median(one["p50"] for one in found[name]) - median(one["p50"] for one in found[names[0]])
        )
        print(f"{name:>9}  {'  '.join(rows)}  p50 {more:+.2f} ms", flush=True)


@contextmanager
def _living(name: str, count: int) -> Iterator[tuple[Running, StandIn]]:
    """A variant that works, has warmed up, and is scraped where it has metrics."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-", ignore_cleanup_errors=True) as folder,
        standing_in(count) as standin,
        _running(name, Path(folder), standin) as product,
    ):
        standin.wait_polled()
        standin.answered(WARM)
        with _scraped(Path(folder), wanted=name in ("metrics", "all", "traced")):
            yield product, standin


def _measured(product: Running, standin: StandIn, count: int) -> dict[str, float]:
    """A burst, and the latency at a steady rate."""
    return MEASURES["burst"](product, standin, count) | MEASURES["latency"](product, standin, count)


@contextmanager
def _running(name: str, folder: Path, standin: StandIn) -> Iterator[Running]:
    more = dict(VARIANTS[name])
    listener = more.pop("listener", None)
    if listener is not None:
        (folder / "plugins").mkdir()
        (folder / "plugins/listener.py").write_text(listener)
    with contextmanager(run_ours)(folder, standin, more) as product:
        yield product


@contextmanager
def _scraped(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Inside, the metrics are scraped again and again."""
    ends = threading.Event()

    def scrape() -> None:
        transport = httpx.HTTPTransport(uds=str(folder / "state/run/control.sock"))
        with httpx.Client(transport=transport, base_url="http://control") as client:
            while not ends.wait(SCRAPE_EVERY):
                client.get("/metrics").raise_for_status()

    thread = threading.Thread(target=scrape)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        if wanted:
            thread.join()
