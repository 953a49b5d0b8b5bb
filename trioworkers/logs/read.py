"""Reading a log over its rotations: its last lines, and then what comes after them.

The files are opened newest first and told apart by their inodes: one that is rotated meanwhile is met
again under its next name and left out, and none is missed. When a whole rotation went by, a younger one may
stand where an older one was: then they are opened once more. An open file keeps its inode, so that no other
can be taken for it. Neither links nor pipes are read: a handler may have put them there.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections import deque
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING

from trioworkers.logs.files import rotations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 64 * 1024
TRIES = 100  # rotations are seldom: seconds lie between two, and less than a millisecond is needed
CHECKED = 512  # bytes before a place by which it is known again
LONGEST = 2**20  # bytes of an unfinished line that are waited for; then it is given in pieces
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LogReader:
    """Reads one log: :meth:`last`, then :meth:`more` again and again; to be closed.

    Args:
        path: the live file. Neither it nor its rotations have to exist yet.

    Attributes:
        unfinished: what stands behind the last line break.
        missed: rotations went by faster than they were read, so that lines are missing.
    """

    def __init__(self, path: Path) -> None:
        self.unfinished = b""
        self.missed = False
        self._path = path
        self._files: list[FileIO] = []  # still to be read, oldest first

    def close(self) -> None:
        """Close what is open."""
        _close(self._files)

    def last(self, count: int) -> list[bytes]:
        """The last `count` lines, oldest first, without their ends.

        Raises:
            OSError: a file is there that cannot be read.
        """
        blocks: deque[bytes] = deque()
        breaks = 0
        files = self._opened()
        for file in files:
            at = file.seek(0, os.SEEK_END)
            while at and breaks <= count:
                size = min(BLOCK, at)
                at -= size
                blocks.appendleft(os.pread(file.fileno(), size, at))
                breaks += blocks[0].count(b"\n")
        self._files = files[:1]
        _close(files[1:])
        *lines, self.unfinished = b"".join(blocks).split(b"\n")
        return lines[max(0, len(lines) - count) :]

    @property
    def place(self) -> tuple[int, int, int]:
        """The inode of the file that was read last, where its first unread line begins in it, and a checksum.

        The checksum is of what stands before: a new file may have the inode of one that was deleted.
        (0, 0, 0) before there is a file.
        """
        if not self._files:
            return 0, 0, 0
        file = self._files[-1]
        offset = max(0, file.tell() - len(self.unfinished))
        return os.fstat(file.fileno()).st_ino, offset, _checksum(file, offset)

    def resume(self, inode: int, offset: int, checksum: int) -> None:
        """Go on at the `place` of an earlier reader: :meth:`more` yields what came after it.

        Where its file is gone, everything that is left is read, and `missed` is set. (0, 0, 0) begins with
        the oldest line that there is, and misses nothing.

        Raises:
            OSError: a file is there that cannot be read.
        """
        files = self._opened()
        at = next((at for at, file in enumerate(files) if os.fstat(file.fileno()).st_ino == inode), None)
        if at is not None and os.fstat(files[at].fileno()).st_size >= offset:
            at = at if _checksum(files[at], offset) == checksum else None
        if at is None:
            self.missed = inode != 0
            self._files = files[::-1]
            return
        _close(files[at + 1 :])
        self._files = files[at::-1]
        size = os.fstat(self._files[0].fileno()).st_size
        self.missed = offset > size  # it was cut off, or is another file: begun anew
        self._files[0].seek(0 if self.missed else offset)

    def more(self) -> Iterator[bytes]:
        """Yield the lines that were finished since the last call, over rotations, without their ends.

        Raises:
            OSError: a file is there that cannot be read.
        """
        yield from self._to_end()
        self._files += reversed(self._newer())
        yield from self._to_end()  # also what was written between the look and the rotation
        while len(self._files) > 1:
            self._files.pop(0).close()
            yield from self._to_end()

    def _newer(self) -> list[FileIO]:
        """The files that came after ours, newest first.

        Where ours is not met, since somebody moved it away, the times tell: those before it were not
        written any more once it was there.
        """
        if not self._files:
            return self._opened()
        ours = os.fstat(self._files[-1].fileno())
        with suppress(OSError):
            if os.path.samestat(ours, self._path.lstat()):
                return []
        files = self._opened()
        found = [os.fstat(file.fileno()) for file in files]
        end = next((at for at, one in enumerate(found) if os.path.samestat(one, ours)), None)
        if end is None:
            end = sum(one.st_mtime_ns >= ours.st_mtime_ns for one in found)
            self.missed = self.missed or end > 1
        _close(files[end:])
        return files[:end]

    def _opened(self) -> list[FileIO]:
        """The files of the log, newest first."""
        files: list[FileIO] = []
        for _ in range(TRIES):
            _close(files)
            live = _identity(self._path)
            files = self._opened_once()
            if live == _identity(self._path):
                break
        return files

    def _opened_once(self) -> list[FileIO]:
        files: list[FileIO] = []
        try:
            for path in rotations(self._path):
                with suppress(FileNotFoundError):
                    files.append(_open(path))
                    one = os.fstat(files[-1].fileno())
                    if any(os.path.samestat(one, os.fstat(file.fileno())) for file in files[:-1]):
                        files.pop().close()
        except OSError:
            _close(files)
            raise
        return files

    def _to_end(self) -> Iterator[bytes]:
        """Yield what the oldest file has more of; one that was cut off short is begun anew."""
        if not self._files:
            return
        file = self._files[0]
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
        while data := file.read(BLOCK):
            *lines, self.unfinished = (self.unfinished + data).split(b"\n")
            yield from lines
            if len(self.unfinished) > LONGEST:
                yield self.unfinished
                self.unfinished = b""


def _checksum(file: FileIO, offset: int) -> int:
    """Of the bytes before a place in a file, or of as many as tell one log from another."""
    begin = max(0, offset - CHECKED)
    return zlib.crc32(os.pread(file.fileno(), offset - begin, begin))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(path: Path) -> FileIO:
    descriptor = os.open(path, _FLAGS)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return FileIO(descriptor)
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file", str(path))


def _close(files: list[FileIO]) -> None:
    for file in files:
        file.close()
