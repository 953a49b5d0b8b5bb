"""Programs and webhooks send anything: nothing breaks, grows or tells a token, and others are served.

Seeded and bounded; `REQUESTS=100000 SEED=7 scripts/test tests/gateway/test_endpoint_fuzz.py` tries more.
"""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import test_endpoint  # type: ignore[import-not-found] # it lies beside
import trio
from test_endpoint import (
    LOCAL,
    REAL,
    Scene,
    length_of,
    read_request,
    scene_of,
    until,
)
from test_webhook_push import hook, site_of  # type: ignore[import-not-found] # it lies beside

from trioworkers.gateway.endpoint import MOST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS = int(os.environ.get("REQUESTS", "1500"))
SEED = int(os.environ.get("SEED", "17"))
AT_ONCE = 25
PATIENCE = 0.05  # seconds that a stranger waits for an answer
GROWTH = 24 << 20  # bytes of this process, and below:
OBJECTS = 3000  # that a second half as long as the first may leave behind
SECRETS = [token.partition(":")[2].encode() for token in (LOCAL, REAL)]

METHODS = [
    b"GET",
    b"POST",
    b"POST",
    b"POST",
    b"PUT",
    b"HEAD",
    b"CONNECT",
    b"OPTIONS",
    b"G\xc3T",
    b"get",
    b"PRI",
    b"",
]
CALLS = [
    *(
        b"getMe",
        b"sendMessage",
        b"getUpdates",
        b"getupdates",
        b"setWebhook",
        b"deleteWebhook",
        b"getWebhookInfo",
    ),
    *(
        b"close",
        b"logOut",
        b"sendDocument",
        b"trioworkersProbe",
        b"",
        b"x" * 300,
        b"a/b",
        b"%2e%2e",
        b"get\xff",
    ),
]
TOKENS = [
    *(LOCAL.encode(),) * 12,
    *(b"7:wrong", b"8:x", b"7:", b"", b":", b"7%3Alocal-secret-of-this-process", b"7:\xff", b"9" * 3000),
]
FIELDS = [
    *(
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
    ),
    *(
        b"Content-Length: 5, 5",
        b"Content-Length:",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
    ),
    *(
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"Connection: close",
        b"Connection: upgrade",
    ),
    *(
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"Expect: 200-maybe",
        b"Host: a",
        b"Host: b",
        b"X: " + b"y" * 9000,
    ),
    *(
        b"X:\x00",
        b"X",
        b": y",
        b" folded",
        b"X-Trioworkers-Update: 1",
        b"X-Trioworkers-Update: " + b"9" * 400,
    ),
    *(
        b"X-Trioworkers-Probe: aiogram/3.31.0; at-once=1",
        b"X-Trioworkers-Probe: \xff/;;;",
        b"TE: trailers",
        b"A:\tb",
    ),
    *(
        b"Content-Type: application/json",
        b"Content-Type: multipart/form-data; boundary=b",
        b"Content-Type: \xff",
    ),
]
VALUES: list[Any] = [
    *(
        0,
        1,
        -1,
        2**63,
        -(2**63),
        1e308,
        True,
        None,
        "",
        "x",
        "-1",
        "1e9",
        [],
        {},
        [1],
        ["message"],
        "[",
        "\ud83d\ude00",
    ),
    *("http://127.0.0.1:1/", "https://localhost/", "http://10.0.0.1/", "http://[::1]:1/a b", "x" * 5000),
]
NAMES = [
    "offset",
    "limit",
    "timeout",
    "allowed_updates",
    "url",
    "secret_token",
    "max_connections",
    "drop_pending_updates",
]


pytestmark = pytest.mark.timeout(400 + REQUESTS // 10)


@pytest.fixture(autouse=True)
def _long_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene may last as long as so many requests do, on a busy machine, too."""
    monkeypatch.setattr(test_endpoint, "TIME", 300.0 + REQUESTS / 10)


def body_of(dice: random.Random) -> bytes:
    """A body: parameters of any kind, forms, or bytes."""
    params = {dice.choice(NAMES): dice.choice(VALUES) for _ in range(dice.randint(0, 6))}
    params["timeout"] = min(params["timeout"], 1) if isinstance(params.get("timeout"), int) else 0
    kind = dice.randrange(6)
    if kind == 5:  # nested deeply, as a whole or in a parameter
        nested = "[" * dice.choice([10, 5000, 50_000])
        return json.dumps({"allowed_updates": nested}).encode() if dice.random() < 0.5 else nested.encode()
    if kind < 3:
        return json.dumps(params).encode()[: dice.choice([None, None, None, dice.randint(0, 40)])]
    if kind == 3:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in params.items()
        ]
        return ("".join(parts) + dice.choice(["--b--\r\n", "--b", ""])).encode("utf-8", "surrogatepass")
    return dice.randbytes(dice.randint(0, 300))


def chunked(dice: random.Random, body: bytes) -> bytes:
    """A body in chunks, some of them bent."""
    parts = []
    while body:
        size = dice.randint(1, 60)
        block, body = body[:size], body[size:]
        extension = dice.choice([b"", b"", b";a=b", b";" + b"x" * 200])
        parts.append(b"%x%s\r\n%s\r\n" % (len(block) + dice.choice([0, 0, 0, 0, 0, 1]), extension, block))
    last = dice.choice(
        [b"0\r\n\r\n"] * 4 + [b"0\r\nX: y\r\n\r\n", b"", b"g\r\n", b"f" * 20 + b"\r\n", b"-1\r\n\r\n"]
    )
    return b"".join(parts) + last


def request_of(dice: random.Random) -> bytes:
    """A request, most often one that is understood."""
    body = body_of(dice)
    target = b"/bot%s/%s" % (dice.choice(TOKENS), dice.choice(CALLS))
    target = dice.choice(
        [target] * 6 + [b"/file" + target, b"//" + target, b"http://x" + target, b"*", b"/", b"\x00"]
    )
    good = [b"Host: x", b"Content-Type: application/json"]
    if dice.random() < 0.7:
        good.append(b"Content-Length: %d" % len(body))
    else:
        good.append(b"Transfer-Encoding: chunked")
        body = chunked(dice, body)
    fields = good + dice.choices(FIELDS, k=dice.choice([0, 0, 0, 1, 2, 5]))
    if dice.random() < 0.01:
        fields += [b"F%d: x" % number for number in range(3000)]
    version = dice.choice([b"HTTP/1.1"] * 9 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b""])
    first = b"%s %s %s" % (dice.choice(METHODS), target, version)
    end = dice.choice([b"\r\n"] * 9 + [b"\n"])
    data = end.join([first, *fields, b"", b""]) + body
    if dice.random() < 0.2:  # bent
        at = dice.randrange(len(data))
        data = (
            data[:at]
            + dice.choice([b"", dice.randbytes(3), data[at : at + 30]])
            + data[at + dice.randint(0, 9) :]
        )
    return data


def large(dice: random.Random) -> bytes:
    """More than is read of it."""
    size = MOST_BODY + dice.randint(1, 2**20)
    call = dice.choice([b"getUpdates", b"setWebhook", b"sendDocument"])
    head = b"POST /bot%s/%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LOCAL.encode(), call, size)
    return head + b"x" * dice.choice([size, size // 2])


async def say_done(stream: trio.SocketStream) -> None:
    """Answer all requests, and show nothing of them."""
    rest = b""
    while True:
        head, rest = await read_request(stream, rest)
        if not head:
            return
        if b"chunked" in head.lower():
            while b"0\r\n\r\n" not in rest:
                data = await stream.receive_some()
                if not data:
                    return
                rest += data
            rest = b""
        while len(rest) < length_of(head):
            data = await stream.receive_some()
            if not data:
                return
            rest += data
        rest = rest[length_of(head) :]
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n" + b'{"ok":true,"result":true} '[:25]
        )


async def stranger(port: int, dice: random.Random, heard: list[bytes]) -> None:
    """One connection: a stream of requests, in pieces, that is left in one of many ways."""
    data = (
        large(dice)
        if dice.random() < 0.03
        else b"".join(request_of(dice) for _ in range(dice.choice([1, 1, 2, 8, 40])))
    )
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        with suppress(trio.BrokenResourceError), trio.move_on_after(0.5):
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        while found := await stream.receive_some():
                            heard.append(found)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(listen)
                size = dice.choice([len(data), len(data), 1000, 100])
                for at in range(0, min(len(data), 40 * size), size):
                    with suppress(trio.BrokenResourceError):
                        await stream.send_all(data[at : at + size])
                    if size < len(data) and dice.random() < 0.1:
                        await trio.sleep(0.005)
                if dice.random() < 0.3:  # half closed
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await stream.send_eof()
                await trio.sleep(PATIENCE * dice.random())
                nursery.cancel_scope.cancel()
        if dice.random() < 0.3:  # reset
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        await trio.aclose_forcefully(stream)


def held() -> tuple[int, int]:
    """Objects that live, and bytes of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(gc.get_objects()), pages * os.sysconf("SC_PAGESIZE")


async def halves(scene: Scene, one: Callable[[], Any], count: int) -> None:
    """Let so many come, many at a time; the second half leaves nothing behind that the first did not."""
    before = 0, 0
    for half in (1, 2):
        for _ in range(max(1, count // 2 // AT_ONCE)):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(one)
            program = await scene.connect()
            with trio.fail_after(10):
                assert (await program.call("getMe"))[0] == 200
            await program.stream.aclose()
            scene.programs.clear()
        await until(lambda: not scene.bot.connections)
        scene.told.clear()
        after = held()
        if half == 2:
            assert after[0] - before[0] < OBJECTS
            assert after[1] - before[1] < GROWTH
        before = after


@pytest.mark.parametrize("acknowledge", ["poll", "quiet"])
async def test_nothing_that_programs_send_breaks_or_grows_the_endpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], acknowledge: str
) -> None:
    """Heads, chunks, requests ahead, half-closed, slow, too large, resets; many at a time.

    Under `quiet`, each call is read for what it is about.
    """
    dice = random.Random(SEED)
    heard: list[bytes] = []
    told: list[str] = []

    async with scene_of(tmp_path, say_done, may_drop=True, acknowledge=acknowledge) as scene:

        async def one() -> None:
            await stranger(scene.port, random.Random(dice.random()), heard)
            told.extend(repr(event) for event in scene.told)
            scene.told.clear()
            assert not any(secret in b"".join(heard) for secret in SECRETS)
            heard.clear()

        await halves(scene, one, REQUESTS)
        assert not scene.faults, scene.faults
        told += [repr(scene.meter.requests)]
    said = "".join(told) + caplog.text + "".join(capfd.readouterr())
    assert not any(secret.decode() in said for secret in SECRETS)


def answer_of(dice: random.Random) -> bytes:
    """An answer of a webhook, most often one that is understood."""
    body = dice.choice(
        [
            b"",
            b"{}",
            b"OK",
            b'{"method": "sendMessage", "chat_id": 1, "text": "%s"}' % (b"x" * dice.randint(0, 5000)),
            b'{"method": %s}' % json.dumps(dice.choice(VALUES)).encode(),
            b'{"method": "%s"}' % dice.choice([b"getUpdates", b"setWebhook", b"close", b"../x", b"a b"]),
            b'--b\r\nContent-Disposition: form-data; name="method"\r\n\r\n%s\r\n--b--'
            % dice.choice([b"sendDocument", b"", b"getUpdates", b"\r\n\r\n"]),
            b"[" * dice.randint(1, 5000),
            dice.randbytes(dice.randint(0, 3000)),
        ]
    )
    kinds = [
        b"application/json",
        b"multipart/form-data; boundary=b",
        b"text/plain",
        b"multipart/form-data",
        b"\xff/;",
    ]
    fields = [b"Content-Type: " + dice.choice(kinds)]
    if dice.random() < 0.6:
        fields.append(b"Content-Length: %d" % len(body))
    elif dice.random() < 0.7:
        fields.append(b"Transfer-Encoding: chunked")
        body = chunked(dice, body)
    fields += dice.choices(
        [*FIELDS, b"Retry-After: 1", b"Retry-After: x", b"Location: /"], k=dice.choice([0, 0, 0, 1, 3])
    )
    status = dice.choice([200] * 8 + [100, 101, 204, 304, 302, 400, 429, 500, 999, 99, 0])
    data = b"HTTP/1.1 %d X\r\n%s\r\n\r\n%s" % (status, b"\r\n".join(fields), body)
    if dice.random() < 0.2:
        at = dice.randrange(len(data))
        data = data[:at] + dice.choice([b"", dice.randbytes(3)])
    return data


async def test_nothing_that_webhooks_answer_breaks_or_grows_the_endpoint(tmp_path: Path) -> None:
    """Each update has an end in the time of a handling; what is no call reaches nobody."""
    dice = random.Random(SEED)

    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(answer_of(dice))
        if dice.random() < 0.7:
            return
        await trio.sleep(0.05)

    async with site_of(tmp_path, answer, answer=say_done, handler_timeout=1.0) as (scene, site):
        await hook(scene, site)
        number = 0
        ended: set[bytes] = set()

        async def one() -> None:
            nonlocal number
            number += 1
            own = number
            if own % 10 == 0:  # an answer may have deleted or moved it
                await hook(scene, site)
            scene.hands.add(own)
            await trio.sleep(0.01)
            note_ends()

        def note_ends() -> None:
            """Keep of the ends what is compared, and nothing that would count as growth."""
            ended.update(body for body, _ in scene.hands.ended)
            assert not any(secret.decode() in repr(scene.hands.ended) for secret in SECRETS)
            scene.hands.ended.clear()
            scene.hands.given.clear()
            site.seen.clear()

        await halves(scene, one, REQUESTS // 2)
        while scene.bot.in_hand or scene.hands.waiting:  # the last answers, too, may delete or move it
            await hook(scene, site)
            await trio.sleep(0.05)
        note_ends()
        assert len(ended) == number
        assert not scene.faults, scene.faults
