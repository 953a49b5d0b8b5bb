"""The endpoint on real sockets: a program on one side, a Bot API server that is played on the other."""

from __future__ import annotations

import hashlib
import json
import os
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trioworkers.botapi.messages import Message
from trioworkers.botapi.meter import CallMeter
from trioworkers.botapi.server import Server
from trioworkers.gateway import endpoint, relay
from trioworkers.gateway.account import NotDroppedError
from trioworkers.gateway.endpoint import MOST_BODY, Endpoint
from trioworkers.gateway.local_bot import LocalBot
from trioworkers.gateway.local_context import LocalContext
from trioworkers.gateway.update_ids import UpdateIds
from trioworkers.gateway.upstream import Upstream
from trioworkers.http import patience
from trioworkers.http.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trioworkers.gateway.handling import Handling
    from trioworkers.protocol.frames import Outcome

LOCAL, REAL = "7:local-secret-of-this-process", "7:real-secret-of-the-bot"
TIME = 60.0  # seconds, for everything that a test waits for
LARGE_HEAD = f"POST /bot{LOCAL}/getUpdates HTTP/1.1\r\nContent-Length: {MOST_BODY + 1}\r\n\r\n"
PLENTY = 64 << 20  # bytes, more than all buffers of the system between both sides


@dataclass
class Item:
    """An update as the executor has it."""

    body: bytes
    handling: Handling | None = None
    began_at: float | None = None

    def begin(self) -> None:
        assert self.began_at is None, "it is begun once"
        self.began_at = trio.current_time()


@dataclass
class Hands:
    """An executor that is played: it gives what waits, and notes what is confirmed."""

    bot: LocalBot
    waiting: list[Item] = field(default_factory=list)
    given: list[Item] = field(default_factory=list)
    confirmed: list[bytes] = field(default_factory=list)
    ended: list[tuple[bytes, Outcome]] = field(default_factory=list)

    def confirm(self, items: Any) -> None:
        self.confirmed += [item.body for item in items]

    def end(self, item: Any, outcome: Outcome) -> None:
        self.ended.append((item.body, outcome))
        self.refill()

    def refill(self) -> None:
        while self.waiting and self.bot.room() > 0:
            self.given.append(self.waiting.pop(0))
            self.bot.give(self.given[-1])

    def add(self, *numbers: int) -> None:
        self.waiting += [Item(b'{"update_id":%d,"n":%d}' % (number, number)) for number in numbers]
        self.refill()


@dataclass
class Scene:
    """An endpoint with one program, and the server behind it.

    Attributes:
        answer: what the server does with each connection.
        told: events; faults: what broke.
    """

    port: int = 0
    bot: Any = None
    hands: Any = None
    answer: Any = None
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    meter: CallMeter = field(default_factory=CallMeter)
    programs: list[Program] = field(default_factory=list)
    connections: int = 0
    acknowledge: str = "poll"
    most: int = 16
    turns: Any = None
    may_drop: bool = False
    kept: list[int] = field(default_factory=list)
    breaks_drop: bool = False
    handler_timeout: float = 20.0

    async def drop(self, keep: int) -> int:
        if self.breaks_drop:
            raise NotDroppedError
        self.kept.append(keep)
        dropped = self.hands.waiting[: len(self.hands.waiting) - keep]
        del self.hands.waiting[: len(dropped)]
        return len(dropped)

    async def connect(self) -> Program:
        self.programs.append(Program(await trio.open_tcp_stream("127.0.0.1", self.port)))
        return self.programs[-1]

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            await self.answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await stream.aclose()


@asynccontextmanager
async def scene_of(
    folder: Any, answer: Callable[[trio.SocketStream], Awaitable[None]] | None = None, **more: Any
) -> AsyncIterator[Scene]:
    scene = Scene(answer=answer or say_ok, **more)
    with trio.fail_after(TIME):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, scene.serve, listeners)
            listening = Endpoint(scene.faults.append)
            server = Server(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
            upstream = Upstream(server, REAL, listening.patience)
            context = LocalContext(
                ids=UpdateIds(folder / "ids.json").of(7),
                upstream=upstream,
                acknowledge=lambda: scene.acknowledge,
                most=lambda: scene.most,
                handler_timeout=lambda: scene.handler_timeout,
                emit=lambda event, **fields: scene.told.append((event, fields)),
                fault=scene.faults.append,
                pending=lambda: 5,
                drop=scene.drop,
                may_drop=lambda: scene.may_drop,
                meter=scene.meter,
                turns=scene.turns,
            )
            scene.bot = LocalBot(context)
            scene.hands = Hands(scene.bot)
            scene.bot.serve_with(scene.hands)
            nursery.start_soon(scene.bot.serve)
            scene.port = int(listening.address.rpartition(":")[2])
            nursery.start_soon(listening.serve)
            try:
                with listening.known(LOCAL, scene.bot):
                    yield scene
            finally:
                upstream.close()
                for program in scene.programs:
                    program.stream.socket.close()
                nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Return when this is so; the scene has a time limit."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await trio.sleep(0.01)


class Program:
    """A client on a socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.kept = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, method: str, body: bytes = b"", *, verb: str = "POST", head: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        kind = "" if "Content-Type" in head else "Content-Type: application/json\r\n"
        first = f"{verb} /bot{LOCAL}/{method} HTTP/1.1\r\nHost: x\r\n{kind}"
        await self.send(f"{first}{length}{head}\r\n".encode() + body)

    async def more(self) -> bool:
        data = await self.stream.receive_some()
        self.kept += data
        return bool(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.kept:
            assert await self.more(), self.kept
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), {
            key.lower(): value for key, value in (line.split(": ", 1) for line in lines)
        }

    async def answer(self) -> tuple[int, bytes]:
        status, fields = await self.head()
        body = b""
        if "chunked" in fields.get("transfer-encoding", ""):
            while True:
                while b"\r\n" not in self.kept:
                    assert await self.more()
                size, _, self.kept = self.kept.partition(b"\r\n")
                while len(self.kept) < int(size, 16) + 2:
                    assert await self.more()
                body += self.kept[: int(size, 16)]
                self.kept = self.kept[int(size, 16) + 2 :]
                if int(size, 16) == 0:
                    return status, body
        while len(self.kept) < int(fields.get("content-length", "0")):
            assert await self.more()
        length = int(fields.get("content-length", "0"))
        body, self.kept = self.kept[:length], self.kept[length:]
        return status, body

    async def call(self, method: str, body: bytes = b"", **more: Any) -> tuple[int, Any]:
        await self.ask(method, body, **more)
        status, found = await self.answer()
        return status, json.loads(found)

    async def ends(self) -> bool:
        try:
            while await self.more():
                pass
        except trio.BrokenResourceError:
            pass
        return True


async def read_request(stream: trio.SocketStream, kept: bytes = b"") -> tuple[bytes, bytes]:
    """The head of one request, and what came behind it; both empty at the end."""
    while b"\r\n\r\n" not in kept:
        data = await stream.receive_some()
        if not data:
            return b"", b""
        kept += data
    head, _, rest = kept.partition(b"\r\n\r\n")
    return head, rest


def length_of(head: bytes) -> int:
    """The length of a request's body."""
    found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(found[0].partition(b":")[2]) if found else 0


async def say_ok(stream: trio.SocketStream) -> None:
    """Answer each request with what was asked."""
    while True:
        head, body = await read_request(stream)
        if not head:
            return
        lines = head.split(b"\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += await stream.receive_some()
        said = json.dumps(
            {"ok": True, "result": {"head": head.decode("latin-1"), "body": body.decode("latin-1")}}
        ).encode()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Own: 1\r\nContent-Length: %d\r\n\r\n%s"
            % (len(said), said)
        )


async def test_a_call_is_passed_on_as_it_is(tmp_path):
    """With the real token in its target, and nothing else changed; the connection is used again."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        for _ in range(3):
            await program.ask(
                "sendMessage?a=%20%2F", b'{"text": "\\u00e9"}', head="X-Mine: y\r\nAccept-Encoding: br\r\n"
            )
            status, fields = await program.head()
            assert (status, fields["x-own"]) == (200, "1")
            length = int(fields["content-length"])
            while len(program.kept) < length:
                await program.more()
            found, program.kept = json.loads(program.kept[:length]), program.kept[length:]
            first, *lines = found["result"]["head"].split("\r\n")
            assert first == f"POST /bot{REAL}/sendMessage?a=%20%2F HTTP/1.1"
            assert {"x-mine: y", "accept-encoding: br", "content-length: 18"} <= set(lines)
            assert LOCAL not in found["result"]["head"]
            assert found["result"]["body"] == '{"text": "\\u00e9"}'
        assert scene.connections == 1
        assert scene.meter.requests == {("sendMessage", "ok"): 3}


async def test_requests_that_are_sent_ahead_are_answered_in_order(tmp_path):
    """Those that are passed on, and those that are answered here."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        for method in ("getMe", "getUpdates", "sendMessage", "getWebhookInfo"):
            await program.ask(method, b"{}")
        answers = [json.loads((await program.answer())[1])["result"] for _ in range(4)]
        assert REAL in answers[0]["head"]
        assert answers[1] == []
        assert "sendMessage" in answers[2]["head"]
        assert answers[3] == {"url": "", "has_custom_certificate": False, "pending_update_count": 5}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /bot7:wrong/getMe HTTP/1.1\r\n\r\n", 401),
        ("GET /bot8:x/getMe HTTP/1.1\r\n\r\n", 401),
        ("GET / HTTP/1.1\r\n\r\n", 404),
        ("GET /health HTTP/1.1\r\n\r\n", 404),
        (f"DELETE /bot{LOCAL}/getMe HTTP/1.1\r\n\r\n", 405),
        (f"HEAD /bot{LOCAL}/getMe HTTP/1.1\r\n\r\n", 405),
        ("rubbish\r\n\r\n", 400),
        (f"GET /bot{LOCAL}/getMe HTTP/1.1\r\nX: {'y' * 20000}\r\n\r\n", 400),
        (f"{LARGE_HEAD}{'y' * (MOST_BODY + 1)}", 413),
    ],
    ids=["token", "bot", "root", "path", "delete", "head", "rubbish", "field", "body"],
)
async def test_what_is_nobodys_is_refused_and_its_connection_ends(tmp_path, request_, status):
    """Without a word of a token."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        await program.send(request_.encode())
        found, body = await program.answer()
        assert found == status
        assert await program.ends()
        assert "secret" not in (body + program.kept).decode()
        assert scene.connections == 0
        assert not scene.faults


async def test_a_poll_waits_and_is_given_what_comes(tmp_path):
    """Under ids of ours; what is not confirmed is given again, what is confirmed is gone."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        assert not scene.bot.polled.is_set()
        await program.ask("getUpdates", b'{"timeout": 20}')
        await scene.bot.polled.wait()
        await until(lambda: scene.bot.waits)
        scene.hands.add(70, 71)
        status, body = await program.answer()
        assert (status, json.loads(body)["result"]) == (
            200,
            [{"update_id": 1, "n": 70}, {"update_id": 2, "n": 71}],
        )
        _, again = await program.call("getUpdates", b'{"timeout": 20, "offset": 2}')
        assert again["result"] == [{"update_id": 2, "n": 71}]
        assert scene.hands.confirmed == [b'{"update_id":70,"n":70}']
        scene.hands.add(72)
        _, last = await program.call("getUpdates?offset=3&timeout=20", verb="GET")
        assert last["result"] == [{"update_id": 3, "n": 72}]
        assert not scene.faults


async def test_an_older_poll_is_answered_with_nothing(tmp_path):
    """Never with a conflict, at which libraries end."""
    async with scene_of(tmp_path) as scene:
        first, second = await scene.connect(), await scene.connect()
        await first.ask("getUpdates", b'{"timeout": 20}')
        await until(lambda: scene.bot.waits)
        await second.ask("getUpdates", b'{"timeout": 20}')
        assert json.loads((await first.answer())[1]) == {"ok": True, "result": []}
        scene.hands.add(1)
        assert len(json.loads((await second.answer())[1])["result"]) == 1


async def test_a_program_that_is_gone_is_given_nothing(tmp_path):
    """What was given in the same moment is in hand, and given to the next poll."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        await program.ask("getUpdates", b'{"timeout": 20}')
        await until(lambda: scene.bot.waits)
        await program.stream.aclose()
        await until(lambda: not scene.bot.waits)
        scene.hands.add(1)
        assert scene.bot.in_hand == 0
        program = await scene.connect()
        assert len((await program.call("getUpdates", b'{"timeout": 20}'))[1]["result"]) == 1


async def test_polls_are_let_go_before_a_stop(tmp_path):
    """The one that waits at once, later ones soon, so that none spins and none waits for long."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        await program.ask("getUpdates", b'{"timeout": 50}')
        await until(lambda: scene.bot.waits)
        scene.bot.let_go()
        assert json.loads((await program.answer())[1])["result"] == []
        scene.hands.add(1)
        began = trio.current_time()
        assert (await program.call("getUpdates", b'{"timeout": 50}'))[1]["result"] == []
        assert trio.current_time() - began < 20
        assert scene.bot.in_hand == 0
        scene.bot.close()
        assert (await program.call("getUpdates", b'{"timeout": 50}'))[0] == 503


async def test_what_would_lose_updates_is_withheld(tmp_path):
    """It is answered as if it had been done, and told."""
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        for method, body in (
            ("close", b""),
            ("logOut", b""),
            ("deleteWebhook", b'{"drop_pending_updates": true}'),
            ("setWebhook", b'{"url": ""}'),
        ):
            assert await program.call(method, body) == (200, {"ok": True, "result": True})
        assert (await program.call("getUpdates", b'{"offset": -1}'))[1]["result"] == []
        status, refused = await program.call("setWebhook", b'{"url": "https://example.org"}')
        assert status == 400
        assert refused["error_code"] == 400
        assert [fields["method"] for _, fields in scene.told] == [
            "close",
            "logout",
            "deletewebhook",
            "getUpdates",
            "setWebhook",
        ]
        assert scene.connections == 0


async def test_what_waits_is_dropped_where_a_program_may(tmp_path):
    """All of it, or all but the last; what it has in hand stays. A failure is answered as one."""
    async with scene_of(tmp_path, may_drop=True) as scene:
        program = await scene.connect()
        await program.ask("getUpdates", b'{"timeout": 20}')
        await until(lambda: scene.bot.waits)
        scene.hands.add(1)
        assert len(json.loads((await program.answer())[1])["result"]) == 1
        scene.hands.add(2, 3)
        assert await program.call("deleteWebhook?drop_pending_updates=True", verb="GET") == (
            200,
            {"ok": True, "result": True},
        )
        assert (scene.hands.waiting, scene.bot.in_hand) == ([], 1)
        scene.hands.add(4, 5, 6)
        _, found = await program.call("getUpdates", b'{"offset": -2, "timeout": 20}')
        assert [one["n"] for one in found["result"]] == [5, 6]
        assert scene.kept == [0, 2]
        assert scene.told == [
            ("gateway.dropped", {"method": "deletewebhook", "count": 2}),
            ("gateway.dropped", {"method": "getUpdates", "count": 1}),
        ]
        scene.breaks_drop = True
        for method, body in (
            ("setWebhook", b'{"url": "", "drop_pending_updates": true}'),
            ("getUpdates", b'{"offset": -1}'),
        ):
            status, refused = await program.call(method, body)
            assert (status, refused["error_code"]) == (502, 502)
        assert not scene.faults


async def test_a_fault_of_the_bot_is_that_bots(tmp_path):
    """Its poll is answered 503, its run hears of it, and the endpoint goes on."""
    async with scene_of(tmp_path) as scene:

        def broken() -> None:
            raise RuntimeError("broken")

        scene.hands.refill = broken
        program = await scene.connect()
        assert (await program.call("getUpdates", b"{}"))[0] == 503
        assert [str(error) for error in scene.faults] == ["broken"]
        assert (await program.call("getMe"))[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_is_held_back_by_the_server(tmp_path, chunked):
    """No more of it is read than the server takes, and all of it arrives."""
    gate, arrived = trio.Event(), hashlib.sha256()
    total = 0

    async def take_slowly(stream: trio.SocketStream) -> None:
        nonlocal total
        head, rest = await read_request(stream)
        assert (b"chunked" in head) == chunked
        await gate.wait()
        parser = Chunks() if chunked else None
        while True:
            data = parser.feed(rest) if parser else rest
            arrived.update(data)
            total += len(data)
            if total >= PLENTY:
                break
            rest = await stream.receive_some()
        await stream.send_all(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}')

    async with scene_of(tmp_path, take_slowly) as scene:
        program = await scene.connect()
        kind = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {PLENTY}"
        await program.send(f"POST /bot{LOCAL}/sendDocument HTTP/1.1\r\n{kind}\r\n\r\n".encode())
        block, sent, wanted = os.urandom(1 << 16), 0, hashlib.sha256()
        framed = b"%x\r\n%s\r\n" % (len(block), block) if chunked else block

        async def upload() -> None:
            nonlocal sent
            while sent < PLENTY:
                await program.send(framed)
                wanted.update(block)
                sent += len(block)
            if chunked:
                await program.send(b"0\r\n\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            before = -1
            while before != sent:  # until it stands still
                before = sent
                await trio.sleep(0.3)
            assert sent < PLENTY
            gate.set()
        assert (await program.answer())[0] == 200
        assert arrived.digest() == wanted.digest()
        assert not scene.faults


class Chunks:
    """Takes chunks of one size apart."""

    def __init__(self) -> None:
        self.kept = b""

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        out = b""
        while True:
            size, found, rest = self.kept.partition(b"\r\n")
            length = int(size or b"0", 16) if found else -1
            if not found or len(rest) < length + 2:
                return out
            out += rest[:length]
            self.kept = rest[length + 2 :]
            if length == 0:
                return out


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
async def test_a_download_is_held_back_by_the_program(tmp_path, framing):
    """No more of it is read than the program takes, and all of it arrives, however its end is told."""
    block, sent = os.urandom(1 << 16), 0

    async def send_much(stream: trio.SocketStream) -> None:
        nonlocal sent
        head, _ = await read_request(stream)
        assert head.startswith(f"GET /file/bot{REAL}/a/b.jpg ".encode())
        kind = {
            "length": b"Content-Length: %d" % PLENTY,
            "chunks": b"Transfer-Encoding: chunked",
            "end": b"X: y",
        }
        await stream.send_all(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % kind[framing])
        while sent < PLENTY:
            await stream.send_all(b"%x\r\n%s\r\n" % (len(block), block) if framing == "chunks" else block)
            sent += len(block)
        if framing == "chunks":
            await stream.send_all(b"0\r\n\r\n")

    async with scene_of(tmp_path, send_much) as scene:
        program = await scene.connect()
        await program.send(f"GET /file/bot{LOCAL}/a/b.jpg HTTP/1.1\r\n\r\n".encode())
        before = -1
        while before != sent or not sent:
            before = sent
            await trio.sleep(0.3)
        assert sent < PLENTY
        status, fields = await program.head()
        assert status == 200
        parser = Chunks() if "chunked" in fields.get("transfer-encoding", "") else None
        assert (parser is None) == (framing == "length")
        got, total = hashlib.sha256(), 0
        data = program.kept
        while True:
            part = parser.feed(data) if parser else data
            got.update(part)
            total += len(part)
            if total >= PLENTY:
                break
            data = await program.stream.receive_some(1 << 20)
        wanted = hashlib.sha256()
        for _ in range(PLENTY // len(block)):
            wanted.update(block)
        assert got.digest() == wanted.digest()
        assert not scene.faults


async def test_an_upload_that_is_refused_before_its_end_is_answered(tmp_path):
    """The rest of it is not the next request: the connection ends."""

    async def refuse(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        while await stream.receive_some():
            pass

    async with scene_of(tmp_path, refuse) as scene:
        program = await scene.connect()
        await program.send(f"POST /bot{LOCAL}/x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nabc".encode())
        assert (await program.answer())[0] == 413
        assert await program.ends()


async def test_a_program_that_waits_for_a_go_ahead_has_it(tmp_path):
    """Expect: 100-continue is answered here, for local methods, too."""
    async with scene_of(tmp_path) as scene:
        for method in ("sendMessage", "getUpdates"):
            program = await scene.connect()
            wait = "Content-Length: 2\r\nExpect: 100-continue"
            await program.send(f"POST /bot{LOCAL}/{method} HTTP/1.1\r\n{wait}\r\n\r\n".encode())
            assert (await program.head())[0] == 100
            await program.send(b"{}")
            assert (await program.answer())[0] == 200


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n"])
async def test_a_server_that_breaks_off_is_a_bad_gateway(tmp_path, words):
    """The program hears 502, which libraries take for a trouble that passes."""

    async def break_off(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(words)

    async with scene_of(tmp_path, break_off) as scene:
        program = await scene.connect()
        status, body = await program.call("getMe")
        assert (status, body["ok"], body["error_code"]) == (502, False, 502)
        assert "secret" not in json.dumps(body)
        assert scene.meter.requests == {("getMe", "failed"): 1}


async def test_an_answer_that_breaks_off_ends_the_connection(tmp_path):
    """Half an answer must not look like a whole one."""

    async def half(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")

    async with scene_of(tmp_path, half) as scene:
        program = await scene.connect()
        await program.ask("getMe")
        assert (await program.head())[0] == 200
        assert await program.ends()
        assert program.kept == b"abc"


async def test_a_server_that_is_silent_is_not_waited_for_without_end(tmp_path, monkeypatch):
    """The program is told that it was silent; its next call has another connection."""
    monkeypatch.setattr(relay, "SILENCE", 0.05)
    monkeypatch.setattr(patience, "LOOKS", 0.02)
    said = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal said
        said += 1
        if said == 1:
            await trio.sleep_forever()
        await say_ok(stream)

    async with scene_of(tmp_path, answer) as scene:
        program = await scene.connect()
        status, body = await program.call("getMe")
        assert status == 502
        assert "silent" in body["description"]
        assert await program.ends()
        assert (await (await scene.connect()).call("getMe"))[0] == 200


async def test_a_head_that_does_not_end_ends_its_connection(tmp_path, monkeypatch):
    """Also on a connection that has served a request, which may be idle for longer."""
    monkeypatch.setattr(endpoint, "HEAD", 0.05)
    monkeypatch.setattr(patience, "LOOKS", 0.02)
    async with scene_of(tmp_path) as scene:
        program = await scene.connect()
        assert (await program.call("getMe"))[0] == 200
        await program.send(b"POST /bot")
        assert await program.ends()
        assert not scene.faults


async def test_a_server_that_cannot_be_reached_is_a_bad_gateway(tmp_path):
    """The place is named, the token is not."""
    async with scene_of(tmp_path) as scene:
        object.__setattr__(
            scene.bot.context, "upstream", Upstream(Server("http://127.0.0.1:9"), REAL, Patience())
        )
        program = await scene.connect()
        status, body = await program.call("getMe")
        assert status == 502
        assert "127.0.0.1:9" in body["description"]
        assert "secret" not in body["description"]


@dataclass
class Turns:
    """Where messages wait for their turn, noted."""

    is_on: bool = True
    taken: list[Message] = field(default_factory=list)
    held: list[float] = field(default_factory=list)

    async def take(self, message: Message, caller: Any) -> object:
        self.taken.append(message)
        await trio.lowlevel.checkpoint()
        return message

    def over(self, turn: object, hold: float = 0.0) -> None:
        self.held.append(hold)


async def test_messages_take_their_turn_in_their_chat(tmp_path):
    """However they are sent; what is no message takes none, and a 429 holds the chat."""

    async def answer(stream: trio.SocketStream) -> None:
        kept = b""
        while True:
            head, kept = await read_request(stream, kept)
            if not head:
                return
            length = length_of(head)
            while len(kept) < length:
                kept += await stream.receive_some()
            kept = kept[length:]
            if b"slow" in head:
                await stream.send_all(b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}")
            else:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    turns = Turns()
    form = (
        b'--X\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n5\r\n'
        b'--X\r\nContent-Disposition: form-data; name="media"\r\n\r\n[{},{}]\r\n--X--\r\n'
    )
    async with scene_of(tmp_path, answer, turns=turns) as scene:
        program = await scene.connect()
        await program.call("sendMessage", b'{"chat_id": 5}', head="Content-Type: application/json\r\n")
        await program.call("sendMessage?chat_id=@Name", verb="GET")
        await program.call("sendMediaGroup", form, head="Content-Type: multipart/form-data; boundary=X\r\n")
        await program.call("getMe")
        await program.call("sendChatAction?chat_id=5", verb="GET")
        await program.call("sendMessage?chat_id=5&slow=1", verb="GET")
        assert turns.taken == [
            Message("5", 1, False),
            Message("@name", 1, False),
            Message("5", 2, False),
            Message("5", 1, False),
        ]
        assert turns.held == [0.0, 0.0, 0.0, 3.0]


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_that_a_program_sends_breaks_the_endpoint(tmp_path, seed):
    """Requests that are cut, doubled, bent and mixed with bytes; then a good one is answered as ever."""
    rng = random.Random(seed)
    good = [
        f"GET /bot{LOCAL}/getMe HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        f'POST /bot{LOCAL}/getUpdates HTTP/1.1\r\nContent-Length: 12\r\n\r\n{{"offset":1}}'.encode(),
        f"POST /bot{LOCAL}/sendMessage HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"2\r\n{}\r\n0\r\n\r\n",
        b"GET /bot7:no/x HTTP/1.0\r\n\r\n",
        f"POST /bot{LOCAL}/trioworkersProbe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b'11\r\n{"id":1}\n{"id":2}\n\r\n6\r\n{"id":\r\n0\r\n\r\n',
        f"GET /bot{LOCAL}/getUpdates HTTP/1.1\r\nX-Trioworkers-Probe: a/1; at-once=2\r\n\r\n".encode(),
        f"GET /bot{LOCAL}/sendMessage?a=1 HTTP/1.1\r\nX-Trioworkers-Update: 1\r\n\r\n".encode(),
    ]

    def bent() -> bytes:
        data = bytearray(b"".join(rng.choices(good, k=rng.randint(1, 4))))
        for _ in range(rng.randint(0, 6)):
            at = rng.randrange(len(data))
            what = rng.randrange(4)
            if what == 0:
                data[at] = rng.randrange(256)
            elif what == 1:
                del data[at : at + rng.randint(1, 10)]
            elif what == 2:
                data[at:at] = rng.randbytes(rng.randint(1, 10))
            else:
                data[at:at] = data[at : at + 20]
            data = data or bytearray(b"x")
        return bytes(data)

    async with scene_of(tmp_path, acknowledge=rng.choice(("auto", "poll"))) as scene:
        scene.hands.add(1, 2, 3)

        async def one() -> None:
            program = await scene.connect()
            try:
                data = bent()
                for at in range(0, len(data), size := rng.randint(1, 200)):
                    await program.send(data[at : at + size])
                if rng.random() < 0.5:
                    await program.stream.send_eof()
                with trio.move_on_after(0.05):
                    await program.ends()
            except trio.BrokenResourceError:
                pass
            finally:
                await program.stream.aclose()
            assert LOCAL.encode()[2:] not in program.kept or REAL.encode() not in program.kept

        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(one)
        program = await scene.connect()
        assert (await program.call("getMe"))[0] == 200
        assert not scene.faults
        await program.stream.aclose()
        await until(lambda: not scene.bot.connections)
