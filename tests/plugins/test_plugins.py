"""Plugins are found, loaded and called; what one of them does wrong stays its own."""

from __future__ import annotations

import importlib
import inspect
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from trioworkers import hookimpl
from trioworkers.config import FleetFileError, load_fleet
from trioworkers.events import Events
from trioworkers.hookspecs import Hooks, WorkerHooks
from trioworkers.plugin_settings import REQUIRED, PluginSettings, Secret, live
from trioworkers.plugin_types import Bots
from trioworkers.plugins import Origin, PluginError, Plugins, load_plugins
from trioworkers.sources import Sources

PLUGIN = """
from trioworkers import hookimpl

@hookimpl
def trioworkers_bots(fleet):
    return {"from_%s": {"token": "1:a", "handler": "a:b"}}
"""


def fleet_of(folder, text=""):
    (folder / "fleet.toml").write_text(text)
    return load_fleet(folder / "fleet.toml", {})


def with_bots(function):
    return SimpleNamespace(trioworkers_bots=hookimpl(function))


def plugins_of(**functions):
    plugins = Plugins()
    for name, function in functions.items():
        plugins.add(name, with_bots(function), Origin("a test"))
    return plugins


async def called(plugins, name, seconds, fleet):
    (plugin,) = [one for one in plugins.found if one.name == name]
    return await plugin.call("trioworkers_bots", seconds, fleet=fleet)


async def test_plugins_come_from_three_places(tmp_path, monkeypatch):
    """Entry points, the built-in ones among them; named modules; the files of a folder. The first wins."""
    (tmp_path / "plugins").mkdir()
    for name in ("one", "two", "bot_source", "_private", ".hidden"):
        (tmp_path / f"plugins/{name}.py").write_text(PLUGIN % name)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/named_two.py").write_text(PLUGIN % "module")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    fleet = fleet_of(tmp_path, '[fleet]\nplugin_modules = ["named_two"]\ndisabled_plugins = ["one"]\n')
    plugins = load_plugins(fleet)
    ours = [plugin for plugin in plugins.found if plugin.name in ("bot_source", "named_two", "one", "two")]
    found = [(plugin.name, plugin.origin.place, list(plugin.hooks), plugin.error) for plugin in ours]
    assert found == [
        ("bot_source", "trioworkers", ["trioworkers_bots"], None),
        ("named_two", "named_two", ["trioworkers_bots"], None),
        ("two", str(tmp_path / "plugins/two.py"), ["trioworkers_bots"], None),
    ]
    answer = await ours[-1].call("trioworkers_bots", 5, fleet=fleet)
    assert answer.keys() == {"from_two"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module_of_anybody", ": there is no module no_such_module_of_anybody"),
        ("raise ValueError('1:zeisig')", "importing it raised ValueError at "),
        ("def f(:", "importing it raised SyntaxError at "),
        (PLUGIN.replace("trioworkers_bots", "trioworkers_bot"), "unknown hook 'trioworkers_bot' in plugin"),
        (PLUGIN.replace("(fleet)", "(fleets)"), "hook 'trioworkers_bots'"),
        ("import sys; sys.exit(3)", "importing it raised SystemExit at "),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_left_out(tmp_path, text, reason):
    """With the reason by type and place, a misspelt hook or argument included; the others are loaded."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/a_bad.py").write_text(text.replace("%s", "x"))
    (tmp_path / "plugins/b_good.py").write_text(PLUGIN % "x")
    fleet = fleet_of(tmp_path)
    plugins = load_plugins(fleet)
    found = {plugin.name: plugin for plugin in plugins.found}
    assert reason in (found["a_bad"].error or "")
    assert "zeisig" not in str(found)
    assert found["b_good"].error is None
    names = [plugin.name for plugin in plugins.implementing("trioworkers_bots")]
    assert names[-1] == "b_good"
    assert "a_bad" not in names


HEARS = """
from trioworkers import hears, hookimpl

@hookimpl
@hears(%s)
def trioworkers_event(event):
    pass
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEARS % "least='warning'", "@hears: least is 'warning', expected one of debug, info, warn, error"),
        (HEARS % "events={'update.dnoe'}", "@hears: unknown event 'update.dnoe', did you mean update.done"),
        (HEARS % "events={'bot.failed'}, capacity=0", "@hears: capacity is 0, expected at least 1"),
        ("class Settings: pass", "Settings is not a subclass of PluginSettings"),
        ("Settings = 5", "Settings is not a subclass of PluginSettings"),
        (
            "from trioworkers.plugin_settings import PluginSettings\n"
            "class Thing: pass\n"
            "class Settings(PluginSettings):\n    thing: Thing = Thing()",
            "Settings cannot be described as a table: ",
        ),
    ],
)
def test_what_a_plugin_declares_wrongly_is_found_when_it_is_loaded(tmp_path, text, reason):
    """Not by the daemon's loop later: there it would end the daemon."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/bad.py").write_text(text)
    (bad,) = [one for one in load_plugins(fleet_of(tmp_path)).found if one.name == "bad"]
    assert (bad.error or "").startswith(reason)
    assert not bad.is_active


ASYNC, PLAIN = "is an async function, expected a plain one", "is a plain function, expected an async one"


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (
            "async def trioworkers_route(update)",
            ASYNC,
        ),
        (
            "async def trioworkers_status(bot)",
            ASYNC,
        ),
        ("async def trioworkers_web(app)", ASYNC),
        ("async def trioworkers_cli(cli)", ASYNC),
        ("def trioworkers_serve()", PLAIN),
    ],
)
def test_a_hook_of_the_wrong_kind_is_left_out(tmp_path, declaration, reason):
    """A coroutine that nobody awaits would do nothing, and a plain service would hold the loop."""
    (tmp_path / "plugins").mkdir()
    text = f"from trioworkers import hookimpl\n@hookimpl\n{declaration}:\n    pass\n"
    (tmp_path / "plugins/bad.py").write_text(text)
    (bad,) = [one for one in load_plugins(fleet_of(tmp_path)).found if one.name == "bad"]
    assert (bad.error or "").endswith(reason)


def test_a_generator_and_a_wrapper_are_no_hooks(tmp_path):
    """Neither is called to its end: what they would answer is nothing."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/generator.py").write_text(
        "from trioworkers import hookimpl\n@hookimpl\ndef trioworkers_accept(update):\n    yield\n"
    )
    (tmp_path / "plugins/wrapper.py").write_text(
        "from trioworkers import hookimpl\n@hookimpl(wrapper=True)\ndef trioworkers_accept(update):\n"
        "    return (yield)\n"
    )
    errors = {one.name: one.error for one in load_plugins(fleet_of(tmp_path)).found if one.error}
    assert (
        errors["generator"] == "trioworkers_accept is a generator function, expected a function that returns"
    )
    assert errors["wrapper"] == "trioworkers_accept is a wrapper, expected a plain hook"


def test_changed_settings_switch_a_plugin_on_again(tmp_path):
    """The same settings do not."""
    plugins = plugins_of(one=lambda: {})
    (plugin,) = plugins.found
    for text, is_active in (("", False), ("[plugins.one]\nword = 5\n", True)):
        plugin.switch_off("a test")
        fleet = fleet_of(tmp_path, text)
        assert plugins.retune(fleet, plugins.validated(fleet)) is is_active
        assert plugin.is_active is is_active


def test_the_settings_that_workers_get_are_json_without_secrets(tmp_path):
    """They are sent to every worker, and a handler can read them there."""

    class Settings(PluginSettings):
        key: Secret = live(REQUIRED, "a key")
        folder: Path = live(Path("x"), "a folder")

    plugins = Plugins()
    plugins.add("one", SimpleNamespace(Settings=Settings), Origin("a test"))
    fleet = fleet_of(tmp_path, '[plugins.one]\nkey = "zeisig"\n')
    plugins.retune(fleet, plugins.validated(fleet))
    (plugin,) = plugins.found
    assert plugin.settings.key.reveal() == "zeisig"
    told = json.dumps(plugin.worker_settings)
    assert "zeisig" not in told
    assert json.loads(told)["folder"] == "x"


def test_a_plugins_log_keeps_its_own_words():
    """Fields of the names that each line has are replaced, not an error of the plugin."""
    told: list[Any] = []
    plugins = plugins_of(one=lambda: {})
    (plugin,) = plugins.found
    plugin.connect(Events(told.append), None)
    plugin.log.warning("words", level="debug", plugin="other", says="others", bot="echo", count=3)
    (event,) = told
    assert (event.event, event.level, event.bot) == ("plugin.log", "warn", "echo")
    assert event.fields == {"plugin": "one", "says": "words", "count": 3}


def test_a_validator_that_raises_is_a_problem_of_the_table(tmp_path):
    """With the table's place, by type and place of the exception, without its words."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/bad.py").write_text(
        "from pydantic import field_validator\n"
        "from trioworkers.plugin_settings import PluginSettings, live\n"
        "class Settings(PluginSettings):\n"
        "    word: str = live('good', 'a word')\n"
        "    @field_validator('word')\n"
        "    @classmethod\n"
        "    def check(cls, word):\n"
        "        return {'good': word}[word]\n"
    )
    plugins = load_plugins(fleet_of(tmp_path))
    fleet = fleet_of(tmp_path, '[plugins.bad]\nword = "zeisig"\n')
    with pytest.raises(FleetFileError) as caught:
        plugins.validated(fleet)
    (problem,) = map(str, caught.value.problems)
    assert "fleet.toml:1:" in problem
    assert "plugins.bad: its Settings raised KeyError at " in problem
    assert "zeisig" not in problem


def test_settings_that_no_worker_can_be_given_are_the_plugins_failure():
    """The worker starts without the plugin, and gets the others."""

    def trioworkers_worker_start(bot):
        pass

    def in_workers(settings):
        raise SystemExit("zeisig")

    told: list[Any] = []
    plugins = Plugins()
    hook = hookimpl(trioworkers_worker_start)
    plugins.add("bad", SimpleNamespace(trioworkers_worker_start=hook, in_workers=in_workers), Origin("test"))
    plugins.add("good", SimpleNamespace(trioworkers_worker_start=hook), Origin("test"))
    for plugin in plugins.found:
        plugin.connect(Events(told.append), None)
    assert [one.name for one in plugins.for_workers()] == ["good"]
    (failed,) = told
    assert failed.event == "plugin.failed"
    assert "SystemExit at " in failed.fields["reason"]
    assert "zeisig" not in str(failed)
    for _ in range(4):
        plugins.for_workers()
    assert [one.state for one in plugins.found] == ["off", "active"]


async def test_a_plain_hook_that_hangs_has_one_thread():
    """Each further call is late in its turn, so hanging calls take no threads from the daemon."""
    release = threading.Event()
    calls = []

    def hangs():
        calls.append(threading.get_ident())
        release.wait(60)
        return {}

    plugins = plugins_of(hangs=hangs)
    for _ in range(3):
        with pytest.raises(PluginError, match="took longer"):
            await called(plugins, "hangs", 0.05, None)
    assert len(calls) == 1
    release.set()
    assert await called(plugins, "hangs", 60, None) == {}


async def test_a_plain_hook_runs_beside_the_loop():
    """It takes what it names of the arguments, here nothing; what it raises is named by type and place."""

    def plain():
        return {"on the loop": threading.current_thread() is threading.main_thread()}

    def raises(fleet):
        raise RuntimeError("1:zeisig-zeisig")

    plugins = plugins_of(plain=plain, raises=raises)
    assert await called(plugins, "plain", 60, None) == {"on the loop": False}
    reason = r"^raises: trioworkers_bots raised RuntimeError at .*test_plugins\.py:\d+$"
    with pytest.raises(PluginError, match=reason):
        await called(plugins, "raises", 60, None)


async def test_an_async_hook_has_a_time_limit(autojump_clock):
    """It runs on the loop; what is late is ended and told."""

    async def slow(fleet):
        await trio.sleep(fleet)
        return {"slept": fleet}

    plugins = plugins_of(slow=slow)
    assert await called(plugins, "slow", 9, 7) == {"slept": 7}
    with pytest.raises(PluginError, match=r"^slow: trioworkers_bots took longer than 9 s$"):
        await called(plugins, "slow", 9, 10)
    assert trio.current_time() == 16


FLEET: Any = SimpleNamespace(plugins={}, for_plugin=lambda name: None)


class Talk:
    """A plugin whose answers are given beforehand; the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked: list[float] = []

    async def __call__(self, fleet):
        self.asked.append(trio.current_time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def plugin(self):
        async def bots(fleet):
            return await self(fleet)

        return bots


def sources_of(told, **talks):
    return Sources(
        plugins_of(**{name: talk.plugin() for name, talk in talks.items()}),
        Events(lambda event: told.append((event.fields["plugin"], event.fields["reason"]))),
    )


@pytest.mark.parametrize("nonsense", [None, [1], {5: {}}, ValueError("1:zeisig"), "zeisig"])
async def test_the_last_good_answer_stays(autojump_clock, nonsense):
    """A plugin that fails, or answers with something else than tables, takes nothing away."""
    told: list[Any] = []
    sources = sources_of(told, one=Talk({"a": {}}, nonsense), two=Talk({"b": {}}))
    for _ in range(3):
        await sources.ask(FLEET)
        assert sources.tables == {"one": {"a": {}}, "two": {"b": {}}}
    assert [plugin for plugin, _ in told] == ["one"]
    assert "zeisig" not in str(told)


async def test_a_source_is_asked_as_often_as_it_likes(autojump_clock):
    """`changed` is called for another answer only; a failed one is asked again after half a minute."""
    told: list[Any] = []
    talk = Talk(Bots({"a": 1}, 10), Bots({"a": 1}, 10, ("late",)), ValueError(), Bots({"b": 1}, None))
    once = Talk({})
    sources = sources_of(told, talk=talk, once=once)
    await sources.ask(FLEET)
    applied = [dict(sources.tables)]
    called = []

    async def changed():
        applied.append(dict(sources.tables))
        called.append((trio.current_time(), applied[-1]))

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda **started: sources.serve(lambda: FLEET, changed, lambda: applied[-1], **started)
        )
        await trio.sleep(1000)
        assert talk.asked == [0, 10, 20, 50]
        assert once.asked == [0]
        assert called == [(50, {"talk": {"b": 1}, "once": {}})]
        assert told[0] == ("talk", "late")
        talk.answers = [Bots({"b": 2}, 5), Bots({"b": 3}, None)]
        await sources.ask(FLEET)  # a dry run asks everybody, too, and applies nothing
        await trio.sleep(1000)
        assert talk.asked[4:] == [1000, 1005]
        assert called[1:] == [(1005, {"talk": {"b": 3}, "once": {}})]
        nursery.cancel_scope.cancel()


async def test_no_plugin_is_asked_without_a_pause(autojump_clock):
    """Whatever it says, a second lies between."""
    talk = Talk(Bots({}, 0))
    sources = sources_of([], talk=talk)
    await sources.ask(FLEET)
    applied = dict(sources.tables)

    async def never():
        raise AssertionError

    with trio.move_on_after(3.5):
        await sources.serve(lambda: FLEET, never, lambda: applied)
    assert talk.asked == [0, 1, 2, 3]


def hook_names():
    return {name for hooks in (Hooks, WorkerHooks) for name in vars(hooks) if name.startswith("trioworkers_")}


def test_every_hook_is_documented():
    """When it is called, where it runs, what its return does, what happens on errors, each argument."""
    for hooks in (Hooks, WorkerHooks):
        for name, hook in vars(hooks).items():
            if name.startswith("trioworkers_"):
                text = inspect.getdoc(hook)
                assert text is not None
                for part in ("When: ", "Where: ", "Effect: ", "Errors: ", "Args:"):
                    assert f"\n{part}" in text, (name, part)
                for argument in list(inspect.signature(hook).parameters)[1:]:
                    assert f"    {argument}: " in text, (name, argument)


def test_every_hook_is_used_and_tested(tmp_path):
    """No hook without a built-in plugin that uses it, and a test that names it."""
    plugins = load_plugins(fleet_of(tmp_path))
    ours = [plugin for plugin in plugins.found if plugin.origin.place == "trioworkers"]
    used = {hook for plugin in ours for hook in plugin.hooks}
    for plugin in ours:
        if plugin.worker is not None:
            used |= hook_names() & set(vars(importlib.import_module(plugin.worker)))
    assert hook_names() == used
    texts = [path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py")]
    assert [hook for hook in hook_names() if not any(hook in text for text in texts)] == []


def test_a_source_of_bots_is_given_no_secret(tmp_path):
    """No bot, no token of the API or of webhooks, no address of a store, no other plugin's table."""
    fleet = fleet_of(
        tmp_path,
        """
[api]
token = "zeisig-api"
[webhook]
secret = "zeisig-hook"
[store]
url = "postgresql://user:zeisig@host/db"
[plugins.other]
key = "zeisig-other"
[plugins.mine]
key = "mine"
[bots.echo]
token = "1:zeisig"
handler = "echo:handle"
""",
    )
    given = fleet.for_plugin("mine")
    assert given.plugins == {"mine": {"key": "mine"}}
    assert given.bots == {}
    assert "zeisig" not in repr(given)
    secrets = (given.api.token, given.webhook.secret, given.store.url)
    assert "zeisig" not in str([secret and str(secret) for secret in secrets])
    assert secrets == (None, None, "postgresql")
    assert given.state_dir == fleet.state_dir
