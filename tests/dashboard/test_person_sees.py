"""What a person sees and does, in a real Chromium on a real daemon."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from trioworkers.testing.faults import error

FAILS = """
async def handle(update, bot):
    raise RuntimeError("always")
"""
CRASHES = """
import os, sys

async def handle(update, bot):
    print("the oven is on fire", file=sys.stderr, flush=True)
    os._exit(3)
"""
LOGS = """
async def handle(update, bot):
    print("somebody is here", flush=True)
"""
QUIET_RESTARTS = {"initial": "40s", "max": "45s"}


def test_what_is_not_well_comes_first(run_fleet, open_dashboard) -> None:
    """The overview begins with what failed, says why and what to do, and leads to the bot."""
    bots = {
        "well": {},
        "crashing": {"handler": "crashes:handle", "restart": QUIET_RESTARTS},
        "failing": {"handler": "fails:handle", "retry": {"attempts": 1}},
    }
    fleet = run_fleet({"bots": bots}, modules={"crashes": CRASHES, "fails": FAILS})
    screen = open_dashboard(fleet)
    problems = screen.page.locator(".problems")
    expect(problems).to_contain_text("all well")
    fleet.user().says("x", "failing")
    expect(problems).to_contain_text("1 dead letter of 1 bot")
    fleet.user().says("x", "crashing")
    expect(problems).to_contain_text("1 bot crashed and starts again")
    expect(problems).to_contain_text("Look at the last exit")
    problems.get_by_role("link", name="crashing", exact=True).first.click()
    expect(screen.page.get_by_role("heading", level=1)).to_have_text("crashing")
    expect(screen.page.get_by_label("Last exit", exact=True)).to_contain_text("with code 3")
    expect(screen.page.get_by_label("Last exit", exact=True)).to_contain_text("the oven is on fire")


def test_a_bot_that_hears_nothing_is_seen(run_fleet, open_dashboard) -> None:
    """Although its worker is in good health; with the reason, and what to do."""
    fleet = run_fleet({"bots": {"echo": {"poll_timeout": 1}}})
    screen = open_dashboard(fleet)
    problems = screen.page.locator(".problems")
    expect(problems).to_contain_text("all well")
    conflict = error(409, "Conflict: terminated by other getUpdates request")
    fleet.telegram.add_fault(conflict, method="getUpdates", times=None)
    expect(problems).to_contain_text("1 bot hears nothing")
    expect(problems).to_contain_text("another poller uses this token")
    problems.get_by_role("link", name="echo", exact=True).first.click()
    expect(screen.page.get_by_text("It runs, but it hears nothing since")).to_be_visible()
    expect(screen.page.get_by_text("What to do: stop the other program")).to_be_visible()


def test_a_refused_reload_is_told_until_it_is_mended(run_fleet, open_dashboard) -> None:
    """With its problems; the old settings stay in force, and so does the dashboard."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    good = fleet.folder.file.read_text()
    fleet.folder.file.write_text(good.replace("[bots.echo]", '[bots.echo]\ntransport = "pigeon"'))
    expect(screen.page.locator(".problems")).to_contain_text("The last reload was refused")
    expect(screen.page.locator(".problems")).to_contain_text("bots.echo.transport")
    fleet.folder.file.write_text(good)
    expect(screen.page.locator(".problems")).to_contain_text("all well")


def test_the_table_filters_and_sorts_and_opens_a_bot(run_fleet, open_dashboard) -> None:
    """By name and by state; the address keeps it, so that it can be sent to somebody."""
    fleet = run_fleet({"bots": {"alpha": {}, "beta": {"worker": "on_demand"}, "gamma": {}}})
    screen = open_dashboard(fleet, "#/bots")
    names = screen.page.locator(".fleet tbody th")
    expect(names).to_have_text(["alpha", "gamma", "beta"])  # running first, then asleep
    screen.button("Bot").click()
    expect(names).to_have_text(["alpha", "beta", "gamma"])
    screen.button("Bot").click()
    expect(names).to_have_text(["gamma", "beta", "alpha"])
    screen.page.get_by_label("Show").select_option("Sleeping")
    expect(names).to_have_text(["beta"])
    assert screen.page.evaluate("location.hash") == "#/bots?show=sleeping&sort=-bot"
    screen.page.get_by_label("Show").select_option("All")
    screen.page.keyboard.press("Escape")
    screen.page.locator("body").press("/")
    screen.page.keyboard.type("MM")
    expect(names).to_have_text(["gamma"])
    screen.page.get_by_role("link", name="gamma").click()
    expect(screen.page.get_by_role("heading", level=1)).to_have_text("gamma")
    screen.page.go_back()
    expect(names).to_have_text(["gamma"])


def test_figures_move_while_updates_are_handled(run_fleet, open_dashboard) -> None:
    """Rate and latency appear in the table without anybody's doing."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet, "#/bots")
    latency = screen.page.locator("td.c-latency .figure")
    expect(latency).to_have_text("–")
    for number in range(5):
        fleet.user().says(f"hello {number}")
    expect(latency).to_have_text(re.compile("ms"))
    expect(screen.page.locator("td.c-rate .figure")).not_to_have_text("0")


def test_a_bot_is_paused_and_resumed(run_fleet, open_dashboard) -> None:
    """After a question that says what it means; the daemon does it, and notes who asked."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.button("Pause").click()
    dialog = screen.page.get_by_role("dialog")
    expect(dialog).to_contain_text("none is handled until it is resumed")
    screen.button("Cancel").click()
    expect(dialog).to_be_hidden()
    assert not fleet.bot("echo")["paused"]
    screen.button("Pause").click()
    dialog.get_by_role("button", name="Pause").click()
    expect(screen.page.locator(".head .badge")).to_have_text("paused")
    assert fleet.bot("echo")["paused"]
    (act,) = fleet.expect_events("control.action", action="bots.pause")
    assert (act["by"], act["source"]) == ("session from 127.0.0.1", "127.0.0.1")
    fleet.user().says("are you there?")
    expect(screen.page.locator(".health-words")).to_contain_text("1 update waits")
    screen.button("Resume").click()
    expect(screen.page.locator(".head .badge")).to_have_text("running")
    assert fleet.user().hears()["text"] == "are you there?"


def test_a_bot_is_restarted(run_fleet, open_dashboard) -> None:
    """It gets another process, and the page says so."""
    fleet = run_fleet({"bots": {"echo": {}}})
    before = fleet.bot("echo")["pid"]
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.button("Restart").click()
    screen.page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    screen.see("echo has a new worker.")
    assert fleet.bot("echo")["pid"] not in (before, None)


def test_a_restart_that_fails_says_why(run_fleet, open_dashboard) -> None:
    """In the page, where it stays, and not in passing."""
    fleet = run_fleet({"bots": {"echo": {"handler": "mine:handle"}}}, modules={"mine": LOGS})
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.may_lose = True  # the browser notes an answer that is not 200 in its console
    fleet.folder.module("mine", "raise RuntimeError")
    screen.button("Restart").click()
    screen.page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    expect(screen.page.get_by_role("alert").filter(has_text="could not be restarted")).to_be_visible()


def test_the_log_is_followed(run_fleet, open_dashboard) -> None:
    """A line appears soon after it was written; text that looks like HTML stays text."""
    shouting = 'async def handle(update, bot):\n    print("<b>bold</b> " + "x" * 9000, flush=True)\n'
    fleet = run_fleet({"bots": {"echo": {"handler": "mine:handle"}}}, modules={"mine": shouting})
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.see("The log is empty.")
    fleet.user().says("x")
    line = screen.see("<b>bold</b> xxx")
    assert len(line.inner_text()) == 4097  # cut, with a sign that it is
    assert screen.page.locator(".log b").count() == 0


def test_settings_are_shown_without_secrets(run_fleet, open_dashboard) -> None:
    """Neither the token nor a value of the handler's own settings is anywhere in the page."""
    bots = {"echo": {"settings": {"api_key": "sk-very-secret", "depth": {"more": [1]}}, "concurrency": 7}}
    fleet = run_fleet({"bots": bots})
    screen = open_dashboard(fleet, "#/bots/echo")
    settings = screen.page.get_by_label("Settings in force")
    expect(settings.get_by_role("row", name="concurrency")).to_contain_text("7")
    expect(settings.get_by_role("row", name="memory_limit")).to_contain_text("150 MB")
    expect(settings.get_by_role("row", name="settings.api_key")).to_contain_text("a text")
    content = screen.page.content()
    assert "sk-very-secret" not in content
    assert fleet.bots["echo"].token.partition(":")[2] not in content


def test_a_bot_that_is_removed_is_said_to_be_gone(run_fleet, open_dashboard) -> None:
    """Also an address that never had one; the buttons cannot be pressed."""
    fleet = run_fleet({"bots": {"one": {}, "two": {}}})
    screen = open_dashboard(fleet, "#/bots/two")
    screen.may_lose = True  # what is asked of a bot that is gone is answered 404
    expect(screen.page.locator(".head .badge")).to_have_text("running")
    fleet.reload({"bots": {"one": {}}})
    expect(screen.page.locator(".health-words")).to_contain_text("runs no bot of that name")
    expect(screen.button("Restart")).to_be_disabled()
    screen.go("#/nowhere")
    screen.see("There is no such page")


def test_an_empty_fleet_says_what_to_do(run_fleet, open_dashboard) -> None:
    """Not an empty table."""
    fleet = run_fleet({"bots": {"one": {}}})
    fleet.folder.file.write_text(re.sub(r"\[bots\.one\][^\[]*", "", fleet.folder.file.read_text()))
    screen = open_dashboard(fleet, "#/bots")
    screen.see("This fleet has no bots")
