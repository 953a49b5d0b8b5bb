"""Plugins in a running fleet: found, configured live, switched off when they fail; bots go on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio
from fleet_project import PATIENCE, Project, until

from trioworkers.testing import Telegram, serve_telegram

CURIOUS = """
from trioworkers import Drop, PluginSettings, Take, hookimpl, hears
from trioworkers.plugin_settings import Secret, live

REQUIRES_TABLE = True

class Settings(PluginSettings):
    word: str = live("spam", "messages with this word are dropped")
    key: Secret | None = live(None, "a secret")

@hookimpl
def trioworkers_accept(update, plugin):
    if plugin.settings.word in (update.text or ""):
        return Drop("unwanted")

async def answer(update, bot):
    count = (await bot.store.get("taken") or 0) + 1
    await bot.store.set("taken", count)
    await bot.send_message(chat_id=update.chat_id, text=f"taken {count}")

@hookimpl
def trioworkers_route(update):
    if (update.text or "").startswith("take"):
        return Take(answer)

@hookimpl
@hears(events={"update.done"})
def trioworkers_event(event, plugin):
    plugin.memory["done"] = plugin.memory.get("done", 0) + 1

@hookimpl
def trioworkers_status(bot, plugin):
    return {"done": plugin.memory.get("done", 0), "word": plugin.settings.word}

@hookimpl
def trioworkers_web(app, plugin):
    from quart import Blueprint
    routes = Blueprint("curious", __name__)

    @routes.get("/api/curious")
    async def shown():
        return {"taken": await plugin.store.get("taken")}

    app.register_blueprint(routes)

@hookimpl
def trioworkers_cli(cli):
    @cli.command()
    def curious():
        "Ask the curious plugin."
        print("curious indeed")

@hookimpl
async def trioworkers_serve(daemon, plugin):
    plugin.log.info("serving", bots=daemon.bot_names())
    plugin.memory["offered"] = await daemon.offer("echo", "curious_greeting", 5, {"text": "hi"})
    while True:
        await plugin.wait_settings_changed()
        plugin.log.info("changed")
"""
BROKEN = """
from trioworkers import hookimpl

@hookimpl
def trioworkers_accept(update):
    raise ValueError(update.text)
"""
HANDLER = """
async def handle(update, bot):
    if update.text and update.kind == "message":
        await bot.send_message(chat_id=update.chat_id, text=update.text)
    elif update.kind == "curious_greeting":
        bot.log.info("greeted", id=update.update_id, says=update.raw[update.kind]["text"])
"""


def plugin(project: Project, name: str, text: str) -> None:
    (project.folder / "plugins").mkdir(exist_ok=True)
    (project.folder / "plugins" / f"{name}.py").write_text(text)


def lines(project: Project) -> list[dict[str, Any]]:
    text = (project.folder / "state/logs/worker_echo.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def test_a_plugin_is_switched_on_changed_and_switched_off_by_a_reload(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Every hook of the daemon works, and no worker is touched by any of it."""
    base = await nursery.start(serve_telegram, world)
    echo, alice = world.add_bot("echo"), world.add_user("Alice")
    bots = {"echo": {"token": echo.token, "handler": "told:handle"}}
    project.module("told", HANDLER)
    plugin(project, "curious", CURIOUS)

    def write(**plugins: Any) -> None:
        project.write(base, bots, plugins=plugins)

    async def answers(text: str) -> str:
        await alice.say(echo, text)
        return str((await alice.expect(echo, timeout=PATIENCE))["text"])

    write()
    daemon = await project.start().ready()
    before = (await daemon.bot("echo"))["pid"]
    assert await answers("take this spam") == "take this spam"
    assert (await daemon.ask("/api/curious")) == {
        "error": "the plugin curious is not active: add [plugins.curious] to the fleet file"
    }

    write(curious={"word": "spam"})
    await until(lambda: [event for event in project.events("plugin.log") if event["says"] == "serving"])
    await alice.say(echo, "take this spam")
    assert await answers("take this") == "taken 1"
    assert await answers("take that") == "taken 2"
    assert await answers("plain") == "plain"
    assert await daemon.ask("/api/curious") == {"taken": 2}
    assert (await daemon.bot("echo"))["plugins"]["curious"]["word"] == "spam"

    async def all_heard() -> bool:  # events gather for a moment on their way to a plugin
        return bool((await daemon.bot("echo"))["plugins"]["curious"]["done"] >= 3)

    await until(all_heard)
    greeted = await until(lambda: [line for line in lines(project) if line["event"] == "greeted"])
    assert greeted[0]["id"] < 0
    assert greeted[0]["says"] == "hi"

    write(curious={"word": "ham"})
    await until(lambda: [event for event in project.events("plugin.log") if event["says"] == "changed"])
    assert await answers("more spam") == "more spam"

    shown = json.loads(project.run("plugins", "--json").stdout)
    (found,) = [one for one in shown if one["name"] == "curious"]
    assert found["state"] == "active"
    assert found["failures"] == 0
    assert found["calls"] > 5
    assert "curious" in project.run("--help").stdout
    assert project.run("curious").stdout == "curious indeed\n"
    table = project.run("plugins").stdout
    assert re.search(r"^curious +- +active .* accept .* web *$", table, re.MULTILINE), table

    write()
    await until(lambda: len(project.events("reload.applied")) == 3)
    assert await answers("take ham") == "take ham"
    assert (await daemon.bot("echo"))["pid"] == before
    assert await daemon.stop() == 0


async def test_a_plugin_that_fails_is_switched_off_and_nothing_is_lost(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Its words, which hold a text, are nowhere; a change of its table would switch it on again."""
    base = await nursery.start(serve_telegram, world)
    echo, alice = world.add_bot("echo"), world.add_user("Alice")
    plugin(project, "broken", BROKEN)
    project.write(base, {"echo": {"token": echo.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    for number in range(8):
        await alice.say(echo, f"zeisig {number}")
        assert (await alice.expect(echo, timeout=PATIENCE))["text"] == f"zeisig {number}"
    assert len(project.events("plugin.failed")) == 5
    (off,) = project.events("plugin.disabled")
    assert off["plugin"] == "broken"
    assert "zeisig" not in project.log.read_text()
    assert "switched off" not in project.run("plugins").stderr
    (row,) = [one for one in json.loads(project.run("plugins", "--json").stdout) if one["name"] == "broken"]
    assert (row["state"], row["failures"]) == ("off", 5)
    assert await daemon.stop() == 0


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("[plugins.curious]\nword = 5\n", ":2:8: plugins.curious.word: expected a string, got an integer"),
        ("[plugins.curious]\nwort = 5\n", ":2:1: plugins.curious.wort: unknown key, did you mean word"),
        ("[plugins.dedupp]\n", ":1:10: plugins.dedupp: unknown plugin, did you mean dedup"),
        ("[plugins.dedup]\nwindow = -1\n", ":2:10: plugins.dedup.window: expected more than 0"),
        (
            "[plugins.curious]\nkey = { env = 'NOPE' }\n",
            ":2:7: plugins.curious.key: the environment variable NOPE is not set",
        ),
    ],
)
def test_wrong_settings_of_a_plugin_are_refused_with_their_place(
    project: Project, table: str, problem: str
) -> None:
    """By `check`, by a dry run and at the start: 78, with file, line and column."""
    plugin(project, "curious", CURIOUS)
    project.file.write_text(f'{table}[api]\nbind = "127.0.0.1:0"\n')  # which `run` binds first
    for words in (["check"], ["run", "--dry-run"], ["run"]):
        told = project.run(*words)
        assert told.returncode == 78, told
        assert problem in told.stderr


async def test_a_reload_with_wrong_settings_changes_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The old ones stay in force, and so do those of everything else."""
    base = await nursery.start(serve_telegram, world)
    echo = world.add_bot("echo")
    bots = {"echo": {"token": echo.token, "handler": "echo:handle"}}
    plugin(project, "curious", CURIOUS)
    project.write(base, bots, plugins={"curious": {"word": "spam"}})
    daemon = await project.start().ready()
    project.write(base, bots, plugins={"curious": {"word": 7}})
    told = await trio.to_thread.run_sync(lambda: project.run("reload"))
    assert told.returncode == 78
    assert "plugins.curious.word: expected a string, got an integer" in told.stderr
    assert (await daemon.bot("echo"))["plugins"]["curious"]["word"] == "spam"
    assert await daemon.stop() == 0


def test_the_schema_has_the_settings_of_plugins(project: Project) -> None:
    """Those of the fleet at hand."""
    plugin(project, "curious", CURIOUS)
    project.file.write_text("")
    schema = json.loads(project.run("schema").stdout)
    tables = schema["properties"]["plugins"]["properties"]
    reference = tables["curious"]["$ref"].rpartition("/")[2]
    assert schema["$defs"][reference]["properties"]["word"]["default"] == "spam"
    assert {"bot_source", "dedup"} <= tables.keys()
