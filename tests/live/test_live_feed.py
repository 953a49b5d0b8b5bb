"""What the feed of the live stream makes, and for whom: rows, merged changes, nothing unasked."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from live_source import Rows
from trio.testing import MockClock, wait_all_tasks_blocked

from trioworkers.events import Events
from trioworkers.live import feed as feeds
from trioworkers.live.feed import Client, LiveFeed
from trioworkers.live.frames import close_frame, text_frame
from trioworkers.live.merge import MOST_GONE, Board
from trioworkers.live.reader import BEHIND, EVENTS
from trioworkers.live.ring import CHANGE, Message, Ring, Wants

ALL = Wants(20)


def parse(frames: bytes) -> list[dict[str, Any]]:
    """The messages in whole frames of a server."""
    messages = []
    while frames:
        assert frames[0] == 0x81
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(frames[2:10], "big"), 10
        messages.append(json.loads(frames[start : start + size]))
        frames = frames[start + size :]
    return messages


async def take(client: Client) -> list[dict[str, Any]]:
    with trio.fail_after(60):
        return parse(await client.next())


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_have_the_length_that_the_protocol_wants(size: int) -> None:
    """RFC 6455, section 5.2: 7 bits, 16 or 64."""
    frame = text_frame(b"x" * size)
    assert len(frame) == size + (2 if size < 126 else 4 if size < 65536 else 10)
    assert frame.endswith(b"x" * size)
    assert close_frame(1001, "bye") == b"\x88\x05\x03\xe9bye"


def test_a_field_that_runs_is_no_change_while_it_runs() -> None:
    """It is one when it begins anew, or is not there any more; and clients add the time themselves."""
    board = Board(0)
    row = {"bot": "a", "uptime_ms": 1000, "messages": 1}
    assert board.difference("a", row, 10.0) == row
    board.apply("a", row, row, 1, 10.0)
    assert board.difference("a", {**row, "uptime_ms": 6100}, 15.0) is False
    changed = board.difference("a", {**row, "uptime_ms": 6100, "messages": 2}, 15.0)
    assert changed == {"messages": 2}
    board.apply("a", {**row, "uptime_ms": 6100, "messages": 2}, changed, 2, 15.0)
    assert board.rows_at(16.0)["a"] == {"bot": "a", "uptime_ms": 7000, "messages": 2}
    assert board.difference("a", {**row, "uptime_ms": 5, "messages": 2}, 16.0) == {"uptime_ms": 5}
    assert board.difference("a", {**row, "uptime_ms": None, "messages": 2}, 16.0) == {"uptime_ms": None}


def test_a_brief_update_in_flight_is_no_change_of_the_health() -> None:
    """Else every update would be one; from a second on it is."""
    board = Board(0)
    row = {"health": {"alive": True, "oldest_in_flight_ms": 0}}
    board.apply("a", row, row, 1, 0.0)
    assert board.difference("a", {"health": {"alive": True, "oldest_in_flight_ms": 999}}, 1.0) is False
    long = {"health": {"alive": True, "oldest_in_flight_ms": 1000}}
    assert board.difference("a", long, 1.0) == long
    dead = {"health": {"alive": False, "oldest_in_flight_ms": 0}}
    assert board.difference("a", dead, 1.0) == dead


def test_what_a_client_misses_is_worked_out_from_the_rows() -> None:
    """Each field that changed after its position, once, with its value now; rows that are gone."""
    board = Board(0)
    row: dict[str, Any] = {"state": "starting", "messages": 0, "errors": 0}
    for seq, name in enumerate("abc", 1):
        board.apply(name, row, row, seq, 0.0)
    board.apply("a", {**row, "messages": 5}, {"messages": 5}, 4, 1.0)
    board.apply("b", None, None, 5, 1.0)
    board.apply("a", {**row, "messages": 6, "errors": 1}, {"messages": 6, "errors": 1}, 6, 1.0)
    assert board.changed_since(3) == ["b", "a"]
    assert board.fields_since("a", 3) == {"messages": 6, "errors": 1}
    assert board.fields_since("a", 5) == {"messages": 6, "errors": 1}
    assert board.fields_since("b", 3) is None
    assert board.fields_since("c", 0) == row
    assert board.changed_since(6) == []


def test_rows_that_are_gone_are_not_remembered_for_ever() -> None:
    """Whoever knows less than is remembered begins with a snapshot."""
    board = Board(0)
    for number in range(MOST_GONE + 5):
        row = {"bot": str(number)}
        board.apply(str(number), row, row, 2 * number + 1, 0.0)
        board.apply(str(number), None, None, 2 * number + 2, 0.0)
    assert board.floor == 10
    assert len(board.changed_since(0)) == MOST_GONE


def test_the_ring_is_bounded_and_cuts_are_shared() -> None:
    """The oldest messages make room; who asks for the same gets the same bytes, not a copy."""
    ring = Ring(0, most=1000)
    for seq in range(1, 101):
        ring.put(Message(seq, CHANGE if seq % 2 else 10, "ab"[seq % 2], b"x" * 100))
    assert (ring.floor, ring.last) == (90, 100)
    assert ring.cut(95, ALL) is ring.cut(95, Wants(20))
    assert len(ring.cut(95, ALL).frames) == 200  # 97 and 99: the others are events of the level debug
    assert len(ring.cut(95, Wants(10)).frames) == 500
    assert ring.cut(95, Wants(10, frozenset("z"))).frames == b""
    assert ring.part(90, Wants(10), 250) == (92, b"x" * 200)
    assert ring.part(90, ALL, 50) == (92, b"x" * 100)


async def test_without_clients_no_row_is_built_and_no_event_heard(autojump_clock: MockClock) -> None:
    """Nor after the last client has been gone for a while."""
    rows, events = Rows("echo"), Events()
    feed = LiveFeed(events, rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        await trio.sleep(100)
        assert rows.built == {}
        assert not events.hears("worker.ready")
        with feed.client(ALL) as client:
            assert (await take(client))[0]["type"] == "snapshot"
            assert events.hears("worker.ready")
            assert not events.hears("update.done")
        await trio.sleep(feeds.LINGER + 5)
        built = dict(rows.built)
        assert not events.hears("worker.ready")
        await trio.sleep(100)
        assert rows.built == built
        feed.close()


async def test_a_row_is_built_only_when_its_bot_was_touched_and_in_the_sweep(
    autojump_clock: MockClock,
) -> None:
    """In 100 s each of the others comes ten times."""
    rows = Rows("busy", *(f"bot{number}" for number in range(40)))
    feed = LiveFeed(Events(), rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as client:
            await take(client)
            for number in range(100):
                rows.set("busy", messages=number)
                await trio.sleep(1)
        assert rows.built["busy"] >= 50
        assert max(times for bot, times in rows.built.items() if bot != "busy") <= 14
        feed.close()


async def test_what_touched_nobody_is_found_by_the_sweep(autojump_clock: MockClock) -> None:
    """A mark that is missing makes a change late, and never loses it; so with a bot that is gone."""
    rows = Rows("echo", "shop")
    feed = LiveFeed(Events(), rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as client:
            await take(client)
            rows.rows["echo"]["messages"] = 9
            del rows.rows["shop"]
            began = trio.current_time()
            found = await take(client)
            if len(found) < 2:
                found += await take(client)
            assert {message["bot"]: message["data"] for message in found} == {
                "echo": {"messages": 9},
                "shop": None,
            }
            assert trio.current_time() - began <= feeds.SWEEP + 2
        feed.close()


async def test_a_bot_that_an_event_names_is_looked_at_at_once(autojump_clock: MockClock) -> None:
    """A pause is seen as soon as it is told, not a second later."""
    rows, events = Rows("echo"), Events()
    feed = LiveFeed(events, rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as client:
            await take(client)
            rows.rows["echo"]["paused"] = True
            events.emit("bot.paused", "echo")
            began = trio.current_time()
            assert [message["type"] for message in await take(client)] == ["event"]
            assert (await take(client))[0]["data"] == {"paused": True}
            assert trio.current_time() - began <= feeds.GATHER
        feed.close()


async def test_a_client_that_falls_behind_gets_merged_changes_and_learns_how_much_it_missed(
    autojump_clock: MockClock,
) -> None:
    """Each row once, with its value now; the latest events; then it is in time again. Others miss nothing."""
    rows, events = Rows(*(f"bot{number}" for number in range(100))), Events()
    feed = LiveFeed(events, rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as slow, feed.client(ALL) as quick:
            await take(slow)
            (snapshot,) = await take(quick)
            seen = [snapshot["seq"]]
            for number in range(200):
                for bot in range(100):
                    rows.set(f"bot{bot}", messages=number, reason=f"{number:0100}")
                events.emit("daemon.summary", number=number)
                while seen[-1] < feed._ring.last:
                    seen += [message["seq"] for message in await take(quick)]
                await trio.sleep(1)
            await trio.sleep(1)  # a look that is under way gives the loop its turns, on a busy machine
            while seen[-1] < feed._ring.last:
                seen += [message["seq"] for message in await take(quick)]
            assert seen == list(range(seen[0], seen[-1] + 1))

            (lagged,) = await take(slow)
            assert lagged["type"] == "lagged"
            merged: list[dict[str, Any]] = []
            while len(merged) < 100:
                merged += await take(slow)
            assert {message["bot"]: message["data"] for message in merged} == {
                f"bot{bot}": {"messages": 199, "reason": f"{199:0100}"} for bot in range(100)
            }
            assert {message["seq"] for message in merged} == {
                snapshot["seq"]
            }  # it resumes from there, if cut off
            latest = await take(slow)
            assert [message["number"] for message in latest] == list(range(200 - EVENTS, 200))
            assert lagged["missed"] == (seen[-1] - seen[0]) - 100 - EVENTS
            rows.set("bot7", messages=1000)
            assert [message["data"] for message in await take(slow)] == [{"messages": 1000}]
        feed.close()


async def test_a_client_that_is_a_little_behind_gets_all_in_small_pieces(autojump_clock: MockClock) -> None:
    """What it is given at a time is bounded, also when nothing is left out."""
    rows = Rows(*(f"bot{number}" for number in range(50)))
    feed = LiveFeed(Events(), rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as client:
            (snapshot,) = await take(client)
            for number in range(30):
                for bot in range(50):
                    rows.set(f"bot{bot}", messages=number, reason=f"{number}" + "x" * 400)
                await trio.sleep(1)
            await wait_all_tasks_blocked()
            seqs: list[int] = []
            last = feed._ring.last
            while not seqs or seqs[-1] < last:
                frames = await client.next()
                assert len(frames) <= BEHIND
                seqs += [message["seq"] for message in parse(frames)]
            assert seqs == list(range(snapshot["seq"] + 1, last + 1))
        feed.close()


async def test_debug_events_are_made_only_for_bots_that_a_client_watches(autojump_clock: MockClock) -> None:
    """One open page of one bot must not cost as if it watched all."""
    events = Events()
    feed = LiveFeed(events, Rows("echo", "shop"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(Wants(10, frozenset({"echo"}))) as client:
            await take(client)
            first = feed._ring.last
            for bot in ("shop", "echo", "shop"):
                events.emit("update.done", bot)
            assert [message["bot"] for message in await take(client)] == ["echo"]
            assert feed._ring.last == first + 1
        assert not events.hears("update.done")
        feed.close()


async def test_a_snapshot_is_made_once_for_clients_that_come_together(autojump_clock: MockClock) -> None:
    """200 pages that reload after a restart share the bytes."""
    feed = LiveFeed(Events(), Rows("echo"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as one, feed.client(Wants(CHANGE)) as two:
            assert await one.next() is await two.next()
        feed.close()


async def test_an_event_that_json_does_not_know_is_sent_all_the_same(autojump_clock: MockClock) -> None:
    """Its fields may be some plugin's: half characters, objects, keys that are no texts."""
    events = Events()
    feed = LiveFeed(events, Rows())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.serve)
        with feed.client(ALL) as client:
            await take(client)
            events.emit("plugin.log", plugin="x", text="\ud800", thing={1j: 2, "a": object})
            (message,) = await take(client)
            assert (message["text"], message["thing"]) == ("\ud800", {"a": "<class 'object'>"})
        feed.close()
