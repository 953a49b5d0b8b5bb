"""With every plugin on, a program, a webhook and all the faults at hand: no token and no text is shown.

Shown is whatever the daemon's processes write or answer: logs, status, metrics, events, the live stream,
heads of dead letters, what people on duty are told, refusals, arguments, environments, and files beside the
database. The settings of a program are a file for it alone, as they are meant to be.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import trio
from fleet_project import Daemon, Project, children_of, until, workers_of, zygote_of
from live_source import upgrade
from webhook_project import SECRET_HEADER, listening_port

from trioworkers.testing import SimBot, Telegram, faults, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "zeisig-text-of-a-message"
PERSON = "Zeisigette"  # somebody's name
API_TOKEN = "zeisig-token-of-the-api"
WEBHOOK = "zeisig-secret-of-webhooks"
RECEIVER = "zeisig-token-of-the-receiver"
SETTING = "zeisig-in-a-setting"
WRONG = "77:zeisig-token-that-telegram-does-not-know"
BIRD = "zeisig"  # all secrets of the file, and all that people say
HANDLER = """
import asyncio, json, os, time
import trio
from trioworkers import Dead, Retry

async def start(bot):
    bot.log.info("started", key=1)

async def background(bot):
    await trio.sleep(3600)

async def handle(update, bot):
    text = update.text or ""
    word = text.rpartition(" ")[2]
    if word == "raise":
        raise ValueError(f"cannot handle {text!r}")
    if word == "group":
        raise ExceptionGroup(text, [KeyError(text), RuntimeError(text)])
    if word == "chain":
        try:
            json.loads(text)
        except ValueError as error:
            raise LookupError(text) from error
    if word == "decode":
        (text.encode() + b"\\xff").decode()
    if word == "unpack":
        one, two = text.split("-", 1)[0:1]
    if word == "exit":
        raise SystemExit(text)
    if word == "abort":
        os.abort()
    if word == "deep":
        def dive(said):
            return dive(said + said[:1])
        dive(text)
    if word == "slow":
        await trio.sleep(60)
    if word == "hold":
        time.sleep(60)
    if word == "retry":
        raise Retry(after=0.01)
    if word == "foreign":
        await asyncio.sleep(1)
    if word == "unknown":
        await bot.call("sendNothing", chat_id=update.chat_id, text=text)
    if word == "wrong":
        await bot.send_message(chat_id=update.chat_id, text=[{text}])
    if word == "ask":
        await bot.handoff(update.chat_id, text)
    await bot.send_message(chat_id=update.chat_id, text=text, once=text)
"""
WORDS = [
    *("plain", "raise", "group", "chain", "decode", "unpack", "exit", "abort", "deep", "slow", "hold"),
    *("retry", "foreign", "unknown", "wrong", "ask", "plain"),
]
PROGRAM = """
import json, os, sys, urllib.request

BASE = os.environ["TRIOWORKERS_API_BASE"] + "/bot" + os.environ["TRIOWORKERS_TOKEN"] + "/"


def call(method, **params):
    body = json.dumps(params).encode()
    request = urllib.request.Request(BASE + method, body, {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=70).read())["result"]


offset = 0
while True:
    for update in call("getUpdates", offset=offset, timeout=20):
        offset = update["update_id"] + 1
        message = update["message"]
        if message["text"].endswith("exit"):
            os._exit(3)
        if message["text"].endswith("raise"):
            call("sendMessage", chat_id=message["chat"]["id"])
        call("sendMessage", chat_id=message["chat"]["id"], text=message["text"])
"""
ASKED = [
    *("/health", "/ready", "/metrics", "/api/workers/status", "/api/bots", "/api/reloads", "/api/plugins"),
    *(
        "/api/alerts",
        "/api/handoffs",
        "/api/nodes",
        "/api/openapi.json",
        "/api/dlq",
        "/nowhere",
        "/api/bots/none",
    ),
    *(f"/api/bots/{name}{more}" for name in ("leaky", "hooked", "program", "ops") for more in ("", "/log")),
]
COMMANDS = [
    *(
        "status --json",
        "check",
        "plugins",
        "dlq list --json",
        "logs -n 500",
        "bots show leaky",
        "run --dry-run",
    ),
    "bots add other --handler leaky:handle",
]


class Scene:
    """The fleet, and all that it showed."""

    def __init__(self, project: Project, world: Telegram, base: str) -> None:
        self.project, self.world, self.base = project, world, base
        names = ("leaky", "hooked", "program", "ops", "revoked")
        self.bots: dict[str, SimBot] = {name: world.add_bot(name) for name in names}
        self.people = [world.add_user(f"{PERSON}{number}") for number in range(len(WORDS))]
        self.duty = world.add_user("Duty")
        self.port, self.api = listening_port(), listening_port()
        self.secrets = [bot.token.partition(":")[2] for bot in self.bots.values()] + [BIRD, PERSON.lower()]
        self.seen: dict[str, str] = {}
        self.write()

    def write(self, broken: str = "") -> None:
        """Write the fleet file; `broken` is written behind it."""
        quick = {"initial": "10ms", "max": "50ms", "per_hour": 500}
        common = {
            "handler": "leaky:handle",
            "poll_timeout": "1s",
            "handler_timeout": "1s",
            "heartbeat_interval": "200ms",
            "hang_timeout": "1s",
            "restart": quick,
            "retry": {"attempts": 2, "initial": "10ms", "max": "20ms"},
            "settings": {"key": SETTING},
        }
        tables = {name: {**common, "token": bot.token} for name, bot in self.bots.items()}
        tables["hooked"] |= {"transport": "webhook"}
        del tables["program"]["handler"]
        tables["program"] |= {"command": [sys.executable, "program.py"], "acknowledge": "poll"}
        alerts = {"bot": "ops", "chat": self.duty.id, "gather": "50ms", "window": "100ms", "dead_letters": 1}
        plugins: dict[str, Any] = {
            "dedup": {"by": "content", "window": "1s"},
            "handoff": {"keywords": ["/operator"], "on_failure": True},
            "alerts": {**alerts, "url": f"http://127.0.0.1:9/{SETTING}", "token": RECEIVER},
            "trace": {"sample": 1.0},
        }
        hook = {
            "bind": f"127.0.0.1:{self.port}",
            "public_url": f"http://127.0.0.1:{self.port}",
            "secret": WEBHOOK,
        }
        api = {"bind": f"127.0.0.1:{self.api}", "token": API_TOKEN}
        self.project.write(
            self.base,
            tables,
            api=api,
            webhook=hook,
            plugins=plugins,
            log={"level": "debug", "format": "json"},
        )
        if broken:
            with self.project.file.open("a") as file:
                file.write(broken)

    def break_telegram(self) -> None:
        """Let Telegram answer wrongly, some times each."""
        common = (
            faults.too_many_requests(1),
            faults.server_error(),
            faults.proxy_page(502),
            faults.broken_body(),
            faults.truncated_body(),
            faults.close_before(),
            faults.close_after(),
            faults.half_close(),
        )
        quoted = f'Bad Request: can\'t parse entities: unsupported start tag "{TEXT}"'
        own = {
            "getUpdates": faults.error(409, "Conflict: terminated by other getUpdates request"),
            "sendMessage": faults.error(400, quoted),
        }
        for method, fault in own.items():
            for respond in (fault, *common):
                self.world.faults.add(respond=respond, method=method, times=1)

    async def ask_wrongly(self) -> None:
        """Questions with secrets in them, which are refused; the refusals are looked at, too."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.project.control))
        async with httpx.AsyncClient(transport=transport, base_url="http://control", timeout=30) as control:
            good = {"token": WRONG, "handler": "leaky:handle"}
            bodies: list[tuple[str, str, Any]] = [
                ("POST", "/api/bots", {"name": "new", "bot": good}),
                ("POST", "/api/bots", {"name": WRONG, "bot": good}),
                ("POST", "/api/bots", {"name": "new", "bot": {**good, WRONG: 1}}),
                ("POST", "/api/bots", {"name": "new", "bot": {**good, "retry": {"attempts": WRONG}}}),
                ("POST", "/api/bots", {WRONG: WRONG}),
                ("PUT", "/api/bots/leaky", {"transport": WRONG}),
                ("GET", f"/api/bots/{WRONG}", None),
                ("POST", f"/api/bots/{WRONG}/restart", None),
                ("GET", f"/api/dlq?bot={WRONG}", None),
                ("POST", "/api/dlq/replay", {"ids": [WRONG]}),
            ]
            for number, (method, path, body) in enumerate(bodies):
                answer = await control.request(method, path, json=body)
                assert answer.status_code >= 400 or "dlq" in path, (method, path)
                self.seen[f"refusal {number}"] = answer.text
        async with httpx.AsyncClient(timeout=30) as client:
            for header in (f"Bearer {WRONG}", f"Basic {WRONG}", WRONG):
                url = f"http://127.0.0.1:{self.api}/api/bots?token={WRONG}"
                answer = await client.get(url, headers={"Authorization": header})
                self.seen[f"refusal of {header.partition(' ')[0][:6]}"] = answer.text
            for secret, body in ((WRONG, b"{}"), (WEBHOOK, f'{{"a": "{TEXT}"'.encode())):
                headers = {SECRET_HEADER: secret}
                url = f"http://127.0.0.1:{self.port}/webhook/hooked?x={TEXT}"
                await client.post(url, content=body, headers=headers)

    async def listen(self) -> None:
        """Keep what the live stream sends."""
        with suppress(trio.BrokenResourceError):
            stream = await trio.open_tcp_stream("127.0.0.1", self.api)
            async with stream:
                await stream.send_all(
                    upgrade("/api/live?events=debug", (b"Authorization", f"Bearer {API_TOKEN}".encode()))
                )
                async for data in stream:
                    self.seen["live stream"] = self.seen.get("live stream", "") + data.decode(
                        errors="replace"
                    )

    async def look(self, daemon: Daemon) -> None:
        """Ask for everything, and look at all processes."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.project.control))
        async with httpx.AsyncClient(transport=transport, base_url="http://control", timeout=30) as control:
            for path in ASKED:
                self.seen[f"GET {path}"] = (await control.get(path)).text
            letters = json.loads(self.seen["GET /api/dlq"])["letters"]
            assert letters
        for words in COMMANDS:
            done = await trio.to_thread.run_sync(self._command, words.split())
            self.seen[words] = done
        for pid in descendants(daemon.process.pid):
            for name in ("cmdline", "environ", "comm"):
                with suppress(OSError):  # it has ended
                    self.seen[f"{name} of {pid}"] = (
                        Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
                    )
        self.seen["cmdline of the daemon"] = Path(f"/proc/{daemon.process.pid}/cmdline").read_text()

    def _command(self, words: list[str]) -> str:
        done = self.project.run(*words)
        return done.stdout + done.stderr

    def look_at_files(self) -> None:
        """What is written beside the database, and the names of it."""
        state = self.project.folder / "state"
        self.seen["names of files"] = "\n".join(map(str, state.rglob("*")))
        for path in state.rglob("*"):
            if not path.is_file() or path.parent.name == "settings":
                continue
            if not path.name.startswith(self.project.database.name):
                self.seen[str(path.relative_to(state))] = path.read_bytes().decode(errors="replace")
        self.seen["log of the daemon"] = self.project.log.read_text()
        told = self.world.sent(self.bots["ops"], self.duty.id)
        self.seen["people on duty"] = "\n".join(message["text"] for message in told)

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Where a secret is shown, and with what around it."""
        for place, text in self.seen.items():
            lower = text.lower()
            for secret in self.secrets:
                at = lower.find(secret.lower())
                if at >= 0:
                    yield place, secret, text[max(0, at - 200) : at + 100]


def descendants(pid: int) -> Iterator[int]:
    """All processes below one."""
    for child in children_of(pid):
        yield child
        yield from descendants(child)


async def test_no_token_and_no_text_is_shown_under_any_fault(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Each word makes handlers, workers or the program fail in a way of its own; and Telegram fails, too."""
    base = await nursery.start(serve_telegram, world)
    project.module("leaky", HANDLER)
    project.module("program", PROGRAM)
    scene = Scene(project, world, base)
    scene.duty.start(scene.bots["ops"])
    refused = faults.error(400, "Bad Request: bad webhook: IP address 127.0.0.1 is reserved")
    world.faults.add(respond=refused, method="setWebhook", times=1)
    daemon = await project.start().ready()
    nursery.start_soon(scene.listen)
    world.revoke(scene.bots["revoked"])
    for number, word in enumerate(WORDS):
        for name in ("leaky", "hooked", "program"):
            scene.people[number].send(scene.bots[name], f"{TEXT} {number} {word}")
        if number == 3:
            scene.break_telegram()
        if number == 8:
            os.kill(zygote_of(daemon.process.pid), signal.SIGKILL)
    await scene.ask_wrongly()
    scene.write(broken=f'\n[plugins.other]\nkey = "{WRONG}"\n{WRONG}\n')
    await trio.to_thread.run_sync(scene.project.run, "reload")
    scene.write(broken=f'\n[api.token]\n"{WRONG}" = {{ a = "{WRONG}" }}\n')
    await trio.to_thread.run_sync(scene.project.run, "reload")
    scene.write()

    def is_over() -> bool:
        tallies = [project.tally(scene.bots[name]) for name in ("leaky", "hooked", "program")]
        return not any(tally["pending"] for tally in tallies) and tallies[0]["dead"] >= 8

    await until(is_over, 120)
    os.kill(workers_of(daemon.process.pid)[0], signal.SIGKILL)
    await until(lambda: any(message for message in world.sent(scene.bots["ops"], scene.duty.id)))
    await scene.look(daemon)
    assert await daemon.stop(signal.SIGQUIT) == 0  # which writes the stacks of all tasks
    scene.look_at_files()
    told = set()
    for line in project.log.read_text().splitlines():
        if line.startswith("{"):
            told.add(json.loads(line)["event"])
    assert {"update.retried", "worker.exited", "worker.hung", "reload.refused", "webhook.refused"} <= told
    assert "update.dead" in scene.seen["live stream"]
    found = list(scene.shown())
    assert not found, found
    nursery.cancel_scope.cancel()
