"""A system that has no room is the fault of none that meets it."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trioworkers.nursery.restart import STARVED, Crash, RestartBudget
from trioworkers.starved import is_starved
from trioworkers.worker.handler import HandlerError, import_handler

if TYPE_CHECKING:
    from pathlib import Path


def from_(error: BaseException, cause: BaseException) -> BaseException:
    """The error as one that came of another."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), True),
        (OSError(errno.ENOMEM, "x"), True),
        (OSError(errno.EMFILE, "x"), True),
        (OSError(errno.ENFILE, "x"), True),
        (RuntimeError("can't start new thread"), True),
        (MemoryError(), True),
        (ExceptionGroup("x", [ValueError(), OSError(errno.EAGAIN, "x")]), True),
        (from_(ImportError("x"), OSError(errno.EAGAIN, "x")), True),
        (OSError(errno.ENOENT, "x"), False),
        (RuntimeError("other"), False),
        (ValueError(), False),
        (SystemExit(1), False),
    ],
)
def test_what_says_that_there_is_no_room(error: BaseException, is_so: bool) -> None:
    """No process, thread, memory or descriptor, wherever in a chain or group it is said."""
    assert is_starved(error) is is_so


def test_an_import_that_found_no_room_is_no_fault_of_the_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may go better a second time; another failure may not."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, raised in (("starved_one", "OSError(11, 'x')"), ("broken_one", "ValueError()")):
        (tmp_path / f"{name}.py").write_text(f"raise {raised}\n")
        with pytest.raises(HandlerError) as caught:
            import_handler(f"{name}:handle", [str(tmp_path)])
        assert caught.value.starved is (name == "starved_one")


class Limits:
    initial, factor, max, per_hour, healthy_after = 1.0, 2.0, 45.0, 5, 600.0


def test_a_start_for_which_there_was_no_room_uses_up_no_budget() -> None:
    """However often; the pause does not grow, and lies around a mean, so that not all come back at once."""
    budget = RestartBudget((1.0, 2.0), in_a_row=2)
    for draw in (0.0, 0.5, 1.0) * 100:
        after, start = budget.after(Crash(3.0, 0.0, draw, starved=True), Limits())
        assert after == budget
        assert (start.pause, start.spent) == (STARVED * (0.5 + draw), False)


def test_a_process_can_offer_itself_to_the_kernel(tmp_path: Path) -> None:
    """In a process of its own, as it cannot be taken back: by half of all memory, up to the most there is."""
    code = (
        "import os\nfrom trioworkers.worker.own_process import offer_to_the_kernel\n"
        "for _ in range(3):\n"
        "    offer_to_the_kernel(os.getpid())\n    print(open('/proc/self/oom_score_adj').read().strip())\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    seen = [int(line) for line in done.stdout.split()]
    with open("/proc/self/oom_score_adj") as own:
        base = int(own.read())
    assert seen == [min(1000, base + 500 * times) for times in (1, 2, 3)]
