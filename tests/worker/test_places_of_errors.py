"""Where an exception comes from: the innermost line of the bot's own code."""

from __future__ import annotations

import json
import os
from functools import partial
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trioworkers
from trioworkers.botapi.errors import BotApiError
from trioworkers.errors import describe, own_place_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = os.path.dirname(trioworkers.__file__)
HANDLE, CLIENT = f"{OURS}/handling/handle.py", f"{OURS}/botapi/client.py"
POLL = f"{OURS}/transport/poll.py"
BACKEND = f"{OURS}/handlers/__init__.py"
SITE = "/srv/venv/lib/python3.11/site-packages"
BOT, PART = "/srv/bots/support.py", "/srv/bots/parts/__init__.py"
APP, LIBRARY, TRIO = f"{SITE}/app/bot.py", f"{SITE}/library/core.py", f"{SITE}/trio/_core/_run.py"
PLUGIN, CALLER = f"{SITE}/trioworkers_plugins/alerts/x.py", f"{OURS}/plugins/feeds.py"


def raised(*files):
    """An exception that went through functions in these files, outermost first."""

    def fail() -> None:
        raise ValueError

    inner: Callable[[], None] = fail
    for file in reversed(files):
        names: dict[str, Any] = {}
        exec(compile("def run(inner):\n    inner()\n", file, "exec"), names)  # noqa: S102
        inner = partial(names["run"], inner)
    try:
        inner()
    except ValueError as error:
        trace = error.__traceback__
        kept = [frame for frame, _ in walk_tb(trace)][1:-1]  # without this function and `fail`
        made = None
        for frame in reversed(kept):
            made = TracebackType(made, frame, frame.f_lasti, 2)
        return error.with_traceback(made)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ([HANDLE, BOT], "support.py"),
        ([HANDLE, BOT, CLIENT], "support.py"),
        ([HANDLE, BOT, PART, LIBRARY, CLIENT], "parts/__init__.py"),
        ([HANDLE, BOT, json.__file__], "support.py"),
        ([HANDLE, BOT, LIBRARY, PART, json.__file__], "parts/__init__.py"),
        ([BOT, TRIO], "support.py"),
        ([HANDLE, APP, CLIENT], "bot.py"),
        ([HANDLE, LIBRARY, APP, LIBRARY, CLIENT], "core.py"),
        ([APP, LIBRARY, TRIO], "bot.py"),
        ([CALLER, PLUGIN, CLIENT], "x.py"),
        ([CALLER, APP, LIBRARY], "bot.py"),
        ([HANDLE, BACKEND, CLIENT], "client.py"),
        ([POLL, CLIENT], "client.py"),
        ([POLL, CLIENT, LIBRARY], "client.py"),
        (["<frozen importlib._bootstrap>"], "<frozen importlib._bootstrap>"),
    ],
)
def test_the_place_is_the_innermost_line_of_the_bots_own_code(files, place):
    """Neither a library's, nor Python's, nor ours, where a call fails; of an installed bot its package's."""
    error = raised(*files)
    assert place_of(error) == f" at {place}:2 in run"
    assert place_of(ExceptionGroup("nursery", [error])) == f" at {place}:2 in run"


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ([HANDLE, BOT, CLIENT], " at support.py:2 in run"),
        ([HANDLE, APP, CLIENT], " at bot.py:2 in run"),
        ([HANDLE, BACKEND, CLIENT], ""),
        ([POLL, CLIENT, LIBRARY], ""),
    ],
)
def test_the_place_in_the_bots_own_code_is_left_out_where_there_is_none(files, place):
    """A line of ours would explain nothing to whoever reads the dead letter."""
    assert own_place_of(raised(*files)) == place


def test_an_exception_without_a_trace_has_no_place():
    """It was never raised."""
    assert place_of(ValueError()) == ""
    assert describe(ValueError("secret")) == "ValueError"


async def test_of_a_group_the_first_ones_place_counts():
    """A task's exception has the lines of the task, not those of the nursery."""

    async def fails():
        raise BotApiError("sendMessage", 400, "secret")

    async def both_fail():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            nursery.start_soon(fails)

    with pytest.raises(ExceptionGroup) as caught:
        await both_fail()
    here = f"{os.path.basename(__file__)}:{fails.__code__.co_firstlineno + 1} in fails"
    assert describe(caught.value) == f"BotApiError at {here}, and 1 more"
