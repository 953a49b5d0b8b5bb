"""What `GET /api/alerts` answers: what is wrong now, and what was lately."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from quart_trio import QuartTrio
from trioworkers_plugins import alerts
from trioworkers_plugins.alerts import RUNNING
from trioworkers_plugins.alerts.book import MOST_LATELY, AlertBook, BookState, Rules
from trioworkers_plugins.alerts.kinds import NAMES
from trioworkers_plugins.alerts.web import shown

RULES = Rules(
    on=frozenset(NAMES),
    gather=5.0,
    window=60.0,
    repeat=0.0,
    patience=30.0,
    dead_letters=3,
    dead_letters_window=600.0,
    recycled=2,
)


class Book:
    """A book that is told of events at times, and shown as the page gets it."""

    def __init__(self) -> None:
        self.state = BookState()
        self.waiting = 0
        self.now = 0.0

    def at(self, now: float, event: str = "", bot: str | None = None, **fields: Any) -> None:
        self.now = now
        events: Any = [SimpleNamespace(event=event, bot=bot, fields=fields)] if event else []
        self.state, _ = AlertBook(RULES).step(self.state, events, now)

    def page(self) -> dict[str, Any]:
        service: Any = self
        return shown(service, self.now)


@pytest.fixture
def book() -> Book:
    return Book()


def test_the_gravest_come_first(book):
    """And of these the last one."""
    book.at(10.0, "reload.refused", problems=["x"])
    book.at(20.0, "bot.failed", "a", reason="restart budget spent")
    book.at(30.0, "bot.failed", "b", reason="internal error")
    page = book.page()
    assert [(one["severity"], one["bot"]) for one in page["alerts"]] == [
        ("critical", "b"),
        ("critical", "a"),
        ("warning", None),
    ]
    assert page["alerts"][0] == {
        "kind": "bot_failed",
        "title": "bot failed",
        "severity": "critical",
        "bot": "b",
        "plugin": None,
        "reason": "internal error",
        "since": 30.0,
        "ended": None,
    }
    assert page["lately"] == []


@pytest.mark.parametrize("told", [True, False])
def test_what_is_over_is_shown_as_lately(book, told):
    """Whether or not people were told of it in time."""
    book.at(10.0, "bot.failed", "a", reason="x")
    if told:
        book.at(16.0)
    book.at(17.0, "worker.ready", "a")
    (over,) = book.page()["lately"]
    assert (over["bot"], over["since"], over["ended"]) == ("a", 10.0, 17.0)
    assert book.page()["alerts"] == []
    book.at(500.0)
    assert book.page()["lately"] == [over]


def test_what_never_came_to_be_an_alert_is_not_shown(book):
    """A bot that heard nothing for a shorter time than it may."""
    book.at(10.0, "transport.trouble", "a", reason="x")
    assert book.page()["alerts"] == []
    book.at(20.0, "transport.recovered", "a")
    assert book.page() == {"alerts": [], "lately": [], "waiting": 0}


def test_what_came_back_before_its_end_was_told_goes_on(book):
    """It is not among those that are over."""
    book.at(10.0, "bot.failed", "a", reason="x")
    book.at(16.0)
    book.at(17.0, "worker.ready", "a")
    book.at(18.0, "bot.failed", "a", reason="y")
    assert [one["reason"] for one in book.page()["alerts"]] == ["y"]
    assert book.page()["lately"] == []


def test_what_was_lately_is_bounded(book):
    """The oldest are forgotten."""
    for number in range(MOST_LATELY + 20):
        book.at(10.0 * number, "bot.failed", f"b{number}", reason="x")
        book.at(10.0 * number + 1, "bot.removed", f"b{number}")
    lately = book.page()["lately"]
    assert (len(lately), lately[0]["bot"]) == (MOST_LATELY, f"b{MOST_LATELY + 19}")


async def test_the_endpoint_answers_while_the_service_runs():
    """And says so while it does not."""
    app = QuartTrio("test")
    plugin: Any = SimpleNamespace(memory={})
    alerts.trioworkers_web(app=app, plugin=plugin)
    assert (await app.test_client().get("/api/alerts")).status_code == 503
    plugin.memory[RUNNING] = Book()
    found = await (await app.test_client().get("/api/alerts")).get_json()
    assert found == {"alerts": [], "lately": [], "waiting": 0}
