"""Messages that another bot has to send again, since it cannot copy from chats that it is not in.

A file goes by the disk, part by part, so that its size does not matter. It has no name there: whatever
becomes of the daemon, nothing of it is left.
"""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.sending import message_of, send_text

from trioworkers import BotApiError, InputFile, TransportError

if TYPE_CHECKING:
    from typing import BinaryIO

    from trioworkers_plugins.handoff.pieces import Piece

    from trioworkers.plugin_types import DaemonBot

CARRIED = {
    "photo": "sendPhoto",
    "video": "sendVideo",
    "animation": "sendAnimation",
    "audio": "sendAudio",
    "voice": "sendVoice",
    "video_note": "sendVideoNote",
    "document": "sendDocument",
    "sticker": "sendSticker",
}
WITHOUT_CAPTION = ("video_note", "sticker")
AT_ONCE = 2  # files that are on the disk
LARGEST = 2000 * 2**20  # bytes; a Bot API server with --local has files of so many, Telegram's own of 20 MB
FETCHING = 1800.0  # seconds for a file


class NotCarriedError(Exception):
    """The file of a message cannot be fetched, now or later; the message says why, in words for operators."""


class Carrier:
    """Sends messages again by another bot; a few files at a time.

    Args:
        folder: where files are while they are carried; None: where temporary files that may be large are.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder or os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - a file without a name
        self._turn = trio.CapacityLimiter(AT_ONCE)

    async def carry(self, source: DaemonBot, target: DaemonBot, where: dict[str, Any], piece: Piece) -> int:
        """Send a message that `source` has once more, by `target`; return the id of what was sent.

        What is neither text nor a file is described in words.

        Raises:
            NotCarriedError: its file cannot be fetched.
            BotApiError, TransportError: `target` could not send it, or `source` cannot fetch it now.
            OSError: there is no room on the disk.
        """
        if piece.media is None or piece.media["kind"] not in CARRIED:
            return message_of(await send_text(target, where, piece))
        kind = piece.media["kind"]
        content_of: dict[str, Any] = {}
        if kind not in WITHOUT_CAPTION:
            content_of = {"caption": piece.text or None, "caption_entities": piece.entities}
        async with self._turn:
            with TemporaryFile(dir=self._folder) as file:
                await _fetch(source, piece.media["file_id"], file)
                name = piece.media.get("name") or f"{kind}.bin"
                content_of[kind] = InputFile(f"/proc/self/fd/{file.fileno()}", filename=name)
                return message_of(await target.call(CARRIED[kind], **where, **content_of))


async def _fetch(source: DaemonBot, file_id: str, file: BinaryIO) -> None:
    written = trio.wrap_file(file)

    async def sink(part: bytes) -> None:
        await written.write(part)

    try:
        path = (await source.call("getFile", file_id=file_id)).get("file_path")
        if not isinstance(path, str):
            raise NotCarriedError("Telegram does not say where the file is")
        await source.download_to(path, sink, most=LARGEST, total=FETCHING)
    except BotApiError as error:
        if error.heals:
            raise
        raise NotCarriedError(f"Telegram does not give the file ({error.description})") from None
    except TransportError as error:
        if error.heals:
            raise
        raise NotCarriedError(f"the file cannot be fetched ({error.what})") from None
    await written.flush()
