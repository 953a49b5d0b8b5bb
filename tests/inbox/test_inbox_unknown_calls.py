"""A call that was begun more than once stays unknown until it is answered, in one transaction or in many."""

from __future__ import annotations

import pytest

from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept, BeginCall, EndCall, Kept
from trioworkers.records import RecordedCall

KEY = "sendMessage 5 c0ffee 1"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("story", "left"),
    [
        ("begun", [RecordedCall(KEY, 1.0)]),
        ("begun refused", []),
        ("begun refused begun", [RecordedCall(KEY, 3.0)]),
        ("begun begun", [RecordedCall(KEY, 1.0, None, True)]),
        ("begun begun refused", [RecordedCall(KEY, 1.0, None, True)]),
        ("begun begun answered", [RecordedCall(KEY, 1.0, b"5", True)]),
        ("begun answered", [RecordedCall(KEY, 1.0, b"5", False)]),
    ],
)
def test_what_is_known_of_a_call(tmp_path, story, left, together):
    """The first beginning gives its time; a refusal forgets only what was begun once."""
    store = open_sqlite(tmp_path / "inbox.db")
    (kept,) = store.commit([Accept(1, 1, "5", b"{}", 0.0)])
    assert isinstance(kept, Kept)
    operations = [
        BeginCall(kept.id, KEY, float(at))
        if word == "begun"
        else EndCall(kept.id, KEY, {"answered": b"5"}.get(word))
        for at, word in enumerate(story.split(), 1)
    ]
    for batch in [operations] if together else [[operation] for operation in operations]:
        store.commit(batch)
    assert store.calls(kept.id) == left
    store.close()


def test_a_refusal_does_not_answer_an_earlier_question(tmp_path):
    """Unknown from before, begun again and refused in one transaction: still unknown, and marked."""
    store = open_sqlite(tmp_path / "inbox.db")
    (kept,) = store.commit([Accept(1, 1, "5", b"{}", 0.0)])
    assert isinstance(kept, Kept)
    store.commit([BeginCall(kept.id, KEY, 1.0)])
    store.commit([BeginCall(kept.id, KEY, 2.0), EndCall(kept.id, KEY, None)])
    assert store.calls(kept.id) == [RecordedCall(KEY, 1.0, None, True)]
    store.close()
