"""Marks of calls that are about to be made: a worker writes them into a file that it has mapped into memory.

A mark survives the worker's process, and the daemon's, as the pages of the file are the kernel's. Writing one
takes a microsecond and no system call. So a call may leave in the next moment, and its report to the daemon
may come later, or not at all where the handling has ended by then. What does not survive is a loss of power.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import deque
from contextlib import suppress
from typing import NamedTuple

FOLDER = "calls"
"""The folder of the files, in `fleet.state_dir`."""

SLOT = 256  # bytes
SLOTS = 64  # calls of a worker; the daemon has written down those before, even under load
MOST_SLOTS = 1024
_DELIVERY = struct.Struct("=Q")
_CALL = struct.Struct("=QIH")  # id, reported, length of the key
_KEY = _DELIVERY.size + _CALL.size  # where it begins
MOST_KEY = SLOT - _KEY  # bytes of UTF-8


class Mark(NamedTuple):
    """A call that a handling was about to make when its worker ended, or had made.

    Attributes:
        delivery: the number of the delivery, in its worker.
        id: the inbox's id of the update.
        reported: how many calls of this delivery the worker had reported before this one. If the daemon knows
            of more, this one was reported, too.
        key: as :mod:`trioworkers.handling.calls` has it.
    """

    delivery: int
    id: int
    reported: int
    key: str


class CallMarks:
    """A worker's marks, one in each slot. Of the free slots the one that was given back first is taken next.

    A slot that was given back is taken again only once `has_left` says that what was sent before has left the
    process: until then its mark may be all that is known of a call.

    Args:
        path: the file, which is made; :meth:`close` leaves it.
        slots: how many there are.

    Raises:
        OSError: the file cannot be made, or there is no room for it.
    """

    def __init__(self, path: str, slots: int = SLOTS) -> None:
        slots = min(slots, MOST_SLOTS)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, slots * SLOT)  # a write into a hole of it may be fatal
            self._memory = mmap.mmap(descriptor, slots * SLOT)
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        self._free = deque((slot * SLOT, 0) for slot in range(slots))

    def take(self, left: int) -> int | None:
        """Take a slot; None when there is none. `left`: as :meth:`give_back` has it."""
        if not self._free or self._free[0][1] > left:
            return None
        return self._free.popleft()[0]

    def give_back(self, slot: int, sent: int) -> None:
        """Give a slot back, which may be taken again once as many bytes have left the worker."""
        self._free.append((slot, sent))

    def write(self, slot: int, delivery: int, id: int, reported: int, key: bytes) -> None:
        """Mark a call; what the slot held is gone. `key`: of at most `MOST_KEY` bytes."""
        memory = self._memory
        _DELIVERY.pack_into(memory, slot, 0)  # killed in between, there is no mark, and no call yet
        memory[slot + _DELIVERY.size : slot + _KEY + len(key)] = _CALL.pack(id, reported, len(key)) + key
        _DELIVERY.pack_into(memory, slot, delivery)

    def clear(self, slot: int) -> None:
        """Remove a mark: the call is known not to have been made."""
        _DELIVERY.pack_into(self._memory, slot, 0)

    def close(self) -> None:
        """Give the memory back. Nothing may follow."""
        self._memory.close()


def read_marks(path: str) -> list[Mark]:
    """The marks in a file, those of a delivery in the order of its calls; none where there is no such file.

    What is not a mark is left out.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    try:
        data = os.pread(descriptor, MOST_SLOTS * SLOT, 0)
    finally:
        os.close(descriptor)
    marks = []
    for slot in range(0, len(data) - SLOT + 1, SLOT):
        (delivery,) = _DELIVERY.unpack_from(data, slot)
        id, reported, length = _CALL.unpack_from(data, slot + _DELIVERY.size)
        if not delivery or length > MOST_KEY:
            continue
        start = slot + _KEY
        with suppress(UnicodeDecodeError):  # what a loss of power left of it
            marks.append(Mark(delivery, id, reported, data[start : start + length].decode()))
    return sorted(marks)
