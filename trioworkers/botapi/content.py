"""Files on disk as what is sent and received: block by block, so that their size does not matter."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, BinaryIO

from trioworkers.botapi.beside import beside
from trioworkers.botapi.errors import TransportError
from trioworkers.starved import is_starved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

BLOCK = 2**20  # bytes that are read from a disk, or written to it, at once
FETCH = "download"  # in the place of a method, in errors


class FileContent:
    """The content of a file that is sent while it is read. Close it after use.

    Args:
        path: the file; its size now is what will be sent.

    Raises:
        OSError: it cannot be opened, or has no size.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        found = os.fstat(self._file.fileno())
        self._size = self._left = found.st_size
        if not stat.S_ISREG(found.st_mode):
            self._file.close()
            message = "expected a regular file to upload"
            raise OSError(message)

    def __len__(self) -> int:
        return self._size

    async def next_block(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            OSError: it cannot be read, or has become shorter.
        """
        if not self._left:
            return b""
        block = await beside(self._file.read, min(BLOCK, self._left))
        if not block:
            message = "a file became shorter while it was uploaded"
            raise OSError(message)
        self._left -= len(block)
        return block

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def open_local(folder: str, file_path: str) -> BinaryIO:
    """Open a file that a server on this machine (`--local`) has in its folder. Blocks on the disk.

    Raises:
        TransportError: it is not a regular file in the folder, or cannot be read. The message does not name
            it: the token is a part of its path.
    """
    if not folder:
        what = "the server names a file on its own disk: fleet.local_files says where such files may be read"
        raise TransportError(FETCH, what, heals=False)
    try:
        real = os.path.realpath(file_path)
        if os.path.commonpath((os.path.realpath(folder), real)) != os.path.realpath(folder):
            raise TransportError(
                FETCH, "the server names a file that is not within fleet.local_files", heals=False
            )
        if not stat.S_ISREG(os.stat(real).st_mode):  # a fifo would block
            raise TransportError(FETCH, "the server names what is no regular file", heals=False)
        return open(real, "rb", buffering=0)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no such path").lower()
        what = f"the file on the server's disk cannot be read: {reason}"
        raise TransportError(FETCH, what, heals=is_starved(error)) from None


async def copy_local(
    folder: str, file_path: str, sink: Callable[[bytes], Awaitable[None]], most: int
) -> None:
    """Give `sink` the content of a file of a server on this machine, block by block.

    Raises:
        TransportError: as :func:`open_local`, or it has more than `most` bytes.
    """
    file = await beside(open_local, folder, file_path)
    with file:
        if os.fstat(file.fileno()).st_size > most:
            raise TransportError(FETCH, f"a file of more than {most} bytes", heals=False)
        while block := await beside(file.read, BLOCK):
            await sink(block)


async def read_local(folder: str, file_path: str, most: int) -> bytes:
    """Return the content of a file of a server on this machine.

    Raises:
        TransportError: as :func:`copy_local`.
    """
    content = bytearray()

    async def take(part: bytes) -> None:
        content.extend(part)

    await copy_local(folder, file_path, take, most)
    return bytes(content)


async def save_to(path: Path, fetch: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]) -> int:
    """Write what `fetch` gives to the sink that it is given into a file; return how many bytes that were.

    The file appears whole, or not at all; one that was there before is replaced.

    Raises:
        OSError: it cannot be written.
        Exception: what `fetch` raised.
    """
    fresh = path.with_name(f".{path.name[:100]}-{secrets.token_hex(4)}")
    file = await beside(lambda: fresh.open("xb", buffering=BLOCK))
    size = 0

    async def write(part: bytes) -> None:
        nonlocal size
        size += len(part)
        await beside(file.write, part)

    try:
        await fetch(write)
        await beside(file.close)
        await beside(os.replace, fresh, path)
    except BaseException:
        file.close()
        fresh.unlink(missing_ok=True)
        raise
    return size
