"""The spans of an update: one tree, with the times that the events have."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from trioworkers_plugins.trace.ids import ROOT, handling, span_id
from trioworkers_plugins.trace.spans import Span, Spans

from trioworkers.events import EVENTS, Event
from trioworkers.records import trace_id

ID = trace_id(7, 1)
START = 1000.0
NUMBERS = count(1)


def event(name: str, after: float, id_: str = ID, **fields: Any) -> Event:
    about = {"dialog": "support/5", "update_id": 1, **fields}
    return Event(name, START + after, next(NUMBERS), EVENTS[name], "support", id_, about)


def made(*events: Event) -> list[Span]:
    spans = Spans()
    return [span for one in events for span in spans.of(one)]


def tree(spans: list[Span]) -> list[tuple[str, str | None, float, float]]:
    """Each span with its parent's name, and its times after the start."""
    names = {span.span_id: span.name for span in spans}
    assert len(names) == len(spans)
    return [
        (
            span.name,
            span.parent_id and names[span.parent_id],
            round(span.start - START, 6),
            round(span.end - START, 6),
        )
        for span in spans
    ]


STORED = event("update.stored", 0.002, kind="message", accepted_at=START)
CALL: dict[str, Any] = {"call": "sendMessage 5", "result": "made"}


def test_an_update_that_is_handled_at_once_is_one_tree() -> None:
    """Accepted, waited, handled with its calls, settled."""
    spans = made(
        STORED,
        event("update.delivered", 0.01, attempt=0, waited=0.01, accepted_at=START),
        event("update.call", 0.4, took=0.3, attempt=0, **CALL),
        event("update.call", 0.5, took=0.05, attempt=0, **CALL),
        event("update.done", 0.51, attempt=0, took=0.5, total=0.51),
    )
    assert tree(spans) == [
        ("receive support", "update support", 0.0, 0.002),
        ("wait support", "update support", 0.0, 0.01),
        ("sendMessage", "process support", 0.1, 0.4),
        ("sendMessage", "process support", 0.45, 0.5),
        ("process support", "update support", 0.01, 0.51),
        ("settle support", "update support", 0.51, 0.51),
        ("update support", None, 0.0, 0.51),
    ]
    assert {span.trace_id for span in spans} == {ID}
    assert [span.error for span in spans] == [None] * len(spans)


def test_each_handling_has_its_own_calls() -> None:
    """A failed one is a failed span; what counts as no attempt, or was returned, is one of its own, too."""
    spans = made(
        event("update.delivered", 1, attempt=0, waited=0.0),
        event("update.call", 2, took=0.5, attempt=0, **CALL),
        event("update.retried", 3, attempt=0, counted=False, took=2.0, total=3.0, wait=5.0, error="Retry"),
        event("update.delivered", 8, attempt=0, waited=0.0),
        event("update.call", 9, took=0.5, attempt=0, **CALL),
        event("update.returned", 10, attempt=0, took=2.0, total=10.0),
        event("update.delivered", 11, attempt=0, waited=0.5),
        event("update.call", 12, took=0.5, attempt=0, **CALL),
        event("update.retried", 13, attempt=1, took=2.0, total=13.0, wait=1.0, error="ValueError at a.py:1"),
        event("update.delivered", 14, attempt=1, waited=0.0),
        event("update.call", 15, took=0.5, attempt=1, **CALL),
        event("update.dead", 16, attempts=2, took=2.0, total=16.0, reason="failed, last: KeyError at a.py:2"),
    )
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    calls = [span for span in spans if span.name == "sendMessage"]
    parents = [by_id[str(call.parent_id)] for call in calls]
    assert [(parent.start - START, parent.end - START) for parent in parents] == [
        (1.0, 3.0), (8.0, 10.0), (11.0, 13.0), (14.0, 16.0),
    ]  # fmt: skip
    assert [parent.attributes["trioworkers.outcome"] for parent in parents] == [
        "retried", "returned", "retried", "dead",
    ]  # fmt: skip
    assert [parent.error for parent in parents] == ["Retry", None, "ValueError", "KeyError"]
    (root,) = [span for span in spans if span.parent_id is None]
    assert (root.start, root.end, root.error) == (START, START + 16, "KeyError")


def test_what_is_not_handled_has_no_span_of_a_handling() -> None:
    """It expired, was damaged, or was dropped at the gate."""
    assert [span.name for span in made(event("update.expired", 200, kind="x", total=200.0))] == [
        "settle support", "update support",
    ]  # fmt: skip
    assert [span.name for span in made(event("update.dead", 1, attempts=0, reason="damaged", total=1.0))] == [
        "settle support", "update support",
    ]  # fmt: skip
    assert [span.name for span in made(event("update.dropped", 1, reason="no"))] == ["update support"]


def test_attributes_have_the_names_of_the_conventions() -> None:
    """Those for messaging, where there is one; no texts."""
    receive, wait, call, process, settle, root = (
        made(
            STORED,
            event("update.delivered", 1, attempt=0, waited=1.0),
            event("update.call", 2, took=0.5, attempt=0, call="sendMessage 5", result="not made"),
            event(
                "update.retried", 3, attempt=1, took=1.0, total=3.0, wait=1.5, error="took longer than 5 s"
            ),
        )
        + made(event("update.done", 9, attempt=1, took=1.0, total=9.0))[-1:]
    )
    common = {
        "messaging.system": "telegram",
        "messaging.destination.name": "support",
        "messaging.message.id": "1",
        "messaging.message.conversation_id": "support/5",
    }
    assert receive.attributes == {
        **common,
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
        "trioworkers.update.kind": "message",
    }
    assert wait.attributes == {**common, "messaging.operation.name": "wait", "trioworkers.attempt": 0}
    assert call.attributes == {
        "trioworkers.call.method": "sendMessage",
        "trioworkers.call.chat_id": "5",
        "trioworkers.call.result": "not made",
        "error.type": "refused",
    }
    assert process.attributes == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "trioworkers.attempt": 0,
        "trioworkers.outcome": "retried",
        "error.type": "timeout",
    }
    assert settle.attributes == {
        **common,
        "messaging.operation.name": "settle",
        "messaging.operation.type": "settle",
        "trioworkers.outcome": "retried",
        "trioworkers.retry.wait_ms": 1500,
    }
    assert root.attributes == {**common, "messaging.operation.name": "update", "trioworkers.outcome": "done"}
    kinds = [span.kind for span in (receive, wait, call, process, settle, root)]
    assert kinds == ["consumer", "internal", "client", "consumer", "internal", "internal"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ValueError at a.py:1 in f", "ValueError"),
        ("BotApiError sendMessage 400", "BotApiError"),
        ("took longer than 90 s", "timeout"),
        ("the worker ended", "worker_ended"),
        ("the handler said so", "_OTHER"),
        ("", "_OTHER"),
    ],
)
def test_failures_have_few_classes(words: str, error: str) -> None:
    """Backends keep an index of them."""
    process, settle = made(event("update.retried", 1, attempt=1, took=1.0, total=1.0, error=words))
    assert (process.error, settle.error) == (error, None)


def test_a_handlings_id_can_be_computed_by_a_worker() -> None:
    """From what it knows: the trace id and the attempt."""
    process = made(event("update.done", 1, attempt=3, took=1.0, total=1.0))[0]
    assert process.span_id == span_id(ID, handling(3))
    assert process.parent_id == span_id(ID, ROOT)
    assert len(process.span_id) == 16


def test_repeats_are_remembered_up_to_a_bound() -> None:
    """And forgotten at an update's end."""
    spans = Spans(most=2)
    for number in range(5):
        spans.of(event("update.returned", 1, trace_id(7, number), attempt=0, took=1.0, total=1.0))
    assert len(spans._repeats) == 2
    spans.of(event("update.done", 1, trace_id(7, 4), attempt=0, took=1.0, total=1.0))
    assert len(spans._repeats) == 1


def test_what_has_no_trace_makes_no_span() -> None:
    """Nor does what is only noted."""
    assert made(Event("update.done", START, 1, "debug", "support", None, {})) == []
    assert made(event("update.repeated", 1, call="sendMessage 5")) == []
