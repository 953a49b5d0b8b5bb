"""Plugins that misbehave, in real fleets: bots lose nothing, and the plugin is switched off."""

from __future__ import annotations

import json
import time

import pytest

SECRET = "zeisig"  # in what plugins raise; no log may have it
HEAD = """
import itertools, threading, time

import trio
from trioworkers import hears, hookimpl

ERRORS = itertools.cycle([ValueError, SystemExit])
"""
RAISES_INLINE = """
@hookimpl
def {hook}({arguments}):
    raise next(ERRORS)("zeisig")
"""
RAISES_ASYNC = """
@hookimpl
async def {hook}({arguments}):
    raise next(ERRORS)("zeisig")
"""
BLOCKS = """
@hookimpl
@hears(events={"update.done"})
def trioworkers_event(event):
    time.sleep(10)
"""
WAITS = """
@hookimpl
async def trioworkers_accept(update):
    if update.text == "slow":
        await trio.sleep_forever()
"""
HOLDS = """
@hookimpl
def trioworkers_accept(update):
    if update.text == "hold":
        time.sleep(2.5)
"""
LEAKS_TASKS = """
@hookimpl
@hears(events={"update.done"})
async def trioworkers_event(event):
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
"""
LEAKS_TASKS_IN_ACCEPT = LEAKS_TASKS.replace(
    '@hears(events={"update.done"})\nasync def trioworkers_event(event):',
    "async def trioworkers_accept(update):",
)
LEAKS_THREADS = """
STOP = threading.Event()

@hookimpl
@hears(events={"update.done"})
def trioworkers_event(event):
    for _ in range(20):
        threading.Thread(target=STOP.wait, daemon=True).start()
    raise OSError("zeisig")
"""
LEAKING_SERVICE = """
@hookimpl
async def trioworkers_serve():
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(trio.sleep_forever)
        raise OSError("zeisig")
"""


def tables(**more):
    return {"fleet": {"plugin_modules": ["bad"]}, "bots": {"one": {}, "two": {}}, **more}


def run(run_fleet, source, **more):
    return run_fleet(tables(**more), modules={"bad": HEAD + source})


def converse(fleet, bot, count, first=0):
    """Send so many numbered messages to a bot and hear the answers, in order; return the seconds it took."""
    alice = fleet.user("Alice")
    began = time.monotonic()
    for number in range(first, first + count):
        alice.says(str(number), bot=bot)
    heard = [alice.hears(bot=bot, timeout=30)["text"] for _ in range(count)]
    assert heard == [str(number) for number in range(first, first + count)]
    return time.monotonic() - began


def row_of(fleet):
    (row,) = [row for row in json.loads(fleet.command("plugins", "--json").stdout) if row["name"] == "bad"]
    return row


def is_off(fleet):
    (row,) = [row for row in fleet.ask("GET", "/api/plugins").json()["plugins"] if row["name"] == "bad"]
    return row["state"] == "off"


def assert_nothing_was_lost(fleet):
    """Every update that the bots got is done, and what the plugin raised was told by type and place only."""
    fleet.settled()
    assert not fleet.events("update.dead", "update.dropped", "bot.failed", "worker.exited")
    assert SECRET not in fleet.folder.log.read_text()


ACCEPT, ROUTE = ("trioworkers_accept", "bot, update"), ("trioworkers_route", "bot, update")
EVENT, STATUS = ("trioworkers_event", "event"), ("trioworkers_status", "bot")


@pytest.mark.parametrize(
    ("hook", "template"),
    [
        *((hook, RAISES_INLINE) for hook in (ACCEPT, ROUTE, EVENT, STATUS)),
        *((hook, RAISES_ASYNC) for hook in (ACCEPT, EVENT)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "async" if "async" in value else "plain",
)
def test_a_plugin_that_raises_is_switched_off(run_fleet, hook, template):
    """After five failures, `sys.exit` among them; every update is handled as if the plugin were not there."""
    fleet = run(run_fleet, template.format(hook=hook[0], arguments=hook[1]))
    for bot in ("one", "two"):
        converse(fleet, bot, 5)
    fleet.wait_for(lambda: is_off(fleet), timeout=30)
    row = row_of(fleet)
    assert row["failures"] >= 5
    assert "failures within" in row["reason"]
    converse(fleet, "one", 5, first=5)
    assert fleet.expect_events("plugin.disabled", plugin="bad")
    assert_nothing_was_lost(fleet)


def test_a_plugin_whose_listener_blocks_delays_nobody(run_fleet):
    """While its thread blocks, other bots answer as fast as before; it is left behind and switched off."""
    fleet = run(run_fleet, BLOCKS)
    before = converse(fleet, "one", 1)  # from now on its thread blocks
    during = converse(fleet, "two", 50)
    assert during < 10  # seconds; 50 answers, of which none waits for the thread
    assert before < 10
    fleet.wait_for(lambda: is_off(fleet), timeout=30)
    assert "left behind" in row_of(fleet)["reason"]
    converse(fleet, "one", 5, first=1)
    assert_nothing_was_lost(fleet)


def test_a_plugin_that_holds_the_loop_is_named_and_switched_off(run_fleet):
    """The watchdog names it while it holds; when it returns it is switched off, and nothing was lost."""
    fleet = run(run_fleet, HOLDS)
    alice = fleet.user("Alice")
    alice.says("hold", bot="one")
    (named,) = fleet.expect_events("plugin.failed", plugin="bad")
    assert "trioworkers_accept has held the daemon's loop" in named["reason"]
    assert not fleet.events("plugin.disabled")  # it still holds
    converse(fleet, "two", 10)
    assert alice.hears(bot="one")["text"] == "hold"
    (disabled,) = fleet.expect_events("plugin.disabled", plugin="bad")
    assert "held the loop" in disabled["reason"]
    alice.says("hold", bot="one")
    assert alice.hears(bot="one", timeout=2)["text"] == "hold"  # it is not called any more
    assert_nothing_was_lost(fleet)


def test_an_async_judge_that_waits_delays_its_bot_alone(run_fleet):
    """The update is let in after a second; another bot does not wait; five such updates switch it off."""
    fleet = run(run_fleet, WAITS)
    alice = fleet.user("Alice")
    for _ in range(5):
        alice.says("slow", bot="one")
    assert converse(fleet, "two", 20) < 5  # seconds
    for _ in range(5):
        assert alice.hears(bot="one", timeout=20)["text"] == "slow"
    fleet.wait_for(lambda: is_off(fleet))
    converse(fleet, "one", 5)
    assert_nothing_was_lost(fleet)


@pytest.mark.parametrize(
    "source",
    [LEAKS_TASKS, LEAKS_TASKS_IN_ACCEPT, LEAKS_THREADS],
    ids=["tasks", "tasks in accept", "threads"],
)
def test_a_plugin_that_leaks_is_switched_off(run_fleet, source):
    """Nurseries that are left open end with the call, and threads slow nobody down."""
    fleet = run(run_fleet, source)
    for round_ in range(3):
        converse(fleet, "one", 5, first=5 * round_)
        converse(fleet, "two", 5, first=5 * round_)
    fleet.wait_for(lambda: is_off(fleet), timeout=30)
    assert converse(fleet, "two", 20, first=100) < 10  # seconds
    assert_nothing_was_lost(fleet)


def test_a_service_that_leaks_and_crashes_is_switched_off(run_fleet):
    """Its tasks end with it; the daemon ends in time."""
    fleet = run(run_fleet, LEAKING_SERVICE)
    converse(fleet, "one", 5)
    fleet.wait_for(lambda: is_off(fleet), timeout=60)  # after pauses of 1, 2, 4 and 8 seconds
    assert len(fleet.events("plugin.failed")) == 5
    converse(fleet, "two", 5)
    assert_nothing_was_lost(fleet)


IN_WORKERS = """
@hookimpl
def trioworkers_worker_start(bot):
    raise next(ERRORS)("zeisig")

@hookimpl
async def trioworkers_before_handle(bot, update):
    raise next(ERRORS)("zeisig")

@hookimpl
def trioworkers_after_handle(bot, update, outcome):
    raise next(ERRORS)("zeisig")
"""


def test_hooks_in_a_worker_that_fail_change_no_handling(run_fleet):
    """Each update is handled once; the bot's log says what failed, and that the plugin was switched off."""
    fleet = run(run_fleet, IN_WORKERS)
    for bot in ("one", "two"):
        converse(fleet, bot, 10)
    logs = [fleet.folder.folder / f"state/logs/worker_{bot}.log" for bot in ("one", "two")]
    for log in logs:
        fleet.wait_for(lambda log=log: '"off":true' in log.read_text().replace(" ", ""))
        assert SECRET not in log.read_text()
    assert not fleet.events("update.retried")
    assert_nothing_was_lost(fleet)


OTHER_HOOKS = """
import click

@hookimpl
def trioworkers_bots(fleet):
    {raises}

@hookimpl
def trioworkers_web(app):
    {raises}

@hookimpl
def trioworkers_cli(cli):
    cli.add_command(click.Command("good"))
    {raises}
"""


@pytest.mark.parametrize("raises", ['raise ValueError("zeisig")', 'raise SystemExit("zeisig")'])
def test_hooks_beside_the_way_of_updates_may_raise(run_fleet, raises):
    """The fleet runs without what the plugin would have added, and commands work."""
    fleet = run(run_fleet, OTHER_HOOKS.format(raises=raises))
    converse(fleet, "one", 3)
    assert row_of(fleet)["failures"] >= 1
    said = fleet.command("--help")
    assert said.returncode == 0
    assert "plugin bad: trioworkers_cli raised" in said.stderr
    assert SECRET not in said.stderr
    assert fleet.command("no-such-verb").returncode == 2
    assert_nothing_was_lost(fleet)


def test_changed_settings_switch_a_plugin_on_again(run_fleet):
    """A plugin that was switched off is tried again when its table changes."""
    source = RAISES_INLINE.format(hook="trioworkers_accept", arguments="bot, update")
    fleet = run(run_fleet, source)
    converse(fleet, "one", 10)
    fleet.wait_for(lambda: is_off(fleet))
    assert fleet.reload(tables(plugins={"bad": {"try": "again"}}))["changed"] == ["plugins.bad"]
    assert row_of(fleet)["state"] == "active"
    converse(fleet, "one", 10, first=10)
    fleet.wait_for(lambda: is_off(fleet))
    assert len(fleet.events("plugin.disabled")) == 2
    assert_nothing_was_lost(fleet)
