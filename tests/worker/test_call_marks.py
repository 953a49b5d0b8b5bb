"""The file in which a worker marks its calls, and what is read out of it after its end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trioworkers.call_marks import MOST_KEY, SLOT, CallMarks, Mark, read_marks

KEY = "sendMessage 5 c0ffee 1"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "marks")


def test_a_mark_is_read_as_it_was_written(path: str) -> None:
    """The last one of a slot; what was cleared is gone; a key may have any letters, and be long."""
    marks = CallMarks(path, 3)
    first, second, third = (marks.take(0) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    long = "ü" * (MOST_KEY // 2)
    marks.write(first, 1, 10, 0, KEY.encode())
    marks.write(first, 1, 10, 1, long.encode())
    marks.write(second, 2, 11, 0, b"x")
    marks.write(third, 3, 12, 0, b"once")
    marks.clear(second)
    assert read_marks(path) == [Mark(1, 10, 1, long), Mark(3, 12, 0, "once")]
    marks.close()


def test_a_slot_is_taken_again_once_what_was_sent_has_left(path: str) -> None:
    """Until then its mark may be all that is known of a call."""
    marks = CallMarks(path, 1)
    slot = marks.take(0)
    assert slot is not None
    assert marks.take(0) is None
    marks.give_back(slot, 100)
    assert marks.take(99) is None
    assert marks.take(100) == slot


def test_marks_survive_sigkill(path: str) -> None:
    """A process that is killed in the moment after it has written leaves all of them behind."""
    code = f"""
import os, signal
from trioworkers.call_marks import CallMarks
marks = CallMarks({path!r}, 4)
for number in range(1, 5):
    marks.write(marks.take(0), number, 10 * number, 0, b"key %d" % number)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert [(mark.delivery, mark.id, mark.key) for mark in read_marks(path)] == [
        (number, 10 * number, f"key {number}") for number in range(1, 5)
    ]


def test_a_file_that_is_there_is_not_taken(path: str) -> None:
    """Nor is a link that somebody put there followed; neither changes."""
    Path(path).write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        CallMarks(path, 1)
    link = path + "-link"
    os.symlink(path, link)
    with pytest.raises(FileExistsError):
        CallMarks(link, 1)
    with pytest.raises(OSError, match="symbolic"):
        read_marks(link)
    assert Path(path).read_bytes() == b"theirs"


def test_without_room_there_is_no_file(path: str) -> None:
    """A write into what the disk has no room for would end the process: all of the room is taken first."""
    code = f"""
import resource, signal
from trioworkers.call_marks import CallMarks
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({SLOT}, {resource.RLIM_INFINITY}))
try:
    CallMarks({path!r}, 2)
except OSError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "OSError\n"
    assert not Path(path).exists()


def test_what_is_not_a_mark_is_left_out(path: str) -> None:
    """After a loss of power a file may hold anything; an absent one holds nothing."""
    assert read_marks(path) == []
    marks = CallMarks(path, 3)
    for number in range(1, 4):
        slot = marks.take(0)
        assert slot is not None
        marks.write(slot, number, number, 0, KEY.encode())
    marks.close()
    data = bytearray(Path(path).read_bytes())
    data[20:22] = b"\xff\xff"  # the length of the first
    data[SLOT + 30] = 0xFF  # no UTF-8
    Path(path).write_bytes(data[: 3 * SLOT])
    assert [mark.delivery for mark in read_marks(path)] == [3]
    Path(path).write_bytes(data[: SLOT - 1])
    assert read_marks(path) == []
