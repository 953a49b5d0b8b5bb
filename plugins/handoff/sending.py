"""The calls by which pieces are sent, whichever way they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.words import cut

from trioworkers import BotApiError, InputFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers_plugins.handoff.outbox import Outbox
    from trioworkers_plugins.handoff.pieces import Piece, Place

    from trioworkers.plugin_types import DaemonBot

LARGEST_ALBUM = 10  # messages
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


async def as_one(
    outbox: Outbox, place: Place, gather: float, clock: Callable[[], float]
) -> list[tuple[int, Piece]]:
    """Return what is sent next of a dialog: its first piece, or an album, with stamps.

    The parts of an album come as updates of their own: they are waited for until none has come for `gather`
    seconds, or something else waits behind them.
    """
    while True:
        waiting = outbox.waiting(place)
        first = waiting[0][1]
        if first.what != "copy" or first.album is None:
            return [waiting[0]]
        album = [waiting[0]]
        for stamp, piece in waiting[1:]:
            if piece.what != "copy" or piece.album != first.album:
                return album
            album.append((stamp, piece))
        left = album[-1][0] / 1_000_000 + gather - clock()
        if left <= 0 or len(album) >= LARGEST_ALBUM:
            return album[:LARGEST_ALBUM]
        with trio.move_on_after(min(left, gather)):
            await outbox.wait_changed()


async def send_text(bot: DaemonBot, where: dict[str, Any], piece: Piece, before: str = "") -> dict[str, Any]:
    """Send the text of a piece, or what describes it; with its entities unless something stands before it."""
    words = f"{piece.described} {piece.text}".strip() if piece.described else piece.text
    text = cut(before + words)
    entities = piece.entities if text == piece.text else None
    made: dict[str, Any] = await bot.call("sendMessage", **where, text=text, entities=entities)
    return made


async def edit(bot: DaemonBot, chat_id: int, message_id: int, piece: Piece) -> None:
    """Let a copy say what its original says now."""
    where: dict[str, Any] = {"chat_id": chat_id, "message_id": message_id}
    if piece.caption:
        caption: dict[str, Any] = {"caption": piece.text, "caption_entities": piece.entities}
        await bot.call("editMessageCaption", **where, **caption)
    else:
        await bot.call("editMessageText", **where, text=piece.text, entities=piece.entities)


def is_unchanged(error: BotApiError) -> bool:
    """Whether a copy says what its original says already."""
    return error.error_code == 400 and "message is not modified" in error.description.lower()


async def carry(source: DaemonBot, target: DaemonBot, where: dict[str, Any], piece: Piece) -> int:
    """Send a message again by another bot, which cannot copy it, since it is not in the chat it comes from.

    Files are fetched and sent; those that are too large to be fetched are described in words.
    """
    if piece.media is None or piece.media["kind"] not in CARRIED:
        return message_of(await send_text(target, where, piece))
    kind = piece.media["kind"]
    try:
        file = await source.call("getFile", file_id=piece.media["file_id"])
        content = await source.download(file["file_path"])
    except BotApiError:
        return message_of(await send_text(target, where, piece))
    content_of: dict[str, Any] = {}
    if kind not in WITHOUT_CAPTION:
        content_of = {"caption": piece.text or None, "caption_entities": piece.entities}
    file_name = piece.media.get("name") or f"{kind}.bin"
    content_of[kind] = InputFile(content, filename=file_name)
    return message_of(await target.call(CARRIED[kind], **where, **content_of))


def message_of(made: dict[str, Any]) -> int:
    """The id of a message that was sent or copied."""
    return int(made["message_id"])
