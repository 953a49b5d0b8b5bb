"""Events of updates as spans, as OpenTelemetry has them. Pure: nothing of OpenTelemetry is imported.

One update is one trace, whose id is the update's trace id::

    update support            accepted … settled for good
      receive support         accepted … durable
      wait support            durable, or due again … handed to an executor
      process support         one for each handling
        sendMessage           one for each recorded call
      settle support          at the end of each handling

Names and attributes follow the semantic conventions for messaging
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) where they have a word for it; the
rest begins with `trioworkers.`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec
from trioworkers_plugins.trace.ids import ROOT, handling, span_id
from trioworkers_plugins.trace.lines import FINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers import Event

MOST_REPEATED = 10_000  # updates with handlings that count as no attempt, remembered at a time
OUTCOMES = {
    "update.done": "done",
    "update.dropped": "dropped",
    "update.expired": "expired",
    "update.dead": "dead",
    "update.retried": "retried",
    "update.returned": "returned",
}
KINDS = {"receive": "consumer", "process": "consumer"}
_TYPE = re.compile(r"[A-Z]\w*(?:\.\w+)*")

Attributes = dict[str, str | int | bool]


class Span(msgspec.Struct, frozen=True):
    """A span that has ended.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them.
        parent_id: 16 of them; None for the root.
        name: as people read it.
        kind: `internal`, `consumer` or `client`.
        start: Unix seconds.
        end: Unix seconds.
        attributes: without texts.
        error: the class of the failure; None: it did not fail.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start: float
    end: float
    attributes: Attributes
    error: str | None = None


class Spans:
    """Makes spans of events, which have to come in their order.

    What it remembers is bounded: of updates whose handlings count as no attempt (their worker was stopped, or
    Telegram asked to wait), how many those were; of `most` updates at a time.
    """

    def __init__(self, most: int = MOST_REPEATED) -> None:
        self._most = most
        self._repeats: OrderedDict[str, tuple[int, int]] = OrderedDict()  # the attempt, and its repeats

    def of(self, event: Event) -> list[Span]:
        """The spans that end with an event."""
        if event.trace_id is None:
            return []
        if event.event == "update.stored":
            return [_receive(event)]
        if event.event == "update.delivered":
            return [_wait(event)]
        if event.event == "update.call":
            attempt = int(event.fields.get("attempt", 0))
            return [_call(event, handling(attempt, self._repeat(event.trace_id, attempt)))]
        if event.event in OUTCOMES:
            return self._end(event)
        return []

    def _repeat(self, trace_id: str, attempt: int) -> int:
        known, repeats = self._repeats.get(trace_id, (attempt, 0))
        return repeats if known == attempt else 0

    def _end(self, event: Event) -> list[Span]:
        id_, fields = event.trace_id or "", event.fields
        attempt = _attempt(event)
        repeat = self._repeat(id_, attempt)
        made = []
        if "took" in fields:
            made.append(_process(event, attempt, repeat))
        if "took" in fields or event.event in ("update.expired", "update.dead"):
            made.append(_settle(event, attempt, repeat))
        if event.event in FINISHED:
            self._repeats.pop(id_, None)
            made.append(_root(event))
        elif event.event == "update.returned" or fields.get("counted") is False:
            self._repeats[id_] = attempt, repeat + 1
            if len(self._repeats) > self._most:
                self._repeats.popitem(last=False)
        return made


def _attempt(event: Event) -> int:
    """How often the update had been handled before the handling that an event ends."""
    fields = event.fields
    if event.event == "update.dead":
        return max(0, int(fields.get("attempts", 1)) - 1)
    attempt = int(fields.get("attempt", 0))
    if event.event == "update.retried" and fields.get("counted") is not False:
        return max(0, attempt - 1)
    return attempt


def _receive(event: Event) -> Span:
    start = float(event.fields.get("accepted_at", event.at))
    attributes = _attributes(event, "receive") | {
        "trioworkers.update.kind": str(event.fields.get("kind", ""))
    }
    return _child(event, "receive", "receive", start, attributes)


def _wait(event: Event) -> Span:
    attempt = int(event.fields.get("attempt", 0))
    start = event.at - float(event.fields.get("waited", 0.0))
    attributes = _attributes(event, "wait", is_type=False) | {"trioworkers.attempt": attempt}
    # of one attempt there may be several, which begin at different times
    return _child(event, "wait", f"wait {attempt} {start:.6f}", start, attributes)


def _process(event: Event, attempt: int, repeat: int) -> Span:
    attributes = _attributes(event, "process") | {
        "trioworkers.attempt": attempt,
        "trioworkers.outcome": OUTCOMES[event.event],
    }
    start = event.at - float(event.fields["took"])
    return _child(event, "process", handling(attempt, repeat), start, attributes, _error(event))


def _settle(event: Event, attempt: int, repeat: int) -> Span:
    attributes = _attributes(event, "settle") | {"trioworkers.outcome": OUTCOMES[event.event]}
    if "wait" in event.fields:
        attributes["trioworkers.retry.wait_ms"] = round(1000 * float(event.fields["wait"]))
    return _child(event, "settle", f"settle {attempt} {repeat}", event.at, attributes)


def _call(event: Event, parent: str) -> Span:
    id_, fields = event.trace_id or "", event.fields
    method, _, chat = str(fields.get("call", "")).partition(" ")
    result = str(fields.get("result", ""))
    attributes: Attributes = {"trioworkers.call.method": method, "trioworkers.call.result": result}
    if chat not in ("", "-"):
        attributes["trioworkers.call.chat_id"] = chat
    error = {"not made": "refused", "unknown": "unknown"}.get(result)
    start = event.at - float(fields.get("took", 0.0))
    name = f"call {event.seq} {fields.get('call')} {start:.6f}"
    return Span(
        id_,
        span_id(id_, name),
        span_id(id_, parent),
        method,
        "client",
        start,
        event.at,
        _with_error(attributes, error),
        error,
    )


def _root(event: Event) -> Span:
    id_, fields = event.trace_id or "", event.fields
    attributes = _attributes(event, "update", is_type=False)
    attributes["trioworkers.outcome"] = OUTCOMES[event.event]
    error = _error(event) if event.event == "update.dead" else None
    return Span(
        id_,
        span_id(id_, ROOT),
        None,
        f"update {event.bot}",
        "internal",
        event.at - float(fields.get("total", 0.0)),
        event.at,
        _with_error(attributes, error),
        error,
    )


def _child(
    event: Event,
    operation: str,
    name: str,
    start: float,
    attributes: Attributes,
    error: str | None = None,
) -> Span:
    """A span below the root: `name` tells it from the others, `operation` is shown."""
    id_ = event.trace_id or ""
    return Span(
        id_,
        span_id(id_, name),
        span_id(id_, ROOT),
        f"{operation} {event.bot}",
        KINDS.get(operation, "internal"),
        start,
        event.at,
        _with_error(attributes, error),
        error,
    )


def _attributes(event: Event, operation: str, *, is_type: bool = True) -> Attributes:
    fields: Mapping[str, Any] = event.fields
    attributes: Attributes = {
        "messaging.system": "telegram",
        "messaging.destination.name": event.bot or "",
        "messaging.operation.name": operation,
    }
    if is_type:
        attributes["messaging.operation.type"] = operation
    if "update_id" in fields:
        attributes["messaging.message.id"] = str(fields["update_id"])
    if "dialog" in fields:
        attributes["messaging.message.conversation_id"] = str(fields["dialog"])
    return attributes


def _with_error(attributes: Attributes, error: str | None) -> Attributes:
    return attributes if error is None else {**attributes, "error.type": error}


def _error(event: Event) -> str | None:
    """The class of the failure that an event reports, of which there are few; None: it reports none."""
    if event.event not in ("update.retried", "update.dead"):
        return None
    words = str(event.fields.get("error") or event.fields.get("reason") or "")
    words = words.rpartition("last: ")[2]
    if words.startswith("took longer"):
        return "timeout"
    if words.startswith("the worker ended"):
        return "worker_ended"
    found = _TYPE.match(words)
    return found[0] if found else "_OTHER"
