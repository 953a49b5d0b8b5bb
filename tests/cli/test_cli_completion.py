"""Completion: what a TAB offers in real shells, from the commands and from the fleet file at hand."""

from __future__ import annotations

import runpy

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from documents import DOCS, ROOT
from terminal import terminal

from trioworkers.cli import main
from trioworkers.cli.extended import brief
from trioworkers.cli.shells import SCRIPTS

MANUAL = runpy.run_path(str(DOCS / "manual.py"))
FLEET = """
[fleet]
state_dir = "kept"
[bots.support]
token = { env = "NOT_SET" }
[bots.shop]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a fleet file of three bots, one of them added by command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIOWORKERS_CONFIG", raising=False)
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "kept/fleet.d").mkdir(parents=True)
    (tmp_path / "kept/fleet.d/added.toml").write_text("[bots.added]\n")
    return tmp_path


def offered(*words):
    """Return what is offered for the last word, as the shells' scripts are told it."""
    completion = BashComplete(main, {}, "trioworkers", "_TRIOWORKERS_COMPLETE")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_real_shell_completes(shell, tmp_path):
    """Verbs, verbs of verbs, options, bots of the fleet file, choices and files, each at a single TAB."""
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "other file.toml").write_text("[bots.lonely]\n")
    with terminal(shell, tmp_path, SCRIPTS[shell]) as typed:
        assert typed.run("trioworkers sche\t") == ["schema"]
        assert typed.run("trioworkers bots pau\tsup\t") == ["bots", "pause", "support"]
        assert typed.run("trioworkers dlq list --bo\tsho\t") == ["dlq", "list", "--bot", "shop"]
        assert typed.run("trioworkers completion fi\t") == ["completion", "fish"]
        assert typed.run("trioworkers handoff rel\t") == ["handoff", "release"]
        assert typed.run("trioworkers -c oth\tlogs lon\t") == ["-c", "other file.toml", "logs", "lonely"]
        assert typed.run("trioworkers logs nobo\t") == ["logs", "nobo"]
        assert typed.run("~/bin/trioworkers sche\t") == ["schema"]


def test_bots_are_those_of_the_fleet_file(here):
    """With those that were added by command; tokens need not be at hand, and no daemon runs."""
    assert offered("bots", "pause", "") == ["added", "shop", "support"]
    assert offered("logs", "s") == ["shop", "support"]
    assert offered("dlq", "purge", "--bot", "a") == ["added"]
    (here / "other.toml").write_text("[bots.lonely]\n")
    assert offered("-c", "other.toml", "bots", "show", "") == ["lonely"]


def test_a_new_bot_has_no_name_yet(here):
    """`bots add` is not given the names that are taken."""
    assert offered("bots", "add", "") == []


@pytest.mark.parametrize("text", ["[bots", "", "bots = 3", "[bots]\nx = 1\n'a b' = {}"])
def test_a_fleet_file_that_is_bad_offers_what_it_can(here, text):
    """A TAB prints no error; names that no bot can have are not offered."""
    (here / "fleet.toml").write_text(text)
    assert set(offered("bots", "pause", "")) <= {"x"} | {"added"}
    (here / "fleet.toml").unlink()
    assert offered("bots", "pause", "") == []


def test_a_tab_runs_no_code_of_the_folder(here):
    """Plugins that a fleet file names are not imported, while those that are installed offer their verbs."""
    plugins = here / "plugins"
    plugins.mkdir()
    (plugins / "loud.py").write_text("from pathlib import Path\n\nPath('imported').touch()\n")
    assert "handoff" in offered("")
    assert offered("handoff", "rel") == ["release"]
    assert not (here / "imported").exists()
    (here / "fleet.toml").write_text("[bots.a]\ntoken = '1:a'\nhandler = 'a:b'\n")
    (here / "kept/fleet.d/added.toml").unlink()
    CliRunner().invoke(main, ["--help"])
    assert (here / "imported").exists()  # so the file would have been seen above


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_verb_prints_the_script(shell):
    """What a package installs is what the verb prints."""
    result = CliRunner().invoke(main, ["completion", shell])
    assert (result.exit_code, result.stdout) == (0, SCRIPTS[shell])


def test_the_installed_files_are_those_of_the_code():
    """share/ holds the man page and the scripts as `python docs/manual.py` writes them, and nothing else."""
    found = {
        str(path.relative_to(ROOT / "share")): path for path in (ROOT / "share").rglob("*") if path.is_file()
    }
    assert {name: path.read_text() for name, path in found.items()} == MANUAL["shared"]()


def test_a_new_verb_is_in_completion_and_man_page_by_itself(here):
    """Both are made from the tree of commands: neither has a list of verbs of its own."""

    @click.command(help="Do something new.")
    @click.option("--brightly", is_flag=True, help="With light.")
    def shine() -> None:
        pass

    before = MANUAL["man_page"](main)
    main.add_command(shine)
    try:
        page = MANUAL["man_page"](main)
        assert offered("shi") == ["shine"]
        assert offered("shine", "--br") == ["--brightly"]
    finally:
        del main.commands["shine"]
    assert "shine" not in before
    assert ".SS trioworkers shine [OPTIONS]\nDo something new.\n.TP\n.B \\-\\-brightly\nWith light.\n" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("List the bots.\n\n\b\n  trioworkers bots list", "List the bots"),
        ("Validate the file: exit 0, or 78 with one line for each problem in it.", "Validate the file"),
        ("Remove a bot, which was added by command, and keep its dead letters for now.", None),
        (f"Replace {'x' * 70}; the daemon goes on.", f"Replace {'x' * 70}"),
        ("Two\nlines. And more.", "Two lines"),
    ],
)
def test_a_verb_is_described_in_lists_by_a_whole_clause(text, shown):
    """`--help` and completions show what it does, not the beginning of a sentence with three dots."""
    expected = "Remove a bot, which was added by command" if shown is None else shown
    assert brief(text) == expected


def test_no_description_of_a_verb_is_cut_off():
    """Those of plugins and of groups included."""
    for words in ((), ("bots",), ("dlq",), ("new",), ("handoff",), ("metrics",)):
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0
        assert "..." not in result.output.partition("Commands:")[2]
