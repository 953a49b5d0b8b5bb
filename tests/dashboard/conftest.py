"""A real daemon and a real Chromium: what a person sees of the dashboard, and does with it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from dashboard_browser import Screen, opened, started
from playwright.sync_api import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser

    from trioworkers.testing.fleet import RunningFleet


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's chromium, without a window; one for all tests of a file.

    Not of a process: while it is open, Playwright runs a loop of asyncio, beside which tests of other files
    could run none.
    """
    with started() as browser:
        yield browser


@pytest.fixture
def open_dashboard(chromium: Browser) -> Iterator[Callable[..., Screen]]:
    """Open the dashboard of a fleet and sign in: `open_dashboard(fleet, "#/bots", width=360)`.

    `options` are those of a browser context. At the end of the test, each screen must have asked nobody but
    the daemon, and its console must be free of errors; so must the daemon's log of errors in its HTTP server.
    """
    screens: list[tuple[AbstractContextManager[Screen], Screen]] = []
    fleets: list[RunningFleet] = []

    def open_(fleet: RunningFleet, hash: str = "#/", **options: Any) -> Screen:
        screen = opened(chromium, fleet, hash, **options)
        fleets.append(fleet)
        held = _held(screen)
        screens.append((held, held.__enter__()))
        return screen

    yield open_
    for _, screen in screens:  # shown where a test fails
        with suppress(Error):  # there is no page any more
            print(screen.page.url, screen.page.locator("main").inner_text(timeout=5000), sep="\n")
    for held, screen in screens:
        screen.must_be_clean()
        held.__exit__(None, None, None)
    for fleet in fleets:
        assert fleet.events("library") == []


@contextmanager
def _held(screen: Screen) -> Iterator[Screen]:
    try:
        yield screen
    finally:
        screen.page.context.close()
