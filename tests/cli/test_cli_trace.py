"""`logs --trace` shows the way of one update, from every log that has lines about it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from trioworkers.cli import main
from trioworkers.cli.way import duration
from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile
from trioworkers.records import trace_id

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ID = trace_id(11, 500)
OTHER = trace_id(11, 501)
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
ACCEPTED = 1767225610.0  # 2026-01-01T00:00:10Z


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log folder of a fleet, whose file is in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRIOWORKERS_CONFIG", "LOGS_DIRECTORY", "STATE_DIRECTORY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "fleet.toml").write_text('[bots.support]\ntoken = "x"\nhandler = "a:b"\n')
    folder = tmp_path / "state" / "logs"
    folder.mkdir(parents=True)
    return folder


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["logs", *words])


def line(event: str, after: float, id_: str = ID, **fields: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:00:{10 + after:09.6f}Z"
    return {"event": event, "level": "debug", "at": at, "bot": "support", "trace_id": id_, **fields}


def write(path: Path, *lines: dict[str, Any], max_size: int = 0) -> None:
    file = RotatedFile(path, lambda: LogSettings(max_size=max_size, keep=50))
    for told in lines:
        file.append(json.dumps(told).encode() + b"\n")


WAY = [
    line("update.stored", 0.001, dialog="support/5", update_id=500, kind="message", accepted_at=ACCEPTED),
    line("update.delivered", 0.002, dialog="support/5", attempt=0, waited=0.002),
    line("update.call", 0.012, call="sendMessage 5", result="made", took=0.009, attempt=0),
    line("update.retried", 0.5, level="warn", attempt=1, wait=2.0, took=0.498, total=0.5, error="ValueError"),
    line("update.delivered", 2.5, attempt=1, waited=0.0),
    line("update.done", 3.0, attempt=1, took=0.5, total=3.0),
]


def test_a_whole_way_is_shown_in_order_with_times(folder: Path) -> None:
    """From trace.log, the daemon's log and the bot's; nothing about another update."""
    write(folder / "trace.log", *WAY, line("update.done", 1, OTHER))
    write(folder / "master.log", WAY[3])
    write(folder / "worker_support.log", line("order placed", 0.01, level="info", order=7))
    result = call("--trace", ID)
    assert (result.exit_code, result.stderr) == (0, "")
    head, _, *steps = result.stdout.splitlines()
    assert head == f"update {ID} of support/5, accepted 2026-01-01T00:00:10.000Z"
    assert steps == [
        "  +1.0 ms  stored     message, update 500",
        "  +2.0 ms  delivered  attempt 1, waited 2.0 ms",
        " +10.0 ms  log        support: order placed order=7",
        " +12.0 ms  call       sendMessage 5: made, 9.0 ms",
        "+500.0 ms  retried    in 2.000 s, took 498.0 ms: ValueError",
        " +2.500 s  delivered  attempt 2, waited 0.0 ms",
        " +3.000 s  done       took 500.0 ms, 3.000 s in all",
    ]


@pytest.mark.parametrize("name", [ID, ID[:8], ID[:20].upper(), "11:500"])
def test_an_update_is_named_in_three_ways(folder: Path, name: str) -> None:
    """By its trace id, by the beginning of it, by the bot's id and its own."""
    write(folder / "trace.log", *WAY)
    assert ID in call("--trace", name).stdout


def test_rotated_logs_are_read(folder: Path) -> None:
    """However many; also those of a log whose live file is gone."""
    write(folder / "trace.log", *WAY, max_size=300)
    write(folder / "worker_support.log", line("order placed", 0.01), max_size=10)
    (folder / "worker_support.log").rename(folder / "worker_support.log.1")
    assert len(list(folder.glob("trace.log.*"))) > 2
    document = json.loads(call("--trace", ID, "--json").stdout)
    assert [told["event"] for told in document["lines"]] == [
        "update.stored", "update.delivered", "order placed", "update.call", "update.retried",
        "update.delivered", "update.done",
    ]  # fmt: skip


def test_json_is_one_object(folder: Path) -> None:
    """With each line as it stands, its log, and its time after the update was accepted."""
    write(folder / "trace.log", *WAY[:2])
    document = json.loads(call("--trace", ID, "--json").stdout)
    assert document["lines"][1] == {"after": 0.002, "source": "trace.log", **WAY[1]}
    assert (document["trace_id"], document["bot"], document["dialog"]) == (ID, "support", "support/5")
    assert document["began_at"] == ACCEPTED
    assert len(document["missing"]) == 1


def test_what_may_be_missing_is_said(folder: Path) -> None:
    """Here only the failure was logged."""
    write(folder / "master.log", WAY[3])
    shown = call("--trace", ID).stdout
    assert "lines may be missing:\n  steps of the level debug were not logged: the trace plugin is" in shown
    write(folder / "trace.log", *WAY)
    assert "missing" not in call("--trace", ID).stdout


@pytest.mark.parametrize("has_trace_log", [True, False])
def test_nothing_found_is_1_with_words(folder: Path, has_trace_log: bool) -> None:
    """They name the folder, and why there may be nothing."""
    write(folder / ("trace.log" if has_trace_log else "master.log"), *WAY)
    result = call("--trace", OTHER)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert str(folder) in result.stderr
    assert ("sample" if has_trace_log else "plugin is off") in result.stderr


def test_a_beginning_that_several_updates_share_is_1(folder: Path) -> None:
    """Their ids are named."""
    ids = ["ab" * 4 + f"{number:024x}" for number in range(7)]
    write(folder / "trace.log", *(line("update.done", 0, id_) for id_ in ids))
    result = call("--trace", "abababab")
    assert result.exit_code == 1
    assert f"7 updates have such a trace id: {', '.join(ids[:5])} and 2 more" in result.stderr


def test_of_one_bot_only_its_log_is_read(folder: Path) -> None:
    """Beside those of the daemon."""
    write(folder / "trace.log", *WAY)
    write(folder / "worker_support.log", line("order placed", 0.01))
    write(folder / "worker_other.log", line("forged", 0.01))
    assert "forged" in call("--trace", ID).stdout
    shown = call("support", "--trace", ID).stdout
    assert ("order placed" in shown, "forged" in shown, "done" in shown) == (True, False, True)


def test_neither_tokens_nor_what_steers_a_terminal_is_shown(folder: Path) -> None:
    """A bot may have logged anything."""
    write(folder / "worker_support.log", line(f"\x1b[2J {TOKEN}", 0, **{"\x1b": "a\tb\x1b"}))
    shown = call("--trace", ID).stdout
    assert "\x1b" not in shown
    assert TOKEN.partition(":")[2] not in shown


@pytest.mark.parametrize("name", ["abcdef0", "xyz", "1:2:3", "11:", ID + "0", "", "11:99999999999"])
def test_what_names_no_update_is_2(folder: Path, name: str) -> None:
    """The message says what was expected."""
    result = call("--trace", name)
    assert result.exit_code == 2
    assert "expected a trace id" in result.stderr


def test_a_way_is_not_followed(folder: Path) -> None:
    """It is read once."""
    assert call("--trace", ID, "-f").exit_code == 2


def test_a_missing_folder_is_1(folder: Path) -> None:
    """One line that names it."""
    folder.rmdir()
    result = call("--trace", ID)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert str(folder) in result.stderr


def test_help_has_an_example() -> None:
    """That can be copied."""
    assert "  trioworkers logs --trace " in call("--help").output


def test_on_a_terminal_failures_are_in_colour(folder: Path) -> None:
    """Unless NO_COLOR is set; elsewhere never."""
    write(folder / "trace.log", *WAY)
    assert "\x1b" not in call("--trace", ID).stdout
    for extra in ({}, {"NO_COLOR": "1"}):
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "trioworkers.cli", "logs", "--trace", ID]
        subprocess.run(command, stdout=theirs, check=True, env={**environ, **extra}, timeout=60)
        shown = os.read(ours, 65536)
        os.close(ours)
        os.close(theirs)
        assert (b"\x1b[33mretried" in shown) == (extra == {})
        assert b"done" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 ms"), (0.0004, "0.4 ms"), (0.9999, "999.9 ms"), (59.9994, "59.999 s"), (59.9996, "60.000 s"),
     (60, "1 min 00 s"), (3599, "59 min 59 s"), (11220, "3 h 07 min")],
)  # fmt: skip
def test_times_are_short(seconds: float, shown: str) -> None:
    """Each unit where it says most."""
    assert duration(seconds) == shown
