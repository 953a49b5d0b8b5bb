"""What is left of a run is found and ended; what is not of it is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trioworkers.worker import remains
from trioworkers.worker.remains import begin_run, children_of, end_run, variable_of

MINE, OTHERS = "a" * 32, "b" * 32
SLEEP = "import time; print('here', flush=True); time.sleep(300)"
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], env={})\n"
    "print(child.pid, flush=True)\nchild.wait()"
)


@pytest.fixture
def start():
    """Starts a process with an environment, in a session of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(source, **environ):
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, env=environ, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_is_marked_ends_and_nothing_else(start):
    """Whatever it does about signals; one of another run, and one without a mark, go on."""
    of_mine, _ = start(IGNORES, TRIOWORKERS_RUN=MINE)
    of_others, _ = start(SLEEP, TRIOWORKERS_RUN=OTHERS)
    of_none, _ = start(SLEEP)
    assert end_run(MINE) == 1
    assert of_mine.wait(5) == -signal.SIGKILL
    assert (of_others.poll(), of_none.poll()) == (None, None)
    assert end_run(MINE) == 0


def test_the_session_of_what_is_marked_ends_with_it(start):
    """A child that was given an empty environment."""
    _, said = start(PARENT, TRIOWORKERS_RUN=MINE)
    descriptor = os.pidfd_open(int(said))
    try:
        assert end_run(MINE) == 2
    finally:
        os.close(descriptor)


def test_a_number_that_is_anothers_by_now_is_not_killed(start, monkeypatch):
    """The process that was marked has gone, and its number was given away, between looking and killing."""
    innocent, _ = start(SLEEP)
    (stat,) = [remains._stat(innocent.pid)]
    assert stat is not None
    found = [[(innocent.pid, stat.start - 1)], []]
    monkeypatch.setattr(remains, "_of_run", lambda run: found.pop(0))
    assert end_run(MINE) == 0
    assert innocent.poll() is None


def test_a_run_begins_where_the_former_has_ended(start, tmp_path):
    """The file names each run in turn, for its owner only; what is left of the one before is ended."""
    path = tmp_path / "run-mark"
    first = begin_run(path)
    left, _ = start(SLEEP, TRIOWORKERS_RUN=first)
    second = begin_run(path)
    assert left.wait(5) == -signal.SIGKILL
    assert first != second == path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600


def test_children_and_variables_are_those_of_the_kernel(start, monkeypatch):
    """Also on a kernel that does not list children."""
    child, _ = start(SLEEP, MARK="here")
    assert child.pid in children_of(os.getpid())
    assert (variable_of(child.pid, "MARK"), variable_of(child.pid, "NO")) == ("here", None)
    monkeypatch.setattr(Path, "iterdir", lambda self: (_ for _ in ()).throw(FileNotFoundError))
    assert child.pid in children_of(os.getpid())
