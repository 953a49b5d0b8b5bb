"""Files to upload with a call."""

from __future__ import annotations

import mimetypes
from hashlib import blake2b, file_digest
from pathlib import Path

from trioworkers.botapi.content import BLOCK, FileContent


class InputFile:
    """A file to upload with a call, as any parameter of it or inside of one (`media=[{"media": …}]`).

    Args:
        source: a path, read when the call is made, or the content itself.
        filename: the name that Telegram shows; a path's own name by default.
        content_type: guessed from the name by default.
    """

    def __init__(
        self, source: str | Path | bytes, filename: str | None = None, content_type: str | None = None
    ) -> None:
        self._source = source if isinstance(source, bytes) else Path(source)
        self.filename = filename or (self._source.name if isinstance(self._source, Path) else "file")
        guessed, _ = mimetypes.guess_type(self.filename)
        self.content_type = content_type or guessed or "application/octet-stream"

    def __repr__(self) -> str:
        return f"InputFile({self.filename!r})"

    def identity(self) -> str:
        """What tells this upload from others: a digest of the content, whatever file it lies in.

        A handler may write it to a new file each time. Blocks on the disk.

        Raises:
            OSError: the path cannot be read.
        """
        if isinstance(self._source, bytes):
            return blake2b(self._source, digest_size=16).hexdigest()
        with self._source.open("rb") as file:
            return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()

    def open(self) -> bytes | FileContent:
        """The content, or what reads it while it is sent where it is long. Blocks on the disk.

        Raises:
            OSError: the path cannot be read.
        """
        if isinstance(self._source, bytes):
            return self._source
        if self._source.stat().st_size > BLOCK:
            return FileContent(self._source)
        return self._source.read_bytes()

    def read(self) -> bytes:
        """The content. Blocks on the disk.

        Raises:
            OSError: the path cannot be read.
        """
        return self._source if isinstance(self._source, bytes) else self._source.read_bytes()
