"""Uploaded files: their ids and their paths.

A file_id belongs to one bot; another bot that sends it is refused, as at Telegram. Everything
stays in memory.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request

if TYPE_CHECKING:
    from random import Random

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Upload

PHOTO_LIMIT = 10 << 20  # bytes, Bot API: sending files
DOCUMENT_LIMIT = 50 << 20
FOLDERS = {"photo": "photos", "document": "documents"}
_LETTERS = string.ascii_letters + string.digits + "_-"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that Telegram keeps for a bot."""

    file_id: str
    unique_id: str
    bot_id: int
    kind: str
    name: str
    content_type: str
    content: bytes
    path: str

    def describe(self) -> dict[str, Any]:
        """The File object that getFile answers with."""
        return self._ids() | {"file_path": self.path}

    def _ids(self) -> dict[str, Any]:
        return {"file_id": self.file_id, "file_unique_id": self.unique_id, "file_size": len(self.content)}

    def in_message(self) -> dict[str, Any]:
        """The field of a message that carries it."""
        if self.kind == "photo":
            return {"photo": [self._ids() | {"width": 90, "height": 90}]}
        return {"document": {"file_name": self.name, "mime_type": self.content_type, **self._ids()}}


class FileStore:
    """All files of a world, by id and by path."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._by_id: dict[str, StoredFile] = {}
        self._by_path: dict[tuple[int, str], StoredFile] = {}

    def put(self, bot: SimBot, kind: str, upload: Upload) -> StoredFile:
        """Keep an upload and return it with its new ids.

        Raises:
            Refused: it is empty or too big.
        """
        if not upload.content:
            raise bad_request("file must be non-empty")
        if len(upload.content) > (PHOTO_LIMIT if kind == "photo" else DOCUMENT_LIMIT):
            raise bad_request("file is too big")
        number = len(self._by_id)
        suffix = "jpg" if kind == "photo" else (upload.filename.rpartition(".")[2] or "bin")
        path = f"{FOLDERS[kind]}/file_{number}.{suffix}"
        letters = self._dice.choices(_LETTERS, k=60)
        stored = StoredFile(
            f"{'AgAC' if kind == 'photo' else 'BQAC'}{''.join(letters)}",
            f"AQAD{''.join(letters[:12])}",
            bot.id,
            kind,
            upload.filename,
            upload.content_type or "application/octet-stream",
            upload.content,
            path,
        )
        self._by_id[stored.file_id] = self._by_path[bot.id, path] = stored
        return stored

    def by_id(self, bot: SimBot, file_id: str) -> StoredFile | None:
        """The file of an id that was given to this bot."""
        stored = self._by_id.get(file_id)
        return stored if stored is not None and stored.bot_id == bot.id else None

    def by_path(self, bot: SimBot, path: str) -> StoredFile | None:
        """The file behind `/file/bot<token>/<path>`."""
        return self._by_path.get((bot.id, path))
