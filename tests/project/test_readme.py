"""The README says what the code does: every name in it exists, and every name that exists is in it."""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from trioworkers.cli import exits, main
from trioworkers.config import environment, fleet_schema, load_fleet
from trioworkers.config.schema import TABLES
from trioworkers.events import EVENTS
from trioworkers.web.app import OPEN, make_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TABLES_SCRIPT = runpy.run_path(str(ROOT / "docs/tables.py"))


def section(name: str) -> str:
    """Returns what stands between the README's marks of that name."""
    return README.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]


def rows(name: str) -> list[list[str]]:
    """Returns the cells of a marked table, without its head."""
    lines = [line for line in section(name).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def file_block(language: str, name: str) -> str:
    return next(block for block in blocks(language) if block.startswith(f"# {name}\n"))


def test_the_readme_begins_with_the_two_commands():
    """Who clones this sees first how to run and to test it."""
    first = blocks("sh")[0]
    assert README.startswith("# trioworkers\n\n```sh\nscripts/run ")
    assert [line.split()[0] for line in first.splitlines()] == ["scripts/run", "scripts/test"]


def test_the_table_of_settings_is_made_from_the_code():
    """Every key with its default, its reload class and its meaning; `python docs/tables.py` renews it."""
    assert section("settings") == TABLES_SCRIPT["settings_table"]()


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
        if not {"config", "testing", "demo"} & set(path.parts):
            tree = ast.parse(path.read_text())
            read.update(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    common = {"bind", "max", "secret", "worker"}  # attributes of something else, too
    for table, key, _ in TABLES_SCRIPT["keys"](fleet_schema()):
        *_, last = key.split(".")
        if last not in common:
            marked = f"{table}.{key}" in TABLES_SCRIPT["NOT_YET"]
            assert marked == (last not in read), f"{table}.{key}"


def test_commands():
    """Every verb and every option, and no others."""
    documented = {}
    for verb, options, _ in rows("commands"):
        documented["".join(code(verb))] = set(code(options))

    def options_of(command: click.Command) -> set[str]:
        found = {
            name for option in command.params if isinstance(option, click.Option) for name in option.opts
        }
        return found - {"-h", "--help"}

    actual: dict[str, set[str]] = {}
    for name, command in main.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        actual.update((f"{name} {word}".strip(), options_of(one)) for word, one in inner.items())
    actual[""] = options_of(main) | {"-h", "--help"}
    assert documented == actual


def test_exit_codes():
    """Every exit code, and no others."""
    actual = {code for name, code in vars(exits).items() if name.isupper()}
    assert {int(row[0]) for row in rows("exit codes")} == actual


def test_endpoints():
    """Every endpoint with its method, and whether it wants the token."""
    nothing: dict[str, Any] = dict.fromkeys(inspect.signature(make_app).parameters)
    app = make_app(**nothing)
    methods = {"GET", "POST", "PUT", "DELETE"}
    rules = [(re.sub(r"<\w+:", "<", rule.rule), rule.methods or set()) for rule in app.url_map.iter_rules()]
    actual = {f"{method} {path}" for path, allowed in rules for method in allowed & methods}
    documented = {code(row[0])[0]: row[1] for row in rows("endpoints")}
    assert documented.keys() == actual
    assert {name.partition(" ")[2] for name, token in documented.items() if token == "no"} == OPEN


def test_events():
    """Every event with its level, and no others."""
    assert {code(row[0])[0]: row[1] for row in rows("events")} == dict(EVENTS)


def test_the_fields_of_events():
    """Every field that is told with an event is named at one of the events."""
    told: set[str] = set()
    for path in (ROOT / "trioworkers").rglob("*.py"):
        if "testing" in path.parts or "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("emit", "_emit"):
                told.update(keyword.arg for keyword in node.keywords if keyword.arg)
    documented = {field for row in rows("events") for field in code(row[3])}
    assert told - {"level", "trace_id"} == documented - {"detail"}


def test_environment_variables():
    """Every variable that the settings know is in the table of variables."""
    source = Path(environment.__file__).read_text()
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    known = {text for text in strings if isinstance(text, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text)}
    documented = {name for row in rows("variables") for name in code(row[0])}
    assert known <= documented
    package = "\n".join(path.read_text() for path in (ROOT / "trioworkers").rglob("*.py"))
    assert [name for name in documented if name not in package] == []


def test_fields_of_a_workers_status():
    """Every field of a worker's row, and of its queue and last exit, is explained."""
    text = README.split("| field | meaning |")[1].split("\n\n")[0]
    documented = set(code(text))
    nursery = ROOT / "trioworkers/nursery"
    trees = [ast.parse((nursery / name).read_text()) for name in ("bot.py", "supervisor.py")]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    tables = [node for node in functions if node.name in ("status", "_health", "_note_exit")]
    assert len(tables) == 3
    fields: set[Any] = set()
    for node in [node for table in tables for node in ast.walk(table)]:
        if isinstance(node, ast.Dict):
            fields.update(key.value for key in node.keys if isinstance(key, ast.Constant))
    assert fields - documented == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Relative links and anchors exist."""
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = document if not path else document.parent / path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target


def test_code_blocks_are_right():
    """Python compiles, shell parses, TOML reads."""
    for block in blocks("python"):
        compile(block, "README.md", "exec")
    for block in blocks("sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)  # noqa: S607 - any bash
    for block in blocks("toml"):
        tomllib.loads(block)


def test_the_fleet_file_of_the_readme_is_good(tmp_path):
    """The bot that a newcomer copies is accepted."""
    path = tmp_path / "fleet.toml"
    path.write_text(file_block("toml", "fleet.toml"))
    assert list(load_fleet(path, {"HELLO_TOKEN": "123456:abc"}).bots) == ["hello"]


def test_the_example_test_of_the_readme_passes(tmp_path):
    """The bot and its test, as they stand in the README, in a folder of their own."""
    (tmp_path / "hello.py").write_text(file_block("python", "hello.py"))
    (tmp_path / "test_hello.py").write_text(file_block("python", "test_hello.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hello.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schema_file_is_that_of_the_code():
    """fleet.schema.json is what `trioworkers schema` prints."""
    assert json.loads((ROOT / "fleet.schema.json").read_text()) == fleet_schema()
