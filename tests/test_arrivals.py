"""The lane of each kind of update, and whose it is, by the Bot API 10.2; and what nobody can decode."""

from __future__ import annotations

import json

import pytest

from trioworkers.arrivals import CALLBACKS, LONGEST_NAME, is_broken, read_update, with_own_lane
from trioworkers.config.values import UPDATE_KINDS
from trioworkers.records import Waiting, belongs_to_chat

GROUP = -1001234567890
CHAT = {"id": GROUP, "type": "supergroup"}
USER = {"id": 5_000_000_001, "is_bot": False}
PRIVATE = {"id": USER["id"], "type": "private"}
THREAD = {"message_thread_id": 7, "is_topic_message": True}
DIRECT = {"direct_messages_topic": {"topic_id": 8, "user": USER}}
MESSAGE = {"chat": CHAT, "from": USER}
BUSINESS = {"business_connection_id": "bc-1_x", "chat": PRIVATE}
SOURCE = {"source": {"source": "premium", "user": USER}}
G, U = str(GROUP), str(USER["id"])

LANES = [
    ("message", MESSAGE, G, GROUP, USER),
    ("message", MESSAGE | THREAD, f"{G}/7", GROUP, USER),
    ("message", MESSAGE | {"message_thread_id": 7}, G, GROUP, USER),
    ("message", MESSAGE | {"is_topic_message": True}, G, GROUP, USER),
    ("message", MESSAGE | DIRECT, f"{G}/8", GROUP, USER),
    ("message", MESSAGE | DIRECT | {"message_thread_id": 7}, f"{G}/8", GROUP, USER),
    ("message", {"chat": PRIVATE, "from": USER}, U, USER["id"], USER),
    ("edited_message", MESSAGE | THREAD, f"{G}/7", GROUP, USER),
    ("edited_message", MESSAGE | DIRECT, f"{G}/8", GROUP, USER),
    ("channel_post", {"chat": CHAT}, G, GROUP, None),
    ("edited_channel_post", {"chat": CHAT}, G, GROUP, None),
    ("business_connection", {"user": USER, "user_chat_id": 77, "id": "bc"}, "77", 77, USER),
    ("business_message", BUSINESS | {"from": USER}, f"business/bc-1_x/{U}", USER["id"], USER),
    ("edited_business_message", BUSINESS | {"from": USER}, f"business/bc-1_x/{U}", USER["id"], USER),
    ("deleted_business_messages", BUSINESS | {"message_ids": [1]}, f"business/bc-1_x/{U}", USER["id"], None),
    ("guest_message", {"chat": PRIVATE, "from": USER}, f"guest_message/{U}", USER["id"], USER),
    ("message_reaction", {"chat": CHAT, "user": USER}, G, GROUP, USER),
    ("message_reaction", {"chat": CHAT, "actor_chat": CHAT}, G, GROUP, None),
    ("message_reaction_count", {"chat": CHAT}, G, GROUP, None),
    ("inline_query", {"from": USER}, f"inline_query/{U}", None, USER),
    ("chosen_inline_result", {"from": USER}, f"chosen_inline_result/{U}", None, USER),
    ("callback_query", {"from": USER, "message": {"chat": CHAT}}, G, GROUP, USER),
    ("callback_query", {"from": USER, "message": {"chat": CHAT} | THREAD}, f"{G}/7", GROUP, USER),
    ("callback_query", {"from": USER, "message": {"chat": CHAT} | DIRECT}, f"{G}/8", GROUP, USER),
    ("callback_query", {"from": USER, "message": BUSINESS}, f"business/bc-1_x/{U}", USER["id"], USER),
    ("callback_query", {"from": USER, "inline_message_id": "x"}, f"callback_query/{U}", None, USER),
    ("shipping_query", {"from": USER}, f"shipping_query/{U}", None, USER),
    ("pre_checkout_query", {"from": USER}, f"pre_checkout_query/{U}", None, USER),
    ("purchased_paid_media", {"from": USER}, U, None, USER),
    ("poll", {"id": "5363"}, "poll/5363", None, None),
    ("poll_answer", {"poll_id": "5363", "user": USER}, "poll/5363", None, USER),
    ("poll_answer", {"poll_id": "5363", "voter_chat": CHAT}, "poll/5363", None, None),
    ("my_chat_member", MESSAGE, G, GROUP, USER),
    ("chat_member", MESSAGE, G, GROUP, USER),
    ("chat_join_request", MESSAGE | {"user_chat_id": 5}, G, GROUP, USER),
    ("chat_join_request", MESSAGE | {"query_id": "q"}, f"chat_join_request/{U}", GROUP, USER),
    ("chat_boost", {"chat": CHAT, "boost": SOURCE}, G, GROUP, USER),
    ("chat_boost", {"chat": CHAT, "boost": {"source": {"source": "giveaway"}}}, G, GROUP, None),
    ("removed_chat_boost", {"chat": CHAT} | SOURCE, G, GROUP, USER),
    ("managed_bot", {"user": USER, "bot": {"id": 9}}, U, None, USER),
    ("subscription", {"user": USER, "state": "active"}, U, None, USER),
    ("invented_tomorrow", {"chat": CHAT, "what": [{"ever": 1}]}, G, GROUP, None),
    ("invented_tomorrow", {"what": "ever"}, "", None, None),
    ("message", {"chat": None, "from": None}, "", None, None),
]


def read(kind, content):
    return read_update(json.dumps({"update_id": 1, kind: content}).encode())


@pytest.mark.parametrize(("kind", "content", "key", "chat_id", "user"), LANES)
def test_each_kind_has_its_lane_its_chat_and_its_user(kind, content, key, chat_id, user):
    """A query waits for no message of its user, whose id is also the id of their private chat."""
    arrival = read(kind, content)
    assert (arrival.kind, arrival.key, arrival.chat_id) == (kind, key, chat_id)
    assert arrival.user_id == (None if user is None else user["id"])
    assert not arrival.broken


def test_no_kind_is_left_out():
    """Those of the Bot API 10.2."""
    assert {kind for kind, *_ in LANES} - {"invented_tomorrow"} == set(UPDATE_KINDS)


@pytest.mark.parametrize("kind", UPDATE_KINDS)
@pytest.mark.parametrize(
    "content", ["x", None, [], {}, {"chat": 7, "from": [], "message": 1, "boost": 2, "id": 3}]
)
def test_a_kind_may_change_its_shape(kind, content):
    """It has no lane then, and is read all the same."""
    arrival = read(kind, content)
    assert (arrival.kind, arrival.key, arrival.chat_id, arrival.user_id) == (kind, "", None, None)


@pytest.mark.parametrize(
    "name", ["x" * (LONGEST_NAME + 1), "a/b", "naïve", "line\nbreak", "token:secret", " "]
)
def test_a_name_of_telegrams_in_a_key_is_short_and_plain(name):
    """Another name has another key, though, the same each time."""
    key = read("poll", {"id": name}).key
    assert key.isascii()
    assert len(key) <= LONGEST_NAME + 5
    assert name.strip() not in key or not name.strip()
    assert key == read("poll_answer", {"poll_id": name}).key != read("poll", {"id": name + "x"}).key


@pytest.mark.parametrize(
    ("kind", "content", "key"),
    [
        ("callback_query", {"from": USER, "message": {"chat": CHAT} | THREAD}, f"{G}/7/{CALLBACKS}"),
        ("callback_query", {"from": USER, "message": {"chat": PRIVATE}}, f"{U}/{CALLBACKS}"),
        ("callback_query", {"from": USER, "inline_message_id": "x"}, f"callback_query/{U}"),
        ("message", MESSAGE, G),
    ],
)
def test_callbacks_may_have_a_lane_beside_their_chats(kind, content, key):
    """Only they; and a lane that is none of the chat's messages already stays as it is."""
    arrival = read(kind, content)
    moved = with_own_lane(arrival)
    assert moved.key == key
    assert (moved.chat_id, moved.user_id, moved.body) == (arrival.chat_id, arrival.user_id, arrival.body)


@pytest.mark.parametrize(
    ("kind", "content", "belongs"),
    [
        ("message", {"chat": PRIVATE}, True),
        ("callback_query", {"from": USER, "message": {"chat": PRIVATE}}, True),
        ("pre_checkout_query", {"from": USER}, False),
        ("inline_query", {"from": USER}, False),
        ("business_message", BUSINESS, False),
        ("guest_message", {"chat": PRIVATE}, False),
    ],
)
def test_a_fence_of_a_private_chat_is_one_of_its_lanes(kind, content, belongs):
    """A callback is cut off with its chat, in a lane of its own, too; a payment of the same person is not."""
    arrival = read(kind, content)
    assert belongs_to_chat(arrival.key, USER["id"]) is belongs
    assert belongs_to_chat(with_own_lane(arrival).key, USER["id"]) is belongs


BROKEN = {
    "invalid UTF-8": b'"\xff"',
    "cut UTF-8": b'"\xe2\x82"',
    "half a surrogate pair": rb'"\ud800"',
    "half a surrogate pair before text": rb'"\ud83d and more"',
    "an unknown escape": rb'"\x41"',
    "an integer without end": b"9" * 5000,
    "a number beyond all numbers": b"1e999",
    "nesting without end": b"[" * 30_000 + b"]" * 30_000,  # beyond the limit of each Python
}


def body(content, kind=b"message"):
    chat = b'{"chat":{"id":7,"type":"private"},"from":{"id":7},"text":%b}' % content
    return b'{"update_id":5,"%b":%b}' % (kind, chat)


@pytest.mark.parametrize("kind", [b"message", b"callback_query", b"tomorrow"])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_nobody_can_decode_is_marked(kind, content):
    """It has its id and its chat, so that it can be confirmed and found among the dead letters."""
    arrival = read_update(body(content, kind))
    assert arrival.broken
    assert (arrival.update_id, arrival.kind, arrival.key, arrival.chat_id) == (5, kind.decode(), "7", 7)
    waiting = Waiting(1, 2, 5, "7", arrival.body, 0.0)
    assert is_broken(waiting)
    assert is_broken(Waiting(1, 2, 5, "7", arrival.body, 0.0, head=arrival))


@pytest.mark.parametrize(
    "content", [b'"\xe2\x82\xac"', rb'"\ud83d\ude00"', b"9" * 400, b"1e-999", b"[" * 300 + b"]" * 300]
)
def test_what_is_only_strange_is_not(content):
    """Whatever the handler can decode, it is given."""
    assert not read_update(body(content)).broken
    assert not is_broken(Waiting(1, 2, 5, "7", body(content), 0.0))


def test_the_name_of_a_kind_may_be_what_is_broken():
    """Its id can be read, so that what comes behind it can be confirmed."""
    arrival = read_update(b'{"update_id":5,"\xff":{}}')
    assert (arrival.update_id, arrival.kind, arrival.broken) == (5, "unknown", True)
