"""`logs` shows what stands in the files, as text or as it is, over rotations, without a daemon."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from trioworkers.cli import logs as logs_module
from trioworkers.cli import main
from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

TOKEN_VARIABLE = "SUPPORT_TOKEN"
FLEET = f"""
[bots.support]
token = {{ env = "{TOKEN_VARIABLE}" }}
handler = "support:handle"
"""
WAIT = 20.0  # seconds at most for a line that is certain to come


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log folder of a fleet, whose file is in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRIOWORKERS_CONFIG", "LOGS_DIRECTORY", "STATE_DIRECTORY", "FORCE_COLOR", TOKEN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logs_module, "SYSTEM_LOGS", tmp_path / "system")
    (tmp_path / "fleet.toml").write_text(FLEET)
    folder = tmp_path / "state" / "logs"
    folder.mkdir(parents=True)
    return folder


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["logs", *words])


def event(number: int, **fields: object) -> bytes:
    line = {"event": "worker.ready", "level": "info", "at": "2026-01-01T00:00:00.000Z", "number": number}
    return json.dumps({**line, **fields}).encode() + b"\n"


def write(path: Path, *lines: bytes, max_size: int = 1000) -> None:
    file = RotatedFile(path, lambda: LogSettings(max_size=max_size, keep=50))
    for line in lines:
        file.append(line)


def test_the_last_lines_of_the_daemon_as_text(folder: Path) -> None:
    """Twenty without -n, over rotations, without colours where nobody sees them."""
    write(folder / "master.log", *map(event, range(100)))
    assert len(list(folder.iterdir())) > 3
    result = call()
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr, len(lines)) == (0, "", 20)
    assert lines[0].startswith("2026-01-01T00:00:00.000Z [info")
    assert [line.split("number=")[1] for line in lines] == [str(number) for number in range(80, 100)]
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("count", [0, 1, 55, 1000])
def test_json_is_the_lines_as_they_are(folder: Path, count: int) -> None:
    """Byte for byte, as many as were asked for."""
    write(folder / "master.log", *map(event, range(100)))
    result = call("--json", "-n", str(count))
    assert result.stdout_bytes == b"".join(map(event, range(max(0, 100 - count), 100)))


def test_a_bots_log_is_what_it_printed(folder: Path) -> None:
    """Lines of its log as text, all else as it is; none of it steers a terminal."""
    write(
        folder / "worker_support.log",
        b'{"at":"2026-01-01T00:00:00.000+00:00","level":"warn","event":"slow","order":7}\n',
        "printed \x1b[2J نمی\u200cخواهم 👨\u200d👩\u200d👧\n".encode(),
        b'{"event": {"odd": 1}, "exc_info": [1, 2]}\n',
        b'{"event": "\x1b[31m", "level": "\\u001b[2J", "\\u001b]0;x": "\\u001b"}\n',
        '{"event": "\\ud800", "text": "نمی\u200cخواهم 👨\u200d👩\u200d👧 \u202e"}\n'.encode(),
        b"\xff\xfe\n",
        b"no end yet",
        max_size=0,
    )
    result = call("support")
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["2026-01-01T00:00:00.000+00:00", "[warn", "]", "slow", "order=7"]
    assert lines[1] == "printed ?[2J نمی\u200cخواهم 👨\u200d👩\u200d👧"
    assert lines[-1] == "no end yet"
    assert len(lines) == 7
    assert "\u202e" not in lines[4]
    assert "\x1b" not in result.stdout
    raw = call("support", "--json", "-n", "2")
    assert raw.stdout_bytes == b"\xff\xfe\nno end yet\n"


def test_neither_token_nor_daemon_nor_a_good_file_is_needed(folder: Path) -> None:
    """The variables are set where the daemon runs; somebody may be editing the file."""
    write(folder / "master.log", event(1))
    Path("fleet.toml").write_text(FLEET + "\n[nonsense\n")
    assert "number=1" in call().stdout


@pytest.mark.parametrize("words", [["suport"], ["../support"], ["master"], [""]], ids=str)
def test_an_unknown_bot_is_2_with_the_nearest_name(folder: Path, words: list[str]) -> None:
    """One line; a name is no path."""
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"{json.dumps(words[0])} is not a bot" in result.stderr
    assert result.stderr.rstrip().endswith("support")


def test_known_are_the_bots_of_all_files_and_those_that_left_a_log(folder: Path) -> None:
    """Of fleet.d beside the file and in the state folder, too; one that was removed can still be read."""
    for parent, name in ((Path(), "beside"), (Path("state"), "added")):
        (parent / "fleet.d").mkdir()
        (parent / "fleet.d" / f"{name}.toml").write_text(f"[bots.{name}]\n")
    write(folder / "worker_removed.log", b"last words\n")
    for name in ("beside", "added", "support"):
        result = call(name)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.endswith(f"worker_{name}.log: nothing was logged yet\n")
    assert call("removed").stdout == "last words\n"


def test_the_systems_logs_are_read_where_the_fleets_are_not(folder: Path) -> None:
    """Under systemd only the daemon knows $LOGS_DIRECTORY."""
    folder.rmdir()
    system = logs_module.SYSTEM_LOGS
    system.mkdir()
    write(system / "master.log", event(7))
    assert "number=7" in call().stdout
    Path("fleet.toml").unlink()
    assert "number=7" in call().stdout
    assert CliRunner().invoke(main, ["-c", "absent.toml", "logs"]).exit_code == 78


def test_a_log_that_is_no_file_is_1(folder: Path) -> None:
    """One line that names it."""
    (folder / "master.log").mkdir()
    result = call()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"trioworkers: {folder / 'master.log'}: no regular file\n"


def test_help_has_examples() -> None:
    """That can be copied."""
    assert "  trioworkers logs -f\n" in call("--help").output


@pytest.mark.parametrize("words", [["-n", "-1"], ["-n", "x"], ["a", "b"], ["--nonsense"]], ids=" ".join)
def test_wrong_usage_is_2(folder: Path, words: list[str]) -> None:
    """As everywhere."""
    assert call(*words).exit_code == 2


# -- following ----------------------------------------------------------------------------------------


def read_until(descriptor: int, done: Callable[[bytes], bool]) -> bytes:
    """What comes, until it is enough."""
    got = b""
    deadline = time.monotonic() + WAIT
    while not done(got):
        assert select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0], got[-500:]
        data = os.read(descriptor, 65536)
        assert data, got[-500:]
        got += data
    return got


def test_following_goes_over_rotations_and_ends_with_int(folder: Path) -> None:
    """Every line once, in order, beginning with the last ones; exit code 0."""
    path = folder / "master.log"
    write(path, *map(event, range(10)))
    command = [sys.executable, "-m", "trioworkers.cli", "logs", "-f", "-n", "3", "--json"]
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would stay so
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        signal.signal(signal.SIGINT, ours)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            got = read_until(process.stdout.fileno(), lambda got: event(9) in got)
            write(path, *map(event, range(10, 200)))
            got += read_until(process.stdout.fileno(), lambda got: event(199) in got)
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()
    assert got == b"".join(map(event, range(7, 200)))


def test_on_a_terminal_there_are_colours(folder: Path) -> None:
    """Unless NO_COLOR is set."""
    write(folder / "master.log", event(1))
    for extra in ({}, {"NO_COLOR": "1"}):
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "trioworkers.cli", "logs"]
        subprocess.run(command, stdout=theirs, check=True, env={**environ, **extra}, timeout=60)
        shown = read_until(ours, lambda got: b"\n" in got)
        os.close(ours)
        os.close(theirs)
        assert (b"\x1b[" in shown) == (extra == {})
        assert b"worker.ready" in shown
