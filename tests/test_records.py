"""What is read out of an update: its id, its kind, and the key that orders it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioworkers.arrivals import read_update
from trioworkers.records import MOST_ONCE_KEY, Arrival, Once, decode_body, trace_id

CHAT = {"id": -1001234567890, "type": "supergroup"}
USER = {"id": 5_000_000_001, "is_bot": False}
THREAD = {"message_thread_id": 7, "is_topic_message": True}
MESSAGE = {"chat": CHAT, "from": USER}


def read(kind, content):
    return read_update(json.dumps({"update_id": 1, kind: content}).encode())


def test_the_place_of_the_fields_does_not_matter():
    """update_id may come last; an update of nothing but its id is one, too."""
    body = b'{"poll":{"id":"1"},"update_id":-2147483648}'
    assert read_update(body) == Arrival(-(2**31), "poll", "poll/1", None, None, body)
    assert read_update(b'{"update_id":2147483647}').kind == "unknown"


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.text(), st.booleans())
def test_the_body_stays_the_bytes_that_came(update_id, chat_id, text, ascii_only):
    """And its fields are read whatever else it holds."""
    content: dict[str, Any] = {"chat": {"id": chat_id}, "text": text.encode(errors="replace").decode()}
    whole = {"update_id": update_id, "message": content}
    body = json.dumps(whole, ensure_ascii=ascii_only, indent=1).encode()
    arrival = read_update(msgspec.Raw(body))
    assert arrival.body == body
    assert type(arrival.body) is bytes
    assert (arrival.update_id, arrival.chat_id, arrival.key) == (update_id, chat_id, str(chat_id))
    assert decode_body(arrival.body) == whole


contents = st.sampled_from(
    ["null", "7", "{}", '{"chat":{"id":7}}', '{"chat":{"id":"x"}}', '{"from":{"id":8},"text":"\\ud800"}']
)
kinds = st.sampled_from(["message", "update_id", "callback_query", "later"])


def outcome(text):
    """What is read of an update, its kind and body left out; or why it is none."""
    try:
        update = read_update(text.encode())
    except ValueError as error:
        return str(error), ""
    return msgspec.structs.replace(update, body=b"", kind=""), update.kind


@given(st.lists(st.tuples(kinds, contents), max_size=4))
@example([("update_id", "7"), ("later", "{}"), ("message", "{}")])
@example([("update_id", str(2**31)), ("message", "{}")])
def test_messages_are_read_as_any_other_kind(parts):
    """Most updates are messages and read in one pass; whatever one holds, it is as if that were not so."""
    body = "{" + ",".join(f'"{name}":{content}' for name, content in parts) + "}"
    read, kind = outcome(body)
    assert outcome(body.replace('"message"', '"other"')) == (read, kind.replace("message", "other"))


@given(st.one_of(st.binary(), st.text().map(lambda text: json.dumps(text).encode())))
def test_what_is_no_update_is_a_value_error(body):
    """Never anything else, and the message holds nothing of it."""
    with pytest.raises(ValueError, match=r"^not an update: [A-Za-z_]+$"):
        read_update(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"update_id":null}',
        b'{"update_id":"1"}',
        b'{"update_id":1.5}',
        b'{"update_id":true}',
        b'{"update_id":2147483648}',
        b'{"update_id":-2147483649}',
        b'{"update_id":1,"message":{"text":"\xff"',
        b'{"update_id":1,"message":' + b'{"a":' * 100_000,
        b'{"update_id":1,"message":{}} ' + b"x",
    ],
)
def test_these_are_no_updates(body):
    """Too large for 32 bits, of another type, cut short, nested without end."""
    with pytest.raises(ValueError, match=r"^not an update: "):
        read_update(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"update_id":1,"message":{"chat":{"id":"x"}}}',
        b'{"update_id":1,"message":{"chat":{}}}',
        b'{"update_id":1,"message":{"chat":{"id":%s}}}' % (b"9" * 4000),
        b'{"update_id":1,"message":{"chat":{"id":9223372036854775808}}}',
        b'{"update_id":1,"a kind of tomorrow":[1,2]}',
        b'{"update_id":1,"a kind of tomorrow":7}',
    ],
)
def test_a_content_of_an_unknown_shape_is_an_update_without_a_key(body):
    """Telegram may change what it likes: what has an id is kept, and the handler sees it as it came."""
    update = read_update(body)
    assert (update.update_id, update.key, update.chat_id, update.body) == (1, "", None, body)


@pytest.mark.parametrize("key", ["", "k", "naïve", "\U0001f600" * MOST_ONCE_KEY])
@pytest.mark.parametrize("window", [1, 0.001, 1e9])
def test_a_once_key_is_any_text_that_is_not_too_long(key, window):
    """Counted in characters, whatever they take as UTF-8."""
    assert (Once(key, window).key, Once(key, window).window) == (key, window)


@pytest.mark.parametrize(
    ("key", "window", "error"),
    [
        ("x" * (MOST_ONCE_KEY + 1), 1.0, "at most 256 characters, got 257"),
        ("secret \ud800", 1.0, "cannot be encoded"),
        (7, 1.0, "expected a text as key, got int"),
        (b"k", 1.0, "expected a text as key, got bytes"),
        ("k", 0, "more than 0 seconds, got 0"),
        ("k", -1.0, "more than 0 seconds"),
        ("k", float("nan"), "more than 0 seconds"),
        ("k", float("inf"), "more than 0 seconds"),
    ],
)
def test_a_once_key_that_no_store_could_hold_is_refused_where_it_is_made(key, window, error):
    """In the hands of whoever made it, not in the thread that writes; and its text is not quoted."""
    with pytest.raises((TypeError, ValueError), match=error) as raised:
        Once(key, window)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_trace_id_is_the_updates_own():
    """The same for the same update, another for every other one."""
    ids = [trace_id(bot, update) for bot in (1, 11) for update in (1, 11)]
    assert len({*ids}) == 4
    assert all(len(one) == 32 and int(one, 16) for one in ids)
    assert trace_id(1, 11) == ids[1]
