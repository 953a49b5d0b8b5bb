"""The terminal that a worker has at a breakpoint, as a process on a real one uses it."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys

import pytest

PATIENCE = 20.0  # seconds without a word
PROGRAM = """
import os, sys
if sys.argv[1] == "without readline":
    sys.modules["readline"] = None
from trioworkers.worker.debugger import Console
terminal = os.ttyname(os.dup(0))  # it stays open, as the daemon has it
nothing = os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(nothing, descriptor)
console = Console(terminal, "greeter")
print("for the log", flush=True)
assert console.take()
assert not console.take()
print("you are", input("name? "))
console.give_back()
console.give_back()
print("for the log", flush=True)
"""


@pytest.mark.parametrize("way", ["with readline", "without readline"])
def test_what_is_asked_and_printed_is_on_the_terminal(way: str) -> None:
    """Also where Python cannot edit lines; what is printed before and after goes where it always goes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, way])  # noqa: S606
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            if not select.select([terminal], [], [], PATIENCE)[0]:
                raise TimeoutError
            shown += os.read(terminal, 4096).decode()

    try:
        read_until("name? ")
        os.write(terminal, b"Ann\r")
        read_until("goes on ---")
    except OSError:
        os.kill(pid, signal.SIGKILL)
        pytest.fail(f"the terminal shows {shown!r}")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert status == 0
    assert "you are Ann" in shown
    assert "for the log" not in shown
