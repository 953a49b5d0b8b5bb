"""A Bot API server that answers anything: what is no answer is told as such, and nothing is lost.

Seeded and bounded; `ROUNDS=20000 SEED=7 scripts/test tests/transport/test_answers_fuzz.py` tries more.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from strange import ROUNDS, SEED, damaged, mutated

from trioworkers.botapi.answers import read_answer
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError, UndecodableError
from trioworkers.http.response import Response
from trioworkers.transport.batch import MOST_UPDATES, read_batch, read_broken_batch

MESSAGE = {"message_id": 1, "chat": {"id": 5, "type": "private"}, "from": {"id": 5}, "text": "hi"}
UPDATES: list[Any] = [
    *({"update_id": number, "message": MESSAGE} for number in (1, 2, 2**31 - 1)),
    {"update_id": 4, "callback_query": {"id": "1", "from": {"id": 5}, "message": MESSAGE, "data": "x"}},
    {"update_id": 5, "poll_answer": {"poll_id": "9", "user": {"id": 5}, "option_ids": [1]}},
    {"update_id": 6, "chat_join_request": {"chat": {"id": -5}, "from": {"id": 5}, "user_chat_id": 5}},
    *(
        {"update_id": 7},
        {"update_id": "8"},
        {"update_id": -1, "message": {}},
        {"message": MESSAGE},
        1,
        None,
        [],
    ),
]
ANSWERS: list[Any] = [
    {"ok": True, "result": MESSAGE},
    {"ok": True, "result": True},
    {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"},
    {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}},
    {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"},
    {"ok": False, "error_code": 400, "description": "x", "parameters": {"migrate_to_chat_id": -1005}},
]
HEADS = [
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 429 Too Many Requests", b"HTTP/1.1 502 Bad Gateway", b"HTTP/1.1 401 x"),
    *(
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 101 x",
        b"HTTP/1.1 100 Continue",
        b"HTTP/2 200",
    ),
    *(b"HTTP/1.1 999 x", b"HTTP/1.1  200 OK", b"ICY 200 OK", b"HTTP/9.9 200 OK", b"HTTP/1.1 2000 OK", b""),
    b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/",
]
FIELDS = [
    *(b"Connection: close", b"Connection: keep-alive, close", b"Content-Encoding: gzip", b"Retry-After: 1"),
    *(b"Retry-After: " + b"9" * 40, b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Content-Length: 3", b"Content-Length: -1", b"Content-Length: 5, 5", b"Content-Length: " + b"9" * 30),
    *(b" folded", b"no colon", b"X : y", b": x", b"X: \xff", b"X: " + b"y" * 20_000, b"Set-Cookie: a=b"),
]


def some_updates(dice: random.Random) -> bytes:
    """The body of an answer to getUpdates."""
    count = dice.choice([0, 1, 2, 5, MOST_UPDATES, MOST_UPDATES + 3])
    updates = [mutated(dice, dice.choice(UPDATES)) for _ in range(count)]
    return damaged(dice, msgspec.json.encode({"ok": True, "result": updates}))


def some_answer(dice: random.Random) -> bytes:
    """The body of an answer to a call."""
    return damaged(dice, msgspec.json.encode(mutated(dice, dice.choice(ANSWERS))))


async def test_a_body_of_updates_is_read_or_refused() -> None:
    """However it is broken; what is confirmed was read, or refused by its id, and the offset is one."""
    dice = random.Random(SEED)
    seen: Counter[str] = Counter()
    for _ in range(10 * ROUNDS):
        body = some_updates(dice)
        try:
            try:
                answer = await read_answer("getUpdates", Response(200, {}, body, False))
                batch = read_batch(answer)
            except UndecodableError as error:
                batch = read_broken_batch(error.body)
                seen["broken"] += 1
        except (BotApiError, TransportError) as error:
            seen[type(error).__name__] += 1
            continue
        seen["read"] += 1
        known = [arrival.update_id for arrival in batch.arrivals] + batch.refused
        assert len(known) <= MOST_UPDATES
        assert all(-(2**31) <= one < 2**31 for one in known)
        offset = batch.next_offset()
        assert offset is None or (offset > 0 and offset - 1 in known)
    assert min(seen[kind] for kind in ("read", "broken", "TransportError")) > ROUNDS / 10


async def test_a_body_of_a_call_is_a_result_or_an_error() -> None:
    """Of the Bot API, or of what stands between; the description is bounded."""
    dice = random.Random(SEED)
    seen: Counter[str] = Counter()
    refusals: list[BotApiError] = []
    for _ in range(10 * ROUNDS):
        body, status = some_answer(dice), dice.choice([200, 200, 400, 403, 413, 429, 500, 502])
        try:
            result = await read_answer("sendMessage", Response(status, {b"retry-after": b"7"}, body, False))
            assert isinstance(result, msgspec.Raw)
            seen["result"] += 1
        except BotApiError as error:
            refusals.append(error)
            seen["refused"] += 1
        except TransportError:
            seen["trouble"] += 1
    assert max(len(error.description) for error in refusals) <= 2048
    assert {type(error.parameters) for error in refusals} == {dict}
    assert min(seen[kind] for kind in ("result", "refused", "trouble")) > ROUNDS / 10


class Server:
    """Answers whatever it likes to each request, on a connection that it keeps or not."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.honest = False

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            while await self._read(stream):
                data = self._answer()
                cut = self.dice.choice([len(data), len(data), 1 + len(data) // 2])
                await stream.send_all(data[:cut])
                await stream.send_all(data[cut:])
                if not self.honest and self.dice.random() < 0.5:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _read(self, stream: trio.SocketStream) -> bool:
        """Whether there is a request."""
        heard = b""
        while True:
            head, end, rest = heard.partition(b"\r\n\r\n")
            if end:
                lengths = [
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                if len(rest) >= int(lengths[0].partition(b":")[2]):
                    return True
            more = await stream.receive_some(65536)
            if not more:
                return False
            heard += more

    def _answer(self) -> bytes:
        if self.honest or self.dice.random() < 0.2:
            return b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"ok":true,"result":true}'
        dice, body = self.dice, some_answer(self.dice)
        head = dice.choice(HEADS[:1] * 10 + HEADS)
        fields = [b"Content-Length: %d" % len(body)] if dice.random() < 0.8 else []
        fields += dice.sample(FIELDS, dice.choice([0, 0, 1, 2]))
        dice.shuffle(fields)
        if b"Transfer-Encoding: chunked" in fields and dice.random() < 0.7:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        return damaged(dice, b"\r\n".join([head, *fields, b"", body]))


async def test_an_exchange_has_a_result_or_an_error(make_api: Any) -> None:
    """Heads, lengths and chunks of any kind; afterwards the same client speaks with an honest server."""
    dice = random.Random(SEED)
    server = Server(dice)
    seen: Counter[str] = Counter()
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with make_api(f"http://127.0.0.1:{port}") as api:
            for _ in range(ROUNDS):
                with trio.move_on_after(0.2) as limit:  # it may wait for bytes that do not come
                    try:
                        await api.request("getMe", {})
                        seen["result"] += 1
                    except (BotApiError, TransportError) as error:
                        seen[type(error).__name__] += 1
                        said.append(str(error))
                seen["silent"] += limit.cancelled_caught
            server.honest = True
            with trio.fail_after(20):
                assert await api.request("getMe", {}) == msgspec.Raw(b"true")
        nursery.cancel_scope.cancel()
    assert "1:token" not in str(said)
    assert min(seen[kind] for kind in ("result", "TransportError", "silent")) > 0


@pytest.fixture
def make_api() -> Any:
    return lambda base: BotApi(base, "1:token")
