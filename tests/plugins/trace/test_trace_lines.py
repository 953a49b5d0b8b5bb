"""What the trace plugin keeps of events, and writes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trioworkers_plugins.trace.lines import FIELDS, FINISHED, TRACED, Sample, encode, lost

from trioworkers.events import EVENTS, Event
from trioworkers.logs.way import LOST
from trioworkers.records import trace_id

AT = 1767225610.1234567


def event(name: str, number: int = 1, **fields: Any) -> Event:
    return Event(name, AT, 1, EVENTS[name], "support", trace_id(7, number), fields)


def test_every_event_about_one_update_is_traced() -> None:
    """Those of a batch, and of what is not an update, are not about one."""
    of_updates = {name for name in EVENTS if name.startswith("update.")}
    assert of_updates - TRACED == {"update.accepted", "update.unreadable"}
    assert of_updates >= TRACED >= FINISHED


def test_a_line_has_ids_states_and_times() -> None:
    """To the microsecond."""
    (line,) = encode([event("update.done", dialog="support/5", took=0.5, attempt=0)]).splitlines()
    assert json.loads(line) == {
        "event": "update.done", "level": "debug", "at": "2026-01-01T00:00:10.123457Z", "bot": "support",
        "trace_id": trace_id(7, 1), "dialog": "support/5", "took": 0.5, "attempt": 0,
    }  # fmt: skip


def test_a_field_that_is_not_known_is_not_written() -> None:
    """A new field of an event may be a text: somebody has to decide that it is none."""
    assert "text" not in FIELDS
    assert b"secret" not in encode([event("update.done", text="secret")])


def test_what_was_lost_is_a_line() -> None:
    """With how many events it stands for."""
    line = json.loads(lost(7, AT))
    assert (line["event"], line["level"], line["count"]) == ("trace.lost", "warn", 7)
    assert lost(7, AT).startswith(LOST)


def test_all_is_kept_by_default() -> None:
    """But for what has no trace id."""
    nameless = Event("update.done", AT, 1, "debug", "support", None, {})
    done = event("update.done")
    assert Sample().chosen([done, nameless], 1.0) == [done]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.9])
def test_a_sample_is_a_share_of_updates(share: float) -> None:
    """With all of their events, or none."""
    sample = Sample()
    count = 4000
    kept = sample.chosen(
        [
            event(name, id_)
            for id_ in range(count)
            for name in ("update.stored", "update.delivered", "update.done")
        ],
        share,
    )
    ids = {one.trace_id for one in kept}
    assert len(kept) == 3 * len(ids)
    assert abs(len(ids) - share * count) < 0.04 * count


@pytest.mark.parametrize("end", ["update.done", "update.dropped", "update.expired", "update.dead"])
def test_an_update_that_fails_is_kept_from_then_on(end: str) -> None:
    """To its end; whatever else happens is not."""
    sample = Sample()
    way = ["update.stored", "update.delivered", "update.retried", "update.delivered", "update.call", end]
    kept = [event(name) for name in way]
    others = [event(name, 2) for name in way if name not in ("update.retried", "update.dead")]
    assert sample.chosen([*kept, *others], 0.0) == kept[2:]
    assert sample.chosen([event("update.delivered")], 0.0) == []


def test_a_death_at_once_is_kept() -> None:
    """It may be the first failure."""
    assert len(Sample().chosen([event("update.delivered"), event("update.dead")], 0.0)) == 1


def test_failed_updates_are_remembered_up_to_a_bound() -> None:
    """Of more, the oldest are forgotten."""
    sample = Sample(most=3)
    sample.chosen([event("update.retried", id_) for id_ in range(5)], 0.0)
    ends = sample.chosen([event("update.done", id_) for id_ in range(5)], 0.0)
    assert [one.trace_id for one in ends] == [trace_id(7, id_) for id_ in (2, 3, 4)]
