"""`trioworkers demo` as a newcomer runs it: real processes, one command, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

LIMIT = 20.0  # seconds for anything
COMMAND = [sys.executable, "-m", "trioworkers.cli", "demo"]
FLEET_FILE = re.compile(r"-c (\S+/fleet\.toml)")


class Running:
    """A demo that runs, what it wrote so far, and every process that was seen below it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.workers: set[psutil.Process] = set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + LIMIT
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def look(self) -> None:
        """Remember the processes that run below the demo now."""
        self.workers |= set(psutil.Process(self.process.pid).children(recursive=True))

    def end(self) -> tuple[int, str]:
        """Wait for its end; the exit code and all of standard output."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return code, out

    @property
    def fleet_file(self) -> Path:
        found = FLEET_FILE.search(self.log)
        assert found is not None, self.log
        return Path(found[1])


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=os.environ | {"TMPDIR": str(folder), "PYTHONIOENCODING": "ascii"},  # the poorest of terminals
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def demo(folder: Path, *arguments: str):
    """Run the demo with its conversations on standard error and its temporary files below `folder`."""
    with start(folder, "--json", *arguments) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path_factory):
    """A place for temporary files with a short path, as sockets need it."""
    return tmp_path_factory.mktemp("d")


def assert_nothing_is_left(running: Running, folder: Path) -> None:
    gone, alive = psutil.wait_procs(running.workers, timeout=2)
    assert len(gone) >= 3
    assert alive == []
    assert list(folder.iterdir()) == []


def assert_accounted_for(counts: dict[str, int]) -> None:
    ends = ("done", "dropped", "expired", "dead", "pending")
    assert counts["accepted"] == sum(counts[end] for end in ends)


def test_a_demo_of_some_seconds_ends_by_itself_and_its_numbers_agree(folder):
    """A script gets exit 0 and a balance in which nothing is missing, with retries and dead letters."""
    with demo(folder, "--seconds", "4") as running:
        running.wait_for("Ready:")
        running.look()
        running.wait_for("RETRY 1")
        assert running.fleet_file.is_relative_to(folder)
        code, out = running.end()
    assert code == 0, running.log
    told = json.loads(out)
    assert told["agrees"] is True
    assert told["made"] == told["accepted"] > 5
    assert_accounted_for(told)
    assert set(told["bots"]) == {"echo", "quiz", "pizza"}
    for counts in told["bots"].values():
        assert_accounted_for(counts)
        assert counts["answered"] >= 1
    assert told["retried"] >= 1
    assert told["dead"] >= 1
    assert told["pending"] == 0
    assert "DEAD LETTER:" in running.log
    assert_nothing_is_left(running, folder)


def test_an_interrupt_ends_it_gracefully_with_the_summary(folder):
    """Ctrl-C is the usual way out: exit 0, the summary, no process and no file left."""
    with demo(folder) as running:
        running.wait_for("RETRY 1")
        running.look()
        running.process.send_signal(signal.SIGINT)
        code, out = running.end()
    assert code == 0, running.log
    told = json.loads(out)
    assert_accounted_for(told)
    assert told["agrees"] is True
    assert "Traceback" not in running.log
    assert_nothing_is_left(running, folder)


def test_a_second_interrupt_ends_it_at_once(folder):
    """Who is in a hurry gets a summary, too, and what was under way is counted as pending."""
    with demo(folder, "--users", "30") as running:
        running.wait_for("RETRY 1")
        running.look()
        running.process.send_signal(signal.SIGINT)
        running.wait_for("fall silent")
        running.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        code, out = running.end()
    assert code == 0, running.log
    assert time.monotonic() - began < 6
    assert json.loads(out)["agrees"] is True
    assert_nothing_is_left(running, folder)


def test_a_signal_while_it_starts_is_graceful(folder):
    """TERM, which ends it like Ctrl-C, leaves nothing behind before the workers are ready, either."""
    with demo(folder) as running:
        running.wait_for("Look around")
        running.process.send_signal(signal.SIGTERM)
        code, out = running.end()
    assert code == 0, running.log
    assert json.loads(out)["agrees"] is True
    assert list(folder.iterdir()) == []


def test_another_terminal_can_look_at_it_and_no_log_holds_what_was_said(folder):
    """The fleet file that the demo names is good for `status`; what was said is on the screen only."""
    with demo(folder) as running:
        running.wait_for("DEAD LETTER:")
        running.look()
        status = [sys.executable, "-m", "trioworkers.cli", "-c", str(running.fleet_file), "status", "--json"]
        looked = subprocess.run(status, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert looked.returncode == 0, looked.stderr
        rows = {row["bot"]: row for row in json.loads(looked.stdout)["workers"]}
        assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(rows, "running")
        assert rows["pizza"]["queue"]["dead"] >= 1
        logs = "".join(path.read_text() for path in running.fleet_file.parent.glob("logs/*"))
        assert "update.dead" in logs
        assert "/order fugazza" in running.log
        assert "fugazza" not in logs
        assert "<token>" not in logs
        running.process.send_signal(signal.SIGINT)
        code, _ = running.end()
    assert code == 0, running.log
    assert_nothing_is_left(running, folder)


def test_it_ends_when_nobody_reads_any_more(folder):
    """`trioworkers demo | head` ends, silently, and cleans up."""
    with start(folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "real daemon" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(LIMIT) == 0
    assert list(folder.iterdir()) == []


def test_a_number_of_seconds_that_is_none_is_a_usage_error():
    """`nan` is told as a usage error, not as a traceback."""
    command = [*COMMAND, "--seconds", "nan"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert tried.returncode == 2
    assert "Traceback" not in tried.stderr
