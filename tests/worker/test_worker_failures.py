"""What a worker writes about handlers that raise: each failure, and its traceback now and then."""

from __future__ import annotations

import json

import pytest
import trio

from trioworkers.errors import Dead, Drop, Retry
from trioworkers.handling.handle import handle
from trioworkers.handling.log import BotLog
from trioworkers.worker.failures import AGAIN, MOST_KINDS, Failures


@pytest.fixture
def lines():
    """The lines that were written."""
    return []


@pytest.fixture
def run(lines):
    """Handles an update by a function, and returns the outcome."""
    failures = Failures()
    log = BotLog("info", write=lambda line: lines.append(json.loads(line)), bot="b")

    async def handled(function):
        def failed(outcome, error):
            failures.write(log, outcome, error, attempt=1)

        return await handle(lambda _: function(), None, 10, failed=failed)

    return handled


def raising(error):
    """A handler that raises that."""

    async def raises():
        raise error

    return raises


async def test_a_failure_is_a_line_with_its_traceback(run, lines):
    """A warning while the update is tried again, an error when it is dead."""
    await run(raising(ValueError("secret")))
    (line,) = lines
    assert (line["event"], line["level"], line["attempt"]) == ("handler failed", "warn", 1)
    assert line["error"].startswith("ValueError at test_worker_failures.py:")
    assert line["traceback"].endswith(" in raises: raise error")
    await run(raising(Dead("no way: secret")))
    assert (lines[1]["level"], lines[1]["error"][:8]) == ("error", "Dead at ")
    assert "secret" not in json.dumps(lines)


async def test_a_failure_without_code_of_the_bot_has_no_traceback(run, lines):
    """A field without a line would be an empty line."""
    await run(lambda: None)  # it is not async: what awaits it is ours
    (line,) = lines
    assert line["error"].startswith("TypeError at ")
    assert "traceback" not in line


async def test_what_is_raised_on_purpose_is_no_failure(run, lines):
    """`Retry` and `Drop` are how a handler says what it wants; with an error beside them it is a failure."""
    await run(raising(Retry(after=5)))
    await run(raising(Drop("spam")))
    assert lines == []
    await run(raising(ExceptionGroup("", [Retry(), ValueError()])))
    assert len(lines) == 1


async def test_a_handler_that_takes_too_long_is_shown_where_it_was(run, lines, autojump_clock):
    """The innermost line of its own, in the outcome and in the log."""

    async def slow():
        async with trio.open_nursery():
            await trio.sleep(60)

    outcome = await run(slow)
    assert outcome.error.startswith("took longer than 10 s at test_worker_failures.py:")
    assert outcome.error.endswith(" in slow")
    assert outcome.late
    (line,) = lines
    assert line["error"] == outcome.error
    assert line["traceback"].split("\n")[-1].endswith(" in slow: await trio.sleep(60)")


async def test_a_failure_that_repeats_has_its_traceback_now_and_then(run, lines, autojump_clock):
    """Each is a line; the traceback of one place comes again after a while."""
    fails = raising(ValueError())
    for pause in (0, AGAIN / 2, AGAIN):
        await trio.sleep(pause)
        await run(fails)
    assert ["traceback" in line for line in lines] == [True, False, True]


async def test_the_kinds_that_are_remembered_are_bounded(run, lines):
    """A bot whose failures all differ takes no memory."""
    for number in range(2 * MOST_KINDS):
        await run(raising(type(f"Error{number}", (Exception,), {})()))
    assert all("traceback" in line for line in lines)
