"""Whatever the control socket and the API are asked, the answer is no failure of ours; the daemon lives."""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import trio
from fleet_project import PATIENCE, until, workers_of
from webhook_project import listening_port

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from fleet_project import Daemon, Project

    from trioworkers.testing import SimBot, SimUser

off_loop = trio.to_thread.run_sync
API_TOKEN = "token-of-the-api"
REQUESTS = int(os.environ.get("REQUESTS", "400"))
SEED = int(os.environ.get("SEED", "7"))
ROUTES = [
    *(("GET", path) for path in ("/health", "/ready", "/api/workers/status", "/api/bots", "/api/bots/{}")),
    *(("GET", path) for path in ("/api/dlq", "/api/dlq/{}", "/nowhere/{}")),
    *(("POST", f"/api/bots/{{}}/{verb}") for verb in ("pause", "resume", "restart")),
    *(("POST", path) for path in ("/api/bots", "/api/dlq/replay", "/api/dlq/purge", "/api/reload")),
    *(("POST", "/api/backup"), ("PUT", "/api/bots/{}"), ("DELETE", "/api/bots/{}"), ("PATCH", "/api/bots")),
]
WORDS = [
    *("good", "..", "../../etc/passwd", "a/b", "", ".", "x" * 5000, "good\0", "Good", "göod", "\ud800"),
    *("1", "-1", "9" * 19, "9" * 5000, "1e9", "true", "30d", "{}", "%00", "\r\nX: y", "unix:/x", "\u202e"),
]
KEYS = [
    *("ids", "bot", "all", "older_than", "name", "token", "path", "dry_run", "file", "env", "credential"),
    *("handler", "settings", "retry", "restart", "worker", "transport", "memory_limit", "poll_timeout"),
]
NO_REQUESTS = [
    *(b"\0" * 100, b"\r\n" * 50, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" + b"x" * 300),
    *(b"GET /api/bots HTTP/1.1\r\n" + head + b"\r\n\r\n" for head in (b"", b"Host: x\r\nContent-Length: -1")),
    b"POST /api/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",  # and no more
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000,
]


def some_value(dice: random.Random, depth: int = 0) -> Any:
    """JSON of any shape, more often one that is nearly right."""
    numbers = (0, -1, 1.5, 2**63, 10**400, -(10**30), 1e308)
    kind = dice.randrange(8 if depth < 4 else 5)
    if kind < 5:
        return dice.choice([None, True, False, dice.choice(WORDS), dice.choice(WORDS), dice.choice(numbers)])
    if kind == 5:
        return [some_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice([*KEYS, *WORDS]): some_value(dice, depth + 1) for _ in range(dice.randrange(5))}


def some_body(dice: random.Random) -> bytes:
    """Mostly an object; sometimes no JSON at all, or too deep for any reader, or too large."""
    odd = (b"", b"{", b"\xff\xfe", b"null", b"[" * 50_000, b'{"bot":' * 7_000, b"NaN", b'{"a":1}' * 2)
    if dice.random() < 0.15:
        return dice.choice([*odd, b" " * 2**21])
    body = {dice.choice(KEYS): some_value(dice) for _ in range(dice.randrange(4))}
    if dice.random() < 0.2:
        table = {key: some_value(dice) for key in dice.sample(KEYS, 4)}
        body = {"name": dice.choice(WORDS), "bot": {"token": "1:x", "handler": "echo:handle", **table}}
    return json.dumps(body).encode()


def some_request(dice: random.Random) -> tuple[str, str, bytes]:
    """Method, address and body; any method may bring a body, and most routes read none."""
    method, path = dice.choice(ROUTES)
    url = path.format(quote(dice.choice(WORDS).encode(errors="surrogatepass"), safe=""))
    query = f"?{dice.choice(KEYS)}={quote(dice.choice(WORDS).encode(errors='surrogatepass'))}"
    body = some_body(dice) if method in ("POST", "PUT") or dice.random() < 0.1 else b""
    return method, url + dice.choice(["", query]), body


def ask(client: httpx.Client, dice: random.Random, times: int) -> set[int]:
    """Ask so much, on connections that are used again; the statuses.

    From a thread: a body that is not taken leaves an async generator of httpx's unfinished, which warns.
    """
    statuses = set()
    for _ in range(times):
        method, url, body = some_request(dice)
        try:
            answer = client.request(method, url, content=body)
        except httpx.TransportError as error:
            error.add_note(f"{method} {url[:200]} {body[:200]!r}")
            raise
        assert answer.status_code < 500, (method, url[:100], body[:200], answer.text)
        statuses.add(answer.status_code)
    return statuses


def post(client: httpx.Client, path: str) -> None:
    client.post(path).raise_for_status()


def send_no_request(path: str) -> None:
    """Each is answered with a refusal, or as what it resembles, and leaves no connection."""
    for sent in NO_REQUESTS:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(path)
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            heard = b""
            try:
                while data := peer.recv(2**16):
                    heard += data
            except ConnectionResetError:
                pass
            assert not heard or heard.split()[1][:1] in (b"2", b"4"), (sent[:100], heard[:100])


def descriptors(daemon: Daemon) -> Counter[str]:
    """What the daemon has open, and how often."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with suppress(OSError):  # one that has been closed meanwhile
            found[str(entry.readlink()).partition("[")[0]] += 1
    return found


async def said(bot: SimBot, person: SimUser) -> None:
    """Somebody says something, and is answered."""
    await person.say(bot, "hello")
    assert (await person.expect(bot, timeout=PATIENCE))["text"] == "hello"


async def test_nothing_that_is_asked_is_a_failure_of_ours(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """No 500 and no lost connection; the bot that was there is there, and its file as it was."""
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("good"), world.add_user("Alice")
    bind = f"127.0.0.1:{listening_port()}"
    bots = {"good": {"token": bot.token, "handler": "echo:handle"}}
    project.write(base, bots, api={"bind": bind, "token": API_TOKEN})
    written = project.file.read_bytes()
    daemon = await project.start().ready()
    dice = random.Random(SEED)
    statuses: set[int] = set()
    control = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(project.control)), base_url="http://control", timeout=10
    )
    api = httpx.Client(
        base_url=f"http://{bind}", headers={"Authorization": f"Bearer {API_TOKEN}"}, timeout=10
    )
    with control, api:
        await said(bot, alice)
        for path in ("/api/backup", "/api/bots/good/restart"):  # SQLite keeps a file open for the next one
            await off_loop(post, control, path)
        await until(lambda: len(workers_of(daemon.process.pid)) == 1)
        before = descriptors(daemon)
        for client, times in ((control, REQUESTS), (api, REQUESTS // 4)):
            statuses |= await off_loop(ask, client, dice, times)
        assert (await daemon.bot("good"))["state"] in ("running", "paused")
        await off_loop(post, api, "/api/bots/good/resume")
    assert {200, 400, 403, 404, 405, 409, 413, 422} <= statuses
    await off_loop(send_no_request, str(project.control))
    await said(bot, alice)
    await until(lambda: len(workers_of(daemon.process.pid)) == 1)
    with suppress(trio.TooSlowError):
        await until(lambda: not descriptors(daemon) - before)
    assert not descriptors(daemon) - before
    assert project.file.read_bytes() == written
    assert not project.events("library"), "something was raised that nobody expected"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
