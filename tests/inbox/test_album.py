"""Albums: which updates belong together, and when an album is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from trioworkers.arrivals import album_of
from trioworkers.inbox.album import LOOK, MOST_PARTS, gather
from trioworkers.records import Waiting

NOW = 1_700_000_000.0


def part(id_: int, album: Any = "a", kind: str = "message", **more: Any) -> Waiting:
    content = {"chat": {"id": 5}} | ({} if album is None else {"media_group_id": album})
    body = json.dumps({"update_id": id_, kind: content}).encode()
    return Waiting(id_, 7, id_, "5", body, NOW + id_ / 10, kind=kind, **more)


class Lanes:
    def __init__(self, *behind):
        self.waiting, self.asked = behind, []

    def now(self):
        return NOW + 100

    async def behind(self, update, limit):
        self.asked.append((update.id, limit))
        return self.waiting


@pytest.mark.parametrize(
    ("update", "album"),
    [
        (part(1), "message a"),
        (part(1, kind="channel_post"), "channel_post a"),
        (part(1, kind="business_message"), "business_message a"),
        (part(1, kind="edited_message"), None),
        (part(1, None), None),
        (part(1, 7), None),
        (part(1, damaged=True), None),
        (part(1, skipped=True), None),
        (replace(part(1), key=""), None),
        (replace(part(1), body=b'{"message":{"media_group_id":"a","text":"\\ud800"}}'), None),
        (replace(part(1), body=b'{"message":{"text":"\\"media_group_id\\""}}'), None),
        (replace(part(1), body=b'{"message":{"reply_to_message":{"media_group_id":"a"}}}'), None),
    ],
)
def test_what_is_of_an_album(update, album):
    """What was sent in one, and waits in its chat's lane; nothing that only looks like it."""
    assert album_of(update) == album


async def test_the_first_part_waits_before_anything_is_looked_for():
    """From when it could be handled: what was not confirmed before a crash is only coming again."""
    lanes = Lanes(part(2))
    assert await gather(lanes, part(1), 2.0) == (part(1), NOW + 102)
    assert lanes.asked == []


async def test_it_is_whole_when_no_part_has_come_for_a_while():
    """Counted from the last part; what others said in between stays behind, and so does another album."""
    due = part(1, due=NOW + 1)
    lanes = Lanes(part(2), part(3, None), part(4, "b"), part(5), part(6, kind="edited_message"))
    gathered, whole_at = await gather(lanes, due, 2.0)
    assert gathered == replace(due, parts=(part(2), part(5)))
    assert whole_at == NOW + 0.5 + 2
    assert lanes.asked == [(1, LOOK)]


@pytest.mark.parametrize(
    ("update", "parts"),
    [
        (part(1, due=NOW), MOST_PARTS - 1),
        (part(1, due=NOW), MOST_PARTS + 3),
        (part(1, attempt=1, due=NOW), 1),
        (part(1, suspect=True), 1),
    ],
)
async def test_nothing_is_waited_for_where_nothing_can_be_missing(update, parts):
    """Ten parts are the most; an album that was handled before takes what has come since."""
    gathered, whole_at = await gather(Lanes(*[part(id_ + 2) for id_ in range(parts)]), update, 2.0)
    assert len(gathered.parts or ()) == min(parts, MOST_PARTS - 1)
    assert whole_at == 0.0


async def test_an_album_of_one_is_one():
    """The handler learns that it was sent as an album."""
    gathered, _ = await gather(Lanes(), part(1, due=NOW), 2.0)
    assert gathered.parts == ()
