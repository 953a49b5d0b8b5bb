"""In a worker, the span of a handling is the current one while its handler runs."""

from __future__ import annotations

import contextvars
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from trioworkers_plugins.trace.ids import handling, in_sample, span_id
from trioworkers_plugins.trace.worker import (
    trioworkers_after_handle,
    trioworkers_before_handle,
    trioworkers_worker_start,
    trioworkers_worker_stop,
)

from trioworkers.records import trace_id

IDS = [trace_id(7, number) for number in range(50)]
ID = IDS[0]


def current(update: Any, settings: dict[str, Any]) -> Any:
    """The context of the current span after the hook, in a context of its own, as a task has one."""

    def within() -> Any:
        trioworkers_before_handle(update=update, plugin=SimpleNamespace(settings=settings))
        return trace.get_current_span().get_span_context()

    return contextvars.copy_context().run(within)


def update(id_: str = ID, attempt: int = 0) -> Any:
    return SimpleNamespace(trace_id=id_, attempt=attempt)


@pytest.mark.parametrize("attempt", [0, 3])
def test_the_current_span_is_that_of_the_handling(attempt: int) -> None:
    """As the daemon will name it."""
    context = current(update(attempt=attempt), {"otlp": "http://a:1", "sample": 1.0})
    assert trace.format_trace_id(context.trace_id) == ID
    assert trace.format_span_id(context.span_id) == span_id(ID, handling(attempt))
    assert (context.is_remote, context.trace_flags.sampled) == (True, True)


def test_nothing_outlives_a_task() -> None:
    """The next handling has a context of its own."""
    current(update(), {"otlp": "http://a:1"})
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_bot_samples_what_the_daemon_samples() -> None:
    """By the flag that OpenTelemetry's own samplers follow; failed updates are traced from then on."""
    settings = {"otlp": "http://a:1", "sample": 0.5}
    flags = [current(update(id_), settings).trace_flags.sampled for id_ in IDS]
    assert flags == [in_sample(id_, 0.5) for id_ in IDS]
    assert set(flags) == {True, False}
    assert all(current(update(id_, attempt=1), settings).trace_flags.sampled for id_ in IDS)


@pytest.mark.parametrize("settings", [{}, {"otlp": None, "sample": 1.0}])
def test_without_an_address_there_is_no_span(settings: dict[str, Any]) -> None:
    """The bot's own traces stay its own."""
    assert not current(update(), settings).is_valid


def test_after_a_handling_the_context_of_before_is_the_current_one() -> None:
    """What runs later in the same task, as a hook of another plugin, is in no span of the handling."""

    def within() -> list[bool]:
        plugin: Any = SimpleNamespace(settings={"otlp": "http://a:1"})
        trioworkers_before_handle(update=update(), plugin=plugin)
        during = trace.get_current_span().get_span_context().is_valid
        trioworkers_after_handle()
        trioworkers_after_handle()  # without a handling before it, nothing happens
        return [during, trace.get_current_span().get_span_context().is_valid]

    assert contextvars.copy_context().run(within) == [True, False]


@pytest.mark.parametrize(("otlp", "flushed"), [("http://a:1", [3000]), (None, [])])
def test_spans_of_the_bot_leave_before_a_worker_ends(
    monkeypatch: pytest.MonkeyPatch, otlp: str | None, flushed: list[int]
) -> None:
    """A worker that drains waits for them, for a bounded time."""
    asked: list[int] = []
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: SimpleNamespace(force_flush=asked.append))
    plugin: Any = SimpleNamespace(settings={"otlp": otlp})
    trioworkers_worker_start(plugin)
    trioworkers_worker_stop(plugin)
    assert asked == flushed


LISTS_MODULES = f"""
import sys
from types import SimpleNamespace
from trioworkers_plugins.trace.worker import trioworkers_before_handle
update = SimpleNamespace(trace_id="{ID}", attempt=0)
trioworkers_before_handle(update=update, plugin=SimpleNamespace(settings={{"otlp": None}}))
print(*sys.modules)
"""


def test_a_worker_loads_neither_opentelemetry_nor_the_daemons_side() -> None:
    """There may be a thousand workers."""
    command = [sys.executable, "-c", LISTS_MODULES]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert "trioworkers_plugins.trace.worker" in loaded
    assert {"opentelemetry", "pydantic", "trioworkers_plugins.trace.plugin", "requests"} & set(
        loaded
    ) == set()


STARTS = """
import sys
from types import SimpleNamespace
from trioworkers_plugins.trace.worker import trioworkers_before_handle, trioworkers_worker_start
plugin = SimpleNamespace(settings={"otlp": "http://a:1"})
trioworkers_worker_start(plugin)
before = set(sys.modules)
trioworkers_before_handle(update=SimpleNamespace(trace_id="%s", attempt=0), plugin=plugin)
print("opentelemetry.trace" in before, *(set(sys.modules) - before))
"""


def test_a_worker_that_traces_imports_opentelemetry_before_its_first_update() -> None:
    """The first update does not wait for imports."""
    command = [sys.executable, "-c", STARTS % ID]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert loaded == ["True"]
