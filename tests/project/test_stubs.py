"""What type checkers know of the Bot API is what the table of facts says, and finds mistakes in bots."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCS, blocks, page

from trioworkers import types
from trioworkers.handling.bot import Bot
from trioworkers.testing.facts import bot_api

STUBS = runpy.run_path(str(DOCS / "stubs.py"))
SAMPLE = Path(__file__).with_name("planted_mistakes.txt")


def mypy(python: Path, path: Path, source: str) -> tuple[list[int], str]:
    """Checks a bot in the environment of `python`; returns the lines with errors, and what was said."""
    path.write_text(source)
    options = ["--strict", "--config-file=", "--cache-dir=.mypy", "--python-executable", str(python)]
    command = [sys.executable, "-m", "mypy", *options, path.name]
    result = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    lines = re.findall(r"^\w+\.py:(\d+): error", result.stdout, re.MULTILINE)
    return [int(line) for line in lines], result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of bots; one for all tests, as mypy keeps there what it knows."""
    return tmp_path_factory.mktemp("bots")


@pytest.mark.parametrize("name", ["types", "methods"])
def test_the_stubs_are_those_of_the_table(name):
    """`python docs/stubs.py` renews them."""
    assert STUBS[name.upper()].read_text() == STUBS[f"{name}_stub"](bot_api())


def test_each_planted_mistake_is_found_and_nothing_else(fresh, folder):
    """`mypy --strict` on a whole bot: misspelt names, wrong types, what is missing."""
    source = SAMPLE.read_text()
    planted = [number for number, line in enumerate(source.splitlines(), 1) if "# MISTAKE" in line]
    assert len(planted) >= 10
    lines, said = mypy(fresh, folder / "sample_bot.py", source)
    assert lines == planted, said


def test_the_examples_of_handlers_are_well_typed(fresh, folder):
    """Those that say their types pass `mypy --strict`."""
    typed = [block for block in blocks(page("handlers.md"), "python") if "update: Update" in block]
    assert len(typed) >= 6
    for number, block in enumerate(typed):
        lines, said = mypy(fresh, folder / f"example_{number}.py", block)
        assert lines == [], said


def test_every_method_that_is_typed_is_a_call_at_run_time():
    """The names of the stub are those that a bot turns into methods: `send_message` is sendMessage."""
    stub = STUBS["METHODS"].read_text()
    names = dict.fromkeys(re.findall(r"async def (\w+)\(", stub))
    first, *_ = (bot_call(name) for name in names)
    assert first == "getUpdates"
    assert [bot_call(name) for name in names] == list(bot_api().methods)
    assert not names.keys() & {name for name in vars(Bot) if not name.startswith("_")}


def bot_call(name):
    """The Bot API method that a bot calls by this name."""
    from trioworkers.handling.bot import _method

    return _method(name)


def test_at_run_time_each_type_is_a_dictionary():
    """`from trioworkers.types import Message` works in a handler, and loads nothing."""
    assert types.Message is dict
    assert types.InlineKeyboardMarkup(inline_keyboard=[]) == {"inline_keyboard": []}
    assert not hasattr(types, "message")


def test_no_type_of_the_table_has_the_name_of_one_of_ours():
    """`Text`, `Whole` and the like stand beside the Bot API's own."""
    names = re.findall(r"^(?:class )?(\w+)(?:\(|: TypeAlias)", STUBS["TYPES"].read_text(), re.MULTILINE)
    assert sorted(names) == sorted(set(names))
