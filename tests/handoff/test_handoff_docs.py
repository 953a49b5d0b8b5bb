"""The pages about handoffs say what the code does."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import click
from documents import code, rows
from quart_trio import QuartTrio
from trioworkers_plugins import handoff
from trioworkers_plugins.handoff import Settings
from trioworkers_plugins.handoff.commands import handoff as verbs

from trioworkers.events import EVENTS


def test_every_setting_is_in_the_table():
    """With its default and its meaning."""
    documented = {code(row[0])[0]: (row[1], row[2]) for row in rows("handoff.md", "handoff settings")}
    actual = {}
    for name, field in Settings.model_fields.items():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        shown = "–" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"
        actual[name] = (shown, field.description)
    assert documented == actual


def test_every_verb_is_in_the_table():
    """With its options."""
    documented = {"".join(code(row[0])): set(code(row[1])) for row in rows("commands.md", "handoff commands")}
    actual = {
        f"handoff {name}": {
            word for one in command.params if isinstance(one, click.Option) for word in one.opts
        }
        for name, command in verbs.commands.items()
    }
    assert documented == actual


def test_every_endpoint_is_in_the_table():
    """All of them want the token."""
    app = QuartTrio("test")
    plugin: Any = SimpleNamespace(memory={})
    daemon: Any = None
    handoff.trioworkers_web(app=app, daemon=daemon, plugin=plugin)
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    actual = {
        f"{method} {rule.rule}" for rule in rules for method in (rule.methods or set()) & {"GET", "POST"}
    }
    documented = {code(row[0])[0]: row[1] for row in rows("http-api.md", "handoff endpoints")}
    assert documented == dict.fromkeys(actual, "yes")


def test_the_events_are_declared():
    """They are emitted by their names."""
    assert [name for name in EVENTS if name.startswith("handoff.")] == [
        "handoff.requested",
        "handoff.assigned",
        "handoff.released",
    ]
