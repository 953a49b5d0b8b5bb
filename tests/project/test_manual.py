"""The man page and the changelog: made from the code, without a fault, and of its version."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import shutil
import subprocess
import tomllib

import click
import pytest
from documents import DOCS, ROOT

from trioworkers.cli import exits, main
from trioworkers.version import __version__

MANUAL = runpy.run_path(str(DOCS / "manual.py"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PAGE = MANUAL["man_page"]()


def shown(text, tmp_path):
    """Returns a man page as a terminal shows it, without bold; groff must find nothing wrong with it."""
    source = tmp_path / "page.1"
    source.write_text(text)
    command = ["groff", "-man", "-Tutf8", "-P-cbou", "-wall", "-rLL=100n", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.skipif(
    shutil.which("groff") is None, reason="groff is missing; scripts/test installs it where it may"
)
def test_groff_finds_nothing_wrong(tmp_path):
    """The page is shown without a warning, and each kind of text arrives as it was written."""
    text = shown(PAGE, tmp_path)
    assert "trioworkers dlq purge [OPTIONS] [ID]..." in text
    assert (
        "trioworkers bots add shop --handler shop:handle --set 'settings.greeting=\"hi\"' <token.txt" in text
    )
    assert "jq -r '.[] | select(.paused) | .bot'" in text
    assert "**" not in text
    assert "](" not in text


@pytest.mark.skipif(
    shutil.which("groff") is None, reason="groff is missing; scripts/test installs it where it may"
)
def test_no_text_is_taken_for_a_request(tmp_path):
    """Full stops, quotes and backslashes at the beginning of a line stay text."""

    @click.group(help='About.\n\n\b\n  .TH bad\n  \'so bad\n\n.SH none \\fB `x` ~ ^ "q"')
    def group() -> None:
        pass

    text = shown(MANUAL["man_page"](group), tmp_path)
    for line in (".TH bad", "'so bad", '.SH none \\fB x ~ ^ "q"'):
        assert f"    {line}" in text


def test_every_verb_and_option_is_in_the_page():
    """Those of built-in plugins, too; hidden ones are not."""

    def check(command, words):
        usage = f".SS {' '.join(words)}"
        assert usage.replace("-", r"\-") in PAGE
        after = PAGE.partition(usage.replace("-", r"\-"))[2].partition("\n.S")[0]
        for param in command.params:
            if isinstance(param, click.Option):
                for name in param.opts:
                    assert name.replace("-", r"\-") in after, words
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                check(inner, [*words, name])

    for name, command in main.commands.items():
        check(command, ["trioworkers", name])
    assert ".SS trioworkers handoff take" in PAGE
    assert ".SS trioworkers metrics rules" in PAGE


def test_every_exit_code_is_in_the_page():
    """With what it means."""
    section = PAGE.partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"^\.B (\d+)$", section, re.MULTILINE)} == codes


def test_the_version_stands_in_one_place():
    """The package, the page and the changelog have that of version.py, and no other module names one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert importlib.metadata.version("trioworkers") == __version__
    assert f'"trioworkers {__version__}"' in PAGE.splitlines()[0]
    assert re.findall(r"^## (\S+) - \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)[0] == __version__
    for path in (ROOT / "trioworkers").rglob("*.py"):
        assert path.name == "version.py" or f'"{__version__}"' not in path.read_text(), path


def test_the_changelog_is_in_order():
    """Versions descend; each has a date, and sections of the known kinds only."""
    versions = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    parsed = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - \d{4}-\d\d-\d\d", version) for version in versions]
    assert None not in parsed
    numbers = [tuple(map(int, found.groups())) for found in parsed if found]
    assert numbers == sorted(numbers, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
