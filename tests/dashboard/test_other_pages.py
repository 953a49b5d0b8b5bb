"""Dead letters, reloads, plugins and alerts: what a person does on their pages."""

from __future__ import annotations

from playwright.sync_api import expect

FAILS = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text="I try")
    raise RuntimeError("always")
"""
BREAKS = """
from trioworkers import hookimpl

@hookimpl
async def trioworkers_event(event):
    if event.event == "update.done":
        raise RuntimeError
"""
FAILING = {"handler": "fails:handle", "retry": {"attempts": 1}}


def dies(fleet, bot: str, count: int) -> None:
    before = fleet.bot(bot)["queue"]["dead"]
    for number in range(count):
        fleet.user(f"User {number}").says("my secret words", bot)
    fleet.wait_for(lambda: fleet.bot(bot)["queue"]["dead"] == before + count)


def test_a_dead_letter_is_understood_and_replayed(run_fleet, open_dashboard) -> None:
    """Why, what was tried, which calls; the user's words only when asked for."""
    fleet = run_fleet({"bots": {"failing": FAILING, "echo": {}}}, modules={"fails": FAILS})
    screen = open_dashboard(fleet, "#/letters")
    page = screen.page
    expect(page.get_by_text("No dead letters")).to_be_visible()
    dies(fleet, "failing", 1)
    page.get_by_role("link", name="Letter 1 of failing").click()
    expect(page.get_by_label("Why", exact=True)).to_contain_text("RuntimeError")
    expect(page.get_by_label("Calls", exact=True)).to_contain_text("sendMessage")
    expect(page.get_by_label("Calls", exact=True)).to_contain_text("Telegram has done it")
    assert "my secret words" not in page.content()
    screen.button("Show what the user sent").click()
    expect(page.get_by_label("The update as Telegram sent it")).to_contain_text("my secret words")
    (fleet.folder.folder / "fails.py").write_text("async def handle(update, bot): ...\n")
    fleet.ask("POST", "/api/bots/failing/restart")
    screen.button("Replay").click()
    expect(page.get_by_text("No dead letters")).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("put back at the tail of its chat")
    fleet.wait_for(lambda: fleet.bot("failing")["queue"]["dead"] == 0)


def test_dead_letters_are_chosen_and_purged(run_fleet, open_dashboard) -> None:
    """Some, then all of one bot; it is asked before, and a choice is not moved under the hand."""
    other = {**FAILING}
    fleet = run_fleet({"bots": {"failing": FAILING, "other": other}}, modules={"fails": FAILS})
    dies(fleet, "failing", 3)
    dies(fleet, "other", 2)
    screen = open_dashboard(fleet, "#/letters")
    page = screen.page
    rows = page.locator(".letters tbody tr")
    expect(rows).to_have_count(5)
    rows.nth(0).get_by_role("checkbox").check()
    rows.nth(1).get_by_role("checkbox").check()
    dies(fleet, "other", 1)
    expect(page.get_by_text("The dead letters have changed meanwhile.")).to_be_visible()
    expect(rows).to_have_count(5)
    screen.button("Purge 2 chosen").click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be brought back")
    screen.button("Cancel").click()
    expect(rows).to_have_count(5)
    screen.button("Purge 2 chosen").click()
    screen.button("Purge").click()
    expect(rows).to_have_count(4)
    page.get_by_label("Bot", exact=True).select_option("other")
    expect(rows).to_have_count(3)
    screen.button("Purge all of other").click()
    screen.button("Purge").click()
    expect(page.get_by_text("Nothing of other was given up.")).to_be_visible()
    assert fleet.bot("failing")["queue"]["dead"] == 1


def test_reloads_are_told_with_plan_and_cause(run_fleet, open_dashboard) -> None:
    """A plan before, the plan that was done, and problems that changed nothing."""
    fleet = run_fleet({"bots": {"echo": {}, "old": {}}})
    screen = open_dashboard(fleet, "#/reloads")
    page = screen.page
    screen.may_lose = True  # a refused reload is an answer 422, which stands in the console
    expect(page.get_by_text("No reload since the daemon's start")).to_be_visible()
    fleet.write({"bots": {"echo": {"concurrency": 3}, "fresh": {}}})
    applied = page.get_by_role("listitem", name="Reload 1, applied")
    expect(applied).to_contain_text("1 bot added, 1 bot removed, 1 bot retuned without a restart.")
    expect(applied).to_contain_text("caused by a changed file")
    applied.get_by_text("The plan").click()
    expect(applied).to_contain_text("concurrency")
    good = fleet.folder.file.read_text()
    fleet.folder.file.write_text(good.replace("concurrency = 3", 'concurrency = "many"'))
    refused = page.get_by_role("listitem", name="Reload 2, refused")
    expect(refused).to_contain_text("bots.echo.concurrency")
    expect(page.get_by_text("The settings in the files are refused")).to_be_visible()
    screen.button("Show what would change").click()
    expect(page.get_by_text("The new settings are refused; nothing was changed")).to_be_visible()
    expect(applied.get_by_text("concurrency")).to_be_visible()  # it stays open while the list is renewed
    fleet.folder.file.write_text(good)
    expect(page.get_by_text("The settings in the files are refused")).not_to_be_visible()
    screen.button("Reload now").click()
    expect(page.locator("#announcer")).to_contain_text("nothing has changed")
    expect(page.locator(".entry").first).to_contain_text("caused by session from 127.0.0.1")


def test_a_plugin_that_was_switched_off_is_switched_on(run_fleet, open_dashboard) -> None:
    """It comes first, with the reason; a button switches it on."""
    tables = {"bots": {"echo": {}}, "fleet": {"plugin_modules": ["breaks"]}}
    fleet = run_fleet(tables, modules={"breaks": BREAKS})
    alice = fleet.user()
    for number in range(5):
        alice.says(f"{number}")
    fleet.expect_events("plugin.disabled")
    screen = open_dashboard(fleet, "#/plugins")
    page = screen.page
    first = page.get_by_role("listitem").and_(page.locator(".entry")).first
    expect(first).to_contain_text("breaks")
    expect(first).to_contain_text("5 failures within")
    expect(page.get_by_label("Plugin handoff, inactive")).to_contain_text(
        "Its table is not in the fleet file"
    )
    screen.button("Switch on again").click()
    expect(page.get_by_label("Plugin breaks, active")).to_be_visible()


def test_alerts_say_what_is_wrong_and_what_was(run_fleet, open_dashboard) -> None:
    """A bot that fails is told at once, and is over when it works again."""
    alerts = {"bot": "echo", "chat": 1, "gather": "1s", "window": "1s"}
    bots = {"echo": {}, "failing": FAILING}
    tables = {"bots": bots, "plugins": {"alerts": {**alerts, "dead_letters": 1, "dead_letters_window": "2s"}}}
    fleet = run_fleet(tables, modules={"fails": FAILS})
    screen = open_dashboard(fleet, "#/alerts")
    page = screen.page
    expect(page.get_by_text("Nothing is wrong that alerts are about.")).to_be_visible()
    dies(fleet, "failing", 1)
    expect(page.get_by_role("heading", name="Many dead letters")).to_be_visible()
    over = page.get_by_label("Lately", exact=True)
    expect(over).to_contain_text("Many dead letters")
    expect(page.get_by_text("Nothing is wrong that alerts are about.")).to_be_visible()


def test_without_the_plugin_the_alerts_say_what_to_do(run_fleet, open_dashboard) -> None:
    """And which bots have failed all the same."""
    screen = open_dashboard(run_fleet({"bots": {"echo": {}}}), "#/alerts")
    expect(screen.page.get_by_text("Alerts are off")).to_be_visible()
