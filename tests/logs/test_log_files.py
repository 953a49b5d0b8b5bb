"""Log files: rotated by size without loss, written again after any trouble, open only for a moment."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile, rotation, rotations
from trioworkers.logs.lines import FileSink, Lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.log"


def rotated(path: Path, max_size: int = 100, keep: int = 3) -> RotatedFile:
    return RotatedFile(path, lambda: LogSettings(max_size=max_size, keep=keep))


def line(number: int) -> bytes:
    return b"line %04d\n" % number  # ten bytes


def files(path: Path) -> list[Path]:
    """Those that are there, newest first."""
    return [file for file in rotations(path) if file.exists()]


def everything(path: Path) -> bytes:
    """What stands in all files, oldest first."""
    return b"".join(file.read_bytes() for file in reversed(files(path)))


def test_a_file_is_rotated_before_it_grows_beyond_its_size(path: Path) -> None:
    """At the size it stays; of what is older `keep` files stay, and nothing between them is missing."""
    file = rotated(path)
    for number in range(60):
        assert file.append(line(number)) == 10
    assert [found.name for found in files(path)] == [
        "master.log", "master.log.1", "master.log.2", "master.log.3",
    ]  # fmt: skip
    assert all(found.stat().st_size == 100 for found in files(path))
    assert everything(path) == b"".join(map(line, range(20, 60)))


def test_a_line_that_is_larger_than_any_file_is_written_whole(path: Path) -> None:
    """In a file of its own."""
    file = rotated(path)
    for data in (b"a\n", b"b" * 500 + b"\n", b"c\n"):
        assert file.append(data) == len(data)
    assert [found.read_bytes()[:1] for found in files(path)] == [b"c", b"b", b"a"]


def test_a_size_of_nothing_never_rotates(path: Path) -> None:
    """Somebody else does."""
    file = rotated(path, max_size=0)
    for number in range(100):
        file.append(line(number))
    assert files(path) == [path]


def test_size_and_number_may_change_at_any_time(path: Path) -> None:
    """What is kept beyond a smaller number goes with the next rotation."""
    size, keep = 20, 5
    file = RotatedFile(path, lambda: LogSettings(max_size=size, keep=keep))
    for number in range(20):
        file.append(line(number))
    assert len(files(path)) == 6
    keep = 2
    file.append(line(20))
    assert len(files(path)) == 3
    size = 1000
    for number in range(21, 50):
        file.append(line(number))
    assert everything(path) == b"".join(map(line, range(16, 50)))


@pytest.mark.parametrize("step", range(3))
def test_a_crash_between_two_steps_of_a_rotation_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """But for the file that was to go; the next run goes on from any of them."""
    file = rotated(path)
    for number in range(40):
        file.append(line(number))
    steps = iter(range(step))
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if next(steps, None) is None:
            raise KeyboardInterrupt  # what nothing here catches
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            file.append(line(40))
    again = rotated(path)
    for number in range(40, 50):
        again.append(line(number))
    assert everything(path) == b"".join(map(line, range(10, 50)))


def test_what_is_in_the_way_of_a_rotation_costs_no_line(path: Path) -> None:
    """The file grows until it is gone."""
    rotation(path, 1).mkdir()
    (rotation(path, 1) / "x").touch()
    file = rotated(path, keep=1)
    for number in range(20):
        assert file.append(line(number)) == 10
    assert path.stat().st_size == 200
    (rotation(path, 1) / "x").unlink()
    rotation(path, 1).rmdir()
    file.append(line(20))
    assert path.read_bytes() == line(20)


def test_the_file_is_its_owners_and_no_descriptor_stays_open(path: Path) -> None:
    """A thousand logs need none; whoever moves the file away needs to tell nobody."""
    before = set(os.listdir("/proc/self/fd"))
    file = rotated(path)
    old = os.umask(0)
    try:
        file.append(line(0))
    finally:
        os.umask(old)
    assert set(os.listdir("/proc/self/fd")) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(path.with_suffix(".moved"))
    file.append(line(1))
    assert path.read_bytes() == line(1)


# -- the daemon's log ---------------------------------------------------------------------------------


def test_a_folder_that_is_gone_is_counted_and_told_when_it_is_back(tmp_path: Path) -> None:
    """Nothing is raised."""
    path = tmp_path / "logs" / "master.log"
    lines = Lines(FileSink(rotated(path)), lambda lost: f"{lost} lost\n")
    for _ in range(3):
        lines.write("gone\n")
    path.parent.mkdir()
    lines.write("back\n")
    lines.write("again\n")
    assert path.read_text() == "3 lost\nback\nagain\n"


def test_a_line_that_was_written_in_part_is_counted_and_harms_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk became full within it; the next one begins a line of its own."""
    room = 25
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    lines = Lines(FileSink(rotated(path, max_size=0)), lambda lost: f"{lost} lost\n")
    monkeypatch.setattr("trioworkers.logs.files.os.write", write)
    for number in range(5):
        lines.write(line(number).decode())
    room = 10**6
    lines.write("back\n")
    assert path.read_text() == "line 0000\nline 0001\nline \n3 lost\nback\n"
