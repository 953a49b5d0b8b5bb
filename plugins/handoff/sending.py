"""The calls by which pieces are sent, whichever way they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.words import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers_plugins.handoff.outbox import Outbox
    from trioworkers_plugins.handoff.pieces import Piece, Place

    from trioworkers import BotApiError
    from trioworkers.plugin_types import DaemonBot

LARGEST_ALBUM = 10  # messages


async def as_one(
    outbox: Outbox, place: Place, gather: float, clock: Callable[[], float]
) -> list[tuple[int, Piece]]:
    """Return what is sent next of a dialog: its first piece, or an album, with stamps.

    The parts of an album come as updates of their own: they are waited for until none has come for `gather`
    seconds, or something else waits behind them.
    """
    seen, grown_at = 0, clock()
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
        if len(album) != seen:
            seen, grown_at = len(album), min(clock(), album[-1][0] / 1_000_000)  # another clock's, perhaps
        left = grown_at + gather - clock()
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


def message_of(made: dict[str, Any]) -> int:
    """The id of a message that was sent or copied."""
    return int(made["message_id"])
