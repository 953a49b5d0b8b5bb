"""`trioworkers new`: what it writes works at once, and it overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from trioworkers.cli import main
from trioworkers.config import load_fleet

TOKEN = "123456:abc"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words, code=0):
    result = CliRunner().invoke(main, ["new", *words])
    assert result.exit_code == code, result.output
    return result


def run(*words, cwd, path=(), **options):
    """Run Python with these words; fail with its output when it fails."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, *words]
    result = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=300, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pytest_in(folder, path=()):
    return run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, path=path)


def test_a_new_plugin_passes_its_own_tests(here):
    """It is built as a package, found by its entry point, and its settings are live in a real fleet."""
    said = new("plugin", "quiet_hours")
    assert "pip install -e '.[test]'" in said.stderr
    made = here / "quiet_hours"
    assert files_in(made) == [
        ".gitignore", "README.md", "pyproject.toml", "quiet_hours.py", "tests/test_quiet_hours.py"
    ]  # fmt: skip
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*install, "--target", str(here / "installed"), str(made), cwd=here)
    assert "3 passed" in pytest_in(made, path=[here / "installed"])


def test_a_new_fleet_is_good_and_passes_its_own_tests(here):
    """Its file is valid, its bot's test and a second bot's pass, and `play.py` talks to it."""
    new("fleet", "mine")
    mine = here / "mine"
    assert files_in(mine) == [
        ".gitignore", "README.md", "fleet.toml", "greeter/__init__.py", "greeter/test_greeter.py", "play.py"
    ]  # fmt: skip
    table = new("bot", "support", "--into", "mine").stdout
    with (mine / "fleet.toml").open("a") as file:
        file.write(table)
    tokens = {"GREETER_TOKEN": TOKEN, "SUPPORT_TOKEN": "654321:abc"}
    fleet = load_fleet(mine / "fleet.toml", tokens)
    assert {name: bot.handler for name, bot in fleet.bots.items()} == {
        "greeter": "greeter:handle",
        "support": "support:handle",
    }
    assert "2 passed" in pytest_in(mine)
    assert "greeter: hi you\n" in run("play.py", cwd=mine, input="you\n\n")


def test_the_table_of_a_new_bot_is_printed_alone(here):
    """Standard output may be appended to a fleet file; the fleet file itself is not touched."""
    (here / "fleet.toml").write_text("[fleet]\n")
    said = new("bot", "support")
    assert tomllib.loads(said.stdout)["bots"]["support"]["handler"] == "support:handle"
    assert "fleet.toml" in said.stderr
    assert (here / "fleet.toml").read_text() == "[fleet]\n"
    assert files_in(here) == ["fleet.toml", "support/__init__.py", "support/test_support.py"]


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("plugin", "shop"), "shop/README.md"),
        (("bot", "shop"), "shop/__init__.py"),
        (("fleet", "."), "fleet.toml"),
        (("fleet",), "greeter/test_greeter.py"),
    ],
)
def test_nothing_is_overwritten(here, words, file):
    """A file that is there stays as it is, and no other is written."""
    path = here / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    said = new(*words, code=1)
    assert file.rpartition("/")[2] in said.stderr
    assert "nothing was written" in said.stderr
    assert path.read_text() == "mine"
    assert files_in(here) == [file]


def test_what_cannot_be_written_leaves_nothing(here):
    """A file in the place of a folder: one line says which, and what was written before it is gone."""
    (here / "shop").write_text("a file")
    said = new("bot", "shop", code=1)
    assert "shop" in said.stderr
    assert "Traceback" not in said.output
    assert files_in(here) == ["shop"]


@pytest.mark.parametrize("kind", ["plugin", "bot"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Quiet-Hours", "quiet_hours would do"),
        ("1st", "expected lower-case letters"),
        ("a" * 41, "at most 40"),
        ("../up", "expected"),
        ("", "expected"),
        ("größe", "expected"),
        ("class", "keyword"),
        ("match", "keyword"),
        ("json", "would hide"),
        ("trioworkers_x", "would hide"),
        ("tests", "would hide"),
        ("bot_source", "is the name of a plugin of trioworkers"),
        ("httpx", "installed module"),
    ],
)
def test_names_that_would_not_work_are_refused(here, kind, name, reason):
    """Before anything is written, with exit code 2 and what was expected."""
    assert reason in new(kind, name, code=2).stderr
    assert files_in(here) == []


@pytest.mark.parametrize("words", [(), ("plugin",), ("bot",), ("fleet",)])
def test_help_shows_examples(words):
    """Each verb shows how it is called."""
    assert f"trioworkers new {' '.join(words)}" in new(*words, "--help").stdout


def test_written_files_are_in_the_projects_style(here):
    """Every file ends with one newline; Python compiles without warnings and has a docstring."""
    new("fleet", ".")
    new("plugin", "quiet_hours")
    for path in [here / name for name in files_in(here)]:
        text = path.read_text()
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "$" not in text, path
        if path.suffix == ".py":
            compile(text, str(path), "exec")
            assert text.startswith('"""'), path
    names = [here / "fleet.toml", Path("README.md")]
    assert all(path.exists() for path in names)
