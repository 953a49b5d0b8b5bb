"""Where a client finds its daemon and the logs: as the daemon reads it, whatever else is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.config import FleetFileError, find_bot_names, find_log_dir, find_runtime_dir, load_fleet

if TYPE_CHECKING:
    from pathlib import Path

PLACES = [
    ("", {}),
    ('[fleet]\nstate_dir = "s"', {}),
    ('[fleet]\nruntime_dir = "r"', {}),
    ('[fleet]\nstate_dir = "s"\nruntime_dir = "r"', {}),
    ('[fleet]\nruntime_dir = "/abs/r"', {"RUNTIME_DIRECTORY": "/run/x"}),
    ('fleet.state_dir = "s"', {}),
    ("", {"STATE_DIRECTORY": "/var/lib/x"}),
    ("", {"RUNTIME_DIRECTORY": "/run/x:/run/y", "STATE_DIRECTORY": "/var/lib/x"}),
    ('[fleet]\nstate_dir = "s"', {"RUNTIME_DIRECTORY": "/run/x"}),
    ('[fleet]\nstate_dir = "s"', {"STATE_DIRECTORY": "/var/lib/x"}),
    ('[fleet]\nlog_dir = "l"', {"LOGS_DIRECTORY": "/var/log/x"}),
    ('[fleet]\nstate_dir = "s"', {"LOGS_DIRECTORY": "/var/log/x:/var/log/y"}),
    ("[ fleet ] # ours\nstate_dir = 's'  # there", {}),
]


@pytest.mark.parametrize(("text", "environ"), PLACES)
def test_it_is_found_where_the_daemon_has_it(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    """The same precedence, with a good file and with one that is not even TOML any more."""
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    fleet = load_fleet(path, environ)
    expected = (fleet.runtime_dir, fleet.log_dir)
    assert (find_runtime_dir(path, environ), find_log_dir(path, environ)) == expected
    path.write_text(
        f'{text}\nname = 5\nname = 6\n[bots.x\ntoken = = "\n[api]\nstate_dir = "no"\n[[a]]\nb = [1,\n'
    )
    assert (find_runtime_dir(path, environ), find_log_dir(path, environ)) == expected


@pytest.mark.parametrize("value", ["5", '""', '"a\\u0000b"', "[]"])
def test_a_value_that_is_wrong_counts_as_absent(tmp_path: Path, value: str) -> None:
    """The client looks where the daemon was started with the default."""
    path = tmp_path / "fleet.toml"
    path.write_text(f"[fleet]\nruntime_dir = {value}\n")
    assert find_runtime_dir(path, {}) == tmp_path / "state" / "run"


def test_no_tokens_are_needed(tmp_path: Path) -> None:
    """The variables that hold them are set where the daemon runs."""
    path = tmp_path / "fleet.toml"
    path.write_text('[bots.a]\ntoken = { env = "ABSENT" }\nhandler = "a:b"\n')
    assert find_runtime_dir(path, {}) == tmp_path / "state" / "run"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """As by every other verb."""
    with pytest.raises(FleetFileError, match="cannot be read: is a directory"):
        find_runtime_dir(tmp_path, {})


def test_the_names_of_bots_are_those_of_all_files(tmp_path: Path) -> None:
    """What is no name of a bot is left out, and so is a file that is no TOML."""
    path = tmp_path / "fleet.toml"
    path.write_text('[fleet]\nstate_dir = "s"\n[bots.a]\n[bots."../x"]\n')
    for folder, name in ((tmp_path, "b"), (tmp_path / "s", "c")):
        (folder / "fleet.d").mkdir(parents=True)
        (folder / "fleet.d" / "x.toml").write_text(f"[bots.{name}]\n")
        (folder / "fleet.d" / "y.toml").write_text("[bots.d\n")
    assert find_bot_names(path, {}) == {"a", "b", "c"}
    path.write_text("bots = 5")
    assert find_bot_names(path, {}) == {"b"}
