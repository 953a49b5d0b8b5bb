"""The service around the book: lost events, a store that fails, a chat that cannot be reached."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from trioworkers_plugins.alerts import Settings
from trioworkers_plugins.alerts.service import AlertService

from trioworkers import BotApiError, TransportError
from trioworkers.events import Events


class Store:
    def __init__(self):
        self.values: dict[str, Any] = {}
        self.fails = False

    async def get(self, key):
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise OSError
        return self.values.get(key)

    async def set(self, key, value):
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise OSError
        self.values[key] = value


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, says, /, **fields):
        self.lines.append((says, fields))

    error = warning


class OpsBot:
    """The bot that writes to the chat."""

    def __init__(self):
        self.texts, self.failures = [], []

    async def call(self, method, **params):
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        assert (method, params["chat_id"]) == ("sendMessage", 7)
        self.texts.append(params["text"])


class Daemon:
    """A daemon whose bots are as they are said to be."""

    def __init__(self):
        self.name = "main"
        self.emitted = Events()
        self.ops = OpsBot()
        self.states = {"ops": "running", "shop": "running"}
        self.state = "running"
        self.began = 0.0
        self.capacity = 10_000

    def status(self):
        rows = [{"bot": bot, "state": state, "reason": "x"} for bot, state in self.states.items()]
        fleet = {
            "state": self.state,
            "uptime_ms": (trio.current_time() - self.began) * 1000,
            "config": {"last_reload_ok": True, "error": None},
        }
        return {"fleet": fleet, "workers": rows}

    def plugins(self):
        return [{"name": "alerts", "state": "active"}]

    def bot(self, name):
        return {"ops": self.ops}[name]

    def events(self, least, names, capacity):
        return self.emitted.subscribe(least, min(capacity, self.capacity), frozenset(names))


class Run:
    """Runs of the service, one after the other, with one store."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.daemon = Daemon()
        self.plugin = SimpleNamespace(
            settings=Settings(bot="ops", chat=7, gather=1, window=10), store=Store(), log=Log()
        )
        self.scope = trio.CancelScope()

    async def start(self):
        self.scope = trio.CancelScope()

        async def run():
            with self.scope:
                await AlertService(self.daemon, self.plugin, trio.current_time).serve()  # type: ignore[arg-type]

        self.nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()

    def emit(self, event, bot=None, **fields):
        self.daemon.emitted.emit(event, bot, **fields)

    @property
    def texts(self):
        return [text.splitlines()[0].partition(": ")[2] for text in self.daemon.ops.texts]


@pytest.fixture
def run(nursery):
    return Run(nursery)


async def test_an_event_becomes_a_message(autojump_clock, run):
    """After what `gather` says, and its end after `window`."""
    await run.start()
    run.emit("inbox.full", reason="disk full")
    await trio.sleep(0.9)
    assert run.texts == []
    await trio.sleep(0.2)
    assert run.daemon.ops.texts == ["🔴 main: updates cannot be stored\ndisk full"]
    run.emit("inbox.recovered")
    await trio.sleep(11)
    assert run.texts == ["updates cannot be stored", "over: updates cannot be stored"]


async def test_what_an_event_did_not_tell_the_status_tells(autojump_clock, run):
    """Events that were lost: the queue was full, or they came before the plugin listened."""
    run.daemon.capacity = 1
    await run.start()
    run.daemon.states["shop"] = "failed"
    run.emit("bot.failed", "shop", reason="x")
    run.emit("inbox.recovered")
    await trio.sleep(2)
    assert run.texts == ["bot failed"]
    run.daemon.states["shop"] = "running"
    await trio.sleep(30)
    assert run.texts == ["bot failed", "over: bot failed"]


async def test_a_daemon_that_starts_or_stops_is_not_asked(autojump_clock, run):
    """Its bots are neither failed nor well before they have their verdict."""
    run.daemon.states["shop"] = "failed"
    await run.start()
    await trio.sleep(5)
    run.daemon.state, run.daemon.states["shop"] = "stopping", "stopped"
    await trio.sleep(100)
    assert run.texts == ["bot failed"]


async def test_a_restart_remembers_what_was_told(autojump_clock, run):
    """And tells what is over, though no event said so."""
    await run.start()
    run.daemon.states["shop"] = "failed"
    run.emit("bot.failed", "shop", reason="x")
    await trio.sleep(20)
    run.scope.cancel()
    await trio.sleep(100)
    run.daemon.began = trio.current_time()
    await run.start()
    await trio.sleep(20)
    assert run.texts == ["bot failed"]
    run.scope.cancel()
    run.daemon.states["shop"] = "running"
    await run.start()
    await trio.sleep(20)
    assert run.texts == ["bot failed", "over: bot failed"]


async def test_what_was_not_sent_is_sent_by_the_next_run(autojump_clock, run):
    """The daemon ended while Telegram could not be reached."""
    run.daemon.ops.failures = [TransportError("sendMessage", "down")] * 1000
    await run.start()
    run.emit("inbox.full", reason="x")
    await trio.sleep(20)
    run.scope.cancel()
    run.daemon.ops.failures.clear()
    await run.start()
    await trio.sleep(1)
    assert run.texts == ["updates cannot be stored"]


async def test_a_store_that_fails_stops_no_alert(autojump_clock, run):
    """It is itself what the alert is about; it is logged once, and stored as soon as that works."""
    run.plugin.store.fails = True
    await run.start()
    run.emit("inbox.trouble", reason="disk I/O error")
    await trio.sleep(60)
    assert run.texts == ["updates cannot be stored"]
    says = [says for says, _ in run.plugin.log.lines]
    assert says == ["the alerts of before are not known", "alerts are not stored"]
    run.plugin.store.fails = False
    await trio.sleep(10)
    assert "inbox/" in run.plugin.store.values["state"]["book"]["alerts"]


async def test_a_store_with_something_else_in_it_stops_no_alert(autojump_clock, run):
    """Of an older version, say: alerts begin anew."""
    run.plugin.store.values["state"] = {"book": 7}
    await run.start()
    run.emit("inbox.full", reason="x")
    await trio.sleep(2)
    assert run.texts == ["updates cannot be stored"]


async def test_a_chat_that_refuses_is_given_up(autojump_clock, run):
    """403 and the like stay as they are; the next alert is tried all the same."""
    run.daemon.ops.failures = [BotApiError("sendMessage", 403, "Forbidden: bot was kicked")]
    await run.start()
    run.emit("inbox.full", reason="x")
    await trio.sleep(2)
    run.emit("transport.conflict", "shop", reason="x")
    await trio.sleep(2)
    assert run.texts == ["another program takes the updates"]
    assert run.plugin.log.lines == [
        (
            "alerts were given up",
            {"target": "chat", "reason": "Telegram refused it with 403", "count": 1},
        )
    ]


async def test_a_bot_that_is_not_there_is_waited_for(autojump_clock, run):
    """It may be added by a reload."""
    bot, run.daemon.bot = run.daemon.bot, {}.__getitem__
    await run.start()
    run.emit("inbox.full", reason="x")
    await trio.sleep(2)
    run.daemon.bot = bot
    await trio.sleep(20)
    assert run.texts == ["updates cannot be stored"]


async def test_without_a_url_a_mute_bot_is_logged(autojump_clock, run):
    """Nobody is told, so at least the log has to say so; in time, the chat is."""
    await run.start()
    run.daemon.states["ops"] = "failed"
    run.emit("transport.refused", "ops")
    await trio.sleep(2)
    says = [says for says, _ in run.plugin.log.lines]
    assert "alerts go nowhere: there is no URL" in says
    assert run.texts == []
    run.daemon.states["ops"] = "running"
    run.emit("worker.ready", "ops", pid=1)
    await trio.sleep(20)
    assert run.texts == ["token refused by Telegram", "over: token refused by Telegram"]


async def test_settings_that_change_are_used_at_once(autojump_clock, run):
    """Which alerts are on, and how long they gather."""
    await run.start()
    run.plugin.settings = Settings(bot="ops", chat=7, gather=0, window=0, alerts=("reload_refused",))
    run.emit("inbox.full", reason="x")
    run.emit("reload.refused", problems=["fleet.toml:1:1: x"])
    await trio.sleep(0.1)
    assert run.texts == ["the new settings are refused"]
