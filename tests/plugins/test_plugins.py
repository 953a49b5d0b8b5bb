"""Plugins are found, loaded and called; what one of them does wrong stays its own."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from trioworkers import hookimpl
from trioworkers.config import load_fleet
from trioworkers.events import Events
from trioworkers.hookspecs import Bots, Hooks
from trioworkers.plugins import PluginError, Plugins, load_plugins
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
        plugins.add(name, with_bots(function), "a test")
    return plugins


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
    assert [(plugin.name, plugin.origin, plugin.hooks, plugin.error) for plugin in ours] == [
        ("bot_source", "trioworkers 0.1.0", ("trioworkers_bots",), None),
        ("named_two", "named_two", ("trioworkers_bots",), None),
        ("two", str(tmp_path / "plugins/two.py"), ("trioworkers_bots",), None),
    ]
    answer = await plugins.call("two", "trioworkers_bots", 5, fleet=fleet)
    assert answer.keys() == {"from_two"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module_of_anybody", "importing it raised ModuleNotFoundError at "),
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
    assert plugins.implementing("trioworkers_bots")[-1] == "b_good"
    assert "a_bad" not in plugins.implementing("trioworkers_bots")


async def test_a_plain_hook_runs_beside_the_loop():
    """It takes what it names of the arguments, here nothing; what it raises is named by type and place."""

    def plain():
        return {"on the loop": threading.current_thread() is threading.main_thread()}

    def raises(fleet):
        raise RuntimeError("1:zeisig-zeisig")

    plugins = plugins_of(plain=plain, raises=raises)
    assert await plugins.call("plain", "trioworkers_bots", 60, fleet=None) == {"on the loop": False}
    reason = r"^raises: trioworkers_bots raised RuntimeError at .*test_plugins\.py:\d+$"
    with pytest.raises(PluginError, match=reason):
        await plugins.call("raises", "trioworkers_bots", 60, fleet=None)


async def test_an_async_hook_has_a_time_limit(autojump_clock):
    """It runs on the loop; what is late is ended and told."""

    async def slow(fleet):
        await trio.sleep(fleet)
        return {"slept": fleet}

    plugins = plugins_of(slow=slow)
    assert await plugins.call("slow", "trioworkers_bots", 9, fleet=7) == {"slept": 7}
    with pytest.raises(PluginError, match=r"^slow: trioworkers_bots took longer than 9 s$"):
        await plugins.call("slow", "trioworkers_bots", 9, fleet=10)
    assert trio.current_time() == 16


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
        await sources.ask(None)
        assert sources.tables == {"one": {"a": {}}, "two": {"b": {}}}
    assert [plugin for plugin, _ in told] == ["one"]
    assert "zeisig" not in str(told)


async def test_a_source_is_asked_as_often_as_it_likes(autojump_clock):
    """`changed` is called for another answer only; a failed one is asked again after half a minute."""
    told: list[Any] = []
    talk = Talk(Bots({"a": 1}, 10), Bots({"a": 1}, 10, ("late",)), ValueError(), Bots({"b": 1}, None))
    once = Talk({})
    sources = sources_of(told, talk=talk, once=once)
    await sources.ask(None)
    applied = dict(sources.tables)
    called = []

    async def changed():
        nonlocal applied
        applied = dict(sources.tables)
        called.append((trio.current_time(), applied))

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda **started: sources.serve(lambda: None, changed, lambda: applied, **started)
        )
        await trio.sleep(1000)
        assert talk.asked == [0, 10, 20, 50]
        assert once.asked == [0]
        assert called == [(50, {"talk": {"b": 1}, "once": {}})]
        assert told[0] == ("talk", "late")
        talk.answers = [Bots({"b": 2}, 5), Bots({"b": 3}, None)]
        await sources.ask(None)  # a dry run asks everybody, too, and applies nothing
        await trio.sleep(1000)
        assert talk.asked[4:] == [1000, 1005]
        assert called[1:] == [(1005, {"talk": {"b": 3}, "once": {}})]
        nursery.cancel_scope.cancel()


async def test_no_plugin_is_asked_without_a_pause(autojump_clock):
    """Whatever it says, a second lies between."""
    talk = Talk(Bots({}, 0))
    sources = sources_of([], talk=talk)
    await sources.ask(None)

    async def never():
        raise AssertionError

    with trio.move_on_after(3.5):
        await sources.serve(lambda: None, never, lambda: {"talk": {}})
    assert talk.asked == [0, 1, 2, 3]


def test_every_hook_is_used_and_documented(tmp_path):
    """No hook without a built-in plugin that uses it, and an example in docs/changing.md."""
    plugins = load_plugins(fleet_of(tmp_path))
    used = {
        hook for plugin in plugins.found if plugin.origin.startswith("trioworkers ") for hook in plugin.hooks
    }
    hooks = {name for name in vars(Hooks) if name.startswith("trioworkers_")}
    assert hooks == used
    page = (Path(__file__).parents[2] / "docs/changing.md").read_text()
    assert [hook for hook in hooks if f"def {hook}(" not in page] == []
