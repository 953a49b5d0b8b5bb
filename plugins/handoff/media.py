"""Files of messages, for operators who work over HTTP: fetched from Telegram when they are looked at.

A file is whatever a stranger has sent, and it is served from the origin of the dashboard. What a browser may
show is told by its first bytes alone, from a short list of images, sounds and videos; everything else is a
download of no particular type. Nothing of it can run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.transcript import read_line

from trioworkers import BotApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers_plugins.handoff.homes import Homes
    from trioworkers_plugins.handoff.pieces import Place

    from trioworkers.plugin_types import DaemonBot

LARGEST = 20 * 2**20  # bytes; of more, Telegram's own servers give no file to a bot
AT_ONCE = 2  # files of one bot: its other connections are for what operators say
ASKING = 20.0  # seconds until Telegram has to have said where a file is
STALLED = 30.0  # seconds for which a browser may take nothing
TOTAL = 300.0  # seconds for a file
HEAD = 16  # bytes that tell the type
PLAIN = "application/octet-stream"


class MediaError(Exception):
    """A file cannot be shown; the message says why. `status`: as in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Media:
    """Fetches files of messages.

    Args:
        homes: the bots with their dialogs. A file is had by any daemon, wherever its bot runs.
    """

    def __init__(self, homes: Homes) -> None:
        self._office = homes.office
        self._turns: dict[int, trio.Semaphore] = {}

    async def open(self, place: Place, stamp: str) -> OpenFile:
        """Begin to fetch the file of a line; its parts are to be read, or else it is given up.

        Raises:
            MediaError: there is no such file, or it cannot be had.
        """
        line = await read_line(self._office.plugin.store, place, stamp)
        media = None if line is None else line.media
        if media is None:
            raise MediaError(404, "this line has no file")
        if media.get("size", 0) > LARGEST:
            raise MediaError(413, TOO_LARGE)
        try:
            bot = self._office.bot(media["by"])
        except UnknownBotError as error:
            raise MediaError(404, str(error)) from None
        turn = self._turns.setdefault(bot.id, trio.Semaphore(AT_ONCE))
        with trio.move_on_after(ASKING):
            async with turn:
                path = await _path(bot, media["file_id"])
            file = OpenFile(media, stamp)
            self._office.nursery.start_soon(self._office.steadily, lambda: file.fetch(bot, path, turn))
            await file.begin()
            return file
        raise MediaError(504, "Telegram takes too long to give the file")


TOO_LARGE = "the file is larger than 20 MB: Telegram gives it to no bot"


class OpenFile:
    """A file that is being fetched; the task that fetches it is the service's, and ends with the reader.

    Attributes:
        headers: with which it is answered.
    """

    def __init__(self, media: Mapping[str, Any], stamp: str) -> None:
        self.headers: dict[str, str] = {}
        self._media, self._stamp = media, stamp
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._error: str | None = None
        self._first = b""

    async def fetch(self, bot: DaemonBot, path: str, turn: trio.Semaphore) -> None:
        """Fetch it, as fast as it is read."""
        try:
            async with turn, self._send:
                await bot.download_to(path, self._part, most=LARGEST, total=TOTAL)
        except trio.BrokenResourceError:
            return  # nobody reads it any more
        except Exception as error:  # the reader is told, and the file is not fetched again by itself
            self._error = type(error).__name__
        except BaseException:
            self._error = "the service ends"
            raise

    async def _part(self, part: bytes) -> None:
        with trio.fail_after(STALLED):
            await self._send.send(part)

    async def begin(self) -> None:
        """Read as much as tells the type.

        Raises:
            MediaError: it cannot be had.
        """
        try:
            while len(self._first) < HEAD:
                self._first += await self._receive.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
            if self._error is not None:
                raise MediaError(502, "the file cannot be fetched from Telegram") from None
        except BaseException:
            self.close()
            raise
        self.headers = headers_of(self._first, self._media, self._stamp)

    def __aiter__(self) -> OpenFile:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            part, self._first = self._first, b""
            return part
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
        except BaseException:
            self.close()
            raise
        if self._error is not None:  # what was sent so far must not pass for all of it
            raise MediaError(502, self._error)
        raise StopAsyncIteration

    def close(self) -> None:
        """Give it up."""
        self._receive.close()

    async def aclose(self) -> None:
        """Give it up, where an async end is expected."""
        self.close()
        await trio.lowlevel.checkpoint()


async def _path(bot: DaemonBot, file_id: str) -> str:
    try:
        file = await bot.call("getFile", file_id=file_id)
    except BotApiError as error:
        if "too big" in error.description.lower():
            raise MediaError(413, TOO_LARGE) from None
        raise MediaError(404, "Telegram does not have this file any more") from None
    except TransportError:
        raise MediaError(502, "Telegram cannot be reached") from None
    path = file.get("file_path")
    if not isinstance(path, str):
        raise MediaError(404, "Telegram does not say where this file is")
    return path


def headers_of(head: bytes, media: Mapping[str, Any], stamp: str) -> dict[str, str]:
    """Return the header fields for a file that begins with these bytes. Pure."""
    type_ = type_of(head)
    how = "attachment" if type_ == PLAIN else "inline"
    name = str(media.get("name") or f"{media['kind']}-{stamp}")
    ascii_name = "".join(one if (one.isascii() and one.isalnum()) or one in "-_." else "_" for one in name)
    return {
        "Content-Type": type_,
        "Content-Disposition": f"{how}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-store",
    }


def type_of(head: bytes) -> str:
    """The type of a file as its first bytes tell it, if a browser can show it safely; else `PLAIN`."""
    for begin, type_ in BEGINNINGS.items():
        if head.startswith(begin):
            return type_
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:12] == b"M4A " else "video/mp4"
    return PLAIN


BEGINNINGS = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"OggS": "audio/ogg",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"\xff\xf2": "audio/mpeg",
    b"\x1aE\xdf\xa3": "video/webm",
}
"""https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern and what follows it there."""
TYPES = tuple(sorted({*BEGINNINGS.values(), "image/webp", "audio/mp4", "video/mp4", PLAIN}))
"""All that :func:`type_of` may say."""
