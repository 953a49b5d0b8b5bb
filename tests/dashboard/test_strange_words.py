"""Whatever strangers write – users, broken handlers, plugins, fleet files – is text, on every page."""

from __future__ import annotations

import pytest
from dashboard_browser import faults
from playwright.sync_api import expect

RUNS = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran=1"><script>window.ran=1</script></svg>'
DIES = f"""
from trioworkers import Dead

async def handle(update, bot):
    raise Dead({RUNS!r} + "w" * 300)
"""
CRASHES = f"""
import os, sys

async def handle(update, bot):
    print({RUNS!r}, flush=True)
    print({RUNS!r}, file=sys.stderr, flush=True)
    os._exit(3)
"""
BREAKS = f"""
from trioworkers import hookimpl

@hookimpl
async def trioworkers_event(event):
    if event.event == "update.accepted":
        raise RuntimeError({RUNS!r})

@hookimpl
def trioworkers_status(bot):
    return {{"words": {RUNS!r}}}
"""
HANDS_OVER = f"""
async def handle(update, bot):
    await bot.handoff(update.chat_id, {RUNS!r})
"""
PAGES = [
    "#/",
    "#/bots",
    "#/bots/crashing",
    "#/bots/support",
    f"#/bots/{RUNS}",
    "#/letters",
    "#/letters/1",
    "#/desk",
    "#/alerts",
    "#/reloads",
    "#/plugins",
    f"#/{RUNS}",
]
RAN = """() => {
    const made = ['img[src="x"]', 'script', 'svg:not(.spark)', 'iframe', 'object']
        .map((one) => `main ${one}`).join();
    const strange = [...document.querySelectorAll(made)].map((one) => one.outerHTML);
    return [window.ran, ...strange].filter((one) => one !== undefined);
}"""


@pytest.fixture
def strange(run_fleet):
    """A fleet in which everything that can be said is markup, and everything that can fail has failed."""
    tables = {
        "fleet": {"plugin_modules": ["breaks"]},
        "bots": {
            "support": {"handler": "hands:handle"},
            "dying": {"handler": "dies:handle"},
            "crashing": {"handler": "crashes:handle", "restart": {"initial": "40s", "max": "45s"}},
            "absent": {"handler": "nowhere:handle"},
        },
        "plugins": {"handoff": {}, "alerts": {"url": "http://127.0.0.1:9/", "gather": "100ms"}},
    }
    modules = {"hands": HANDS_OVER, "dies": DIES, "crashes": CRASHES, "breaks": BREAKS}
    fleet = run_fleet(tables, modules=modules)
    alice = fleet.user(RUNS[:60])
    for _ in range(6):
        alice.says(RUNS, "dying")
    alice.says(RUNS, "crashing")
    alice.says(RUNS, "support")
    bot = fleet.sim_bot("support")
    fleet.telegram.do(alice.sim.send_photo, bot, SVG, RUNS)
    fleet.telegram.do(
        lambda: alice.sim.send_document(bot, SVG, filename=f"{RUNS}.svg", content_type="image/svg+xml")
    )
    good = fleet.folder.file.read_text()
    fleet.folder.file.write_text(good.replace("[bots.dying]", "[bots.dying]\ntransport = '''" + RUNS + "'''"))
    fleet.wait_for(lambda: fleet.bot("dying")["queue"]["dead"] == 6)
    fleet.wait_for(lambda: fleet.ask("GET", "/api/handoffs").json()["handoffs"])
    return fleet


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_markup_is_text_everywhere_and_axe_finds_nothing_serious(strange, open_dashboard, theme) -> None:
    """In names, texts, reasons, logs, file names, addresses; a drawing that a user has sent is not run."""
    screen = open_dashboard(strange, color_scheme=theme)
    screen.may_lose = True  # the drawing is no picture that is shown
    page = screen.page
    for hash in PAGES:
        screen.go(hash)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading…")).to_have_count(0)
        assert page.evaluate(RAN) == [], hash
        assert faults(screen) == [], hash
    screen.go("#/letters/1")
    screen.button("Show what the user sent").click()
    expect(page.get_by_label("The update as Telegram sent it")).to_contain_text("<script>window.ran=1")
    screen.go("#/desk")
    page.get_by_role("navigation", name="Dialogs").get_by_role("link").click()
    log = page.get_by_role("log", name="Conversation")
    expect(log).to_contain_text("cannot be shown here")
    expect(log).to_contain_text("<script>window.ran=1")
    assert faults(screen) == []
    assert page.evaluate(RAN) == []
    for link in log.get_by_role("link").all():
        answer = page.request.get(screen.address + link.get_attribute("href"))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]
