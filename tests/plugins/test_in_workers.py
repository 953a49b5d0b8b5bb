"""A plugin with hooks in workers, in a running fleet: it is imported there, and its settings are live."""

from __future__ import annotations

PLUGIN = """
from trioworkers import hookimpl

@hookimpl
async def trioworkers_before_handle(bot, update, plugin):
    await bot.send_message(chat_id=update.chat_id, text=f"before {plugin.settings['word']}")

@hookimpl
async def trioworkers_after_handle(bot, update, outcome, plugin):
    await bot.send_message(chat_id=update.chat_id, text=f"after {outcome}")
"""


FAILS = """
from trioworkers import hookimpl

@hookimpl
def trioworkers_before_handle(update, plugin):
    raise ValueError
"""


def test_what_workers_call_is_counted(run_fleet):
    """With its failures, as of the worker's last heartbeat; the plugin stays active for other bots."""
    more = {"fleet": {"plugin_modules": ["fails"]}, "defaults": {"heartbeat_interval": "1s"}}
    fleet = run_fleet(more, modules={"fails": FAILS})
    alice = fleet.user("Alice")
    for _ in range(3):
        alice.says("hello")
        assert alice.hears()["text"] == "hello"

    def row():
        (row,) = [row for row in fleet.ask("GET", "/api/plugins").json()["plugins"] if row["name"] == "fails"]
        return row

    fleet.wait_for(lambda: row()["calls"] == 3)
    assert row()["failures"] == 3
    assert row()["state"] == "active"


def tables(word):
    return {"fleet": {"plugin_modules": ["around"]}, "plugins": {"around": {"word": word}}}


def test_hooks_around_a_handling_see_the_settings_in_force(run_fleet):
    """Both are called in the bot's process, in order; a reload reaches them without another process."""
    fleet = run_fleet(tables("one"), modules={"around": PLUGIN})
    alice = fleet.user("Alice")
    pid = fleet.bot("echo")["pid"]
    for word in ("one", "two"):
        fleet.reload(tables(word))
        alice.says("hello")
        assert [alice.hears()["text"] for _ in range(3)] == [f"before {word}", "hello", "after done"]
    assert fleet.bot("echo")["pid"] == pid
