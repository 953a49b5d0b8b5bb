"""What a backend may answer."""

from __future__ import annotations

import json

import pytest

from trioworkers.botapi.errors import TransportError
from trioworkers.handlers.answer import BackendCall, read_answer

PARAMS = {"chat_id": 1, "text": "hi"}
HI = {"method": "sendMessage", "params": PARAMS}


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ([HI], [BackendCall("sendMessage", PARAMS)]),
        ({"calls": [HI], "version": 2}, [BackendCall("sendMessage", PARAMS)]),
        ([{"method": "getMe"}], [BackendCall("getMe")]),
        ([{**HI, "once": "greeting"}], [BackendCall("sendMessage", PARAMS, "greeting")]),
        ([], []),
    ],
)
def test_an_answer_is_a_list_of_calls(answer, calls):
    """On its own, or as the `calls` of an object."""
    read = read_answer(json.dumps(answer).encode())
    assert read == calls
    assert [BackendCall.from_json(call.as_json()) for call in read] == calls


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_answer_asks_for_nothing(body):
    """A service that only listens answers with 200 and nothing else."""
    assert read_answer(body) == []


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("private", "$"),
        ({"method": "sendMessage"}, "$"),
        ([{**HI, "chat_id": "private"}], "$[0]"),
        ([HI, {"params": {}}], "$[1]"),
        ([{**HI, "method": "send private"}], "$[0].method"),
        ([{**HI, "params": ["private"]}], "$[0].params"),
        ([{**HI, "params": {"once": "private"}}], "$[0].params"),
        ([{**HI, "once": ""}], "$[0].once"),
        ([HI] * 101, "$"),
    ],
)
def test_another_answer_is_refused_and_not_quoted(answer, place):
    """The error says where it is wrong, and nothing of what was there."""
    with pytest.raises(TransportError) as caught:
        read_answer(json.dumps(answer).encode())
    assert str(caught.value) == f"backend: its answer is not a list of calls, at {place}"


@pytest.mark.parametrize(
    "body",
    [b"<html>private</html>", b"\xff\xfe", b"[" * 100_000, b'[{"method":"\xff"}]'],
)
def test_garbage_is_refused_and_not_quoted(body):
    """Pages of proxies, other encodings, endless nesting."""
    with pytest.raises(TransportError) as caught:
        read_answer(body)
    assert str(caught.value).startswith("backend: its answer is not a list of calls, at $")


@pytest.mark.parametrize("method", ["setWebhook", "deletewebhook", "getUpdates", "logOut", "close"])
def test_calls_that_would_stop_the_updates_are_refused(method):
    """How updates come is the daemon's, and a service that is asked about them cannot turn it off."""
    with pytest.raises(TransportError, match="call 1 of its answer is one that only the daemon may make"):
        read_answer(json.dumps([HI, {"method": method}]).encode())
