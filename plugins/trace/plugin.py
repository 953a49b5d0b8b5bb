"""The daemon's side of the trace plugin: events of updates into `trace.log`, and as spans to a collector."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio
from pydantic import field_validator
from trioworkers_plugins.trace.lines import TRACED, Sample, encode, lost
from trioworkers_plugins.trace.spans import Spans

from trioworkers import hookimpl
from trioworkers.plugin_settings import PluginSettings, expected, live, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers_plugins.trace.otlp import Exporter

    from trioworkers import Event
    from trioworkers.plugin_types import LogFile, PluginDaemon, PluginHandle

REQUIRES_TABLE = True
WORKER = "trioworkers_plugins.trace.worker"

EXTRA = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")  # what the extra `otel` installs
CAPACITY = 100_000  # events that wait: 5 s of 5,000 updates a second with one call each
GATHERING = 0.1  # seconds between two batches: a thread for each event would cost more than the event
SLICE = 50  # events that are encoded at a time: up to 2 ms, for which the loop may wait
NO_THREAD = "can't start new thread"  # Python's words when the system has none
NO_THREAD_PAUSE = 1.0  # seconds until a thread is asked for again
LAST_WORDS = 10.0  # seconds at the end for what is not written and sent yet


class Settings(PluginSettings):
    """`[plugins.trace]`."""

    sample: float = live(
        1.0,
        "the share of updates that is traced, 0 to 1; one that fails is traced from its failure on",
        ge=0,
        le=1,
    )
    otlp: str | None = live(
        None, 'where spans are sent by OTLP over HTTP: "http://127.0.0.1:4318"; needs the extra otel'
    )

    @field_validator("otlp")
    @classmethod
    def _can_be_sent(cls, otlp: str | None) -> str | None:
        if otlp is None:
            return None
        try:
            parts = urlsplit(otlp)
            is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good or parts.username or parts.password or parts.query or parts.fragment:
            raise expected('an address such as "http://127.0.0.1:4318", without user, query and fragment')
        if missing := [name for name in EXTRA if not _is_installed(name)]:
            raise refused(f"{missing[0]} is not installed, install trioworkers[otel]")
        return otlp


def _is_installed(name: str) -> bool:
    """Whether a distribution is there; nothing of it is imported."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def in_workers(settings: Settings) -> bool:
    """Whether workers need the plugin: they only join traces that are sent."""
    return settings.otlp is not None


@hookimpl
async def trioworkers_serve(
    daemon: PluginDaemon, plugin: PluginHandle, task_status: trio.TaskStatus[None]
) -> None:
    """Write and send what happens to updates, until cancelled; then what is left."""
    recorder = Recorder(daemon.log_file(), daemon.name, daemon.version)
    limiter = trio.CapacityLimiter(1)
    with daemon.events(None, TRACED, CAPACITY) as heard:

        async def record() -> None:
            events, missed = await heard.receive()
            while True:
                try:
                    problem = await trio.to_thread.run_sync(
                        recorder.record, events, missed, plugin.settings, limiter=limiter
                    )
                    break
                except RuntimeError as error:
                    if str(error) != NO_THREAD:
                        raise
                await trio.sleep(NO_THREAD_PAUSE)  # the batch is kept; what comes meanwhile is in the queue
            if problem is not None:
                plugin.log.warning(problem)

        task_status.started()
        try:
            while True:
                await record()
                await trio.sleep(GATHERING)
        finally:
            with trio.move_on_after(LAST_WORDS, shield=True):
                with trio.move_on_after(GATHERING):  # there may be nothing left
                    await record()
                await trio.to_thread.run_sync(recorder.close, limiter=limiter, abandon_on_cancel=True)


class Recorder:
    """Takes batches of events. It blocks, and is called from one thread at a time.

    Args:
        log: where lines are written.
        fleet: the fleet's name.
        version: of trioworkers.
    """

    def __init__(self, log: LogFile, fleet: str, version: str) -> None:
        self._log = log
        self._fleet, self._version = fleet, version
        self._sample = Sample()
        self._spans = Spans()
        self._exporter: Exporter | None = None
        self._otlp: str | None = None
        self._lost = 0
        self._is_full = False

    def record(self, events: Sequence[Event], missed: int, settings: Any) -> str | None:
        """Write and send events; returns a problem that is to be reported, in words.

        Args:
            events: in their order.
            missed: how many events before them were lost.
            settings: those in force.
        """
        self._lost += missed
        problem = "events came faster than they could be traced" if missed else None
        self._set_exporter(settings.otlp)
        chosen = self._sample.chosen(events, settings.sample)
        for start in range(0, len(chosen), SLICE):
            self._write(chosen[start : start + SLICE])
            time.sleep(0)  # gives way to the loop, which may wait for this thread's turn of the interpreter
        if self._lost and not missed and not self._is_full:
            self._is_full = True
            problem = "trace.log cannot be written"
        elif not self._lost:
            self._is_full = False
        return problem

    def close(self) -> None:
        """Send what is queued."""
        self._set_exporter(None)

    def _write(self, events: Sequence[Event]) -> None:
        if self._lost and self._log.append(lost(self._lost, time.time())):
            self._lost = 0
        if not self._log.append(encode(events)):
            self._lost += len(events)
        if self._exporter is not None:
            self._exporter.send(span for event in events for span in self._spans.of(event))

    def _set_exporter(self, otlp: str | None) -> None:
        if otlp == self._otlp:
            return
        if self._exporter is not None:
            self._exporter.close()
        self._otlp, self._exporter = otlp, None
        if otlp is not None:
            self._exporter = _make_exporter(otlp, self._fleet, self._version)


def _make_exporter(address: str, service: str, version: str) -> Exporter:
    from trioworkers_plugins.trace.otlp import Exporter  # here: the extra may not be installed

    return Exporter(address, service, version)
