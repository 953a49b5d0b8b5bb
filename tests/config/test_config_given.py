"""Bots that plugins give: whatever they are, the fleet is read, and each bot is in it or told."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioworkers.config import load_fleet, with_given
from trioworkers.config.messages import file_keys
from trioworkers.config.schema import TABLES

MINE = '[defaults]\nconcurrency = 2\n[bots.mine]\ntoken = "1:abc"\nhandler = "a:b"\n'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TOKENS = st.builds("{}:{}".format, st.integers(1, 4), st.sampled_from(["abc", "zeisig-zeisig"]))
ROWS = st.one_of(
    JSON,
    st.fixed_dictionaries({"token": TOKENS, "handler": st.just("a:b")}, optional={"settings": JSON}),
    st.dictionaries(st.sampled_from([*file_keys(TABLES["bots"]), "name", "x"]), JSON | TOKENS, max_size=4),
)


def of(folder, rows, **more):
    (folder / "fleet.toml").write_text(MINE)
    return with_given(load_fleet(folder / "fleet.toml", {}), {"api": rows, **more})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.sampled_from(["mine", "a", "b.c", "", "../x"]) | st.text(max_size=5), ROWS, max_size=5
    )
)
def test_a_bad_row_never_spoils_the_fleet(tmp_path, rows):
    """Each row is a bot or is told, the file's bots are in, ids are unique, and no token is shown."""
    fleet = of(tmp_path, rows)
    assert fleet.bots["mine"].concurrency == 2
    assert fleet.bots.keys() == {"mine", *fleet.sources}
    assert len({bot.bot_id for bot in fleet.bots.values()}) == len(fleet.bots)
    assert sum(map(len, fleet.refused.values())) >= len(rows) - len(fleet.sources)
    assert "zeisig" not in repr(fleet.refused)
    assert of(tmp_path, dict(reversed(rows.items()))).digest == fleet.digest


def test_defaults_hold_for_given_bots_too(tmp_path):
    """A row needs to say only what differs."""
    fleet = of(
        tmp_path,
        {"a": {"token": "2:a", "handler": "a:b"}, "b": {"token": "3:a", "handler": "a:b", "concurrency": 5}},
    )
    assert {name: bot.concurrency for name, bot in fleet.bots.items()} == {"mine": 2, "a": 2, "b": 5}


def test_of_two_plugins_the_first_has_the_name(tmp_path):
    """And the first bot of an id, by name within a plugin: the order of an answer does not matter."""
    row = {"token": "2:a", "handler": "a:b"}
    fleet = of(tmp_path, {"b": row, "a": row}, other={"a": {**row, "token": "3:a"}})
    assert fleet.sources == {"a": "api"}
    assert [str(problem) for problems in fleet.refused.values() for problem in problems] == [
        'api: bots.b.token: the bot "a" has the same bot id, expected one bot per id',
        "other: bots.a: this bot is also in api, which wins",
    ]


@pytest.mark.parametrize("token", [{"env": "PATH"}, {"file": "/etc/passwd"}, {"credential": "x"}, 5, None])
def test_a_given_token_is_the_token_itself(tmp_path, token):
    """Who writes rows elsewhere does not get to try out what is on this machine."""
    fleet = of(tmp_path, {"a": {"token": token, "handler": "a:b"}})
    assert "expected the token itself as a string" in str(fleet.refused["a"][0])
    assert fleet.watched.files == {tmp_path / "fleet.toml"}


@pytest.mark.parametrize("value", ["\ud800", object()])
def test_settings_that_cannot_be_sent_to_a_worker_are_told(tmp_path, value):
    """A file cannot hold such, but JSON of an API can: half a pair of surrogates."""
    rows = {"a": {"token": "2:a", "handler": "a:b", "settings": {"x": [value]}}}
    fleet = of(tmp_path, rows)
    assert fleet.bots.keys() == {"mine"}
    ((problem,),) = fleet.refused.values()
    assert "bots.a.settings: expected values that JSON can hold" in str(problem)
