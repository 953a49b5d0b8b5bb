"""Repeats are held back for a window and told with their number; lives of bots never are."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trioworkers.events import EVENTS, Event
from trioworkers.logs import Log, open_log
from trioworkers.logs.throttle import Throttle, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio.testing import MockClock

WINDOW = 30.0


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """The root logger as it was, afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)


Opened = tuple[Log, "Callable[[], list[dict[str, Any]]]"]


@pytest.fixture
def opened() -> Opened:
    """A log that throttles on Trio's clock, and its lines so far."""
    stream = io.StringIO()
    log = open_log(
        format="json", stream=stream, environ={}, throttle_window=lambda: WINDOW, clock=trio.current_time
    )
    return log, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def told(event: str = "update.retried", level: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"event": event, "level": level or EVENTS[event], "bot": "echo", **fields}


def happened(event: str = "update.retried", bot: str = "echo", **fields: Any) -> Event:
    return Event(event, 1_700_000_000.0, 1, EVENTS[event], bot, None, fields)


# -- what is of one kind ------------------------------------------------------------------------------


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_the_lives_of_bots_and_of_the_daemon_are_never_held(event: str) -> None:
    """Whatever their level; throttled are only the kinds that come with each update or request."""
    kinds = ("update", "inbox", "transport", "webhook", "plugin")
    throttled = (event.split(".")[0] in kinds or event == "control.refused") and EVENTS[event] != "debug"
    assert (kind_of(told(event)) is not None) is throttled


def test_debug_is_never_held() -> None:
    """Who asks for each step gets each step."""
    assert kind_of(told(level="debug")) is None


def test_reasons_that_differ_in_figures_are_of_one_kind() -> None:
    """A pause, a line number, an order."""
    assert kind_of(told(error="ValueError at a.py:12 in f", wait=1.5)) == kind_of(
        told(error="ValueError at a.py:345 in f", wait=3.0)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"event": "update.dead"}, {"level": "error"}, {"bot": "other"}, {"reason": "b"},
        {"error": "KeyError"}, {"kind": "poll"}, {"logger": "httpx"}, {"says": "b"},
    ],
    ids=str,
)  # fmt: skip
def test_what_differs_otherwise_is_of_another_kind(changed: dict[str, Any]) -> None:
    """Event, level, bot, reason, class of error; for libraries, which one and what it says."""
    line = told(reason="a", error="ValueError", kind="message", logger="x", says="a")
    assert kind_of(line) != kind_of({**line, **changed})


# -- windows ------------------------------------------------------------------------------------------


def test_the_first_is_written_and_the_others_are_counted() -> None:
    """At the end of the window comes the last of them, with how many they were."""
    throttle = Throttle()
    written = [throttle.admits(told(reason="a", dialog=f"echo/{n}"), n, WINDOW) for n in range(5)]
    assert written == [True, False, False, False, False]
    assert throttle.due(29.9, WINDOW) == []
    assert throttle.due(30.0, WINDOW) == [told(reason="a", dialog="echo/4", repeats=4)]
    assert throttle.due(1000.0, WINDOW) == []


def test_a_trouble_that_goes_on_is_one_line_a_window() -> None:
    """What told the repeats opens the next window; one without any ends it."""
    throttle = Throttle()
    throttle.admits(told(), 0, WINDOW)
    throttle.admits(told(), 1, WINDOW)
    assert len(throttle.due(30, WINDOW)) == 1
    assert not throttle.admits(told(), 31, WINDOW)
    assert len(throttle.due(60, WINDOW)) == 1
    assert throttle.due(90, WINDOW) == []
    assert throttle.admits(told(), 91, WINDOW)


def test_a_window_of_nothing_holds_nothing() -> None:
    """Also when it becomes so while something is held: that comes out at once."""
    throttle = Throttle()
    assert all(throttle.admits(told(), 0, 0) for _ in range(3))
    throttle.admits(told(), 0, WINDOW)
    throttle.admits(told(), 0, WINDOW)
    assert throttle.admits(told(), 0, 0)
    assert throttle.due(0, 0) == [told(repeats=1)]
    assert throttle.due(0, 0) == []


def test_more_kinds_than_are_remembered_are_written() -> None:
    """Memory is bounded, and nothing is lost for it."""
    throttle = Throttle(most=2)
    lines = [told(reason=reason) for reason in "abcabc"]
    assert [throttle.admits(line, 0, WINDOW) for line in lines] == [True, True, True, False, False, True]
    assert len(throttle.flush()) == 2


# -- the log ------------------------------------------------------------------------------------------


async def test_every_repeat_is_accounted_for(
    opened: Opened, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Lines without `repeats` and the sum of `repeats` make the number of events."""
    log, lines = opened
    await nursery.start(log.serve)
    await trio.sleep(0.5)
    for _ in range(90):
        log(happened(error="ValueError"))
        await trio.sleep(1)
    await trio.sleep(WINDOW)
    assert [line.get("repeats") for line in lines()] == [None, 30, 30, 29]
    nursery.cancel_scope.cancel()


async def test_what_is_held_is_told_when_the_log_ends(opened: Opened, autojump_clock: MockClock) -> None:
    """However it is ended."""
    log, lines = opened
    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(log.serve)
            for _ in range(3):
                log(happened())
    assert [line.get("repeats") for line in lines()] == [None, 2]


async def test_what_is_held_is_told_before_the_daemons_last_word(opened: Opened) -> None:
    """The process may end right behind it."""
    log, lines = opened
    for _ in range(3):
        log(happened("inbox.trouble", reason="disk full"))
    log(happened("daemon.stopped"))
    assert [(line["event"], line.get("repeats")) for line in lines()] == [
        ("inbox.trouble", None), ("inbox.trouble", 2), ("daemon.stopped", None),
    ]  # fmt: skip


async def test_each_exit_of_a_worker_is_written(opened: Opened) -> None:
    """A crash loop is seen crash by crash."""
    log, lines = opened
    for _ in range(5):
        log(happened("worker.exited", how="exit code 1"))
    assert [line["event"] for line in lines()] == ["worker.exited"] * 5


async def test_a_library_that_repeats_itself_is_held_too(opened: Opened) -> None:
    """By its name and what it says."""
    log, lines = opened
    for number in range(5):
        logging.getLogger("some.library").warning("connection %d lost", number)
    logging.getLogger("some.library").warning("something else")
    log.flush()
    assert [(line["says"], line.get("repeats")) for line in lines()] == [
        ("connection 0 lost", None), ("something else", None), ("connection 4 lost", 4),
    ]  # fmt: skip


async def test_the_window_may_change_at_any_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It is read anew each time."""
    stream, window = io.StringIO(), [1000.0]
    log = open_log(
        format="json", stream=stream, environ={}, throttle_window=lambda: window[0], clock=trio.current_time
    )
    await nursery.start(log.serve)
    log(happened())
    log(happened())
    await trio.sleep(100.5)
    assert "repeats" not in stream.getvalue()
    window[0] = 10.0
    await trio.sleep(1)
    assert '"repeats": 1' in stream.getvalue()
    nursery.cancel_scope.cancel()
