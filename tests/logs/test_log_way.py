"""One update's way, put together from lines of several logs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trioworkers.logs.way import MASTER, TRACE, Line, find_lines, way_of

ID = "5f1c22d09a3b" + "0" * 20
OTHER = "5f1c22d0ffff" + "0" * 20
BOTS = "worker_support.log"


def raw(event: str, at: str = "10.000", id_: str = ID, **fields: Any) -> bytes:
    line = {"event": event, "level": "debug", "at": f"2026-01-01T00:00:{at}Z", "trace_id": id_, **fields}
    return json.dumps(line).encode()


def lines(source: str, *found: bytes) -> list[Line]:
    return list(find_lines(source, found, ID, []))


def test_lines_are_found_by_the_beginning_of_their_trace_id() -> None:
    """Only there: an id in another field, or in words, is not the line's own."""
    found = [raw("update.done"), raw("update.done", id_=OTHER), raw("x", id_="a" * 32, text=ID)]
    assert [line.told["trace_id"] for line in find_lines(MASTER, found, ID[:8], [])] == [ID, OTHER]
    assert [line.told["trace_id"] for line in find_lines(MASTER, found, ID, [])] == [ID]


@pytest.mark.parametrize(
    "line",
    [
        f"printed {ID}".encode(),
        f'["{ID}"]'.encode(),
        f'{{"trace_id": "{ID}"}}'.encode(),
        f'{{"event": "x", "trace_id": "{ID}"}}'.encode(),
        f'{{"event": "x", "at": "yesterday", "trace_id": "{ID}"}}'.encode(),
        f'{{"event": "x", "at": "0001-01-01T00:00:00+23:59", "trace_id": "{ID}"}}'.encode(),
        f'{{"event": "x", "at": "9999-12-31T23:59:59-23:59", "trace_id": "{ID}"}}'.encode(),
        f'{{"event": "x", "at": "2026-01-01T00:00:00Z", "trace_id": ["{ID}"]}}'.encode(),
        b"\xff" + ID.encode(),
        b"[" * 100_000 + ID.encode(),
    ],
    ids=range(10),
)
def test_what_only_looks_like_a_line_is_left_out(line: bytes) -> None:
    """A bot may print anything."""
    assert lines(BOTS, line) == []


def test_a_way_is_in_the_order_of_its_times() -> None:
    """Whichever log a line comes from; it begins when the update was accepted."""
    way = way_of(
        [
            *lines(MASTER, raw("update.retried", "12.000", bot="support", dialog="support/5", total=2.0)),
            *lines(BOTS, raw("order placed", "10.200")),
            *lines(
                TRACE,
                raw("update.stored", "10.100000", bot="support", accepted_at=1767225610.05),
                raw("update.delivered", "10.150000"),
            ),
        ],
        has_trace_log=True,
    )
    assert [line.told["event"] for line in way.lines] == [
        "update.stored", "update.delivered", "order placed", "update.retried",
    ]  # fmt: skip
    assert (way.bot, way.dialog, way.began_at) == ("support", "support/5", 1767225610.05)


def test_an_event_of_both_logs_is_shown_once() -> None:
    """The finer one stays; two events of one millisecond are two, and so are calls."""
    calls = [
        raw("update.call", "10.123456", call="sendMessage 5"),
        raw("update.call", "10.123789", call="sendMessage 6"),
    ]
    same = [
        raw("update.call", "10.123", call="sendMessage 6"),
        raw("update.call", "10.123", call="sendMessage 5"),
    ]
    way = way_of(
        [*lines(MASTER, *same, raw("update.done", "10.124")), *lines(TRACE, *calls)], has_trace_log=True
    )
    assert [(line.source, line.told.get("call")) for line in way.lines] == [
        (TRACE, "sendMessage 5"), (TRACE, "sendMessage 6"), (MASTER, None),
    ]  # fmt: skip


def test_a_bots_line_is_no_event() -> None:
    """Whatever it says: a bot can print lines that look like the daemon's."""
    way = way_of(lines(BOTS, raw("update.done", bot="other", accepted_at=5.0)), has_trace_log=False)
    assert (way.bot, way.began_at) == (None, 1767225610.0)
    assert any("no end" in sentence for sentence in way.missing)


WHOLE = [raw("update.stored"), raw("update.delivered"), raw("update.done")]


@pytest.mark.parametrize(
    ("found", "has_trace_log", "words"),
    [
        (WHOLE, True, []),
        (WHOLE, False, []),
        ([raw("update.dead")], False, ["trace plugin is off"]),
        ([raw("update.dead")], True, ["not in the sample"]),
        (WHOLE[1:], True, ["beginning"]),
        ([raw("update.retried"), *WHOLE[1:]], True, []),
        (WHOLE[:2], True, ["no end"]),
        ([*WHOLE, raw("update.repeated", repeats=3)], True, ["log.throttle_window"]),
        ([raw("update.retried", repeats=3)], False, ["trace plugin is off", "no end", "log.throttle_window"]),
    ],
)
def test_a_way_says_where_lines_may_be_missing(
    found: list[bytes], has_trace_log: bool, words: list[str]
) -> None:
    """And why; a whole one says nothing."""
    way = way_of(lines(TRACE if has_trace_log else MASTER, *found), has_trace_log=has_trace_log)
    assert len(way.missing) == len(words)
    for sentence, word in zip(way.missing, words, strict=True):
        assert word in sentence


@pytest.mark.parametrize(("at", "is_said"), [("09.000", False), ("10.500", True), ("59.000", True)])
def test_lost_lines_are_said_to_be_lost(at: str, is_said: bool) -> None:
    """Those of the update's time, or reported soon after it."""
    lost: list[float] = []
    report = f'{{"event":"trace.lost","level":"warn","at":"2026-01-01T00:00:{at}Z","count":3}}'
    found = [*WHOLE, report.encode(), b'{"event":"trace.lost","at":3}', b'{"event":"trace.lost"']
    way = way_of(find_lines(TRACE, found, ID, lost), has_trace_log=True, lost=lost)
    assert len(lost) == 1
    assert ["lost lines" in sentence for sentence in way.missing] == [True] * is_said
