"""Batches of events are written and sent in a thread; what is lost is counted."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trioworkers_plugins.trace import plugin as plugin_module
from trioworkers_plugins.trace.plugin import SLICE, Recorder

from trioworkers.events import EVENTS, Event
from trioworkers.records import trace_id

ALL = SimpleNamespace(sample=1.0, otlp=None)


class Log:
    """A log file that may be full."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.full = False

    def append(self, lines: bytes) -> bool:
        self.data += b"" if self.full else lines
        return not self.full

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]


@dataclass
class Exporter:
    """Takes spans; each that is made is in `made`."""

    address: str
    service: str
    version: str

    def __post_init__(self) -> None:
        self.spans: list[Any] = []
        self.closed = False

    def send(self, spans: Any) -> None:
        self.spans += spans

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def recorder(log: Log) -> Recorder:
    return Recorder(log, "fleet", "1.0")


def done(number: int = 1) -> Event:
    fields = {"attempt": 0, "took": 0.5, "total": 1.0}
    return Event("update.done", 1000.0, number, EVENTS["update.done"], "one", trace_id(7, number), fields)


def test_events_are_written_in_order(log: Log, recorder: Recorder) -> None:
    """However many there are in a batch."""
    events = [done(number) for number in range(3 * SLICE + 1)]
    assert recorder.record(events, 0, ALL) is None
    assert [line["trace_id"] for line in log.lines] == [event.trace_id for event in events]


def test_missed_events_leave_a_line_and_are_reported(log: Log, recorder: Recorder) -> None:
    """Where they are missing."""
    recorder.record([done(1)], 0, ALL)
    assert recorder.record([done(2)], 7, ALL) == "events came faster than they could be traced"
    assert [(line["event"], line.get("count")) for line in log.lines] == [
        ("update.done", None), ("trace.lost", 7), ("update.done", None),
    ]  # fmt: skip


def test_a_full_disk_is_reported_once_and_what_it_cost_is_counted(log: Log, recorder: Recorder) -> None:
    """As soon as there is room again; then it may be full anew."""
    log.full = True
    problems = [recorder.record([done(number)], 0, ALL) for number in range(3)]
    assert problems == ["trace.log cannot be written", None, None]
    log.full = False
    assert recorder.record([done(3)], 0, ALL) is None
    assert [(line["event"], line.get("count")) for line in log.lines] == [
        ("trace.lost", 3), ("update.done", None),
    ]  # fmt: skip
    log.full = True
    assert recorder.record([done(4)], 0, ALL) == "trace.log cannot be written"


def test_spans_are_sent_where_the_settings_say(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change closes what was; without an address there is no exporter."""
    made: list[Exporter] = []

    def make(*words: str) -> Exporter:
        made.append(Exporter(*words))
        return made[-1]

    monkeypatch.setattr(plugin_module, "_make_exporter", make)
    for otlp in (None, "http://a:1", "http://a:1", "http://b:1", None):
        recorder.record([done()], 0, SimpleNamespace(sample=1.0, otlp=otlp))
    assert [(one.address, one.service, one.closed) for one in made] == [
        ("http://a:1", "fleet", True), ("http://b:1", "fleet", True),
    ]  # fmt: skip
    assert [[span.name for span in one.spans].count("update one") for one in made] == [2, 1]
    recorder.record([done()], 0, SimpleNamespace(sample=0.0, otlp="http://a:1"))
    assert made[-1].spans == []
    recorder.close()
    assert made[-1].closed


def test_five_thousand_updates_take_a_fraction_of_a_second(log: Log, recorder: Recorder) -> None:
    """Of the processor's time, so that a busy machine does not fail it: 0.1 s on a quiet one."""
    events = [done(number) for number in range(20_000)]
    began = time.thread_time()
    recorder.record(events, 0, ALL)
    assert time.thread_time() - began < 0.5
    assert len(log.lines) == 20_000


async def test_a_batch_waits_for_a_thread(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be had the batch is kept, in its order, and the service goes on."""
    monkeypatch.setattr(plugin_module, "NO_THREAD_PAUSE", 0.01)
    run_sync, refusals = trio.to_thread.run_sync, [True] * 5

    async def refuses(*args: Any, **options: Any) -> Any:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        return await run_sync(*args, **options)

    batches = [[done(1)], [done(2)]]

    class Heard:
        async def receive(self) -> Any:
            if not batches:
                await trio.sleep_forever()
            return batches.pop(0), 0

    daemon: Any = SimpleNamespace(
        log_file=lambda: log, name="fleet", version="1", events=lambda *_: nullcontext(Heard())
    )
    plugin: Any = SimpleNamespace(settings=ALL)
    monkeypatch.setattr(trio.to_thread, "run_sync", refuses)
    async with trio.open_nursery() as nursery:
        await nursery.start(plugin_module.trioworkers_serve, daemon, plugin)
        with trio.fail_after(20):
            while len(log.lines) < 2:  # noqa: ASYNC110 - of another thread
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [line["trace_id"] for line in log.lines] == [trace_id(7, 1), trace_id(7, 2)]
