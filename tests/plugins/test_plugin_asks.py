"""What functions of plugins answer, the bots that they are given, and the daemon as plugins see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from trioworkers.botapi.client import Waits
from trioworkers.config import FleetInForce, load_fleet
from trioworkers.config.settings import RateLimit
from trioworkers.plugins import PluginError
from trioworkers.plugins.asks import Asks
from trioworkers.plugins.facade import DaemonFacade, PluginLogFile
from trioworkers.ratelimit.pace import Paces

ONE: Any = SimpleNamespace(name="one", store=object())
OTHER: Any = SimpleNamespace(name="other", store=object())


class Scene:
    """A fleet whose file changes."""

    def __init__(self, folder):
        self._folder = folder
        self.in_force = FleetInForce(self.read(a="1:zeisig", b="2:zeisig"))
        self.asks = Asks(self.in_force)

    def read(self, **tokens):
        tables = [f'[bots.{name}]\ntoken = "{token}"\nhandler = "x:y"\n' for name, token in tokens.items()]
        (self._folder / "fleet.toml").write_text("".join(tables))
        return load_fleet(self._folder / "fleet.toml", {})

    def change(self, **tokens):
        self.in_force.change(self.read(**tokens))

    def client(self, bot, plugin=ONE):
        return self.asks.bot(plugin, bot)._api


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


@pytest.fixture
def closed(monkeypatch):
    """The clients that were closed."""
    found: list[Any] = []
    monkeypatch.setattr("trioworkers.plugins.asks.BotApi.close", lambda client: found.append(client))
    return found


async def test_a_question_is_answered_by_the_plugin_that_does_so_now(scene):
    """With the bot of that plugin; before and afterwards nobody answers, and no two do at a time."""

    async def answer(bot, params):
        return [bot.name, bot.store is ONE.store, params]

    async def ask():
        return await scene.asks.ask("a", "handoff", {"chat_id": 5})

    with pytest.raises(PluginError, match="no plugin answers handoff now"):
        await ask()
    with scene.asks.answered(ONE, "handoff", answer):
        assert await ask() == ["a", True, {"chat_id": 5}]
        with pytest.raises(ValueError, match="handoff is answered by the plugin one"):
            scene.asks.answered(OTHER, "handoff", answer).__enter__()
        with pytest.raises(PluginError, match="there is no bot c"):
            await scene.asks.ask("c", "handoff", {})
    with pytest.raises(PluginError, match="no plugin answers"):
        await ask()
    with scene.asks.answered(OTHER, "handoff", answer):
        assert (await ask())[1] is False


async def test_a_bot_has_one_client_until_its_token_changes(scene, closed):
    """All plugins share it; the client of the old token is closed."""
    first = scene.client("a")
    assert scene.client("a", OTHER) is first
    scene.change(a="1:other", b="2:zeisig")
    assert scene.client("a") is not first
    assert closed == [first]
    scene.asks.close()
    assert len(closed) == 2


async def test_what_plugins_send_waits_for_the_bots_turns(scene, nursery):
    """A plugin's messages come out of the same bucket as the worker's; without a limit they do not wait."""
    paces = Paces()
    nursery.start_soon(paces.serve)
    await trio.testing.wait_all_tasks_blocked()
    asks = Asks(scene.in_force, paces=paces)
    paces.of(1).tune(RateLimit(per_second=1))
    said = "sendMessage", {"chat_id": 5}, Waits()
    assert asks.bot(ONE, "a")._api.turn(*said) is not None
    assert asks.bot(ONE, "b")._api.turn(*said) is None
    assert scene.client("a").turn(*said) is None


async def test_the_clients_of_removed_bots_are_closed(scene, closed):
    """A fleet whose bots come and go keeps no connections and no tokens of those that have gone."""
    gone = scene.client("a")
    scene.change(b="2:zeisig")
    scene.client("b")
    assert closed == [gone]
    with pytest.raises(KeyError):
        scene.asks.bot(ONE, "a")


def facade(plugin, **access):
    given: Any = SimpleNamespace(**access)
    return DaemonFacade(given, plugin)


async def test_a_plugin_is_told_which_bots_run_here_and_calls_by_all_of_the_fleet(scene):
    """In a cluster another daemon runs some; a bot that the fleet does not have is nobody's."""
    fleet = SimpleNamespace(get_bots=lambda: {"a": None})
    bots = {name: SimpleNamespace(bot_id=number) for number, name in enumerate("ab", 1)}
    daemon = facade(
        ONE, fleet=fleet, asks=scene.asks, in_force=lambda: SimpleNamespace(bots=bots), nodes=None
    )
    assert daemon.bot_names() == ["a"]
    assert daemon.fleet_bots() == {"a": 1, "b": 2}
    assert daemon.bot("a").name == "a"
    assert daemon.nodes.is_alone
    with pytest.raises(KeyError):
        daemon.bot("unknown")


async def test_a_fence_spares_the_functions_of_the_plugin_that_asks():
    """Its own may be what asks; all others are cut off."""
    spared = []

    async def fence(bot, chat_id, epoch, is_spared):
        runs = [SimpleNamespace(plugin=ONE), SimpleNamespace(plugin=OTHER), SimpleNamespace()]
        spared.append((bot, chat_id, epoch, [is_spared(run) for run in runs]))

    await facade(ONE, fleet=SimpleNamespace(fence=fence)).fence("a", 5, 3)
    assert spared == [("a", 5, 3, [True, False, False])]


@pytest.mark.parametrize(("inside", "written"), [(False, b"line\n"), (True, b"\nline\n")])
def test_a_plugins_log_begins_a_line_of_its_own(inside, written):
    """Also after one that a full disk cut off."""
    found = []

    def append(data):
        found.append(data)
        return len(data)

    file: Any = SimpleNamespace(inside=inside, append=append)
    assert PluginLogFile(file).append(b"line\n")
    assert found == [written]
    file.append = lambda data: len(data) - 1
    assert not PluginLogFile(file).append(b"line\n")
