"""What a getUpdates answer may bring: number, size, depth and shape of updates have bounds."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress

import msgspec
import pytest

from trioworkers.botapi.errors import TransportError
from trioworkers.transport.batch import LARGEST_ANSWER, MOST_UPDATES, read_batch
from trioworkers.update_bounds import LARGEST_UPDATE, MOST_VALUES, check_bounds


def update(update_id, **more):
    return {"update_id": update_id, "message": {"chat": {"id": 5}, **more}}


def listed(*updates):
    return msgspec.Raw(json.dumps(list(updates), separators=(",", ":")).encode())


def ids(batch):
    return [arrival.update_id for arrival in batch.arrivals]


def test_as_many_as_were_asked_for_are_taken():
    """All of them, in order, and the offset is behind the last."""
    batch = read_batch(listed(*map(update, range(MOST_UPDATES))))
    assert ids(batch) == list(range(MOST_UPDATES))
    assert batch.next_offset() == MOST_UPDATES
    assert read_batch(listed()).next_offset() is None


def test_of_more_updates_than_were_asked_for_the_first_are_taken_and_the_rest_is_not_confirmed():
    """A server that ignores `limit` gives the rest again."""
    batch = read_batch(listed(*map(update, range(7, 7 + 3000))))
    assert ids(batch) == list(range(7, 7 + MOST_UPDATES))
    assert batch.next_offset() == 7 + MOST_UPDATES
    assert batch.problems == []


@pytest.mark.parametrize("rest", [[3, 1000], ["x", 5], [1000, "x"], [1000, 1000]])
def test_more_updates_than_were_asked_for_out_of_order_are_refused(rest):
    """An offset behind the first might confirm one of the others."""
    answer = listed(*map(update, range(500, 500 + MOST_UPDATES - 1)), *map(update, rest))
    with pytest.raises(TransportError, match="that are not in order"):
        read_batch(answer)


@pytest.mark.parametrize("answer", [b"{}", b"1", b'"x"', b"null", b"[1", b'{"0":1}', b"\xff"])
def test_what_is_no_list_is_refused(answer):
    """Of whatever type it is."""
    with pytest.raises(TransportError, match="no list of updates"):
        read_batch(msgspec.Raw(answer))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (json.dumps(update(6, text="x" * LARGEST_UPDATE)).encode(), "bytes, expected at most"),
        (json.dumps(update(6, **{f"k{n}": n for n in range(MOST_VALUES)})).encode(), "values"),
        (json.dumps(update(6, many=[[]] * MOST_VALUES)).encode(), "values"),
        (json.dumps({f"k{n}": n for n in range(MOST_VALUES)} | {"update_id": 6}).encode(), "values"),
    ],
    ids=["size", "keys", "lists", "kinds"],
)
def test_an_update_beyond_a_bound_is_left_out_and_the_others_are_taken(body, problem):
    """It is reported without content, and confirmed: else it would come again for ever."""
    answer = b"[" + b",".join([json.dumps(update(5)).encode(), body, json.dumps(update(7)).encode()]) + b"]"
    batch = read_batch(msgspec.Raw(answer))
    assert ids(batch) == [5, 7]
    assert batch.refused == [6]
    (told,) = batch.problems
    assert problem in told
    alone = read_batch(msgspec.Raw(b"[" + body + b"]"))
    assert (alone.arrivals, alone.next_offset()) == ([], 7)


def test_what_a_person_may_write_stays_within_the_bounds():
    """Brackets within texts are no levels, and quotes and backslashes do not hide where a text ends."""
    for text in ("[" * 4096, '{"' * 2048, "\\" * 4096, '\\"[' * 1365, "," * 32_768, '"],[' * 1024):
        check_bounds(json.dumps(update(1, text=text, caption="]}")).encode())


@pytest.mark.parametrize(
    "item",
    [
        b"{}",
        b"[]",
        b"1",
        b'{"update_id":1}',
        b'""',
        rb'"\""',
        rb'"\\"',
        b'{"k":{"k":{}}}',
        b"[[[[]]]]",
        b"1.5e7",
    ],
)
def test_no_answer_that_a_server_may_send_becomes_many_objects(item):
    """Making objects is what takes long, and nothing else is done meanwhile: a list's are 100 MB."""
    count = LARGEST_ANSWER // (len(item) + 1)
    flat = msgspec.Raw(b"[" + b",".join([item] * count) + b"]")
    within = msgspec.Raw(b'[{"update_id":1,"x":' + bytes(flat) + b"}]")
    tracemalloc.start()
    try:
        for answer in (flat, within):
            with suppress(TransportError):
                batch = read_batch(answer)
                assert len(batch.arrivals) + len(batch.problems) <= MOST_UPDATES
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * LARGEST_ANSWER  # copies of the text
