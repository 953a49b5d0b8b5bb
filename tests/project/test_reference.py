"""The pages say what the code does: every name in their tables exists, and no name is missing."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
from documents import DOCS, ROOT, code, page, rows, section

from trioworkers.cli import exits, main
from trioworkers.config import environment, fleet_schema
from trioworkers.config.schema import TABLES
from trioworkers.events import EVENTS
from trioworkers.plugin_types import PluginDaemon, PluginHandle
from trioworkers.plugins import load_installed
from trioworkers.web.admission import OPEN, SIGN_IN, STATIC
from trioworkers.web.app import AppContext, make_app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.plugins.plugin import Plugin

TABLES_SCRIPT = runpy.run_path(str(DOCS / "tables.py"))
HOOKS_SCRIPT = runpy.run_path(str(DOCS / "hooks.py"))


def test_the_table_of_settings_is_made_from_the_code():
    """Every key with its default, its reload class and its meaning; `python docs/tables.py` renews it."""
    assert section("fleet-file.md", "settings") == TABLES_SCRIPT["settings_table"]()


def test_what_plugins_are_given_is_listed():
    """Each public name of the handle and of the daemon is in docs/plugins.md, and no other."""
    for table, given in (("handle", PluginHandle), ("daemon", PluginDaemon)):
        public = {name for name in vars(given) if not name.startswith("_")}
        listed = {re.findall(r"\.(\w+)", code(row[0])[0])[0] for row in rows("plugins.md", table)}
        assert listed == public


def test_every_key_of_the_models_is_in_the_table():
    """The table is read from the schema; the models have no key that is not in it."""
    listed = {(table, key) for table, key, _ in TABLES_SCRIPT["keys"](fleet_schema())}
    for table, model in TABLES.items():
        if table != "defaults":
            heading = "bots.NAME" if table == "bots" else table
            names = model.model_fields.keys() - ({"name"} if table == "bots" else set())
            assert {(heading, name) for name in names} <= listed


def test_keys_are_marked_as_without_effect_exactly_when_nobody_reads_them():
    """A key is read where its name is an attribute of something, outside of the settings themselves."""
    read: set[str] = set()
    for path in (ROOT / "trioworkers").rglob("*.py"):
        reads = path.name in ("in_force.py", "worker_places.py") or "config" not in path.parts
        if reads and not {"testing", "demo"} & set(path.relative_to(ROOT).parts):
            tree = ast.parse(path.read_text())
            read.update(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    common = {"bind", "max", "secret", "worker"}  # attributes of something else, too
    for table, key, _ in TABLES_SCRIPT["keys"](fleet_schema()):
        *_, last = key.split(".")
        if last not in common:
            marked = f"{table}.{key}" in TABLES_SCRIPT["NOT_YET"]
            assert marked == (last not in read), f"{table}.{key}"


def test_the_hooks_are_described_from_their_declarations():
    """Every hook with its arguments and its four paragraphs; `python docs/hooks.py` renews the page."""
    assert section("plugins.md", "hooks") == HOOKS_SCRIPT["reference"]()
    for name, function in HOOKS_SCRIPT["hooks"]():
        _, labelled, arguments = HOOKS_SCRIPT["parts"](function)
        assert tuple(labelled) == HOOKS_SCRIPT["LABELS"], name
        assert [*arguments] == [key for key in inspect.signature(function).parameters if key != "self"], name


def built_in_plugins() -> list[Plugin]:
    """Returns the plugins that come with trioworkers."""
    return [plugin for plugin in load_installed().found if plugin.origin.place == "trioworkers"]


def built_in_verbs() -> Mapping[str, click.Command]:
    """Returns the verbs of these plugins."""
    group = click.Group()
    for plugin in built_in_plugins():
        if (hook := plugin.hooks.get("trioworkers_cli")) is not None:
            hook.function(**hook.bound(cli=group))
    return group.commands


def test_commands():
    """Every verb and every option, those of built-in plugins included, and no others."""
    documented = {}
    for verb, options, _ in [*rows("commands.md", "commands"), *rows("commands.md", "handoff commands")]:
        documented["".join(code(verb))] = set(code(options))

    def options_of(command: click.Command) -> set[str]:
        found = {
            name for option in command.params if isinstance(option, click.Option) for name in option.opts
        }
        return found - {"-h", "--help"}

    actual: dict[str, set[str]] = {}
    for name, command in {**built_in_verbs(), **main.commands}.items():
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        actual.update((f"{name} {word}".strip(), options_of(one)) for word, one in inner.items())
    actual[""] = options_of(main) | {"-h", "--help"}
    assert documented == actual


def test_exit_codes():
    """Every exit code, and no others."""
    actual = {code for name, code in vars(exits).items() if name.isupper()}
    assert {int(row[0]) for row in rows("commands.md", "exit codes")} == actual


def test_endpoints():
    """Every endpoint with its method, and whether it wants the token."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(AppContext))
    app = make_app(AppContext(**nothing | {"admission": SimpleNamespace(still_admits=None)}))
    for plugin in built_in_plugins():
        if (hook := plugin.hooks.get("trioworkers_web")) is not None:
            hook.function(**plugin.arguments(hook, app=app, daemon=None))
    methods = {"GET", "POST", "PUT", "DELETE"}
    rules = [(re.sub(r"<\w+:", "<", rule.rule), rule.methods or set()) for rule in app.url_map.iter_rules()]
    actual = {f"{method} {path}" for path, allowed in rules for method in allowed & methods}
    tables = ("endpoints", "alert endpoints", "handoff endpoints")
    listed = [row for table in tables for row in rows("http-api.md", table)]
    documented = {code(row[0])[0]: row[1] for row in listed}
    assert documented.keys() == actual
    open_ = {name.partition(" ")[2] for name, token in documented.items() if token == "no"}
    assert open_ == OPEN | SIGN_IN | {f"{STATIC}<path>"}


def test_events():
    """Every event with its level, and no others."""
    assert {code(row[0])[0]: row[1] for row in rows("logs-and-events.md", "events")} == dict(EVENTS)


def test_the_fields_of_events():
    """Every field that is told with an event is named at one of the events."""
    told: set[str] = set()
    for path in [*(ROOT / "trioworkers").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        if {"testing", "demo"} & set(path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.args[0] if ast.unparse(node.func) == "partial" and node.args else node.func
            if ast.unparse(called).rpartition(".")[2] in ("emit", "post", "_emit", "emit_action"):
                told.update(keyword.arg for keyword in node.keywords if keyword.arg)
    documented = {field for row in rows("logs-and-events.md", "events") for field in code(row[3])}
    assert told - {"level", "trace_id"} == documented - {"detail"}


def test_environment_variables():
    """Every variable that the settings know is in the table of variables."""
    source = Path(environment.__file__).read_text()
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    known = {text for text in strings if isinstance(text, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text)}
    documented = {name for row in rows("fleet-file.md", "variables") for name in code(row[0])}
    assert known <= documented
    package = "\n".join(path.read_text() for path in (ROOT / "trioworkers").rglob("*.py"))
    assert [name for name in documented if name not in package] == []


def test_fields_of_a_workers_status():
    """Every field of a worker's row, and of its queue and last exit, is explained."""
    text = page("http-api.md").split("| field | meaning |")[1].split("\n\n")[0]
    documented = set(code(text))
    nursery = ROOT / "trioworkers/nursery"
    trees = [
        ast.parse((nursery / name).read_text())
        for name in ("bot.py", "bot_run.py", "health.py", "supervisor.py")
    ]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    tables = [
        node for node in functions if node.name in ("status", "_status_before", "health_of", "_note_exit")
    ]
    assert len(tables) == 5
    found: set[Any] = set()
    for node in [node for table in tables for node in ast.walk(table)]:
        if isinstance(node, ast.Dict):
            found.update(key.value for key in node.keys if isinstance(key, ast.Constant))
    assert found - documented == set()
