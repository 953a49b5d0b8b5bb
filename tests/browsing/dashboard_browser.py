"""Chromium before a dashboard: started, signed in, and asked what it did meanwhile."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

    from trioworkers.testing.fleet import RunningFleet

AXE = Path(__file__).parents[2] / ".tools" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = "/usr/bin/chromium"
# Without these, Chromium asks Google's hosts at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A page's module is loaded before it is shown: until then, what is there is the page before.
LEAVE = """hash => {
    if (location.hash === hash) return false;
    for (const node of document.querySelector('main').children) node.dataset.left = '';
    location.hash = hash;
    return true;
}"""
PATIENCE = 90_000  # milliseconds for anything that is waited for: a busy machine takes its time
GONE = re.compile("Failed to load resource|WebSocket connection to")  # what a daemon that is gone causes


@contextmanager
def started(*flags: str) -> Iterator[Browser]:
    """Chromium, until the end of the block."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


class Screen:
    """One open dashboard.

    Attributes:
        page: Playwright's page.
        address: the daemon's, as `http://127.0.0.1:PORT`.
        asked: every address that the browser asked for.
        complaints: what stands in its console as an error or a warning, and what was thrown.
        may_lose: the daemon ends in this test, so that failed requests are no fault.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.may_lose = False
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def go(self, hash: str) -> None:
        """Go to another page by its address, and return when it has taken the place of the one before."""
        if self.page.evaluate(LEAVE, hash):
            self.page.locator("main > :not([data-left])").first.wait_for(state="attached")

    def button(self, name: str) -> Locator:
        """The button of that name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def see(self, text: str, *, within: str = "body") -> Locator:
        """Wait until a text is seen, and return its element."""
        found = self.page.locator(within).get_by_text(text).first
        found.wait_for(state="visible")
        return found

    def live(self) -> None:
        """Wait until the stream has brought the fleet."""
        self.page.wait_for_selector('body[data-link="live"]')

    def picture(self, path: Path, **options: Any) -> None:
        """Take a picture of all of it."""
        self.page.screenshot(path=path, full_page=True, **options)

    def must_be_clean(self) -> None:
        """Fail if the browser asked anybody else, or complained."""
        own = self.address.removeprefix("http://")
        strange = [url for url in self.asked if not url.startswith((f"http://{own}/", f"ws://{own}/"))]
        assert strange == []
        assert self.complaints == []

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (self.may_lose and GONE.search(message.text)):
            self.complaints.append(message.text)


def faults(screen: Screen) -> list[str]:
    """Return what axe finds serious in a page as it is now."""
    assert AXE.is_file(), "axe-core is missing: scripts/test fetches it into .tools"
    if not screen.page.evaluate("typeof axe === 'object'"):
        screen.page.evaluate(AXE.read_text())  # through the debugger, so that the policy holds for the page
    found = screen.page.evaluate("axe.run()")
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def free_port() -> int:
    """A port that a daemon can have twice, before and after it was killed."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def login_link(fleet: RunningFleet) -> str:
    """A link that signs in, as a person gets it from `trioworkers dashboard`."""
    answer = fleet.ask("POST", "/api/login-link")
    assert answer.status == 200, answer.text
    url: str = answer.json()["url"]
    return url


def opened(
    browser: Browser,
    fleet: RunningFleet,
    hash: str = "#/",
    *,
    width: int = 1280,
    height: int = 800,
    **options: Any,
) -> Screen:
    """The dashboard of a fleet, signed in; whoever asked closes its context."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    link = login_link(fleet)
    screen = Screen(context.new_page(), link.partition("/login")[0])
    screen.page.goto(link)
    screen.page.goto(f"{screen.address}/{hash}")
    screen.live()
    return screen
