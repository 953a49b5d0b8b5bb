"""A log is read over its rotations: no line twice, none missing."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile, rotation, rotations
from trioworkers.logs.read import BLOCK, LONGEST, LogReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker_echo.log"


@pytest.fixture
def reader(path: Path) -> Iterator[LogReader]:
    with closing(LogReader(path)) as reader:
        yield reader


def rotated(path: Path, max_size: int = 100, keep: int = 100) -> RotatedFile:
    return RotatedFile(path, lambda: LogSettings(max_size=max_size, keep=keep))


def fill(file: RotatedFile, numbers: range) -> None:
    for number in numbers:
        file.append(b"%d\n" % number)


def these(numbers: range) -> list[bytes]:
    return [b"%d" % number for number in numbers]


@pytest.mark.parametrize("count", [0, 1, 7, 99, 199, 200, 1000])
def test_the_last_lines_come_in_order_over_all_files(path: Path, reader: LogReader, count: int) -> None:
    """As many as there are."""
    fill(rotated(path), range(200))
    assert len(rotations(path)) > 5
    assert reader.last(count) == these(range(max(0, 200 - count), 200))


def test_a_line_that_is_cut_by_a_rotation_is_one_line(path: Path, reader: LogReader) -> None:
    """A worker may write without line breaks for long."""
    file = rotated(path)
    for data in (b"first\n", b"a" * 90, b"b" * 90, b"c" * 90 + b"\nlast\nunfin"):
        file.append(data)
    assert reader.last(2) == [b"a" * 90 + b"b" * 90 + b"c" * 90, b"last"]
    assert reader.unfinished == b"unfin"
    file.append(b"ished\n")
    assert list(reader.more()) == [b"unfinished"]


def test_more_than_a_block_is_read(path: Path, reader: LogReader) -> None:
    """Backwards and forwards."""
    file = rotated(path, max_size=0)
    lines = [b"%d" % number + b"x" * (number % 2000) for number in range(3000)]
    assert sum(map(len, lines)) > 10 * BLOCK
    file.append(b"\n".join(lines) + b"\n")
    assert reader.last(2500) == lines[500:]
    file.append(b"\n".join(lines) + b"\n")
    assert list(reader.more()) == lines


def test_what_comes_is_followed_over_rotations(path: Path, reader: LogReader) -> None:
    """Several between two looks, or none; each line once."""
    file = rotated(path)
    fill(file, range(50))
    assert reader.last(1) == [b"49"]
    for begin, end in ((50, 51), (51, 51), (51, 400), (400, 410), (410, 500)):
        fill(file, range(begin, end))
        assert list(reader.more()) == these(range(begin, end))
    assert not reader.missed


def test_a_log_that_comes_later_is_read_from_its_beginning(path: Path, reader: LogReader) -> None:
    """Nothing was there to be the last of."""
    assert reader.last(10) == []
    assert list(reader.more()) == []
    fill(rotated(path), range(100))
    assert list(reader.more()) == these(range(100))


def test_a_log_that_somebody_moved_away_is_followed_in_the_new_one(path: Path, reader: LogReader) -> None:
    """Older rotations of ours are not told again."""
    file = rotated(path)
    fill(file, range(100))
    for found in rotations(path)[1:-2]:
        os.utime(found, (1, 1))
    assert reader.last(1) == [b"99"]
    path.rename(path.with_suffix(".yesterday"))
    assert list(reader.more()) == []
    fill(file, range(100, 110))
    assert list(reader.more()) == these(range(100, 110))
    assert not reader.missed


def test_a_log_that_was_cut_off_is_read_anew(path: Path, reader: LogReader) -> None:
    """As logrotate's copytruncate does."""
    file = rotated(path, max_size=0)
    fill(file, range(50))
    reader.last(0)
    os.truncate(path, 0)
    fill(file, range(50, 55))
    assert list(reader.more()) == these(range(50, 55))


def test_rotations_faster_than_they_are_read_are_told(path: Path, reader: LogReader) -> None:
    """What is still there is read."""
    file = rotated(path, keep=2)
    fill(file, range(10))
    reader.last(0)
    fill(file, range(10, 500))
    found = list(reader.more())
    assert reader.missed
    gap = next(at for at in range(len(found)) if found[at] != b"%d" % (10 + at))
    assert found == these(range(10, 10 + gap)) + these(range(500 - len(found) + gap, 500))


def test_a_line_without_end_fills_no_memory(path: Path, reader: LogReader) -> None:
    """It is given in pieces."""
    reader.last(0)
    rotated(path, max_size=0).append(b"x" * (3 * LONGEST))
    pieces = list(reader.more())
    assert len(pieces) > 1
    assert len(b"".join([*pieces, reader.unfinished])) == 3 * LONGEST


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_read(path: Path, reader: LogReader, tmp_path: Path, kind: str) -> None:
    """A handler may have put it there, for whoever reads its log with more rights than it has."""
    (tmp_path / "secret").write_text("secret\n")
    make = {"link": lambda: path.symlink_to(tmp_path / "secret"), "fifo": lambda: os.mkfifo(path)}
    make.get(kind, path.mkdir)()
    with pytest.raises(OSError, match=r"no regular file|symbolic links") as refused:
        reader.last(10)
    assert str(refused.value.filename) == str(path)


def test_a_reader_keeps_up_with_a_writer(path: Path, reader: LogReader) -> None:
    """Whatever both do at the same time, each line comes once, in order."""
    total = 20_000
    file = rotated(path, max_size=4096, keep=1000)
    writer = threading.Thread(target=fill, args=(file, range(total)))
    found = reader.last(0)
    writer.start()
    while writer.is_alive():
        found += reader.more()
    writer.join()
    found += reader.more()
    assert found == these(range(total))
    assert not reader.missed


def test_the_last_lines_are_found_while_files_are_rotated(path: Path) -> None:
    """Without a gap."""
    file = rotated(path, max_size=12_000, keep=10)
    fill(file, range(100_000, 110_000))
    writer = threading.Thread(target=fill, args=(file, range(110_000, 160_000)))
    writer.start()
    while writer.is_alive():
        with closing(LogReader(path)) as reader:
            found = [int(line) for line in reader.last(5000)]
            assert found == list(range(found[0], found[0] + 5000))
    writer.join()


def test_rotated_files_are_told_from_others(path: Path) -> None:
    """By the number behind the name; those that may appear meanwhile are looked for, too."""
    for name in ("1", "3", "gz", "04", "20261124"):
        path.with_name(f"{path.name}.{name}").touch()
    path.with_name("x.log.9").touch()
    assert rotations(path) == [rotation(path, number) for number in range(6)]
