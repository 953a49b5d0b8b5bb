"""The plugin of docs/plugins.md as a stranger has it: a wheel, beside ours, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from clean_venv import build_own_wheel, build_wheel, make_venv
from documents import blocks, file_block, page

SCRIPT = """
import json, sys
from pathlib import Path

from trioworkers.testing import running

def tables(**settings):
    bots = {name: {"handler": "silent:handle"} for name in ("support", "shop")}
    return {"bots": bots, "log": {"level": "info"}, "plugins": {"audit": settings}}

def updates(fleet):
    return {dialog: seen["updates"] for dialog, seen in fleet.ask("GET", "/api/audit").json().items()}

USERS, EACH = 20, 500
SILENT = "async def handle(update, bot): ..."
told = {}
with running(Path(sys.argv[1]), tables(), modules={"silent": SILENT}) as fleet:
    people = [fleet.user(f"User {number}") for number in range(USERS)]

    def talk():
        for number in range(EACH):
            for person in people:
                person.sim.send(fleet.bots["support"], str(number))

    fleet.telegram.do(talk)
    fleet.wait_for(lambda: sum(updates(fleet).values()) == USERS * EACH, timeout=240)
    told["dialogs"] = sorted(updates(fleet).values())
    told["changed"] = fleet.reload(tables(bots=["shop"]))["changed"]
    for name in ("support", "shop"):
        people[0].says("once more", bot=name)
    fleet.wait_for(lambda: f"shop/{people[0].id}" in updates(fleet))
    fleet.settled()
    told["of_support"] = updates(fleet)[f"support/{people[0].id}"]
    told["verb"] = fleet.command("audit").stdout.splitlines()
    told["plugins"] = json.loads(fleet.command("plugins", "--json").stdout)
    fleet.kill()
    fleet.start()
    told["after_a_crash"] = sum(updates(fleet).values())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment that has our wheel, the plugin's, and what both declare to need."""
    folder = tmp_path_factory.mktemp("audit")
    source = folder / "source"
    source.mkdir()
    text = page("plugins.md")
    (source / "audit.py").write_text(file_block(text, "python", "audit.py"))
    (project,) = [block for block in blocks(text, "text") if block.startswith("[build-system]\n")]
    (source / "pyproject.toml").write_text(project)
    return make_venv(folder / "venv", [build_own_wheel(folder), build_wheel(source, folder)])


def test_a_plugin_from_a_wheel_sees_ten_thousand_updates(python, tmp_path):
    """It is found, configured while the fleet runs, misses no event, and keeps its values over a crash."""
    command = [python, "-c", SCRIPT, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert told["dialogs"] == [500] * 20
    assert told["changed"] == ["plugins.audit.bots"]
    assert told["of_support"] == 500
    assert told["after_a_crash"] == 20 * 500 + 1
    assert len(told["verb"]) == 21
    (row,) = [row for row in told["plugins"] if row["name"] == "audit"]
    assert (row["origin"], row["version"]) == ("trioworkers-audit", "1.0")


def test_the_wheel_has_what_new_writes(python, tmp_path):
    """Templates are data of the package; the fleet that they make is good."""
    trioworkers = [python, "-m", "trioworkers.cli"]
    for words in (["new", "fleet", "made"], ["new", "plugin", "quiet_hours"]):
        subprocess.run([*trioworkers, *words], cwd=tmp_path, check=True, capture_output=True)
    environ = {"GREETER_TOKEN": "1:a", "PATH": os.environ["PATH"]}
    check = [*trioworkers, "-c", "made/fleet.toml", "check", "--handlers"]
    result = subprocess.run(check, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "quiet_hours/pyproject.toml").exists()


def test_the_example_is_thirty_lines(python):
    """The page says so; blank lines, the docstring and imports are not counted."""
    lines = file_block(page("plugins.md"), "python", "audit.py").splitlines()
    assert (
        len([line for line in lines if line and not line.startswith(("#", '"""', "import ", "from "))]) <= 30
    )
