"""By keyboard alone, with a screen reader, at every width, in both themes."""

from __future__ import annotations

from typing import Any

import pytest
from dashboard_browser import faults
from playwright.sync_api import expect

PAGES = ["#/", "#/bots", "#/bots/echo", "#/letters", "#/desk", "#/alerts", "#/reloads", "#/plugins"]
MANY = 60
BEYOND = """[...document.querySelectorAll('body :not(nav *)')]
    .filter((one) => one.getBoundingClientRect().right > innerWidth)
    .map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`)"""
CUT = "filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"


@pytest.fixture
def crowd(run_fleet):
    """A fleet whose bots are mostly asleep, one with a dead letter."""
    fails = "async def handle(update, bot):\n    raise RuntimeError\n"
    bots: dict[str, Any] = {f"bot{number:02}": {"worker": "on_demand"} for number in range(MANY)}
    bots |= {"echo": {}, "failing": {"handler": "fails:handle", "retry": {"attempts": 1}}}
    fleet = run_fleet({"bots": bots}, modules={"fails": fails})
    fleet.user().says("x", "failing")
    fleet.wait_for(lambda: fleet.bot("failing")["queue"]["dead"] == 1)
    return fleet


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(crowd, open_dashboard, theme) -> None:
    """On each page, in both themes, also with a dialog open and while the daemon is gone."""
    screen = open_dashboard(crowd, color_scheme=theme)
    screen.may_lose = True
    for hash in PAGES:
        screen.go(hash)
        expect(screen.page.get_by_role("heading", level=1)).to_be_visible()
        assert faults(screen) == [], hash
    screen.go("#/bots/echo")
    screen.button("Pause").click()
    expect(screen.page.get_by_role("dialog")).to_be_visible()
    assert faults(screen) == []
    screen.button("Cancel").click()
    crowd.kill()
    screen.see("The daemon does not answer.")
    for hash in PAGES:
        screen.go(hash)
        assert faults(screen) == [], f"{hash} without a daemon"


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_wider_than_the_window(crowd, open_dashboard, width) -> None:
    """No page scrolls sideways, and no text of a button is cut off."""
    screen = open_dashboard(crowd, width=width)
    screen.may_lose = True
    for hash in PAGES:
        screen.go(hash)
        expect(screen.page.get_by_role("heading", level=1)).to_be_visible()
        expect(screen.page.locator("nav a[aria-current=page]")).to_be_in_viewport(ratio=1)
        if hash == "#/bots/echo":
            expect(
                screen.page.get_by_role("region", name="Settings", exact=True)
            ).to_be_visible()  # they come last
        wide = screen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (hash, screen.page.evaluate(BEYOND))
        assert screen.page.evaluate(f"[...document.querySelectorAll('main button')].{CUT}") == [], hash
    box = "document.querySelector('.fleet-scroll')"
    screen.go("#/bots")
    screen.page.wait_for_selector(".fleet tbody tr")
    assert screen.page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")


def test_the_table_is_used_by_keyboard_alone(crowd, open_dashboard) -> None:
    """One stop of Tab; arrows and pages move through all rows; Enter opens a bot; focus is always seen."""
    screen = open_dashboard(crowd, "#/bots?sort=bot")
    page = screen.page
    press = page.keyboard.press
    page.get_by_label("Show").focus()
    press("Tab")
    assert _focused(page) == "Bot"
    press("ArrowRight")
    assert _focused(page) == "State"
    press("ArrowLeft")
    press("ArrowDown")
    assert _focused(page) == "bot00"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press("Control+End")
    press("Home")
    assert _focused(page) == "failing"
    assert _row_index(page) == MANY + 3  # the last of MANY + 2 bots; the header is the first row
    press("ArrowUp")
    assert _focused(page) == "echo"
    press("Control+Home")
    assert (_focused(page), _row_index(page)) == ("bot00", 2)
    press("PageDown")
    assert _row_index(page) > 10
    press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "show"
    press("Tab")
    assert _row_index(page) > 10  # where it was left
    press("ArrowRight")
    press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("bot")
    assert page.evaluate("document.activeElement.id") == "main"  # the next Tab begins in the new page


def test_the_focus_stays_while_rows_change_and_are_scrolled_away(crowd, open_dashboard) -> None:
    """The row with the focus stays in the document out of sight, and rows do not move under it."""
    screen = open_dashboard(crowd, "#/bots?sort=bot")
    page = screen.page
    page.get_by_role("link", name="bot03").focus()
    page.evaluate("document.querySelector('.fleet-scroll').scrollTop = 1500")
    expect(page.get_by_role("link", name="bot50")).to_be_visible()
    assert _focused(page) == "bot03"
    page.keyboard.press("ArrowDown")
    assert _focused(page) == "bot04"
    expect(page.get_by_role("link", name="bot04")).to_be_in_viewport()


def test_the_focus_stays_in_a_list_that_is_refreshed(crowd, open_dashboard) -> None:
    """On the same letter, though each row was made anew."""
    page = open_dashboard(crowd, "#/letters").page
    page.get_by_role("link", name="of failing").focus()
    letter = _focused(page)
    crowd.user("Bob").says("x", "failing")
    expect(page.locator(".letters tbody tr")).to_have_count(2)
    assert _focused(page) == letter


def test_a_screen_reader_is_told_of_all_rows(crowd, open_dashboard) -> None:
    """Though only those in sight are in the document, in the order in which they are read."""
    screen = open_dashboard(crowd, "#/bots?sort=bot")
    grid = screen.page.get_by_role("grid", name="Bots")
    expect(grid).to_have_attribute("aria-rowcount", str(MANY + 3))
    rows = grid.locator("tbody tr")
    expect(rows.first).to_have_attribute("aria-rowindex", "2")
    assert 10 < rows.count() < 45
    places = "rows => rows.map(row => Number(row.getAttribute('aria-rowindex')))"
    screen.page.evaluate("document.querySelector('.fleet-scroll').scrollTop = 700")
    expect(grid.locator('tr[aria-rowindex="2"]')).to_have_count(0)
    seen = rows.evaluate_all(places)
    assert seen == sorted(seen)
    expect(grid.get_by_role("columnheader", name="Bot")).to_have_attribute("aria-sort", "ascending")


def test_the_skip_link_leads_past_the_navigation(crowd, open_dashboard) -> None:
    """It is the first stop, and does not change the page that is shown."""
    screen = open_dashboard(crowd, "#/bots")
    screen.page.reload()
    screen.live()
    screen.page.keyboard.press("Tab")
    assert _focused(screen.page) == "Skip to the content"
    screen.page.keyboard.press("Enter")
    assert screen.page.evaluate("document.activeElement.id") == "main"
    expect(screen.page.get_by_role("heading", level=1)).to_have_text("Bots")


def test_a_dialog_takes_the_focus_and_gives_it_back(crowd, open_dashboard) -> None:
    """What does nothing is chosen first, and Escape is no."""
    screen = open_dashboard(crowd, "#/bots/echo")
    screen.button("Restart").focus()
    screen.page.keyboard.press("Enter")
    assert _focused(screen.page) == "Cancel"
    screen.page.keyboard.press("Escape")
    expect(screen.page.get_by_role("dialog")).to_be_hidden()
    assert _focused(screen.page) == "Restart"


def test_nothing_moves_for_whoever_wants_that(crowd, open_dashboard) -> None:
    """With reduced motion there is no transition and no animation."""
    screen = open_dashboard(crowd, "#/bots/echo", reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].filter(one => { const s = getComputedStyle(one);"
    moving += " return s.animationName !== 'none' || s.transitionDuration !== '0s'; }).length"
    assert screen.page.evaluate(moving) == 0


def _focused(page) -> str:
    found: str = page.evaluate("document.activeElement.textContent")
    return found


def _row_index(page) -> int:
    return int(page.evaluate("document.activeElement.closest('tr').getAttribute('aria-rowindex')"))
