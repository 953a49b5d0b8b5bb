"""Sends spans to a collector by OTLP over HTTP. Imported only where `otlp` is set.

The spans are made from events after the fact, so no tracer is involved: finished spans are handed to the
SDK's batch processor, which sends them from a thread of its own. Its queue is bounded; when the collector
does not take them, the oldest are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers_plugins.trace.spans import Span

QUEUE = 32_768  # spans that wait to be sent
BATCH = 512  # spans in one request
DELAY = 1000  # milliseconds for which spans gather
TIMEOUT = 5.0  # seconds for one batch, tries included
_KINDS = {"internal": SpanKind.INTERNAL, "consumer": SpanKind.CONSUMER, "client": SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Sends spans to a collector. For one thread at a time.

    Args:
        address: the collector's, without a path: `http://127.0.0.1:4318`.
        service: the fleet's name.
        version: of trioworkers.
    """

    def __init__(self, address: str, service: str, version: str) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{address.rstrip('/')}/v1/traces", timeout=TIMEOUT)
        self._processor = BatchSpanProcessor(
            exporter, max_queue_size=QUEUE, schedule_delay_millis=DELAY, max_export_batch_size=BATCH
        )
        self._resource = Resource.create({"service.name": service, "service.version": version})
        self._scope = InstrumentationScope("trioworkers", version)

    def send(self, spans: Iterable[Span]) -> None:
        """Queue spans to be sent."""
        for span in spans:
            self._processor.on_end(self._readable(span))

    def close(self) -> None:
        """Send what is queued, and end the SDK's thread; blocks for up to some seconds."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.span_id),
            parent=None if span.parent_id is None else _context(trace_id, span.parent_id),
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=round(span.start * 1e9),
            end_time=round(max(span.start, span.end) * 1e9),
            instrumentation_scope=self._scope,
        )


def _context(trace_id: int, span_id: str) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)
