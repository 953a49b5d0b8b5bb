"""Plugins in a worker: their hooks around its life and each handling, guarded so that no update suffers."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import trio
import trio.testing
from test_worker_process import Daemon, deliver, tuning  # type: ignore[import-not-found] # it lies beside

from trioworkers.errors import Retry
from trioworkers.handling.log import BotLog
from trioworkers.protocol.frames import Configure, Fence, Heartbeat, Outcome, WorkerPlugin
from trioworkers.worker.handler import Handler
from trioworkers.worker.plugins import LIMIT, MOST_FAILURES, WorkerPlugins
from trioworkers.worker.process import Worker

HEAD = "import trio, time\nfrom trioworkers import hookimpl\nSEEN = []\n"
NOTES = HEAD + (
    "@hookimpl\n"
    "async def trioworkers_worker_start(bot, plugin): SEEN.append(('start', bot.name, plugin.settings))\n"
    "@hookimpl\n"
    "def trioworkers_worker_stop(bot): SEEN.append(('stop',))\n"
    "@hookimpl\n"
    "def trioworkers_before_handle(update, plugin): SEEN.append(('before', update.text, plugin.settings))\n"
    "@hookimpl\n"
    "async def trioworkers_after_handle(bot, update, outcome):\n"
    "    await trio.lowlevel.checkpoint()\n"
    "    SEEN.append(('after', update.text, outcome))\n"
)


class Scene:
    """A worker with plugins that are files in a folder, and the lines of its log."""

    def __init__(self, nursery: Any, folder: Any) -> None:
        self.daemon = Daemon(nursery)
        self.folder = folder
        self.lines: list[Any] = []
        self.plugins: list[WorkerPlugin] = []
        self.log = BotLog("info", lambda line: self.lines.append(json.loads(line)), bot="echo")

    def plugin(self, name: str, source: str, settings: Any = None) -> None:
        path = self.folder / f"{name}.py"
        path.write_text(source)
        self.plugins.append(WorkerPlugin(name, None, str(path), settings or {}))

    def start(self, handle: Any, start: Any = None, stop: Any = None) -> None:
        configure = Configure("echo", 42, "42:x", "http://x", "h:h", [], 4, tuning({}), plugins=self.plugins)
        handler = Handler(handle, start, stop, None, "c0de")
        self.loaded = WorkerPlugins(self.plugins, self.log)
        worker = Worker(configure, handler, self.daemon.theirs, None, None, self.loaded)  # type: ignore[arg-type]

        async def run():
            self.daemon.code = await worker.run([])
            self.daemon.theirs.close()

        self.daemon.nursery.start_soon(run)

    def seen(self, name: str) -> list[Any]:
        return list(sys.modules[f"trioworkers_plugin_{name}"].SEEN)

    def failures(self) -> list[Any]:
        return [(line["plugin"], line.get("hook", ""), line["error"]) for line in self.lines]


@pytest.fixture
async def scene(nursery, tmp_path):
    before = set(sys.modules)
    scene = Scene(nursery, tmp_path)
    yield scene
    nursery.cancel_scope.cancel()
    scene.daemon.channel.close()
    scene.daemon.theirs.close()
    for name in set(sys.modules) - before:
        if name.startswith("trioworkers_plugin_"):
            del sys.modules[name]


async def quiet(update, bot):
    if update.text == "again":
        raise Retry
    await trio.sleep(1)


async def test_hooks_stand_around_the_workers_life_and_each_handling(scene, autojump_clock):
    """Before the handler's start and after its stop; with the settings in force, and the outcome."""
    order: list[str] = []

    async def start(bot):
        order.append(f"start after {len(scene.seen('notes'))}")

    async def stop(bot):
        order.append(f"stop after {len(scene.seen('notes'))}")

    scene.plugin("notes", NOTES, {"a": 1})
    scene.start(quiet, start, stop)
    scene.daemon.channel.send(deliver(1, "x"))
    await trio.sleep(2)
    changed = tuning({})
    scene.daemon.channel.send(type(changed)({}, 10.0, 60.0, 60.0, "error", {"notes": {"a": 2}}))
    scene.daemon.channel.send(deliver(2, "again"))
    outcomes = await scene.daemon.end()
    assert [outcome.result for outcome in outcomes] == ["done", "retry"]
    assert scene.seen("notes") == [
        ("start", "echo", {"a": 1}),
        ("before", "x", {"a": 1}),
        ("after", "x", "done"),
        ("before", "again", {"a": 2}),
        ("after", "again", "retry"),
        ("stop",),
    ]
    assert order == ["start after 1", "stop after 5"]


async def test_a_plugin_that_has_gone_is_not_called(scene, autojump_clock):
    """Its table was removed, or it is switched off; it may come back."""
    scene.plugin("notes", NOTES)
    scene.start(quiet)
    tables: list[dict[str, Any]] = [{"notes": {}}, {}, {"notes": {}}]
    for number, settings in enumerate(tables, start=1):
        scene.daemon.channel.send(type(tuning({}))({}, 10.0, 60.0, 60.0, "error", settings))
        scene.daemon.channel.send(deliver(number, str(number)))
        await trio.sleep(2)
    await scene.daemon.end()
    assert [words[1] for words in scene.seen("notes") if words[0] == "before"] == ["1", "3"]


async def test_tryfirst_and_trylast_order_the_plugins(scene, autojump_clock):
    """One after the other, as pluggy calls hooks."""
    for name, how in (("last", "trylast=True"), ("first", "tryfirst=True"), ("amid", "")):
        scene.plugin(
            name,
            f"import builtins\nfrom trioworkers import hookimpl\n@hookimpl({how})\n"
            "async def trioworkers_before_handle(bot, plugin):\n"
            "    bot.settings['order'].append(plugin.name)\n",
        )
    scene.start(quiet)
    bot: Any = type("Bot", (), {"settings": {"order": []}})()
    await scene.loaded.before(bot, None)
    await scene.daemon.end()
    assert bot.settings["order"] == ["first", "amid", "last"]


BREAKS = {
    "raises": ("raise ValueError(update.text)", "raised ValueError at bad.py:5 in trioworkers_before_handle"),
    "exits": ("raise SystemExit", "raised SystemExit at bad.py:5 in trioworkers_before_handle"),
    "hangs": ("await trio.sleep(1e6)", f"took longer than {LIMIT:g} s"),
    "fails as it is cancelled": (
        "\n    try: await trio.sleep(1e6)\n    finally: raise KeyError",
        "raised KeyError at bad.py:7 in trioworkers_before_handle",
    ),
    "decides": (
        "from trioworkers import Dead; raise Dead(update.text)",
        "raised Dead at bad.py:5 in trioworkers_before_handle",
    ),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_a_hook_that_breaks_changes_nothing_of_the_handling(scene, autojump_clock, how):
    """It is logged without its words, the next plugin is called, and after five failures it is off."""
    source, problem = BREAKS[how]
    scene.plugin("notes", NOTES)
    scene.plugin("bad", HEAD + f"@hookimpl\nasync def trioworkers_before_handle(update): {source}\n")
    scene.start(quiet)
    for number in range(MOST_FAILURES + 2):
        scene.daemon.channel.send(deliver(number, "secret"))
        await trio.sleep(LIMIT + 2)
    outcomes = await scene.daemon.end()
    assert [outcome.result for outcome in outcomes] == ["done"] * (MOST_FAILURES + 2)
    assert [error[:2] for error in scene.failures()] == [("bad", "trioworkers_before_handle")] * MOST_FAILURES
    assert scene.failures()[0][2].startswith(problem[:40])
    assert [line["off"] for line in scene.lines] == [False] * (MOST_FAILURES - 1) + [True]
    assert "secret" not in json.dumps(scene.lines)
    assert len([one for one in scene.seen("notes") if one[0] == "before"]) == MOST_FAILURES + 2


async def test_a_success_between_failures_keeps_a_plugin_on(scene, autojump_clock):
    """Only failures in a row count."""
    source = (
        "@hookimpl\ndef trioworkers_after_handle(update):\n"
        "    SEEN.append(1)\n    if update.text == 'bad': raise ValueError\n"
    )
    scene.plugin("moody", HEAD + source)
    scene.start(quiet)
    for number in range(20):
        scene.daemon.channel.send(deliver(number, "good" if number % 4 == 0 else "bad"))
        await trio.sleep(2)
    await scene.daemon.end()
    assert len(scene.seen("moody")) == 20
    counts = scene.loaded.take_counts()
    heard = [count for frame in scene.daemon.frames if isinstance(frame, Heartbeat) for count in frame.hooks]
    assert {count.plugin for count in [*heard, *counts]} == {"moody"}
    assert sum(count.calls for count in [*heard, *counts]) == 20
    assert sum(count.failures for count in [*heard, *counts]) == 15
    assert scene.loaded.take_counts() == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_of_this_name", "importing it raised ModuleNotFoundError"),
        ("raise SystemExit", "importing it raised SystemExit"),
        ("x = (", "importing it raised SyntaxError"),
        (HEAD + "@hookimpl\ndef trioworkers_before_handel(bot): ...", "unknown hook"),
        (HEAD + "@hookimpl\ndef trioworkers_before_handle(bot, nobody): ...", "Plugin 'bad'"),
    ],
)
async def test_a_plugin_that_cannot_be_loaded_is_left_out(scene, autojump_clock, source, problem):
    """The worker is fit all the same, and the other plugins work."""
    scene.plugin("bad", source)
    scene.plugin("notes", NOTES)
    scene.start(quiet)
    scene.daemon.channel.send(deliver(1))
    assert [outcome.result for outcome in await scene.daemon.end()] == ["done"]
    ((name, _, error),) = scene.failures()
    assert name == "bad"
    assert problem in error
    assert len(scene.seen("notes")) == 4


async def test_hooks_of_the_daemon_are_none_of_a_workers_business(scene, autojump_clock):
    """A file may have both; without any around handlings, these cost a question."""
    scene.plugin(
        "both",
        HEAD + "@hookimpl\ndef trioworkers_accept(bot, update): SEEN.append(1)\n"
        "@hookimpl\ndef trioworkers_worker_start(bot): SEEN.append(2)\n",
    )
    scene.start(quiet)
    scene.daemon.channel.send(deliver(1))
    await scene.daemon.end()
    assert scene.seen("both") == [2]
    assert not scene.loaded.surround_handlings
    assert scene.lines == []


@pytest.mark.parametrize("hook", ["before", "after"])
async def test_a_fence_waits_for_no_hook(scene, autojump_clock, hook):
    """It is cancelled with its handling; what had its outcome keeps it."""
    scene.plugin("slow", HEAD + f"@hookimpl\nasync def trioworkers_{hook}_handle(bot): await trio.sleep(4)\n")

    async def at_once(update, bot): ...

    scene.start(at_once)
    scene.daemon.channel.send(deliver(1))
    await trio.sleep(1)
    scene.daemon.channel.send(Fence(1, [1]))
    await trio.sleep(0.5)
    results = [frame.result for frame in scene.daemon.frames if isinstance(frame, Outcome)]
    assert results == ["fenced" if hook == "before" else "done"]
    await scene.daemon.end()
    assert scene.lines == []
