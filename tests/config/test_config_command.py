"""A bot that is a program: its keys, how they stand over the defaults, and what a change of them does."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from jsonschema import Draft202012Validator

from trioworkers.config import FleetFileError, fleet_schema, load_fleet, plan_reload
from trioworkers.config.command import filled, program_problem

TOKEN = {"token": "1:abc"}
RULE = 'expected an array of strings, the first of them a program: ["node", "bot.js"]'


def read(folder, bots, defaults=None):
    path = folder / "fleet.toml"
    path.write_text(tomli_w.dumps({"defaults": defaults or {}, "bots": bots}))
    return load_fleet(path, {})


def problems(folder, bot, defaults=None):
    with pytest.raises(FleetFileError) as found:
        read(folder, {"shop": {**TOKEN, **bot}}, defaults)
    return [str(problem).partition(": ")[2] for problem in found.value.problems]


def test_a_program_stands_in_the_place_of_a_handler(tmp_path):
    """Its folder is relative to the file, and where none is named, that of the file."""
    table = {**TOKEN, "command": ["node", "bot.js"], "cwd": "shop", "environment": {"A": "{token}"}}
    bot = read(tmp_path, {"shop": table}).bots["shop"]
    assert bot.handler is None
    assert bot.command == ("node", "bot.js")
    assert bot.cwd == tmp_path / "shop"
    assert bot.shown == "node bot.js"


@pytest.mark.parametrize(
    ("bot", "words"),
    [
        ({}, 'bots.shop.handler: missing, expected "module:function", or a command'),
        (
            {"handler": "a:b", "command": ["x"]},
            "bots.shop.command: expected either handler or command, got both",
        ),
        (
            {"command": "node bot.js"},
            "bots.shop.command: expected an array of strings, the first of them a program:"
            ' ["node", "bot.js"], got a string of another form',
        ),
        (
            {"command": []},
            f"bots.shop.command: {RULE}",
        ),
        (
            {"command": ["x", 1]},
            f"bots.shop.command: {RULE}",
        ),
        (
            {"command": ["x"], "albums": "1s"},
            "bots.shop.albums: expected 0 beside command: a program is given albums part by part",
        ),
        ({"command": ["x"], "environment": {"A": 1}}, "bots.shop.environment: expected a string for A"),
        (
            {"command": ["x"], "environment": {"a-b": "1"}},
            "bots.shop.environment: expected names of letters, digits and underscores"
            " that do not begin with a digit",
        ),
        (
            {"command": ["x"], "environment": "A=1"},
            "bots.shop.environment: expected a table of variables for the command:"
            ' { BOT_TOKEN = "{token}" }, got a string of another form',
        ),
        (
            {"command": ["x"], "environment": "test"},
            "bots.shop.environment: expected a table of variables for the command:"
            ' { BOT_TOKEN = "{token}" }; for a bot at Telegram\'s test servers, set test_servers = true',
        ),
        (
            {"command": ["x"], "acknowledge": "guess"},
            'bots.shop.acknowledge: expected "auto", "probe", "poll", "receipt" or "quiet", got "guess"',
        ),
        (
            {"command": ["x"], "order": "caht"},
            'bots.shop.order: expected "chat" or "none", got "caht"',
        ),
        (
            {"command": ["x"], "drop_pending": True},
            'bots.shop.drop_pending: expected "ignore" or "obey", got a boolean',
        ),
    ],
)
def test_what_is_wrong_with_a_program_is_said(tmp_path, bot, words):
    """In words, and never the values: a variable may hold a secret."""
    (found,) = problems(tmp_path, bot)
    assert found.startswith(words)


def test_a_bots_own_program_replaces_the_handler_of_the_defaults(tmp_path):
    """And its own handler their program; variables are merged key by key."""
    fleet = read(
        tmp_path,
        {"a": {"token": "1:a", "command": ["x"]}, "b": {"token": "2:a"}},
        {"handler": "m:f", "settings": {"command": 1}},
    )
    assert (fleet.bots["a"].handler, fleet.bots["a"].command) == (None, ("x",))
    assert (fleet.bots["b"].handler, fleet.bots["b"].command) == ("m:f", None)
    assert fleet.bots["a"].settings == {"command": 1}
    fleet = read(
        tmp_path,
        {
            "a": {"token": "1:a", "handler": "m:f", "settings": {"handler": 2}},
            "b": {"token": "2:a", "environment": {"B": "2"}},
        },
        {"command": ["x"], "environment": {"A": "1"}},
    )
    assert (fleet.bots["a"].handler, fleet.bots["a"].command) == ("m:f", None)
    assert fleet.bots["b"].environment == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"command": ["node", "other.js"]}, "replaced"),
        ({"environment": {"A": "2"}}, "replaced"),
        ({"cwd": "other"}, "replaced"),
        ({"token_passed": "real"}, "replaced"),
        ({"acknowledge": "poll"}, "replaced"),
        ({"order": "none"}, "retuned"),
        ({"drop_pending": "obey"}, "retuned"),
        ({"settings": {"a": 1}}, "retuned"),
    ],
)
def test_what_a_change_touches(tmp_path, change, kind):
    """What a process is started with replaces it, all else does not."""
    table = {**TOKEN, "command": ["node", "bot.js"], "environment": {"A": "1"}}
    plan = plan_reload(read(tmp_path, {"shop": table}), read(tmp_path, {"shop": {**table, **change}}))
    assert list(plan.replaced) == (["shop"] if kind == "replaced" else [])
    assert list(plan.retuned) == (["shop"] if kind == "retuned" else [])


def test_an_editor_knows_both_forms():
    """The schema wants a handler or a program of each bot."""
    validator = Draft202012Validator(fleet_schema())
    assert validator.is_valid({"bots": {"x": {**TOKEN, "command": ["x"], "environment": {"A": "1"}}}})
    assert validator.is_valid({"defaults": {"command": ["x"]}, "bots": {"x": TOKEN}})
    assert not validator.is_valid({"bots": {"x": TOKEN}})
    assert not validator.is_valid({"bots": {"x": {**TOKEN, "command": "x"}}})


def test_variables_are_filled_in():
    """Three words in braces; other braces may be JSON."""
    table = {"A": "{token}/{api}/{files}", "B": '{"x": {}}'}
    values = {"token": "1:x", "api": "http://a", "files": "http://a/file"}
    assert filled(table, values) == {"A": "1:x/http://a/http://a/file", "B": '{"x": {}}'}
    assert filled({}, values) == {}


def test_a_program_that_is_not_there_is_seen(tmp_path):
    """By its path, or along PATH."""
    (tmp_path / "run").write_text("")
    (tmp_path / "run").chmod(0o755)
    assert program_problem(("./run",), tmp_path, "") is None
    assert program_problem(("run",), tmp_path, str(tmp_path)) is None
    assert "no program of the name run was found in any folder of PATH" in str(
        program_problem(("run",), tmp_path, "/nowhere")
    )
    assert "no program of the name ./no was found in" in str(program_problem(("./no",), tmp_path, ""))
    assert "does not exist" in str(program_problem(("run",), Path("/nowhere"), ""))
