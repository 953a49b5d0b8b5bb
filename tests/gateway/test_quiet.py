"""When an update is done whose end nobody tells, and which update a call is about."""

from __future__ import annotations

import json
import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.gateway.params import read_first_params, read_params
from trioworkers.gateway.quiet import PAUSE, SILENCE, WORKING, QuietTracker
from trioworkers.gateway.subjects import is_answer, subjects_of_call, subjects_of_update

LONGEST = 30.0


def make_tracker(*numbers: int, subject: str = "7") -> QuietTracker:
    """A tracker with these updates about one chat, received at 0."""
    tracker = QuietTracker(lambda: LONGEST)
    for number in numbers:
        tracker.give(number, frozenset([subject]))
    tracker.receive(numbers, 0.0)
    return tracker


def test_an_update_is_done_after_a_pause_in_the_calls_about_it():
    """Counted from the end of the last one; calls about others say nothing."""
    tracker = make_tracker(1)
    call = tracker.begin(["7"])
    assert call == {1}
    assert tracker.due(20.0) == []
    tracker.end(call, 20.0, is_answer=True)
    assert tracker.begin(["8"]) == frozenset()
    assert tracker.next_due() == 20.0 + PAUSE
    assert tracker.due(20.0 + PAUSE) == [1]


def test_an_update_without_a_call_is_done_after_silence_and_one_at_work_later():
    """A chat action says that the handler is at work, so the program has to be quiet for longer."""
    tracker = make_tracker(1)
    assert tracker.next_due() == SILENCE
    tracker.end(tracker.begin(["7"]), 1.0, is_answer=False)
    assert tracker.next_due() == 1.0 + WORKING
    tracker.end(tracker.begin(["7"]), 2.0, is_answer=True)
    assert tracker.next_due() == 2.0 + PAUSE
    tracker.end(tracker.begin(["7"]), 2.1, is_answer=False)
    assert tracker.next_due() == 2.1 + WORKING


def test_what_is_not_in_hand_any_more_ends_no_call_of_others():
    """A call may outlive an update that it belongs to; the others are quiet from its end on all the same."""
    tracker = make_tracker(1, 2, 3)
    call = tracker.begin(["7"])
    tracker.take(2)
    tracker.take(2)
    tracker.end([2, *sorted(call)], 20.0, is_answer=True)
    assert tracker.due(20.0 + PAUSE) == [1, 3]


def test_what_was_not_received_is_not_done():
    """A program that has not polled past an update may not have got it; its calls count from then on."""
    tracker = QuietTracker(lambda: LONGEST)
    tracker.give(1, frozenset(["7"]))
    tracker.end(tracker.begin(["7"]), 1.0, is_answer=True)
    assert tracker.next_due() == math.inf
    tracker.receive([1, 2], 50.0)
    tracker.receive([1], 60.0)
    assert tracker.next_due() == 50.0 + PAUSE


def test_nothing_is_in_hand_for_ever():
    """A call that never ends, and calls that never cease, keep an update no longer than the longest time."""
    tracker = make_tracker(1)
    tracker.begin(["7"])
    assert tracker.next_due() == LONGEST


def test_silence_is_shorter_than_what_a_fence_waits_and_work_longer_than_typing_lasts():
    """Else to take a dialog over could end its program, and what shows "typing…" would be done amid it."""
    from trioworkers.nursery.session import FENCE_TIMEOUT

    assert SILENCE < FENCE_TIMEOUT
    assert (
        WORKING > 5.0
    )  # seconds: the Bot API shows an action for so long, and aiogram repeats it after them


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["give", "receive", "begin", "answer", "work", "take"]),
        st.integers(0, 3),
        st.floats(0.0, 4.0),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_tracker_agrees_with_the_rule_read_from_all_that_happened(steps):
    """Each due time is what the documented rule says, worked out anew from the whole history."""
    tracker = QuietTracker(lambda: LONGEST)
    now, count = 0.0, 0
    history: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
    about: dict[int, str] = {}
    under_way: list[frozenset[int]] = []
    for what, which, pause in steps:
        now += pause
        if what == "give":
            count += 1
            about[count] = str(which)
            tracker.give(count, frozenset([str(which)]))
        elif what == "receive":
            tracker.receive(list(about), now)
            for number in about:
                if not any(event == "received" for event, _ in history[number]):
                    history[number].append(("received", now))
        elif what == "begin":
            found = tracker.begin([str(which)])
            assert found == {number for number, subject in about.items() if subject == str(which)}
            under_way.append(found)
            for number in found:
                history[number].append(("began", now))
        elif what in ("answer", "work"):
            if under_way:
                found = under_way.pop(which % len(under_way))
                tracker.end(found, now, is_answer=what == "answer")
                for number in found:
                    history[number].append((what, now))
        elif about:
            number = sorted(about)[which % len(about)]
            tracker.take(number)
            del about[number]
        expected = {number: _rule(history[number]) for number in about}
        assert tracker.next_due() == min(expected.values(), default=math.inf)
        assert tracker.due(now) == [number for number in about if expected[number] <= now]
        assert len(tracker) == len(about)
    for number in about:
        tracker.take(number)
    assert not tracker._about, "nothing is left of what is not in hand"


def _rule(history: list[tuple[str, float]]) -> float:
    received = next((at for event, at in history if event == "received"), math.inf)
    begun = sum(event == "began" for event, _ in history)
    ended = [(event, at) for event, at in history if event in ("answer", "work")]
    if received == math.inf:
        return math.inf
    if begun > len(ended):
        return received + LONGEST
    last, at = ended[-1] if ended else ("none", received)
    patience = {"answer": PAUSE, "work": WORKING, "none": SILENCE}[last]
    return min(max(at, received) + patience, received + LONGEST)


CHAT = {"id": -100, "type": "supergroup", "username": "Club"}
ANN = {"id": 7, "first_name": "Ann", "username": "ann"}


@pytest.mark.parametrize(
    ("content", "subjects"),
    [
        ({"message": {"message_id": 1, "chat": CHAT, "from": ANN}}, {"-100", "@club"}),
        ({"channel_post": {"message_id": 1, "chat": {"id": -5}}}, {"-5"}),
        (
            {"callback_query": {"id": "44", "from": ANN, "message": {"chat": CHAT}}},
            {"-100", "@club", "callback_query_id 44"},
        ),
        (
            {"callback_query": {"id": "44", "from": ANN, "inline_message_id": "x"}},
            {"7", "@ann", "callback_query_id 44", "inline_message_id x"},
        ),
        ({"inline_query": {"id": "9", "from": ANN}}, {"7", "@ann", "inline_query_id 9"}),
        ({"poll_answer": {"poll_id": "3", "user": ANN}}, {"7", "@ann"}),
        ({"poll": {"id": "3"}}, set()),
        ({"something_new": 5}, set()),
        ({"message": {"chat": {"id": "odd"}}}, set()),
    ],
)
def test_an_update_is_about_its_chat_its_query_or_its_user(content, subjects):
    """And about nothing, where that cannot be read: then it is done by silence."""
    assert subjects_of_update(json.dumps({"update_id": 1, **content}).encode()) == subjects


@pytest.mark.parametrize(
    ("params", "subjects"),
    [
        ({"chat_id": -100, "text": "m"}, {"-100"}),
        ({"chat_id": " -100 "}, {"-100"}),
        ({"chat_id": "@Club"}, {"@club"}),
        ({"chat_id": 1, "from_chat_id": 7, "message_id": 3}, {"1", "7"}),
        ({"callback_query_id": "44"}, {"callback_query_id 44"}),
        ({"inline_query_id": 9, "results": []}, {"inline_query_id 9"}),
        ({"chat_id": True, "user_id": None}, set()),
        ({"chat_id": "x" * 200}, set()),
        ({}, set()),
    ],
)
def test_a_call_is_about_what_its_parameters_name(params, subjects):
    """As JSON or a form has them."""
    assert subjects_of_call(params) == subjects


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reading(body):
    """Whatever an update is."""
    assert isinstance(subjects_of_update(body), frozenset)


def test_what_asks_or_shows_typing_is_no_answer():
    """A handler goes on after that."""
    assert [
        name
        for name in ("sendMessage", "getFile", "sendChatAction", "answerCallbackQuery")
        if is_answer(name)
    ] == [
        "sendMessage",
        "answerCallbackQuery",
    ]


FORM = (
    b'--x\r\ncontent-disposition: form-data; name="chat_id"\r\n\r\n77\r\n'
    b'--x\r\ncontent-disposition: form-data; name="photo"; filename="a"\r\n\r\n' + b"z" * 300 + b"\r\n"
    b'--x\r\ncontent-disposition: form-data; name="caption"\r\n\r\nhi\r\n--x--\r\n'
)


@given(st.integers(0, len(FORM)))
def test_of_a_form_that_is_not_here_as_a_whole_the_first_fields_are_read(size):
    """So the chat of an upload is found before its file has come."""
    kind = b"multipart/form-data; boundary=x"
    whole = {"a": "1", **read_params(b"", kind, FORM)}
    found = read_first_params(b"a=1", kind, FORM[:size])
    assert found.items() <= whole.items()
    if size > 100:
        assert found["chat_id"] == "77"
    if size == len(FORM):
        assert found == whole
