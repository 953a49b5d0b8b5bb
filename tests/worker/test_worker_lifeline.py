"""A worker whose daemon is gone is gone as well: real processes at one end of a socket pair."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import msgspec
import pytest

from trioworkers.nursery.frames import Configure, Deliver, Drain, Retune
from trioworkers.worker.lifeline import STACK, watch_lifeline

QUIET = "async def handle(update, bot): ...\n"
HANG = {
    "import": "print('here', flush=True)\nwhile True: pass\n",
    "start": QUIET + "async def start(bot):\n    print('here', flush=True)\n    while True: pass\n",
    "start that waits": "import trio\n"
    + QUIET
    + "async def start(bot):\n    print('here', flush=True)\n    await trio.sleep_forever()\n",
    "handle": "async def handle(update, bot):\n    print('here', flush=True)\n    while True: pass\n",
    "handle that catches everything": "async def handle(update, bot):\n    print('here', flush=True)\n"
    "    while True:\n        try:\n            while True: pass\n        except BaseException: pass\n",
    "stop": QUIET + "async def stop(bot):\n    print('here', flush=True)\n    while True: pass\n",
    "stop that waits": "import trio\n"
    + QUIET
    + "async def stop(bot):\n    print('here', flush=True)\n    await trio.sleep_forever()\n",
}


class Daemon:
    """The daemon's end of the channel to a real worker."""

    def __init__(self, folder, source):
        (folder / "my_handler.py").write_text(source)
        self.end, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "trioworkers.worker", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )
        theirs.close()
        assert self.process.stdout is not None
        self.printed = self.process.stdout
        path = [str(folder)]
        where = ("https://127.0.0.1:9", "my_handler:handle")
        self.send(Configure("echo", 1, "1:a", *where, path, 1, Retune({}, 300.0, 60.0, 60.0, "info")))

    def send(self, frame):
        body = msgspec.json.encode(frame)
        self.end.sendall(len(body).to_bytes(4, "little") + body)

    def line(self):
        """The next line that it prints."""
        return self.printed.readline().strip()

    def close(self):
        self.end.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=10)


@pytest.fixture
def start(tmp_path):
    """Starts one worker with a handler's source."""
    daemons: list[Daemon] = []

    def start(source):
        daemons.append(Daemon(tmp_path, source))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.close()


@pytest.mark.parametrize("where", HANG)
def test_a_worker_does_not_outlive_its_daemon(start, where):
    """Whatever its handler does just then, be it to hold up the loop for ever: it is gone within 2 s."""
    daemon = start(HANG[where])
    if where.startswith("handle"):
        daemon.send(Deliver(1, 0, False, "t", msgspec.Raw(b'{"update_id":1}')))
    elif where.startswith("stop"):
        daemon.send(Drain())
    assert daemon.line() == b"here"
    daemon.end.close()
    assert daemon.process.wait(2) == -signal.SIGKILL


def test_a_worker_that_is_drained_ends_by_itself(start):
    """Its lifeline does not take the worker's own end for the daemon's."""
    daemon = start(QUIET)
    daemon.send(Drain())
    assert daemon.process.wait(20) == 0


def test_what_a_worker_starts_does_not_keep_its_channel(start):
    """Also if all descriptors that may be inherited are."""
    daemon = start(
        "import subprocess, sys\n" + QUIET + "async def start(bot):\n"
        "    look = 'import os; print([os.readlink(fd.path) for fd in os.scandir(\"/proc/self/fd\")])'\n"
        "    subprocess.run([sys.executable, '-c', look], close_fds=False, check=True)\n"
    )
    descriptors = daemon.line()
    assert b"/dev/null" in descriptors
    assert b"socket:" not in descriptors


def test_the_lifeline_costs_nothing_until_it_is_cut(monkeypatch):
    """One small thread that sleeps, not even woken by what arrives; others get their usual stack."""
    stacks: list[int] = []
    cut = threading.Event()
    monkeypatch.setattr("trioworkers.worker.lifeline.end_group", cut.set)
    begin = threading.Thread.start

    def note(self):
        stacks.append(threading.stack_size())
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", note)
    before = threading.stack_size()
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            watch_lifeline(theirs)
            (thread,) = [thread for thread in threading.enumerate() if thread.name == "lifeline"]
            assert (thread.daemon, stacks, threading.stack_size()) == (True, [STACK], before)
            ours.sendall(b"x")
            assert not cut.wait(0.05)
        assert not cut.wait(0.05), "this side's own end is none"
    assert cut.wait(5)
    thread.join(5)
