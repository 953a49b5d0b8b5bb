"""Strangers send anything: it is the client's fault or the end, nothing is logged, and others are served.

Seeded and bounded; `REQUESTS=100000 SEED=7 scripts/test tests/web/test_web_fuzz.py` tries more. `MEASURE=1`,
with `-s` and on a quiet machine, also prints how soon `/health` was answered and how long the loop was held.
"""

from __future__ import annotations

import gc
import os
import random
import re
import socket
import threading
import time
from contextlib import suppress

import pytest
from listening import SECRET, ListenerThread, request, update
from serving import ApiThread

REQUESTS = int(os.environ.get("REQUESTS", "1200"))
SEED = int(os.environ.get("SEED", "15"))
MEASURES = bool(os.environ.get("MEASURE"))
SOON, SHORT = 0.05, 0.02  # seconds: an answer to /health, and what holds the loop
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"

METHODS = [
    *(b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"),
    *(b"get", b"G\xc3", b"BREW", b"PRI", b""),
]
TARGETS = [
    *(
        b"/",
        b"/health",
        b"/ready",
        b"/login",
        b"/login?code=x",
        b"/logout",
        b"/metrics",
        b"/static",
        b"/static/x",
    ),
    *(
        b"/?token=abc",
        b"/static/%2e%2e/x",
        b"/static/" + b"a" * 300,
        b"/api/bots",
        b"/api/live",
        b"/api/live?since=x",
    ),
    *(
        b"/api/bots/%ff/log?lines=x",
        b"/api/bots/a%2fb/restart",
        b"/api/dlq/" + b"9" * 30,
        b"/api/openapi.json",
    ),
    *(
        b"/webhook/echo",
        b"/webhook/stats",
        b"/webhook/%2f",
        b"/webhook/",
        b"//x",
        b"/%00",
        b"/a%0d%0ab",
        b"/%",
    ),
    *(
        b"/a" * 3000,
        b"/?a=%ff&b=%",
        b"/login/",
        b"/#",
        b"/;x",
        b"/\\",
        b"?a",
        b"a",
        b"*",
        b"http://[",
        b"http://",
    ),
    *(b"http://localhost/health", b"http://other/", b"https://localhost:443/ready", b"localhost:80", b"\xff"),
]
HOSTS = [
    *(
        b"localhost",
        b"127.0.0.1",
        b"x:1",
        b"[::1]:3001",
        b"[:::::]",
        b"[::1",
        b"a..b",
        b"a" * 64,
        b"xn--a",
        b"xn--\xff",
    ),
    *(b"", b":1", b"x:99999", b"1.2.3.4.5", b"a_b", b"-a-", b"a/b", b"me@a", b"a b", b".", b"a."),
]
FIELDS = [
    *(b"Cookie: a=b", b'Cookie: =;;;"', b"Cookie: " + b"a=b; " * 500, b"Origin: null", b"Origin: http://["),
    *(b"Authorization: Basic !!", b'Authorization: digest a="', b"Authorization: \xff", b"Authorization:"),
    *(
        b"X-Forwarded-For: \xff, ,",
        b"X-Forwarded-Proto: https",
        b'Forwarded: for="[',
        b"Remote-Addr: 127.0.0.1",
    ),
    *(
        b"Accept: ;;;q=x",
        b"Accept-Encoding: gzip;q=a",
        b"Accept-Language: \xff",
        b"Range: bytes=9-1,x",
        b"If-Range: x",
    ),
    *(b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: multipart/form-data; boundary=x"),
    *(b"Content-Type: multipart/form-data", b"Content-Type: \xff; charset=\xff", b"Content-Encoding: gzip"),
    *(
        b'If-None-Match: "\xff',
        b"If-Modified-Since: nonsense",
        b"Expect: 100-continue",
        b"Expect: \xff",
        b"TE: trailers",
    ),
    *(
        b"Connection: Upgrade",
        b"Connection: close",
        b"Connection: ,,",
        b"Upgrade: websocket",
        b"Upgrade: h2c",
    ),
    *(
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Protocol: ,,a,",
    ),
    *(b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x", b"HTTP2-Settings: x"),
    *(b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length: -1", b"Content-Length: " + b"9" * 30),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b" folded",
        b"no colon",
        b"X : y",
        b": x",
    ),
    *(
        b"Sec-Fetch-Site: cross-site",
        b"Sec-Fetch-Mode: navigate",
        b"X-Http-Method-Override: DELETE",
        b"X: " + bytes(range(128, 256)),
    ),
    b"X-Telegram-Bot-Api-Secret-Token: " + SECRET.encode(),
]
BODIES = [
    *(
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"{}",
        b"token=x",
        b"token=" + b"%ff" * 9,
        b"--x\r\n\r\n",
        b"\xff" * 30,
    ),
    *(update(1), b'{"update_id":' + b"9" * 5000, b"[" * 5000, b"\0" * 50, b"0\r\nX: 1\n\r\n"),
]
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def some_request(dice: random.Random) -> bytes:
    """A request that is nearly one; sometimes a good one that was damaged."""
    version = dice.choice([b"1.1"] * 12 + [b"1.0", b"9.9", b"2.0", b"0.9", b"1.10"])
    head = b"%s %s HTTP/%s\r\nHost: %s\r\n" % (
        dice.choice(METHODS),
        dice.choice(TARGETS),
        version,
        dice.choice(HOSTS),
    )
    if dice.random() < 0.1:
        head += WEBSOCKET
    head += b"".join(field + b"\r\n" for field in dice.sample(FIELDS, dice.randrange(6)))
    data = bytearray(head + b"\r\n" + dice.choice(BODIES))
    if dice.random() < 0.1:
        data = bytearray(dice.choice([HEALTH, request(update(2))]))
    for _ in range(dice.choice([0, 0, 0, 1, 3])):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randrange(9)]
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(1, 5))
            case 3:
                data[at:at] = data[max(0, at - 20) : at]
            case _:
                data[at:at] = dice.choice([b"\n", b"\r", b"\r\n", b"\r\n\r\n", b" ", b"\0"])
    return bytes(data)


def heard_from(port: int, data: bytes, dice: random.Random) -> bytes:
    """What is answered to some bytes, in one portion or several, until the connection ends."""
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer, suppress(ConnectionError):
        size = len(data) if dice.random() < 0.7 else max(1, len(data) // 5)
        for at in range(0, len(data), max(1, size)):
            peer.sendall(data[at : at + max(1, size)])
        with suppress(OSError):  # ENOTCONN: the server has ended it already; what it said can still be read
            peer.shutdown(socket.SHUT_WR)
        while more := peer.recv(65536):
            heard += more
    return bytes(heard)


class Health:
    """Asks for the health all the time, beside what strangers do."""

    def __init__(self, server: ApiThread | ListenerThread) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.statuses: list[int | None] = []
        self.seconds: list[float] = []

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _ask(self) -> None:
        with self._server.peer() as peer:
            while not self._over.wait(0.01):
                began = time.perf_counter()
                peer.send(HEALTH)
                self.statuses.append(peer.status())
                self.seconds.append(time.perf_counter() - began)


@pytest.mark.parametrize("kind", [ApiThread, ListenerThread])
def test_no_stranger_makes_a_failure_of_ours(kind: type[ApiThread | ListenerThread]) -> None:
    """No 5xx, no error in the log, no connection that broke, none that is left; health is answered."""
    dice = random.Random(SEED)
    if MEASURES:
        gc.collect()
        gc.freeze()  # what only a process of tests has, and a collection takes 50 ms for
    with kind() as server:
        with Health(server) as health:
            for _ in range(REQUESTS):
                data = b"".join(some_request(dice) for _ in range(dice.choice([1, 1, 2])))
                heard = heard_from(server.port, data, dice)
                statuses = re.findall(rb"^HTTP/1\.1 (\d)", heard)
                assert not heard or statuses, (data, heard)
                assert b"5" not in statuses, (data, heard)
                assert server.errors == [], data
                assert server.connections.broken == 0, data
        assert set(health.statuses) == {200}
        if MEASURES:
            measured(health.seconds, server.held.longest)
        until_gone(server)


def measured(seconds: list[float], held: float) -> None:
    """Show the figures, and compare them with their bounds."""
    ordered = sorted(seconds)
    p50, p99, longest = (1000 * ordered[len(ordered) * part // 1000 - 1] for part in (500, 990, 1000))
    print(
        f"\n/health: p50 {p50:.1f}, p99 {p99:.1f}, longest {longest:.1f} ms; loop held {1000 * held:.1f} ms"
    )
    assert ordered[-1] < SOON
    assert held < SHORT


def until_gone(server: ApiThread | ListenerThread) -> None:
    """Wait until no connection is left."""
    over = threading.Event()
    for _ in range(10_000):
        if server.connections.open == 0:
            return
        over.wait(0.002)
    raise AssertionError(server.connections.open)
