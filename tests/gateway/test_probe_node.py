"""What the probe says in real libraries of Node.js: how each update ended, and whose each call is.

A stand-in of the daemon gives the updates; real processes run the bots.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx
import pytest

from trioworkers.nursery.command_session import PRELOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARIES = Path(__file__).parents[2] / ".tools" / "libraries"
NODE = shutil.which("node") or "node"
TOKEN = "1:local"

pytestmark = pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)

# -- the bots: each does what the text of a message says ---------------------------------------------------

DO = """
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const act = async function act(text, send, refuse) {
  if (text === "raise") null.of;
  if (text === "refuse") await refuse();
  if (text === "string") throw "a secret";
  if (text === "lines") throw new RangeError("secret\\n    at secret (/secret.js:1:1)");
  if (text === "loose") { send("first").then(() => send("second")); return; }
  if (text === "calls") {
    await send("one");
    await pause(Math.random() * 20);
    await Promise.all([send("two"), pause(1).then(() => send("three"))]);
    return;
  }
  await send(`echo ${text}`);
};
"""
TELEGRAF = """
const bot = new Telegraf(process.env.BOT_TOKEN);
/* more */
bot.on("message", (ctx) => act(ctx.message.text, (text) => ctx.reply(text), () => ctx.reply("429")));
if (process.env.CATCH) bot.catch((error, ctx) => ctx.reply("sorry"));
bot.launch();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => bot.stop(name));
"""
GRAMMY_BOT = """
const bot = new Bot(process.env.BOT_TOKEN);
/* more */
bot.on("message:text", (ctx) => act(ctx.message.text, (text) => ctx.reply(text), () => ctx.reply("429")));
if (process.env.CATCH) bot.catch((error) => error.ctx.reply("sorry"));
"""
GRAMMY = (
    GRAMMY_BOT
    + """
bot.start();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => bot.stop());
"""
)
RUNNER = (
    GRAMMY_BOT
    + """
const runner = run(bot);
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => runner.stop());
"""
)
QUEUE = """
const outside = new (require("async_hooks").AsyncResource)("queue");
const queued = (call) => new Promise((done, failed) => {
  setTimeout(() => outside.runInAsyncScope(() => call().then(done, failed)), 2);
});
"""
QUEUED = {
    "telegraf": """
bot.use((ctx, next) => {
  const call = ctx.telegram.callApi.bind(ctx.telegram);
  ctx.telegram.callApi = (...args) => queued(() => call(...args));
  return next();
});
""",
    "grammy": "bot.api.config.use((call, ...args) => queued(() => call(...args)));",
    "runner": "bot.api.config.use((call, ...args) => queued(() => call(...args)));",
}
WAYS = """
const https = require("https");
const address = (text) => `https://api.telegram.org/bot${process.env.BOT_TOKEN}/sendMessage?chat_id=1&text=${text}`;
const got = (text, options) => new Promise((done) => {
  https.get(address(text), options, (answer) => answer.resume().on("end", done));
});
const ask = async () => {
  await got("none", {});
  await got("object", { headers: { a: "b" } });
  await got("list", { headers: ["Host", "api.telegram.org", "a", "b"] });
  await got("pairs", { headers: [["Host", "api.telegram.org"], ["a", "b"]] });
  await fetch(address("fetch"));
  await fetch(new URL(address("headers")), { headers: new Headers({ a: "b" }) });
  await fetch(new Request(address("request"), { headers: { a: "b" } }));
  await fetch(process.env.TRIOWORKERS_API_BASE + new URL(address("told")).pathname + "?chat_id=1&text=told");
};
"""
NAMES = "createRunner, createSequentialSink, createSource, createUpdateFetcher"
PARTS = (
    GRAMMY_BOT
    + """
const source = createSource({ supply: createUpdateFetcher(bot) });
const consume = (update) => bot.handleUpdate(update);
const sink = createSequentialSink({ consume }, (error) => bot.errorHandler(error));
const runner = createRunner(source, sink);
bot.init().then(() => runner.start());
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => runner.stop());
"""
)
NODE_TELEGRAM_BOT_API = """
const bot = new TelegramBot(process.env.BOT_TOKEN, { polling: { interval: 10 } });
bot.on("message", (message) => {
  const send = (text) => bot.sendMessage(message.chat.id, text);
  return act(message.text, send, () => send("429"));
});
process.once("SIGTERM", () => bot.stopPolling());
"""


@dataclass(frozen=True)
class Library:
    """How a bot of a library begins, in CommonJS and as a module, what it does, and what its polls say."""

    required: str
    imported: str
    code: str
    says: str
    has_catch: bool = True


BOTS = {
    "telegraf": Library(
        'const { Telegraf } = require("telegraf");',
        'import { Telegraf } from "telegraf";',
        TELEGRAF,
        "telegraf/4.16.3",
    ),
    "grammy": Library(
        'const { Bot } = require("grammy");',
        'import { Bot } from "grammy";',
        GRAMMY,
        "grammy/1.46.0; at-once=1",
    ),
    "runner": Library(
        'const { run } = require("@grammyjs/runner"); const { Bot } = require("grammy");',
        'import { run } from "@grammyjs/runner"; import { Bot } from "grammy";',
        RUNNER,
        "grammy/1.46.0",
    ),
    "sequentialize": Library(
        'const { Bot } = require("grammy"); const { run, sequentialize } = require("@grammyjs/runner");',
        'import { Bot } from "grammy"; import { run, sequentialize } from "@grammyjs/runner";',
        RUNNER.replace("/* more */", "bot.use(sequentialize((ctx) => String(ctx.chat.id)));"),
        "grammy/1.46.0",
    ),
    "parts": Library(
        f'const {{ Bot }} = require("grammy"); const {{ {NAMES} }} = require("@grammyjs/runner");',
        f'import {{ Bot }} from "grammy"; import {{ {NAMES} }} from "@grammyjs/runner";',
        PARTS,
        "grammy/1.46.0",
    ),
    "node-telegram-bot-api": Library(
        'const TelegramBot = require("node-telegram-bot-api");',
        'import TelegramBot from "node-telegram-bot-api";',
        NODE_TELEGRAM_BOT_API,
        "node-telegram-bot-api/0.67.0",
        has_catch=False,
    ),
}


# -- the stand-in -------------------------------------------------------------------------------------------


@dataclass
class Daemon:
    """What the stand-in has to give, and what it was told, in order."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)
    polls: list[str | None] = field(default_factory=list)
    kept: list[str | None] = field(default_factory=list)
    address: str = ""

    def ends(self) -> list[dict[str, Any]]:
        """The lines of the probe."""
        return [one for one in list(self.said) if isinstance(one, dict)]

    def calls(self) -> list[tuple[str, int, str | None]]:
        """Text, chat and update of each message."""
        return [one for one in list(self.said) if isinstance(one, tuple)]

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.005)


def update(number: int, chat: int, text: str) -> dict[str, Any]:
    """A message of a person."""
    sender = {"id": chat, "is_bot": False, "first_name": "A"}
    message = {"message_id": number, "date": 1, "chat": {"id": chat, "type": "private"}, "from": sender}
    return {"update_id": number, "message": {**message, "text": text}}


def make_handler(daemon: Daemon) -> type[BaseHTTPRequestHandler]:
    """What answers a bot's requests."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if self.path == f"/bot{TOKEN}/trioworkersProbe":
                self.listen()
                return
            path, _, query = self.path.partition("?")
            method, params = path.rpartition("/")[2], {**dict(parse_qsl(query)), **self.params()}
            if method == "getMe":
                self.answer({"id": 1, "is_bot": True, "first_name": "B", "username": "b"})
            elif method == "getUpdates":
                daemon.polls.append(self.headers.get("X-Trioworkers-Probe"))
                with lock:
                    given, daemon.updates[:] = daemon.updates[:], []
                if not given:
                    time.sleep(0.05)
                self.answer(given)
            elif method == "sendMessage" and params["text"] == "429":
                self.refuse()
            elif method == "sendMessage":
                time.sleep(0.02)
                daemon.kept.append(self.headers.get("a"))
                daemon.said.append(
                    (params["text"], int(params["chat_id"]), self.headers.get("X-Trioworkers-Update"))
                )
                self.answer({"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}})
            else:
                self.answer(True)

        do_GET = do_POST

        def params(self) -> dict[str, Any]:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            if self.headers.get("content-type") == "application/json":
                params: dict[str, Any] = json.loads(body or "{}")
                return params
            return dict(parse_qsl(body))

        def listen(self) -> None:
            self.close_connection = True
            while size := int(self.rfile.readline() or b"0", 16):
                daemon.said.append(json.loads(self.rfile.read(size)))
                self.rfile.readline()

        def answer(self, value: Any, status: int = 200, **more: Any) -> None:
            body = json.dumps({"ok": status == 200, "result": value, **more}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            with suppress(ConnectionError):  # the bot has ended
                self.end_headers()
                self.wfile.write(body)

        def refuse(self) -> None:
            parameters = {"retry_after": 7}
            self.answer(None, 429, error_code=429, description="secret", parameters=parameters)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    return Handler


@contextmanager
def stand_in() -> Iterator[Daemon]:
    """A daemon that gives updates and notes what it is told."""
    daemon = Daemon()
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(daemon)) as server:
        server.daemon_threads = True
        daemon.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield daemon
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(
    daemon: Daemon, folder: Path, source: str, name: str = "bot.cjs", **environ: str
) -> Iterator[Any]:
    """A bot with this source; at the end it is asked to end, and does."""
    (folder / name).write_text(source)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(LIBRARIES / "node_modules")
    variables = {
        "PATH": os.environ["PATH"],
        "NODE_OPTIONS": f"--require {PRELOAD}/redirect.cjs",
        "NODE_PATH": str(LIBRARIES / "node_modules"),
        "TRIOWORKERS_API_BASE": daemon.address,
        "TRIOWORKERS_REDIRECT": "api.telegram.org",
        "TRIOWORKERS_PROBE": "1",
        "TRIOWORKERS_TOKEN": TOKEN,
        "BOT_TOKEN": TOKEN,
        **environ,
    }
    with (folder / "output").open("w") as output:
        bot = subprocess.Popen([NODE, name], cwd=folder, env=variables, stdout=output, stderr=output)
        try:
            yield bot
            assert bot.poll() is None, (folder / "output").read_text()
            bot.terminate()
            assert bot.wait(30) == 0, (folder / "output").read_text()
        finally:
            bot.kill()
            bot.wait()


def line_of(source: str, part: str) -> int:
    """The number of the line that contains it."""
    return next(number for number, line in enumerate(source.splitlines(), 1) if part in line)


@pytest.mark.parametrize("name", BOTS)
def test_the_end_of_each_update_is_told_once_and_its_calls_carry_its_id(tmp_path, name):
    """40 chats at the same time, with calls one after the other, side by side and after pauses."""
    library = BOTS[name]
    with stand_in() as daemon:
        daemon.updates += [update(1000 + number, number, "calls") for number in range(1, 41)]
        with running(daemon, tmp_path, library.required + DO + library.code):
            daemon.wait(lambda: len(daemon.ends()) == 40)
        assert sorted(one["id"] for one in daemon.ends()) == list(range(1001, 1041))
        assert all(set(one) == {"id"} for one in daemon.ends())
        assert len(daemon.calls()) == 120
        assert all(of == str(1000 + chat) for _, chat, of in daemon.calls())
        assert set(daemon.polls) == {library.says}
        for number in range(1, 41):  # the end comes after the last call
            last = max(
                at for at, one in enumerate(daemon.said) if isinstance(one, tuple) and one[1] == number
            )
            assert daemon.said.index({"id": 1000 + number}) > last


@pytest.mark.parametrize("catches", [False, True], ids=["", "catch"])
@pytest.mark.parametrize("name", BOTS)
def test_what_a_handler_raises_is_told_by_type_and_place_and_the_bot_goes_on(tmp_path, name, catches):
    """Whether or not the bot has a handler of errors of its own, whose calls carry the update's id, too."""
    library = BOTS[name]
    source = library.required + DO + library.code
    with stand_in() as daemon:
        texts = ["raise", "m", "refuse", "string", "lines", "n"]
        daemon.updates += [update(number, number, text) for number, text in enumerate(texts, 1)]
        with running(daemon, tmp_path, source, **({"CATCH": "1"} if catches else {})):
            daemon.wait(lambda: len(daemon.ends()) == 6)
            daemon.updates.append(update(7, 1, "o"))
            daemon.wait(lambda: len(daemon.ends()) == 7)
        ends = {one.pop("id"): one for one in daemon.ends()}
        null, lines = line_of(source, "null.of"), line_of(source, "throw new RangeError")
        assert ends[1] == {"error": f"TypeError at bot.cjs:{null} in act"}
        assert ends[2] == ends[6] == ends[7] == {}
        kind = "GrammyError" if library.says.startswith("grammy") else "TelegramError"
        assert ends[3].pop("error").partition(" ")[0] == kind
        assert ends[3] == {"code": 429, "after": 7}
        assert ends[4] == {"error": "string"}
        assert ends[5] == {"error": f"RangeError at bot.cjs:{lines} in act"}
        sorry = [(chat, of) for text, chat, of in daemon.calls() if text == "sorry"]
        assert sorted(sorry) == ([(n, str(n)) for n in (1, 3, 4, 5)] if catches and library.has_catch else [])
        echoes = sorted(text for text, _, _ in daemon.calls() if text != "sorry")
        assert echoes == ["echo m", "echo n", "echo o"]


@pytest.mark.parametrize("name", BOTS)
def test_calls_that_a_handler_does_not_wait_for_belong_to_it(tmp_path, name):
    """As in many READMEs: the handler has returned, its message is under way, and so is what follows that."""
    library = BOTS[name]
    with stand_in() as daemon:
        daemon.updates += [update(1, 1, "loose"), update(2, 2, "loose")]
        with running(daemon, tmp_path, library.required + DO + library.code):
            daemon.wait(lambda: len(daemon.ends()) == 2)
        for number in (1, 2):
            of_it = [one for one in daemon.said if (one["id"] if isinstance(one, dict) else one[1]) == number]
            first, second = ("first", number, str(number)), ("second", number, str(number))
            assert of_it == [first, second, {"id": number}]


@pytest.mark.parametrize("name", QUEUED)
def test_a_call_from_a_throttlers_queue_belongs_to_who_made_it(tmp_path, name):
    """It is made later, and by code that runs in no handling."""
    library = BOTS[name]
    source = library.required + DO + QUEUE + library.code.replace("/* more */", QUEUED[name])
    with stand_in() as daemon:
        daemon.updates += [update(1000 + number, number, "calls") for number in range(1, 21)]
        with running(daemon, tmp_path, source):
            daemon.wait(lambda: len(daemon.ends()) == 20)
        assert len(daemon.calls()) == 60
        assert all(of == str(1000 + chat) for _, chat, of in daemon.calls())


def test_a_call_carries_its_update_in_whatever_way_it_is_made(tmp_path):
    """By http and by fetch, with headers of each kind; those that it has are kept."""
    library = BOTS["telegraf"]
    source = library.required + WAYS + library.code.replace("act(ctx", "ask(ctx")
    with stand_in() as daemon:
        daemon.updates.append(update(4711, 1, "m"))
        with running(daemon, tmp_path, source):
            daemon.wait(daemon.ends)
        texts = ["none", "object", "list", "pairs", "fetch", "headers", "request", "told"]
        assert daemon.calls() == [(text, 1, "4711") for text in texts]
        assert daemon.kept == [None, "b", "b", "b", None, "b", "b", None]


@pytest.mark.parametrize("name", BOTS)
def test_a_bot_that_imports_its_library_is_the_same(tmp_path, name):
    """Modules of ECMAScript load libraries in another way."""
    library = BOTS[name]
    with stand_in() as daemon:
        daemon.updates.append(update(1, 1, "m"))
        with running(daemon, tmp_path, library.imported + DO + library.code, "bot.mjs"):
            daemon.wait(lambda: daemon.said == [("echo m", 1, "1"), {"id": 1}])
            daemon.updates.append(update(2, 1, "raise"))
            daemon.wait(lambda: len(daemon.ends()) == 2)
        assert daemon.ends()[-1]["error"].startswith("TypeError at bot.mjs:")
        assert set(daemon.polls) == {library.says}


@pytest.mark.parametrize(
    ("name", "package", "version", "says"),
    [
        ("telegraf", "telegraf", "5.0.0", "telegraf/5.0.0; unknown"),
        ("telegraf", "telegraf", "3.40.0", "telegraf/3.40.0; unknown"),
        ("grammy", "grammy", "1.47.0-beta.1", "grammy/1.47.0-beta.1; unknown"),
        ("runner", "@grammyjs/runner", "3.0.0", "@grammyjs/runner/3.0.0; unknown"),
        ("node-telegram-bot-api", "node-telegram-bot-api", "1.0.0", "node-telegram-bot-api/1.0.0; unknown"),
    ],
)
def test_a_version_that_was_not_tried_is_named_and_left_alone(tmp_path, name, package, version, says):
    """It works as ever, and says nothing of its updates."""
    library = BOTS[name]
    folder = tmp_path / "node_modules" / package
    folder.parent.mkdir(parents=True)
    shutil.copytree(LIBRARIES / "node_modules" / package, folder)
    about = json.loads((folder / "package.json").read_text())
    (folder / "package.json").write_text(json.dumps({**about, "version": version}))
    with stand_in() as daemon:
        daemon.updates.append(update(1, 1, "m"))
        with running(daemon, tmp_path, library.required + DO + library.code):
            daemon.wait(lambda: daemon.calls() and len(daemon.polls) > 2)
        assert set(daemon.polls) == {says}
        assert daemon.said[0][0] == "echo m"


WEBHOOKS = {
    "telegraf": """
require("http").createServer((asked, answer) => {
  bot.webhookCallback("/")(asked, answer).catch(() => console.log("rejected"));
})""",
    "grammy": """
const { webhookCallback } = require("grammy");
require("http").createServer((asked, answer) => {
  webhookCallback(bot, "http")(asked, answer).catch(() => console.log("rejected"));
})""",
}


@pytest.mark.parametrize("name", WEBHOOKS)
def test_an_update_of_a_webhook_is_left_alone(tmp_path, name):
    """Whoever calls the library is told what a handler raised, as without the probe, which says nothing."""
    library = BOTS[name]
    code = library.code.partition("bot.launch()" if name == "telegraf" else "bot.start()")[0]
    port = "process.once('SIGTERM', () => process.exit(0));"
    listen = (
        f"{WEBHOOKS[name]}.listen(0, '127.0.0.1', function () {{ console.log(this.address().port); }});{port}"
    )
    with stand_in() as daemon:
        with running(daemon, tmp_path, library.required + DO + code + listen):
            output = tmp_path / "output"
            daemon.wait(lambda: output.read_text().endswith("\n"))
            address = f"http://127.0.0.1:{output.read_text().split()[0]}/"
            for number, text in enumerate(("m", "raise"), 1):
                with suppress(httpx.ReadTimeout):  # of the second, whose end is the caller's matter in grammY
                    httpx.post(address, json=update(number, number, text), timeout=5 if text == "m" else 1)
            daemon.wait(lambda: "rejected" in output.read_text())
        assert daemon.said == [("echo m", 1, None)]


@pytest.mark.parametrize("name", ["telegraf", "grammy"])
def test_a_library_is_itself_where_no_probe_is_wanted(tmp_path, name):
    """What a handler raises ends the process, as it does without us."""
    library = BOTS[name]
    with stand_in() as daemon, pytest.raises(AssertionError):  # noqa: PT012 - the bot has ended
        daemon.updates.append(update(1, 1, "raise"))
        with running(daemon, tmp_path, library.required + DO + library.code, TRIOWORKERS_PROBE="") as bot:
            assert bot.wait(30) == 1
    assert set(daemon.polls) == {None}
    assert daemon.said == []


@pytest.mark.parametrize(
    "end", ['process.kill(process.pid, "SIGKILL")', "process.exit(3)"], ids=["kill", "exit"]
)
def test_an_end_that_was_told_is_told_although_the_process_ends_at_once(tmp_path, end):
    """It is in the kernel when the library's function returns."""
    ends = f"""
    const handle = bot.handleUpdate;
    bot.handleUpdate = (update) => handle.call(bot, update).then(() => {end});
    """
    library = BOTS["telegraf"]
    for number in range(5):
        with stand_in() as daemon, pytest.raises(AssertionError):  # noqa: PT012 - the bot has ended
            daemon.updates.append(update(number, 1, "m"))
            with running(daemon, tmp_path, library.required + DO + library.code + ends) as bot:
                bot.wait(30)
        assert daemon.said == [("echo m", 1, str(number)), {"id": number}]
