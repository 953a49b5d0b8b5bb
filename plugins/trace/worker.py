"""The worker's side of the trace plugin: what a bot traces by itself joins the update's trace.

While an update is handled, the current context of OpenTelemetry names the span of that handling, as the
daemon makes it. A bot that is instrumented with OpenTelemetry begins its spans below it. Nothing of
OpenTelemetry is imported unless `otlp` is set.
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trioworkers_plugins.trace.ids import handling, in_sample, span_id

from trioworkers import hookimpl

if TYPE_CHECKING:
    from trioworkers import Update

FLUSH = 3000  # milliseconds that a worker's end may wait for the spans of its bot
_attached: ContextVar[Any] = ContextVar("trioworkers_trace_attached", default=None)


@hookimpl
def trioworkers_worker_start(plugin: Any) -> None:
    """Import what the first update would have to wait for."""
    if plugin.settings.get("otlp"):  # if it is set, the daemon has seen that the extra is installed
        import_module("opentelemetry.trace")
        import_module("opentelemetry.context")


@hookimpl
def trioworkers_before_handle(update: Update, plugin: Any) -> None:
    """Make the handling's span the current one, for the task that handles the update and those it starts."""
    settings = plugin.settings
    if not settings.get("otlp"):
        return
    from opentelemetry.context import attach
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    # an update that failed is traced from its failure on
    is_traced = update.attempt > 0 or in_sample(update.trace_id, settings.get("sample", 1.0))
    context = SpanContext(
        trace_id=int(update.trace_id, 16),
        span_id=int(span_id(update.trace_id, handling(update.attempt)), 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if is_traced else TraceFlags.DEFAULT),
    )
    _attached.set(attach(set_span_in_context(NonRecordingSpan(context))))


@hookimpl
def trioworkers_after_handle() -> None:
    """Let the context of before be the current one again."""
    token = _attached.get()
    if token is not None:
        from opentelemetry.context import detach

        _attached.set(None)
        detach(token)


@hookimpl
def trioworkers_worker_stop(plugin: Any) -> None:
    """Let the spans that the bot made itself leave, before the process ends."""
    if plugin.settings.get("otlp"):
        from opentelemetry.trace import get_tracer_provider

        flush = getattr(get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(FLUSH)
