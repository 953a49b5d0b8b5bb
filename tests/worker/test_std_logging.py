"""What a bot logs through Python's `logging` is in its log."""

from __future__ import annotations

import json
import logging

import pytest

from trioworkers.handling.log import BotLog
from trioworkers.worker.std_logging import ToBotLog, handled


class Seen:
    """An update's trace id."""

    trace_id = "ab" * 16


@pytest.fixture
def lines():
    """The lines that were written."""
    return []


@pytest.fixture
def logger(lines):
    """A logger of a bot, with the handler that is the last resort in a worker."""
    log = BotLog("debug", write=lambda line: lines.append(json.loads(line)), bot="b")
    logger = logging.Logger("shop.prices")
    logger.addHandler(ToBotLog(log))
    return logger


def test_records_are_lines_with_their_level_and_logger(logger, lines):
    """Whatever level a library makes up."""
    logger.error("no price for %s", "tea")
    logger.warning("slow")
    logger.info("fine")
    logger.debug("step")
    logger.log(35, "odd")
    assert [(line["level"], line["event"]) for line in lines] == [
        ("error", "no price for tea"),
        ("warn", "slow"),
        ("info", "fine"),
        ("debug", "step"),
        ("warn", "odd"),
    ]
    assert {(line["bot"], line["logger"]) for line in lines} == {("b", "shop.prices")}


def test_an_exception_has_its_traceback_and_not_its_message(logger, lines):
    """As `bot.log.exception` writes it."""
    try:
        int("what Alice wrote")
    except ValueError:
        logger.exception("no price")
    assert lines[0]["error"].startswith("ValueError at test_std_logging.py:")
    assert lines[0]["traceback"].endswith('int("what Alice wrote")')
    logger.error("no exception", exc_info=True)
    assert "error" not in lines[1]


def test_a_malformed_call_ends_nothing(logger, lines):
    """Its words without their values."""
    logger.error("%d prices", "many")
    assert lines[0]["event"] == "%d prices"


async def test_within_a_handling_a_line_has_the_trace_id(logger, lines):
    """So that `trioworkers logs --trace` finds it."""
    handled.set(Seen())
    logger.error("no price")
    assert lines[0]["trace_id"] == Seen.trace_id
