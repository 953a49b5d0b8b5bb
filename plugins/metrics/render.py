"""From a snapshot to the text that Prometheus reads, by prometheus-client, in a thread.

The lines of bots are written here: a thousand bots have 15,000 of them, and prometheus-client takes 15 µs for
each, ten times as long. Both of its formats write such a line alike.

A thread that works in Python may keep the interpreter from the loop for 5 ms at a time. This one sleeps for a
moment after each half millisecond of work, so that the loop does not wait longer than that.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder, gzip_accepted
from trioworkers_plugins.metrics.families import BOTS, FLEET, SPREADS, Spread, View, buckets

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.metrics_core import Metric as Family
    from trioworkers_plugins.metrics.families import Metric

WORK, REST = 0.0005, 0.0002  # seconds
LOOK_EVERY = 50  # lines, from one look at the clock to the next
END = b"# EOF\n"  # of OpenMetrics; the other format has no end

Encode = Callable[[Any], bytes]


def render(view: View, process: ProcessCollector, accept: str) -> tuple[bytes, str]:
    """Return the text in the format that the header `Accept` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    pace = _Pace()
    pieces: list[bytes] = []
    families: tuple[Metric | Spread, ...] = (*FLEET, *SPREADS)
    for family in families:
        pieces.append(encode(_Alone(_family(family, view))).removesuffix(END))
        pace.keep()
    names: dict[str, str] = {}
    for metric in BOTS:
        pieces.append(encode(_Alone(_head(metric))).removesuffix(END))
        pieces.append("".join(_lines(metric, view, names, pace)).encode())
    pieces.append(encode(process))
    return b"".join(pieces), content_type


class _Pace:
    """Gives the loop a chance now and then."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + WORK

    def keep(self) -> None:
        """Rest for a moment if it is time to."""
        if time.perf_counter() > self._until:
            time.sleep(REST)
            self._until = time.perf_counter() + WORK


class _Alone:
    """A collector of one family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Family]:
        yield self._family


def _lines(metric: Metric, view: View, names: dict[str, str], pace: _Pace) -> Iterator[str]:
    """Yield a bot's lines; the bot's name is their first label. `names`: of bots, as they are written.

    No object is kept that the garbage collector would count: a scrape must not bring its next run nearer.
    """
    begin, labels = f'{metric.name}{{bot="', metric.labels[1:]
    for place, (values, number) in enumerate(metric.read(view)):
        name = names.get(values[0])
        if name is None:
            name = names[values[0]] = _escaped(values[0])
        if labels:
            yield f'{begin}{name}",{labels[0]}="{values[1]}"}} {number}\n'
        else:
            yield f'{begin}{name}"}} {number}\n'
        if place % LOOK_EVERY == 0:
            pace.keep()


def _escaped(value: str) -> str:
    """Return a label's value as both formats write it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _head(metric: Metric) -> Family:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)


def _family(metric: Metric | Spread, view: View) -> Family:
    if isinstance(metric, Spread):
        distribution = metric.read(view.figures)
        spread = HistogramMetricFamily(metric.name, metric.meaning)
        spread.add_metric([], buckets(distribution), sum_value=distribution.total)
        return spread
    family = _head(metric)
    for values, number in metric.read(view):
        family.add_sample(metric.name, dict(zip(metric.labels, values, strict=True)), number)
    return family


def compressed(body: bytes, accept_encoding: str) -> bytes | None:
    """Return the body in gzip where the header `Accept-Encoding` takes that."""
    return gzip.compress(body, 1, mtime=0) if gzip_accepted(accept_encoding) else None


def sizes(database: Path | None) -> dict[str, int]:
    """Return the sizes of the store's files, as far as there are any."""
    found: dict[str, int] = {}
    if database is not None:
        for name, path in (("database", database), ("wal", database.with_name(database.name + "-wal"))):
            try:
                found[name] = path.stat().st_size
            except OSError:
                continue
    return found


def make_process_collector() -> ProcessCollector:
    """Return what reads the daemon's own figures from /proc; nothing global knows of it."""
    return ProcessCollector(namespace="trioworkers", registry=None)
