"""Clients of the live stream that send anything: their connections end, and others miss nothing.

Seeded and bounded; `ROUNDS=20000 SEED=7 scripts/test tests/live/test_live_fuzz.py` tries more.
"""

from __future__ import annotations

import gc
import logging
import random
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from live_source import BEARER, Rows, Served, serving, upgrade
from strange import ROUNDS, SEED, damaged

if TYPE_CHECKING:
    import pytest
    from live_source import Stream

AT_ONCE = 25
OBJECTS = 3000  # that a second half as long as the first may leave behind
QUERIES = [
    *("", "", "", "?since=0", "?since=5", "?since=9223372036854775807", "?since=9223372036854775808"),
    *(
        "?since=-1",
        "?since=x",
        "?since=" + "9" * 5000,
        "?since=1&since=2",
        "?since=%31",
        "?since=+1",
        "?since",
    ),
    *(
        "?events=debug",
        "?events=none",
        "?events=loud",
        "?events=",
        "?bots=a",
        "?bots=",
        "?bots=%ff",
        "?bots=,,a,",
    ),
    *(
        "?bots=" + "x" * 9_999,
        "?bots=" + "x," * 6_000,
        "?more=1",
        "?",
        "?&&=&",
        "?events=debug&bots=bot1&since=3",
    ),
]
FIELDS = [
    *((b"Origin", b"null"), (b"Origin", b"http://localhost"), (b"Sec-WebSocket-Protocol", b"a, b")),
    *(
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
        (b"Connection", b"close"),
    ),
    *(
        (b"Sec-WebSocket-Version", b"12"),
        (b"Sec-WebSocket-Key", b"x"),
        (b"Content-Length", b"9"),
        (b"X", b"\xff"),
    ),
    *((b"Authorization", b"Bearer wrong"), (b"Cookie", b"trioworkers_session=x"), (b"Upgrade", b"h2c")),
]
PAYLOADS = [
    *(b"", b"x", b"hello", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 125, b"x" * 126, b"x" * 70_000, b"\0" * 9),
    *((code).to_bytes(2, "big") + b"bye" for code in (0, 999, 1000, 1005, 1006, 1015, 2999, 4999, 65535)),
]


def frame(dice: random.Random) -> bytes:
    """A frame of a client (RFC 6455, section 5.2), mostly one that is not allowed."""
    opcode = dice.choice([0, 1, 1, 2, 8, 8, 9, 9, 10, 3, 7, 11, 15])
    first = opcode | (0x80 if dice.random() < 0.8 else 0) | dice.choice([0, 0, 0, 0, 0x40, 0x20, 0x10])
    payload = dice.choice(PAYLOADS)
    size = len(payload) if dice.random() < 0.9 else dice.choice([0, 1, 2**16, 2**31, 2**62, 2**64 - 1])
    masked = dice.random() < 0.85
    if size < 126:
        length = size.to_bytes(1, "big")
    elif size < 2**16 and dice.random() < 0.9:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if not masked:
        return bytes([first]) + length + payload
    mask = dice.randbytes(4)
    masks = (mask * (len(payload) // 4 + 1))[: len(payload)]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(masks, "big")).to_bytes(len(payload), "big")
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + body


def some_head(dice: random.Random) -> bytes:
    """A handshake, mostly one that is nearly right."""
    query = dice.choice(["", dice.choice(QUERIES)])
    head = upgrade(f"/api/live{query}", *BEARER, *dice.sample(FIELDS, dice.choice([0, 0, 0, 1, 3])))
    if dice.random() < 0.1:
        head = head.replace(b"Bearer right", dice.choice([b"Bearer", b"Bearer wrong", b"Basic cmlnaHQ="]))
    return damaged(dice, head) if dice.random() < 0.1 else head


def some_frames(dice: random.Random) -> bytes:
    """What comes after a handshake."""
    frames = b"".join(frame(dice) for _ in range(dice.choice([0, 1, 1, 2, 9, 60])))
    return damaged(dice, frames) if dice.random() < 0.2 else frames


class Crowd:
    """Strangers of one server, and what they were answered."""

    def __init__(self, served: Served, dice: random.Random) -> None:
        self.served = served
        self.dice = dice
        self.statuses: Counter[bytes] = Counter()

    async def stranger(self, dice: random.Random) -> None:
        """One client, which sends its frames at once or after the answer, and leaves in one of many ways."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.served.port)
        heard = b""
        try:
            with trio.move_on_after(0.5), suppress(trio.BrokenResourceError):
                await stream.send_all(some_head(dice))
                if dice.random() < 0.8:
                    heard = await stream.receive_some()
                data = some_frames(dice)
                size = dice.choice([max(1, len(data)), 100, 1 + len(data) // 3])
                for at in range(0, min(len(data), 60 * size), size):
                    await stream.send_all(data[at : at + size])
                if dice.random() < 0.5:
                    await stream.send_eof()
                with trio.move_on_after(0.1 * dice.random()):
                    while dice.random() < 0.95 and (more := await stream.receive_some()):
                        heard = heard or more
        finally:
            await trio.aclose_forcefully(stream)
        self.statuses[b"".join(re.findall(rb"^HTTP/1\.1 (\d{3})", heard))] += 1

    async def rush(self, rounds: int) -> None:
        """Let so many come, some at a time."""
        for _ in range(max(1, rounds // AT_ONCE)):
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for _ in range(AT_ONCE):
                        nursery.start_soon(self.stranger, random.Random(self.dice.random()))
        with trio.fail_after(60):
            while self.served.feed.clients > 1 or self.served.connections.open > 1:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_clients_that_send_anything_cost_nobody_else_anything(caplog: pytest.LogCaptureFixture) -> None:
    """No 5xx, no error in the log, no client or object that stays, no change that another client misses."""
    caplog.set_level(logging.WARNING)
    rows = Rows(*(f"bot{number}" for number in range(5)))
    async with serving(rows) as served, served.client("?events=none") as honest:
        crowd = Crowd(served, random.Random(SEED))
        await honest.get()
        lived = 0
        for half in (1, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change_and_see, rows, honest, nursery.cancel_scope)
                await crowd.rush(ROUNDS // 2)
                nursery.cancel_scope.cancel()
            rows.set("bot0", messages=-half)
            await honest.find(type="change", bot="bot0", data={"messages": -half})
            gc.collect()
            now = len(gc.get_objects())
            assert half == 1 or now - lived < OBJECTS
            lived = now
        assert served.connections.broken == 0
    assert not any(status.startswith(b"5") for status in crowd.statuses), crowd.statuses
    assert min(crowd.statuses[status] for status in (b"101", b"400", b"401")) > 0, crowd.statuses
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text


async def change_and_see(rows: Rows, honest: Stream, over: trio.CancelScope) -> None:
    """Change a row all the time; the honest client sees each change after the other."""
    number = 0
    while not over.cancel_called:
        number += 1
        with trio.CancelScope(shield=True):
            rows.set("bot1", messages=number)
            await honest.find(type="change", bot="bot1", data={"messages": number})
        await trio.sleep(0.005)
