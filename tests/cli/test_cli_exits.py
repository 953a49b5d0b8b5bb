"""What each verb says and with which code it ends, on good and on bad input."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from trioworkers.cli import control, main
from trioworkers.cli.failures import run_or_fail
from trioworkers.cli.fleet_screen import fleet_lines
from trioworkers.cli.shown import find_paper
from trioworkers.folders import AlreadyRunningError
from trioworkers.inbox.store import StoreError, StoreRefusedError
from trioworkers.nursery.zygote import ZygoteEndedError, ZygoteError
from trioworkers.starved import NO_THREAD
from trioworkers.top.words import span
from trioworkers.web.sockets import ListenError, SocketPathError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

GOOD = """
[fleet]
api_base = "http://127.0.0.1:1"
[api]
bind = "127.0.0.1:0"
"""
VERBS = [
    "run",
    "check",
    "status",
    "schema",
    "demo",
    "dlq",
    "backup",
    "bots",
    "start",
    "stop",
    "restart",
    "reload",
]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good fleet file without bots, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIOWORKERS_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")  # what rich takes for the width of a pipe
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def row(**changed: Any) -> dict[str, Any]:
    queue = {"ready": 1, "in_flight": 0, "retry": 0, "dead": 0}
    return {
        "bot": "one", "state": "running", "reason": None, "pid": 7, "transport": "poll", "uptime_ms": 1000,
        "messages": 1, "errors": 0, "memory_bytes": 2**20, "queue": queue, **changed,
    }  # fmt: skip


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    fleet = {"name": "f", "state": "running", "pid": 6, "uptime_ms": 1, "config": {"error": None}}
    return {"fleet": fleet, "workers": list(rows)}


@contextmanager
def listening(fleet: Path, answer: bytes | None) -> Iterator[None]:
    """Something behind the control socket that answers every request so, or never."""
    path = fleet.parent / "state" / "run" / "control.sock"
    path.parent.mkdir(parents=True)
    over = threading.Event()

    def serve() -> None:
        while True:  # one that asks nothing only looks whether somebody listens
            connection, _ = listener.accept()
            if connection.recv(65536):
                break
            connection.close()
        with connection:
            if answer is not None:
                connection.sendall(answer)
            else:
                over.wait(30)

    # bound by a relative path: that of a test's folder may be too long for a socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(10)


def http(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(verb: str) -> None:
    """Each verb explains itself with a command that can be copied."""
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert f"  trioworkers {verb}" in result.output or f"-c fleet.toml {verb}" in result.output


@pytest.mark.parametrize(
    "words",
    [
        [], ["nonsense"], ["--nonsense"], *([verb, "--nonsense"] for verb in VERBS),
        *([verb, "x"] for verb in VERBS if verb != "backup"), ["demo", "--seconds", "nan"],
        ["demo", "--seconds", "-1"], ["demo", "--users", "0"], ["-c"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2(words: list[str]) -> None:
    """The usage, or what is wrong with it, and nothing else happens."""
    result = call(*words)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr or result.stderr.startswith("Error: ")


@pytest.mark.parametrize("verb", ["run", "check", "status", "backup", "start", "stop", "restart"])
def test_an_absent_fleet_file_is_78(fleet: Path, verb: str) -> None:
    """One line that names it."""
    result = call("-c", "absent.toml", verb)
    assert result.exit_code == 78
    assert result.stderr.splitlines()[0].endswith("absent.toml: no such file")
    assert result.stdout == ""


@pytest.mark.parametrize("words", [["run"], ["run", "--dry-run"], ["check"], ["check", "--handlers"]])
def test_a_bad_fleet_file_is_78(fleet: Path, words: list[str]) -> None:
    """All problems, and nothing was made."""
    fleet.write_text('[fleet]\nnonsense = 1\nshutdown_timeout = "x"\n')
    result = call(*words)
    assert result.exit_code == 78
    assert len(result.stderr.splitlines()) == 3
    assert result.stderr.splitlines()[-1] == "2 problems: nothing was started or changed"
    assert list(fleet.parent.iterdir()) == [fleet]


def test_what_is_good_is_0(fleet: Path) -> None:
    """The plan and the schema, too, and no colour where nobody sees it."""
    assert call("check").stdout == f"{fleet}: good, 0 bots\n"
    plan = call("run", "--dry-run")
    assert plan.exit_code == 0
    assert "no bots" in plan.stdout
    assert "\x1b" not in plan.stdout
    assert json.loads(call("schema").stdout)["title"]
    assert call("--version").stdout.startswith("trioworkers, version ")


def test_a_dry_run_imports_plugins(fleet: Path) -> None:
    """The plan names them; one that cannot be loaded is 78, since the daemon would run without it."""
    folder = fleet.parent / "plugins"
    folder.mkdir()
    (folder / "mine.py").write_text("")
    assert "plugins: metrics, mine\n" in call("run", "--dry-run").stdout
    (folder / "broken.py").write_text("raise ValueError('12345:secret')")
    result = call("run", "--dry-run")
    assert result.exit_code == 78
    reason = f"importing it raised ValueError at {folder}/broken.py:1"
    assert result.stderr.splitlines()[0] == f"plugin broken, from {folder}/broken.py: {reason}"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_daemon_is_3(fleet: Path, options: list[str]) -> None:
    """One line on standard error, nothing on standard output."""
    result = call("status", *options)
    assert result.exit_code == 3
    where = fleet.parent / "state" / "run" / "control.sock"
    told = f"no daemon is running: nobody listens on {where}; `trioworkers start` starts one"
    assert result.stderr == f"trioworkers: {told}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"nonsense\r\n\r\n", http(b"[", "200 OK"), http(b"{}", "500 Oh"), http(b"9" * 5000)],
    ids=["silent", "closes", "no HTTP", "no JSON", "an error", "a number too long"],
)
def test_a_daemon_that_does_not_answer_is_69(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    """One line, after the time that it has."""
    defaults = control.ask_or_fail.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "timeout", 0.2)
    monkeypatch.setattr(
        "trioworkers.cli.control.find_runtime_dir",
        lambda *_: Path("state/run"),
    )
    began = time.monotonic()
    with listening(fleet, answer):
        result = call("status")
        assert time.monotonic() - began < 5
    assert result.exit_code == 69
    assert result.stderr.startswith("trioworkers: the daemon behind ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("verb", ["status", "stop", "reload"])
def test_a_daemon_that_takes_no_connection_is_69(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """It hangs, and those before have filled its queue: it is there all the same."""
    for module in ("config", "cli.control"):
        monkeypatch.setattr(f"trioworkers.{module}.find_runtime_dir", lambda *_: Path("state/run"))
    path = Path("state/run/control.sock")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as before:
        listener.bind(str(path))
        listener.listen(0)
        before.connect(str(path))
        result = call(verb)
    assert result.exit_code == 69
    assert "takes no connection" in result.stderr


def test_an_answer_that_comes_before_the_request_has_ended_is_heard(fleet: Path) -> None:
    """The daemon closes the connection with it, so that the rest can no more be sent."""
    answer = http(b'{"error": "too large"}', "413 Oh")
    with listening(fleet, answer), pytest.raises(control.DaemonRefusedError, match="too large"):
        control.ask(Path("state/run/control.sock"), "/api/reload", {"long": "x" * 5_000_000})


def test_json_is_json_only(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document as the daemon gave it."""
    monkeypatch.setattr("trioworkers.cli.control.ask", lambda *_, **__: document(row()))
    result = call("status", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == document(row())


def test_status_has_a_line_for_each_bot_and_no_colour_in_a_pipe(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not well stands first, and in the row of its bot."""
    rows = [row(), row(bot="two", state="failed", reason="token refused", pid=None, memory_bytes=None)]
    monkeypatch.setattr("trioworkers.cli.control.ask", lambda *_, **__: document(*rows))
    result = call("status")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[1:3] == ["1 of 2 bots is not well: 1 failed", "  failed (token refused): two"]
    assert lines[-2].split()[:2] == ["two", "failed"]
    assert lines[-2].endswith("  token refused")
    assert "\x1b" not in result.stdout


def test_a_refused_fleet_is_seen_in_the_status(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all its problems: what runs is not what the file says."""
    refused = document(row())
    refused["fleet"]["config"]["error"] = "fleet.toml:1:1: one\nfleet.toml:2:1: two"
    monkeypatch.setattr("trioworkers.cli.control.ask", lambda *_, **__: refused)
    lines = call("status").stdout.splitlines()
    assert lines[1:4] == [
        "the changed fleet is refused; the old one runs:",
        "  fleet.toml:1:1: one",
        "  fleet.toml:2:1: two",
    ]


def test_status_has_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none where NO_COLOR is set, on a dumb terminal, or in a file."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown() -> str:
        return "\n".join(fleet_lines(document(row()), find_paper(), 0))

    assert "\x1b" not in shown()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[32mrunning" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown()


@pytest.mark.parametrize("figure", [10**400, -(10**400), 1e308, float("inf"), float("nan")])
def test_absurd_figures_are_shown_as_such(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, figure: float
) -> None:
    """A worker runs a bot's own code, which may report anything; the others are shown all the same."""
    mad = row(bot="mad", memory_bytes=figure, uptime_ms=figure, messages=figure, errors=figure)
    monkeypatch.setattr("trioworkers.cli.control.ask", lambda *_, **__: document(mad, row()))
    result = call("status")
    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines()[3].split() == [
        "mad",
        "running",
        "7",
        "poll",
        "?",
        "?",
        "?",
        "1",
        "0",
        "?",
    ]
    assert "1.0 MB" in result.stdout.splitlines()[4]


def test_a_reason_steers_no_terminal(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a worker's word: neither escapes nor rich's own marks mean anything in it."""
    mad = row(state="failed", reason="\x1b[2J[/red][bold]")
    monkeypatch.setattr("trioworkers.cli.control.ask", lambda *_, **__: document(mad))
    result = call("status")
    assert result.exit_code == 0, result.exception
    assert "failed (?[2J[/red][bold])" in result.stdout


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (59_999, "59s"),
        (60_000, "1m 00s"),
        (3_600_000, "1h 00m"),
        (90_000_000, "1d 01h"),
    ],
)
def test_durations(milliseconds: int | None, text: str) -> None:
    """The two largest units."""
    assert span(milliseconds) == text


def test_another_users_daemon_is_77(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: that nobody was reached is for want of permission."""
    path = fleet.parent / "state" / "run" / "control.sock"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(
        "os.access", lambda *_: False
    )  # root, who runs tests in containers, has access to all
    result = call("status")
    assert result.exit_code == 77
    assert result.stderr == f"trioworkers: {path} belongs to another user\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "/x/state"), 77, "/x/state: permission denied"),
        (PermissionError("say so"), 77, "say so"),
        (FileExistsError(17, "File exists", "/x/state"), 1, "/x/state: file exists"),
        (OSError(28, "No space left on device"), 1, "no space left on device"),
        (AlreadyRunningError("another daemon runs"), 75, "another daemon runs"),
        (ListenError("cannot listen"), 75, "cannot listen"),
        (SocketPathError("too long"), 78, "too long"),
        (StoreRefusedError("no"), 78, "no"),
        (StoreError("broken"), 1, "broken"),
        (ZygoteError("fleet.preload: bad"), 78, "fleet.preload: bad"),
        (ZygoteEndedError("it ended"), 1, "it ended"),
        (ExceptionGroup("", [ExceptionGroup("", [ListenError("inside")])]), 75, "inside"),
    ],
    ids=str,
)
def test_what_a_daemon_fails_with(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, words: str
) -> None:
    """One line, the path first where there is one, and the code that services act on."""

    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_or_fail(work)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"trioworkers: {words}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError(NO_THREAD), 75, "no thread can be started: "),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 1, "no process can be started: "),
        (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
        (
            ExceptionGroup("", [MemoryError(), ExceptionGroup("", [MemoryError(), ValueError()])]),
            1,
            "memory: ",
        ),
    ],
    ids=["thread", "process", "descriptor", "memory"],
)
def test_a_daemon_that_the_system_has_no_room_for_names_the_limit(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, words: str
) -> None:
    """One line, never a traceback; of memory also when several parts were refused some."""

    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_or_fail(work)
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert told.startswith("trioworkers: ")
    assert words in told
    assert told.count("\n") == 1


def test_what_nobody_expected_is_told_whole() -> None:
    """A traceback is what is needed then."""

    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_or_fail(work)
