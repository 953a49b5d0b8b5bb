"""`trioworkers adopt` on projects as people have them: what it says and writes, line by line.

To renew what is expected: `RENEW=1 pytest tests/adopt/test_adopt_examples.py`, then read the difference.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest
from adopt_examples import ALL, PASSWORD, SECRETS, write_example
from click.testing import CliRunner

from trioworkers.cli import main
from trioworkers.config import load_fleet

EXPECTED = Path(__file__).parent / "expected"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="an ecosystem file is run by node"
)
EXAMPLES = [pytest.param(name, marks=needs_node if name == "pm2" else ()) for name in ALL]


def adopt(*words, code=0):
    result = CliRunner().invoke(main, ["adopt", *words])
    assert result.exit_code == code, result.output
    for secret in (*SECRETS, *(token.partition(":")[2] for token in SECRETS), PASSWORD):
        assert secret not in result.output
    return result


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_said_and_written(here, name):
    """Each bot with its library, mode and token's place, each thing that stays with its reason; no secret."""
    write_example(here, name)
    before = contents(here)
    result = adopt(".")
    said = f"{result.stdout}--\n{result.stderr}".replace(str(here), "HERE")
    file = EXPECTED / f"{name}.txt"
    if os.environ.get("RENEW"):
        file.write_text(said)
    assert said == file.read_text()
    assert contents(here) == before


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_written_is_a_fleet_file(here, name):
    """With the tokens in place, `check` has nothing to say of it; the text is what --json and a pipe give."""
    write_example(here, name)
    text = adopt(".").stdout
    document = json.loads(adopt(".", "--json").stdout)
    assert document["toml"] == text
    assert tomllib.loads(text)["bots"] == {bot["name"]: bot["table"] for bot in document["bots"]}
    adopt(".", "--write")
    (here / "three" / "token.txt").parent.mkdir(exist_ok=True)
    variables = [bot["table"]["token"].get("env") for bot in document["bots"]]
    environ = {name: f"{number}:x" for number, name in enumerate(filter(None, variables), start=1)}
    fleet = load_fleet(here / "fleet.toml", environ)
    assert list(fleet.bots) == [bot["name"] for bot in document["bots"]]
    assert all(bot.command for bot in fleet.bots.values())


def test_a_fleet_keeps_what_it_has(here):
    """Comments and tables stay as they are, to the byte; the file's mode and a link to it, too."""
    write_example(here, "folders")
    own = here / "own.toml"
    own.write_text('# mine\n[fleet]\nname = "x"   # so\n[bots.first]\ntoken = "1:a"\nhandler = "a:b"')
    own.chmod(0o640)
    (here / "fleet.toml").symlink_to("own.toml")
    before = own.read_text()
    adopt("one", "--write")
    after = own.read_text()
    assert after.startswith(before + "\n\n[bots.one]")
    assert own.stat().st_mode & 0o777 == 0o640
    assert (here / "fleet.toml").is_symlink()


def test_a_name_that_is_there_is_not_overwritten(here):
    """With one clash nothing is written; the others can be chosen."""
    write_example(here, "folders")
    fleet = here / "fleet.toml"
    text = '[bots.one]\ntoken = { env = "TG_BOT_TOKEN" }\nhandler = "a:b"\n'
    fleet.write_text(text)
    refused = adopt(".", "--write", code=1)
    assert "bots.one is in fleet.toml already" in refused.stderr
    assert "nothing was written" in refused.stderr
    assert fleet.read_text() == text
    adopt(".", "--only", "two", "--write")
    assert tomllib.loads(fleet.read_text())["bots"]["two"]["token"] == {"env": "TWO_TG_BOT_TOKEN"}
    assert "expected one of" in adopt(".", "--only", "elsewhere", code=2).stderr


def test_names_in_fleet_d_clash_too(here):
    """A bot that was added by command is a bot of the fleet."""
    write_example(here, "folders")
    (here / "fleet.toml").write_text('[fleet]\nstate_dir = "kept"\n')
    (here / "kept" / "fleet.d").mkdir(parents=True)
    (here / "kept" / "fleet.d" / "one.toml").write_text('[bots.one]\ntoken = "1:a"\nhandler = "a:b"\n')
    assert "bots.one is in kept/fleet.d/one.toml already" in adopt("one", "--write", code=1).stderr


def test_defaults_that_do_not_go_with_a_command_are_said(here):
    """[defaults] of handlers that a program cannot have: refused before anything is written."""
    write_example(here, "folders")
    (here / "fleet.toml").write_text('[defaults]\nalbums = "1s"\n')
    said = adopt("one", "--write", code=1).stderr
    assert "bots.one.albums: expected 0 beside command" in said
    assert (here / "fleet.toml").read_text() == '[defaults]\nalbums = "1s"\n'


def test_a_fleet_that_nothing_can_be_appended_to_is_left(here):
    """Bots in one inline table: an appended table would not be TOML."""
    write_example(here, "folders")
    (here / "fleet.toml").write_text("bots = {}\n")
    assert "nothing can be appended to" in adopt("one", "--write", code=1).stderr
    assert (here / "fleet.toml").read_text() == "bots = {}\n"
    (here / "fleet.toml").write_text("bots = \n")
    assert "fleet.toml:1" in adopt("one", code=78).stderr


def test_a_file_that_cannot_be_written_is_said(here):
    """Its folder is not there."""
    write_example(here, "folders")
    result = CliRunner().invoke(main, ["-c", "nowhere/fleet.toml", "adopt", "one", "--write"])
    assert (result.exit_code, "nowhere/fleet.toml: cannot be written" in result.stderr) == (1, True)


def test_nothing_that_can_be_moved_is_a_failure(here):
    """Exit code 1, and the reasons."""
    (here / "compose.yml").write_text("services: {db: {image: 'postgres:16'}}\n")
    said = adopt(".", code=1).stderr
    assert "it runs the image postgres:16: no code of it is here" in said
    assert "no bot that can be moved was found" in said
