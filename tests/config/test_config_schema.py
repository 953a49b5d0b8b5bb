"""The JSON Schema agrees with what is accepted and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from trioworkers.config import fleet_schema
from trioworkers.config.messages import file_keys
from trioworkers.config.schema import TABLES

EXAMPLE = tomllib.loads((Path(__file__).parents[2] / "fleet.toml").read_text())
BOT = {"token": "1:a", "handler": "a:b"}


@pytest.fixture(scope="module")
def validator():
    schema = fleet_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_schema_accepts_the_example(validator):
    """The example of the repository is right by the standard's own rules."""
    assert list(validator.iter_errors(EXAMPLE)) == []


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"bots": {"x": BOT}},
        {"bots": {"x": {"handler": "a:b"}}, "defaults": {"token": {"env": "X"}}},
        {"bots": {"x": {**BOT, "poll_timeout": 5}}},
        {"bots": {"x": {**BOT, "poll_timeout": "5s", "memory_limit": 5}}},
        {"bots": {"x": {**BOT, "rate_limit": "telegram", "settings": {"any": {"thing": []}}}}},
        {"plugins": {"any": {"thing": 1}}, "store": {"url": {"env": "DB"}}},
        {"api": {"bind": "[::1]:80", "token": {"file": "x"}}, "webhook": {"bind": "unix:x"}},
    ],
)
def test_the_schema_accepts_what_is_right(validator, tables):
    """Both forms of durations, sizes and secrets; required keys may come from the defaults."""
    assert list(validator.iter_errors(tables)) == []


@pytest.mark.parametrize(
    "tables",
    [
        {"nope": 1},
        {"fleet": {"nam": "x"}},
        {"bots": {"x": {}}},
        {"bots": {"x": {"token": "1:a"}}, "defaults": {"token": "1:a"}},
        {"bots": {"x": {**BOT, "name": "y"}}},
        {"bots": {"a..b": BOT}},
        {"bots": {"x": {**BOT, "poll_timeout": "5 minutes"}}},
        {"bots": {"x": {**BOT, "poll_timeout": 51}}},
        {"bots": {"x": {**BOT, "memory_limit": 1.5}}},
        {"bots": {"x": {**BOT, "token": {"env": "X", "file": "y"}}}},
        {"bots": {"x": {**BOT, "token": 5}}},
        {"bots": {"x": {**BOT, "rate_limit": "fast"}}},
        {"bots": {"x": {**BOT, "rate_limit": None}}},
        {"bots": {"x": {**BOT, "allowed_updates": ["mesage"]}}},
        {"bots": {"x": {**BOT, "retry": {"attempts": 0}}}},
        {"limits": {"start_rate": 0}},
        {"api": {"bind": "x"}},
        {"log": {"level": "warning"}},
        {"webhook": {"public_url": None}},
        {"plugins": {"x": 1}},
    ],
)
def test_the_schema_refuses_what_is_wrong(validator, tables):
    """What an editor can know, it marks."""
    assert list(validator.iter_errors(tables))


def test_the_schema_has_every_key_and_no_other():
    """It comes from the declarations, so it can neither lag behind nor run ahead."""
    schema = fleet_schema()
    definitions = schema["$defs"]
    assert list(definitions["Bot"]["properties"]) == file_keys(TABLES["bots"])
    for table in ("fleet", "limits", "api", "webhook", "store", "cluster", "log"):
        name = schema["properties"][table]["$ref"].rpartition("/")[2]
        assert list(definitions[name]["properties"]) == file_keys(TABLES[table])
    assert "required" not in definitions["Bot"]
    assert "null" not in json.dumps(schema)
    assert schema["title"] == "fleet.toml"
    assert schema["$schema"].endswith("2020-12/schema")
