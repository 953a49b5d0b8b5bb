"""A daemon that goes away under an open dashboard, and what strangers get."""

from __future__ import annotations

import signal

from dashboard_browser import free_port
from playwright.sync_api import expect


def test_a_killed_daemon_is_told_and_the_page_goes_on_by_itself(run_fleet, open_dashboard) -> None:
    """A banner, data marked as stale, no button that does nothing; then everything goes on, signed in."""
    fleet = run_fleet({"bots": {"echo": {}}, "api": {"bind": f"127.0.0.1:{free_port()}"}})
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.may_lose = True
    expect(screen.page.locator("#banner")).to_be_empty()
    expect(screen.button("Restart")).to_be_enabled()
    fleet.kill()
    screen.see("The daemon does not answer.")
    screen.see("may be out of date")
    expect(screen.button("Restart")).to_be_disabled()
    expect(screen.page.locator(".head .badge")).to_have_text("running")  # what was known stays readable
    fleet.start()
    expect(screen.page.locator("#banner")).to_be_empty()
    expect(screen.page.locator("#link-state")).to_have_text("live")
    pid = str(fleet.bot("echo")["pid"])
    expect(screen.page.get_by_label("Now", exact=True)).to_contain_text(pid)
    expect(screen.button("Restart")).to_be_enabled()


def test_a_daemon_that_hangs_is_told_too(run_fleet, open_dashboard) -> None:
    """It closes no connection: a page that hears nothing asks, says so, and goes on after the next answer."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet, "#/bots/echo")
    screen.may_lose = True
    expect(screen.button("Restart")).to_be_enabled()
    fleet.process.send_signal(signal.SIGSTOP)
    try:
        said = screen.page.get_by_text("The daemon does not answer.")
        expect(said).to_be_visible()
        expect(screen.button("Restart")).to_be_disabled()
    finally:
        fleet.process.send_signal(signal.SIGCONT)
    expect(screen.page.locator("#banner")).to_be_empty()
    expect(screen.button("Restart")).to_be_enabled()


def test_what_could_not_be_loaded_is_loaded_again(run_fleet, open_dashboard) -> None:
    """It says why, and shows what there is once the daemon answers; what is refused is not asked again."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    screen.may_lose = True
    page = screen.page
    page.route("**/api/dlq*", lambda route: route.abort())
    screen.go("#/letters")
    screen.see("This could not be loaded: the daemon does not answer.")
    page.unroute("**/api/dlq*")
    page.route("**/api/dlq*", lambda route: route.fulfill(status=503, json={"error": "too busy"}))
    screen.see("This could not be loaded: too busy.")
    page.unroute("**/api/dlq*")
    screen.see("No dead letters")
    asked: list[object] = []
    page.route("**/api/reloads*", lambda route: _refuse(asked, route))
    screen.go("#/reloads")
    screen.see("This could not be loaded: not allowed.")
    page.wait_for_timeout(3000)
    assert len(asked) == 1


def _refuse(asked: list[object], route) -> None:
    asked.append(route)
    route.fulfill(status=403, json={"error": "not allowed"})


def test_a_page_whose_script_could_not_be_loaded_goes_on_by_itself(run_fleet, open_dashboard) -> None:
    """A daemon that died before the page was fetched: the whole dashboard is loaded again once it is back."""
    fleet = run_fleet({"bots": {"echo": {}}, "api": {"bind": f"127.0.0.1:{free_port()}"}})
    screen = open_dashboard(fleet)
    screen.may_lose = True
    screen.live()
    fleet.kill()
    screen.go("#/bots/echo")
    screen.see("This page could not be loaded.")
    screen.see("The daemon does not answer.")
    fleet.start()
    expect(screen.button("Restart")).to_be_enabled()


def test_a_script_that_is_not_there_is_not_asked_for_without_end(run_fleet, open_dashboard) -> None:
    """The daemon answers all the time: the page says so, and loads when the button is pressed."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    screen.may_lose = True
    asked: list[object] = []
    screen.page.route("**/bot.js*", lambda route: _lose(asked, route))
    screen.go("#/bots/echo")
    screen.see("This page could not be loaded.")
    screen.page.reload()  # as it is while the connection is still being made
    screen.see("This page could not be loaded.")
    screen.live()
    screen.page.wait_for_timeout(1000)
    assert len(asked) == 2
    screen.page.unroute("**/bot.js*")
    screen.button("Load again").click()
    expect(screen.button("Restart")).to_be_enabled()


def _lose(asked: list[object], route) -> None:
    asked.append(route)
    route.abort()


def test_to_try_now_is_to_have_one_connection(run_fleet, open_dashboard) -> None:
    """However often the button is pressed, and also when a connection is being made already."""
    fleet = run_fleet({"bots": {"echo": {}}, "api": {"bind": f"127.0.0.1:{free_port()}"}})
    screen = open_dashboard(fleet)
    screen.may_lose = True
    open_now: list[object] = []
    screen.page.on("websocket", lambda socket: _count(open_now, socket))
    fleet.kill()
    screen.see("The daemon does not answer.")
    for _ in range(5):
        screen.button("Try now").click()
    fleet.start()
    screen.live()
    screen.page.wait_for_timeout(7000)  # longer than any pause after which it is tried again
    assert len(open_now) == 1


def _count(open_now: list[object], socket) -> None:
    open_now.append(socket)
    socket.on("close", lambda closed: open_now.remove(closed))


def test_a_session_that_ended_is_told_with_what_to_do(run_fleet, open_dashboard) -> None:
    """The page does not try for ever: it asks to sign in, and the sign-in page is what comes then."""
    fleet = run_fleet({"bots": {"echo": {}}, "api": {"bind": f"127.0.0.1:{free_port()}"}})
    screen = open_dashboard(fleet)
    screen.may_lose = True
    screen.page.context.clear_cookies()
    fleet.kill()
    fleet.start()
    screen.see("Please sign in again.")
    screen.button("Sign in").click()
    expect(screen.page.get_by_label("API token")).to_be_visible()
    screen.page.get_by_label("API token").fill((fleet.folder.runtime_dir / "api-token").read_text().strip())
    screen.button("Sign in").click()
    screen.live()


def test_signing_out_ends_it(run_fleet, open_dashboard) -> None:
    """The button in the frame leads to the sign-in page, and back does not show the fleet."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    screen.button("Sign out").click()
    expect(screen.page.get_by_label("API token")).to_be_visible()


def test_nothing_is_fetched_from_elsewhere_and_no_script_may_be_injected(run_fleet, open_dashboard) -> None:
    """The policy stands in the answer, and the browser enforces it: an inline script does not run."""
    fleet = run_fleet({"bots": {"echo": {}}})
    screen = open_dashboard(fleet)
    for hash in ("#/bots", "#/bots/echo", "#/"):
        screen.go(hash)
        expect(screen.page.get_by_role("heading", level=1)).to_be_visible()
    policy = screen.page.request.get(f"{screen.address}/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    screen.must_be_clean()
    screen.page.evaluate(
        "() => { const node = document.createElement('script'); node.textContent = 'window.hacked = 1';"
        " document.body.append(node); }"
    )
    assert screen.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in screen.complaints)
    screen.complaints.clear()
