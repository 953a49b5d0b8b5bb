"""Bots from an HTTP endpoint, over real sockets: believed, kept, and never the end of a fleet by accident."""

from __future__ import annotations

import json
import stat
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from trioworkers.config import load_fleet, plan_reload, with_given
from trioworkers.config.values import BOT_NAME_RULE
from trioworkers.events import Events
from trioworkers.plugins import load_plugins
from trioworkers.sources import Sources

Settings = import_module("trioworkers_plugins.bot_source").Settings
CANARY = "zeisig-Zeisig_ZEISIG-zeisig_zeisig"


class Endpoint:
    """A bot-instances API: answers what it is told to, and remembers how it was asked."""

    def __init__(self):
        self.answer: Any = []
        self.raw: bytes | None = None
        self.status = 200
        self.etag: str | None = None
        self.asked: list[dict[str, str]] = []
        self.url = ""
        self.silent = False

    def rows(self, *numbers, **more):
        self.answer = [{"name": f"b{n}", "token": f"{n}:{CANARY}", "handler": "a:b", **more} for n in numbers]


@asynccontextmanager
async def served():
    endpoint = Endpoint()
    app = QuartTrio(__name__, static_folder=None)

    @app.get("/instances")
    async def instances():
        endpoint.asked.append({name.lower(): value for name, value in request.headers.items()})
        if endpoint.silent:
            await trio.sleep_forever()
        headers = {"ETag": endpoint.etag} if endpoint.etag else {}
        if endpoint.etag and request.headers.get("If-None-Match") == endpoint.etag:
            return Response(b"", 304, headers)
        raw = json.dumps(endpoint.answer).encode() if endpoint.raw is None else endpoint.raw
        return Response(raw, endpoint.status, {**headers, "Location": "/elsewhere"})

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0
    config.loglevel = "ERROR"
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, app, config, shutdown_trigger=stop.wait))
        endpoint.url = f"{binds[0]}/instances"
        yield endpoint
        stop.set()
        nursery.cancel_scope.cancel()


class Setup:
    """A fleet in a folder with the plugin, and what was told of it."""

    def __init__(self, folder, url):
        (folder / "state").mkdir(exist_ok=True)
        self.folder, self.url, self.told = folder, url, []
        self.file = folder / "state/bot_source.json"
        self.environ = {"BOTS_TOKEN": "let-me-in"}
        self.table: dict[str, Any] = {"token": {"env": "BOTS_TOKEN"}}
        self.bots = ""
        self.fresh()

    def fresh(self):
        """A new run of the daemon."""
        events = Events(lambda event: self.told.append(event.fields["reason"]))
        self.sources = Sources(load_plugins(self.read()), events)

    def read(self, **more):
        lines = [f"{key} = {_toml(value)}" for key, value in {"url": self.url, **self.table}.items()]
        text = "[plugins.bot_source]\n" + "\n".join(lines) + "\n" + self.bots
        (self.folder / "fleet.toml").write_text(text)
        return load_fleet(self.folder / "fleet.toml", self.environ, **more)

    async def ask(self):
        self.told.clear()
        await self.sources.ask(self.read())
        return with_given(self.read(), self.sources.tables)


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


async def test_bots_come_with_their_tokens(tmp_path):
    """Asked with the token of the API, whose variable no worker sees; kept where nobody else can read."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1, 2, settings={"greeting": "hi", "none": None}, concurrency=None)
        fleet = await setup.ask()
        assert fleet.bots.keys() == fleet.sources.keys() == {"b1", "b2"}
        assert fleet.bots["b1"].token.reveal() == f"1:{CANARY}"
        assert fleet.bots["b1"].settings == {"greeting": "hi", "none": None}
        assert fleet.origin("b1") == "bot_source"
        assert (
            str(fleet.problem_at(("bots", "b1", "handler"), "wrong")) == "bot_source: bots.b1.handler: wrong"
        )
        assert api.asked[0]["authorization"] == "Bearer let-me-in"
        assert "BOTS_TOKEN" in fleet.secret_env_names
        assert stat.S_IMODE(setup.file.stat().st_mode) == 0o600
        assert setup.told == []
        holders = [path for path in tmp_path.rglob("*") if path.is_file() and CANARY in path.read_text()]
        assert holders == [setup.file]


async def test_an_answer_that_did_not_change_is_not_sent_again(tmp_path):
    """By its ETag, over restarts of the daemon; another shape of the answer is asked for anew."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1)
        api.etag = '"one"'
        digest = (await setup.ask()).digest
        setup.fresh()
        assert (await setup.ask()).digest == digest
        assert [asked.get("if-none-match") for asked in api.asked] == [None, '"one"']
        setup.table["keys"] = {"token": "token", "handler": "handler", "concurrency": "chats"}
        api.rows(1, chats=3)
        assert (await setup.ask()).bots["b1"].concurrency == 3
        assert "if-none-match" not in api.asked[-1]


async def test_it_starts_without_the_api(tmp_path):
    """With the last good answer; what is wrong is told without a token."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1, 2)
        digest = (await setup.ask()).digest
    setup.fresh()
    assert (await setup.ask()).digest == digest
    host = api.url.split("/")[2]
    assert setup.told == [f"{host} gave no answer: ConnectError, 2 bots stay as they were"]
    setup.file.unlink()
    setup.fresh()
    assert (await setup.ask()).bots == {}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "gave no answer: no JSON"),
        (b"<html>zeisig</html>", "gave no answer: no JSON"),
        (b'{"error": "zeisig"}', "lacks 3 of 3 known bots, which is more than most_removed"),
        (b"[]", "lacks 3 of 3 known bots"),
        (b"{}", "lacks 3 of 3 known bots"),
        (b'[{"name": "b1", "token": "1:zeisig-zeisig"}]', "lacks 2 of 3 known bots"),
        (b"null", "holds no list and no table of bots"),
        (b'"zeisig"', "holds no list and no table of bots"),
        (b"[" * 100_000, "gave no answer"),
        (b"\xff", "gave no answer: no JSON"),
        (b'["' + b"x" * 17_000_000 + b'"]', "answered with more than 16 MB"),
    ],
)
async def test_nonsense_removes_nobody(tmp_path, raw, reason):
    """What is no list, or lacks more than half of the fleet, is told and not believed."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1, 2, 3)
        digest = (await setup.ask()).digest
        api.raw = raw
        assert (await setup.ask()).digest == digest
        assert reason in setup.told[-1]
        assert setup.told[-1].endswith(", 3 bots stay as they were")
        assert "zeisig" not in str(setup.told)


@pytest.mark.parametrize("status", [204, 301, 302, 304, 401, 404, 429, 500, 503])
async def test_other_answers_are_none(tmp_path, status):
    """Only 200 is an answer; the token follows no redirect."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1)
        digest = (await setup.ask()).digest
        api.status, api.raw = status, b""
        assert (await setup.ask()).digest == digest
        assert f"answered with status {status}" in setup.told[-1]
        assert len(api.asked) == 2


async def test_a_silent_api_is_given_up(tmp_path):
    """After `timeout`."""
    async with served() as api:
        api.silent = True
        setup = Setup(tmp_path, api.url)
        setup.table["timeout"] = "10ms"
        assert (await setup.ask()).bots == {}
        assert "did not answer within 0.01 s" in setup.told[0]


async def test_the_guard_has_a_threshold(tmp_path):
    """Half may go at once; all of them when `most_removed` says so, which is a live key."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1, 2, 3, 4)
        await setup.ask()
        api.rows(1, 2)
        assert (await setup.ask()).bots.keys() == {"b1", "b2"}
        api.rows()
        assert (await setup.ask()).bots.keys() == {"b1", "b2"}
        setup.table["most_removed"] = 1
        assert (await setup.ask()).bots == {}


async def test_a_bad_row_is_refused_alone_and_told(tmp_path):
    """The others come; a bot that was good before stays as it was; a file's bot wins."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        setup.bots = '[bots.mine]\ntoken = "9:a"\nhandler = "a:b"\n'
        api.rows(1, 2, 3)
        old = await setup.ask()
        api.rows(1, 2, 3, 4)
        api.answer[1]["concurrency"] = "many"
        more = {"handler": "a:b"}
        api.answer += [
            {"name": "mine", "token": "5:a", **more},
            {"name": "twin", "token": "9:b", **more},
            {"name": "../x", "token": "6:a", **more},
            {"name": "nosy", "token": {"env": "BOTS_TOKEN"}, **more},
            {"name": "hook", "token": "8:a", "transport": "webhook", **more},
            {"name": "large", "token": "8:a", "settings": {"n": 2**64 - 1}, **more},
            {"name": "key", "token": "8:a", "tokn": CANARY, **more},
            {"name": f"8:{CANARY}", "token": "8:a", **more},
            {"name": "b1", "token": "8:a", **more},
            {"token": "8:a"},
            "zeisig",
        ]
        new = await setup.ask()
        assert new.bots.keys() == {"mine", "b1", "b3", "b4"}
        told = [str(problem) for problems in new.refused.values() for problem in problems]
        assert told == [
            f'bot_source: bots."../x": expected a name of {BOT_NAME_RULE}',
            f'bot_source: bots."**********": expected a name of {BOT_NAME_RULE}',
            "bot_source: bots.b2.concurrency: expected an integer, got a string",
            'bot_source: bots.hook.transport: "webhook" needs webhook.public_url, which is not set',
            "bot_source: bots.key.tokn: unknown key, did you mean token",
            "bot_source: bots.large.settings.n: expected an integer of 64 bits, got a larger one",
            f"bot_source: bots.mine: this bot is also in {tmp_path / 'fleet.toml'}, which wins",
            "bot_source: bots.nosy.token: expected the token itself as a string, got a table",
            'bot_source: bots.twin.token: the bot "mine" has the same bot id, expected one bot per id',
        ]
        assert setup.told == [
            "row 12: a name that another row has, too, expected each bot once",
            "row 13: expected a name as a string in its key name",
            "row 14: expected an object",
        ]
        assert "zeisig" not in f"{told}{setup.told}{new!r}".lower()
        plan = plan_reload(old, new)
        assert (plan.added, plan.removed, plan.unchanged) == (("b4",), (), ("b1", "b2", "b3", "mine"))
        assert plan.fleet.bots["b2"] == old.bots["b2"]
        assert plan.fleet.origin("b2") == "bot_source"
        assert plan_reload(plan.fleet, new).is_empty


async def test_the_shape_of_an_answer_can_be_told(tmp_path):
    """Rows in a key of the answer, names and keys of their own, or a table by name."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.answer = {"data": [{"id": "x", "bot_token": "1:a", "owner": "me", "run": "a:b"}], "total": 1}
        setup.table |= {"items": "data", "name": "id", "keys": {"token": "bot_token", "handler": "run"}}
        assert (await setup.ask()).bots.keys() == {"x"}
        setup.table = {"most_removed": 1}
        api.answer = {"y": {"token": "1:a", "handler": "a:b"}, "z": 5}
        assert (await setup.ask()).bots.keys() == {"y"}
        assert setup.told == ["row 1: expected an object"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"intervall": 5}, "plugins.bot_source.intervall: unknown key, did you mean interval"),
        ({"interval": 0}, "plugins.bot_source.interval: expected at least 1, got 0"),
        (
            {"url": "ftp://x"},
            "plugins.bot_source.url: expected an http or https address without user and fragment",
        ),
        (
            {"token": {"env": "ABSENT"}},
            "plugins.bot_source.token: the environment variable ABSENT is not set",
        ),
    ],
)
async def test_bad_settings_are_told_with_their_place(tmp_path, table, reason):
    """And the bots stay as they were."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1)
        digest_of_bots = (await setup.ask()).bots
        setup.table |= table
        assert (await setup.ask()).bots == digest_of_bots
        assert reason in setup.told[0]
        assert setup.told[0].startswith(f"{tmp_path / 'fleet.toml'}:")


async def test_what_cannot_be_kept_is_not_believed(tmp_path):
    """A bot that would be gone at the next start without the API does not run before."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1)
        await setup.ask()
        api.rows(1, 2)
        setup.file.unlink()
        setup.file.mkdir()
        assert (await setup.ask()).bots.keys() == {"b1"}
        assert setup.told == [
            f"{setup.file}: cannot be read: IsADirectoryError",
            f"{setup.file}: cannot be written: is a directory",
        ]


async def test_known_bots_whose_tokens_vanish_stay_after_a_restart(tmp_path):
    """An API that forgot its secrets, or has another name for them, answers with rows and no tokens."""
    async with served() as api:
        api.rows(1, 2, 3)
        before = await Setup(tmp_path, api.url).ask()
        api.answer = [
            {"name": "b1", "handler": "a:b"},
            {"name": "b2", "token": None},
            {"name": "b3", "token": "x"},
        ]
        setup = Setup(tmp_path, api.url)
        await setup.ask()
        assert setup.told == [
            f"row {number}: expected a token as a string, the bot stays as it was" for number in range(3)
        ]
    after = await Setup(tmp_path, api.url).ask()
    assert after.bots == before.bots


@pytest.mark.parametrize("lost", [None, b"", b"\x00 half"])
async def test_a_lost_file_removes_nobody(tmp_path, lost):
    """Whatever became of what was kept: an API that fails or answers nothing then stops no bot that runs."""
    async with served() as api:
        setup = Setup(tmp_path, api.url)
        api.rows(1, 2)
        digest = (await setup.ask()).digest
        for api.answer, api.status in (([], 200), ([], 503)):
            if lost is None:
                setup.file.unlink(missing_ok=True)
            else:
                setup.file.write_bytes(lost)
            assert (await setup.ask()).digest == digest
        api.rows(3)
        api.status = 200
        assert (await setup.ask()).bots.keys() == {"b3"}


async def test_without_a_table_nobody_is_asked(tmp_path):
    """The plugin is always loaded; it does something once it is told where to ask."""
    plugins = load_plugins(Setup(tmp_path, "http://127.0.0.1:9").read())
    (tmp_path / "fleet.toml").write_text("")
    sources = Sources(plugins, Events(lambda _: pytest.fail("nothing to tell")))
    await sources.ask(load_fleet(tmp_path / "fleet.toml", {}))
    assert sources.tables == {"bot_source": {}}


def test_every_setting_is_documented():
    """In docs/changing.md, with its default and its meaning."""
    page = (Path(__file__).parents[2] / "docs/changing.md").read_text()
    section = page.split("<!-- bot_source -->\n")[1].split("<!-- end of bot_source -->")[0]
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "none" if field.is_required() or default is None else f"`{json.dumps(default)}`"
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    assert section.splitlines() == rows


def test_the_example_of_the_page_is_good(tmp_path):
    """The plugin takes the table that people copy."""
    page = (Path(__file__).parents[2] / "docs/changing.md").read_text()
    block = page.split("```toml\n[plugins.bot_source]\n")[1].split("```")[0]
    (tmp_path / "fleet.toml").write_text("[plugins.bot_source]\n" + block)
    Settings.model_validate(load_fleet(tmp_path / "fleet.toml", {}).plugins["bot_source"])
