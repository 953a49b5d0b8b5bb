"""Targets, tokens, parameters, ids and what polls confirm: what the endpoint decides, without a socket."""

from __future__ import annotations

import json

import msgspec
import pytest

from trioworkers.gateway.desk import Desk, Poll
from trioworkers.gateway.params import read_names, read_params, read_switch, read_whole
from trioworkers.gateway.polls import with_id
from trioworkers.gateway.targets import read_target
from trioworkers.gateway.tokens import Tokens, make_token
from trioworkers.gateway.update_ids import BLOCK, UpdateIds
from trioworkers.inbox.store import StoreRefusedError


@pytest.mark.parametrize(
    ("target", "method", "there"),
    [
        (b"/bot7:x/getMe", "getme", b"/bot7:REAL/getMe"),
        (b"/bot7%3Ax/sendMessage?text=a%20b%2F", "sendmessage", b"/bot7:REAL/sendMessage?text=a%20b%2F"),
        (b"//bot7:x/GETUPDATES", "getupdates", b"/bot7:REAL/GETUPDATES"),
        (b"/file/bot7:x/photos/f%C3%A9.jpg", "", b"/file/bot7:REAL/photos/f%C3%A9.jpg"),
        (b"/bot7:x/test/getMe", "getme", b"/bot7:REAL/test/getMe"),
        (b"http://127.0.0.1:1/bot7:x/getMe", "getme", b"/bot7:REAL/getMe"),
        (b"/bot7:x/", "", b"/bot7:REAL/"),
    ],
)
def test_a_target_keeps_all_but_its_token(target, method, there):
    """Nothing of it is decoded and encoded again."""
    found = read_target(target)
    assert found is not None
    assert (found.token, found.method) == (b"7:x", method)
    assert found.at(b"", "7:REAL", is_test=False) == there
    assert found.at(b"/base", "7:REAL", is_test=False) == b"/base" + there


def test_a_bot_of_the_test_environment_is_called_there():
    """Whether its program says so or not."""
    for target in (b"/bot7:x/getMe", b"/bot7:x/test/getMe"):
        found = read_target(target)
        assert found is not None
        assert found.at(b"", "7:y", is_test=True) == b"/bot7:y/test/getMe"


@pytest.mark.parametrize("target", [b"/", b"/bot7:x", b"/health", b"*", b"/file/", b"/robots.txt"])
def test_other_targets_name_no_bot(target):
    """They are answered 404."""
    assert read_target(target) is None


def test_a_token_is_known_as_long_as_its_process_lives():
    """Each start has its own, with the bot's id before 256 random bits."""
    tokens: Tokens[str] = Tokens()
    first, second = make_token(7), make_token(7)
    assert first.startswith("7:")
    assert len(first) == len("7:") + 43
    with tokens.known(first, "first"):
        with tokens.known(second, "second"):
            assert tokens.find(first.encode()) == "first"
            assert tokens.find(second.encode()) == "second"
            assert tokens.find(first.encode()[:-1]) is None
            assert tokens.find(b"8:" + first.encode()[2:]) is None
            assert tokens.find(b"") is None
        assert tokens.find(second.encode()) is None
        assert tokens.find(first.encode()) == "first"
    assert tokens.find(first.encode()) is None


def test_the_real_token_is_that_of_the_newest_process():
    """With `token_passed = "real"` two processes of a bot have one token for a moment."""
    tokens: Tokens[str] = Tokens()
    with tokens.known("7:a", "new"):
        pass
    leaving = tokens.known("7:a", "old")
    leaving.__enter__()
    with tokens.known("7:a", "new"):
        leaving.__exit__(None, None, None)
        assert tokens.find(b"7:a") == "new"


@pytest.mark.parametrize(
    ("query", "kind", "body"),
    [
        (b"offset=5&timeout=20&allowed_updates=%5B%22message%22%5D&drop_pending_updates=True", b"", b""),
        (
            b"offset=1",
            b"application/json; charset=utf-8",
            b'{"offset": 5, "timeout": 20, "allowed_updates": ["message"], "drop_pending_updates": true}',
        ),
        (
            b"",
            b"application/x-www-form-urlencoded",
            b"offset=5&timeout=20&allowed_updates=[%22message%22]&drop_pending_updates=true",
        ),
        (
            b"",
            b"multipart/form-data; boundary=XX",
            b'--XX\r\nContent-Disposition: form-data; name="offset"\r\n\r\n5\r\n'
            b'--XX\r\nContent-Disposition: form-data; name="timeout"\r\n\r\n20\r\n'
            b'--XX\r\nContent-Disposition: form-data; name="drop_pending_updates"\r\n\r\ntrue\r\n'
            b'--XX\r\nContent-Disposition: form-data; name="certificate"; filename="c"\r\n\r\nabc\r\n'
            b'--XX\r\nContent-Disposition: form-data; name="allowed_updates"\r\n\r\n["message"]\r\n'
            b"--XX--\r\n",
        ),
    ],
    ids=["query", "json", "form", "multipart"],
)
def test_parameters_are_read_however_they_are_sent(query, kind, body):
    """Libraries use all of these."""
    params = read_params(query, kind, body)
    assert read_whole(params, "offset", 0) == 5
    assert read_whole(params, "timeout", 0) == 20
    assert read_whole(params, "limit", 100) == 100
    assert read_names(params, "allowed_updates") == ["message"]
    assert read_switch(params, "drop_pending_updates")
    assert not read_switch(params, "other")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"application/json", b"{"),
        (b"application/json", b"[1]"),
        (b"multipart/form-data", b"x"),
        (b"multipart/form-data; boundary=X", b"--X\r\nno"),
        (b"application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(1000))),
    ],
)
def test_parameters_that_cannot_be_read_are_an_error(kind, body):
    """And no other error than this one."""
    with pytest.raises(ValueError, match=r"."):
        read_params(b"", kind, body)


def test_strange_numbers_count_as_absent():
    """Nothing that a program sends may break the endpoint."""
    values: list[object] = ["x", None, [1], {}, "1e400", float("inf"), float("nan")]
    for value in values:
        assert read_whole({"offset": value}, "offset", 3) == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"update_id":5,"message":{"text":"\\u00e9 \xc3\xa9","x":1.10}}',
        b'{ "message" : {"update_id": 1}, "update_id" : 12345678901 }',
    ],
)
def test_an_update_keeps_all_but_its_id(body):
    """Numbers and texts stand as Telegram wrote them."""
    found = with_id(body, 42)
    assert json.loads(found) == {**json.loads(body), "update_id": 42}
    if b"1.10" in body:
        assert b"1.10" in found
        assert b"\\u00e9 \xc3\xa9" in found


def test_ids_grow_over_restarts_and_are_on_disk_before_they_are_used(tmp_path):
    """A daemon that was killed goes on behind the block that it had begun."""
    path = tmp_path / "ids.json"
    ids = UpdateIds(path).of(7)
    assert [ids.take() for _ in range(3)] == [1, 2, 3]
    assert msgspec.json.decode(path.read_bytes(), type=dict[int, int]) == {7: 1 + BLOCK}
    later = UpdateIds(path)
    assert later.of(7).take() == 1 + BLOCK
    assert later.of(8).take() == 1
    assert later.of(7) is later.of(7)
    for _ in range(BLOCK):
        last = later.of(7).take()
    assert msgspec.json.decode(path.read_bytes(), type=dict[int, int])[7] > last


def test_ids_begin_where_a_program_waits_for_them(tmp_path):
    """It may remember an offset of Telegram's, below which it would not look at updates."""
    ids = UpdateIds(tmp_path / "ids.json").of(7)
    ids.begin_at(874_000_000)
    assert ids.take() == 874_000_000
    ids.begin_at(5)
    ids.begin_at(10**30)
    assert ids.take() == 874_000_001


def test_a_damaged_file_of_ids_is_refused(tmp_path):
    """Ids that begin anew would be taken for seen."""
    path = tmp_path / "ids.json"
    path.write_bytes(b"{")
    with pytest.raises(StoreRefusedError, match="damaged"):
        UpdateIds(path)


def test_ids_go_on_when_the_disk_is_full(tmp_path):
    """A block that could not be noted stops no bot."""
    ids = UpdateIds(tmp_path / "no" / "ids.json").of(7)
    assert [ids.take() for _ in range(BLOCK + 2)][-1] == BLOCK + 2


@pytest.fixture
def desk(tmp_path):
    """The desk of one process."""
    return Desk(UpdateIds(tmp_path / "ids.json").of(7))


def test_a_poll_confirms_what_is_below_its_offset(desk):
    """The rest it is given again, under the same ids."""
    desk.poll(Poll(timeout=20), "poll")
    assert [desk.give(item) for item in "abc"] == [1, 2, 3]
    verdict = desk.poll(Poll(offset=2, timeout=20), "poll")
    assert (verdict.confirmed, verdict.again) == (["a"], [(2, "b"), (3, "c")])
    assert desk.poll(Poll(offset=2, limit=1, timeout=20), "poll").again == [(2, "b")]
    verdict = desk.poll(Poll(offset=4, timeout=20), "poll")
    assert (verdict.confirmed, verdict.again, len(desk)) == (["b", "c"], [], 0)


def test_a_farewell_confirms_nothing_where_polls_tell_of_handling(desk):
    """Telegraf and grammY confirm so what they were amid of; at Telegram that would be lost."""
    desk.poll(Poll(timeout=20), "poll")
    desk.give("a")
    verdict = desk.poll(Poll(offset=2, limit=1), "poll")
    assert verdict.is_farewell
    assert (verdict.confirmed, len(desk)) == ([], 1)


def test_a_farewell_confirms_where_polls_tell_of_receipt(desk):
    """As at Telegram: else what was handled would be handled again."""
    desk.poll(Poll(timeout=20), "receipt")
    desk.give("a")
    verdict = desk.poll(Poll(offset=2, limit=1), "receipt")
    assert verdict.is_farewell
    assert verdict.confirmed == ["a"]


def test_a_program_whose_polls_never_wait_has_no_farewell(desk):
    """Each of its polls counts."""
    desk.poll(Poll(), "poll")
    desk.give("a")
    verdict = desk.poll(Poll(offset=2), "poll")
    assert not verdict.is_farewell
    assert verdict.confirmed == ["a"]


def test_a_negative_offset_drops_nothing(desk):
    """At Telegram it would forget all that waits."""
    desk.poll(Poll(timeout=20), "poll")
    desk.give("a")
    verdict = desk.poll(Poll(offset=-1, timeout=20), "poll")
    assert verdict.is_negative
    assert (verdict.confirmed, verdict.again, len(desk)) == ([], [], 1)


def test_what_is_in_hand_at_the_end_comes_back(desk):
    """In the order in which it was given."""
    desk.poll(Poll(timeout=20), "poll")
    for item in "abc":
        desk.give(item)
    assert desk.take_back() == ["a", "b", "c"]
    assert len(desk) == 0


@pytest.mark.parametrize("promise", ["probe", "quiet"])
def test_a_poll_says_what_the_program_has_where_that_is_no_end(desk, promise):
    """Each update is received once, is given again until then, and stays in hand."""
    first, second = desk.give("a"), desk.give("b")
    verdict = desk.poll(Poll(first + 1, timeout=20), promise)
    assert (verdict.confirmed, verdict.received, verdict.again) == ([], [first], [(second, "b")])
    verdict = desk.poll(Poll(second + 1, timeout=20), promise)
    assert (verdict.confirmed, verdict.received, verdict.again) == ([], [second], [])
    verdict = desk.poll(Poll(second + 1, timeout=0), promise)
    assert (verdict.received, verdict.is_farewell) == ([], True)
    assert (desk.end(first), len(desk)) == ("a", 1)
