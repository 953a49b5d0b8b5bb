"""What is not well with a bot, by its row of the status document."""

from __future__ import annotations

from typing import Any

import pytest
from top_fleets import HEALTHY, bot

from trioworkers.trouble import MOST, tally, trouble_of, troubles_of, unwell_words

INTAKE = {"problem": "HTTP 502", "since": 7.0, "remedy": "wait"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (bot("a"), None),
        (bot("a", "paused"), None),
        (bot("a", "sleeping"), None),
        (bot("a", "starting"), None),
        (bot("a", "stopped", health={**HEALTHY, "intake": INTAKE}), None),
        (bot("a", "failed", reason="token refused"), "failed: token refused"),
        (bot("a", "backoff", last_exit={"code": 3, "signal": None, "oom": False}), "crashed: exit code 3"),
        (bot("a", "backoff", last_exit={"code": None, "signal": 9, "oom": True}), "crashed: memory ran out"),
        (bot("a", "backoff", reason="waits for a place: 2 are allowed"), "waits for a place: 2 are allowed"),
        (bot("a", health={**HEALTHY, "intake": INTAKE}), "hears nothing: HTTP 502"),
        (bot("a", "sleeping", health={**HEALTHY, "intake": INTAKE}), "hears nothing: HTTP 502"),
        (bot("a", health={**HEALTHY, "responsive": False}), "its worker does not answer"),
        (bot("a", health={**HEALTHY, "progressing": False}), "an update takes longer than its time limit"),
    ],
)
def test_trouble_in_words(row: dict[str, Any], words: str | None) -> None:
    """None for a bot that is well, or that is meant to do nothing."""
    found = trouble_of(row)
    assert (None if found is None else found.words) == words
    assert found is None or found.remedy


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([bot("a", "failed", reason="token refused")], "1 failed"),
        ([bot("a", health={**HEALTHY, "responsive": False})], "1 does not answer"),
        ([bot(name, health={**HEALTHY, "intake": INTAKE}) for name in "ab"], "2 hear nothing"),
        (
            [
                bot("a", health={**HEALTHY, "progressing": False}),
                *(bot(f"b{number}", "failed") for number in range(1000)),
                bot("c", "backoff", reason="waits for a place: 2 are allowed"),
            ],
            "1,000 failed, 1 waits for a place, 1 is at an update that takes too long",
        ),
    ],
)
def test_troubles_are_counted_by_kind(rows: list[dict[str, Any]], words: str) -> None:
    """The worst first, in the words for one or for many."""
    assert tally(troubles_of(rows)) == words


def test_since_when_and_what_to_do_come_from_the_daemon() -> None:
    """It knows what its polls fail of."""
    found = trouble_of(bot("a", health={**HEALTHY, "intake": INTAKE}))
    assert found is not None
    assert (found.since, found.remedy) == (7.0, "wait")


def test_the_worst_comes_first() -> None:
    """Then by name."""
    rows = [
        bot("silent", health={**HEALTHY, "responsive": False}),
        bot("well"),
        bot("other", "failed", reason="token refused"),
        bot("deaf", health={**HEALTHY, "intake": INTAKE}),
        bot("gone", "failed", reason="internal error"),
    ]
    assert list(troubles_of(rows)) == ["gone", "other", "deaf", "silent"]
    assert unwell_words(rows)[0] == "gone: failed: internal error"


def test_an_event_names_some_of_many() -> None:
    """A thousand bots without a network are one line of the log."""
    rows = [bot(f"b{number:03}", "failed", reason="x") for number in range(100)]
    words = unwell_words(rows)
    assert len(words) == MOST + 1
    assert words[-1] == "and 80 more"
