"""Files of messages: their ids, their paths, and what a message tells of each.

A file_id belongs to one bot; another bot that sends it is refused, as at Telegram. Everything
stays in memory.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request

if TYPE_CHECKING:
    from random import Random

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Upload

PHOTO_LIMIT = 10 << 20  # bytes, Bot API: sending files
DOCUMENT_LIMIT = 50 << 20
FOLDERS = {
    "photo": "photos",
    "live_photo": "videos",
    "document": "documents",
    "video": "videos",
    "animation": "animations",
    "audio": "music",
    "voice": "voice",
    "video_note": "video_notes",
    "sticker": "stickers",
}
_BEGINNINGS = {
    "photo": "AgAC",
    "voice": "AwAC",
    "sticker": "CAAC",
    "audio": "CQAC",
    "animation": "CgAC",
    "video": "BAAC",
}
_TYPES = {
    "photo": "image/jpeg",
    "live_photo": "video/mp4",
    "video": "video/mp4",
    "animation": "video/mp4",
    "audio": "audio/mpeg",
    "voice": "audio/ogg",
    "sticker": "image/webp",
}
_DETAILS: dict[str, dict[str, Any]] = {
    "photo": {},
    "document": {},
    "live_photo": {"width": 1280, "height": 720, "duration": 0},
    "video": {"width": 1280, "height": 720, "duration": 0},
    "animation": {"width": 320, "height": 240, "duration": 0},
    "audio": {"duration": 0},
    "voice": {"duration": 0},
    "video_note": {"length": 240, "duration": 0},
    "sticker": {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False},
}
_NAMED = ("document", "video", "animation", "audio")
_LETTERS = string.ascii_letters + string.digits + "_-"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that Telegram keeps for a bot.

    Attributes:
        details: fields of the object in a message: `duration`, `width`, `title`, …
    """

    file_id: str
    unique_id: str
    bot_id: int
    kind: str
    name: str
    content_type: str
    content: bytes
    path: str
    details: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """The File object that getFile answers with."""
        return self._ids() | {"file_path": self.path}

    def _ids(self) -> dict[str, Any]:
        return {"file_id": self.file_id, "file_unique_id": self.unique_id, "file_size": len(self.content)}

    def sizes(self) -> list[dict[str, Any]]:
        """The PhotoSize objects of a photo."""
        return [self._ids() | {"width": 90, "height": 90}]

    def body(self) -> dict[str, Any]:
        """The object of a file that is not a photo: Video, Audio, Sticker, …"""
        named = {"file_name": self.name} if self.kind in _NAMED and self.name else {}
        typed = {} if self.kind in {"video_note", "sticker"} else {"mime_type": self.content_type}
        return {**named, **typed, **self._ids(), **_DETAILS[self.kind], **self.details}

    def in_message(self) -> dict[str, Any]:
        """The fields of a message that carries it."""
        if self.kind == "photo":
            return {"photo": self.sizes()}
        body = self.body()
        if self.kind == "animation":
            plain = ("file_name", "mime_type", "file_id", "file_unique_id", "file_size")
            return {"animation": body, "document": {name: body[name] for name in plain if name in body}}
        return {self.kind: body}


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
            f"{_BEGINNINGS.get(kind, 'BQAC')}{''.join(letters)}",
            f"AQAD{''.join(letters[:12])}",
            bot.id,
            kind,
            upload.filename,
            _TYPES.get(kind) or upload.content_type or "application/octet-stream",
            upload.content,
            path,
        )
        self._by_id[stored.file_id] = self._by_path[bot.id, path] = stored
        return stored

    def tell_details(self, stored: StoredFile, details: dict[str, Any]) -> StoredFile:
        """Keep what a bot tells of a file that it uploads, and return it with that."""
        if not details:
            return stored
        told = replace(stored, details={**stored.details, **details})
        self._by_id[told.file_id] = self._by_path[told.bot_id, told.path] = told
        return told

    def by_id(self, bot: SimBot, file_id: str) -> StoredFile | None:
        """The file of an id that was given to this bot."""
        stored = self._by_id.get(file_id)
        return stored if stored is not None and stored.bot_id == bot.id else None

    def by_path(self, bot: SimBot, path: str) -> StoredFile | None:
        """The file behind `/file/bot<token>/<path>`."""
        return self._by_path.get((bot.id, path))
