"""What a message becomes on its way to the other side: a piece to send and a line of the transcript. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers_plugins.handoff.pieces import Line, Piece
from trioworkers_plugins.handoff.words import NOT_COPIED, in_words, kind_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def piece_of(
    message: Mapping[str, Any], source: str, epoch: int, *, edited: bool = False, words: bool = False
) -> Piece:
    """The piece that sends a message, or its edit, to the other side. `words`: they are an operator's."""
    kind = kind_of(message)
    caption = "text" not in message
    text = text_of(message) or ""
    entities = message.get("caption_entities" if caption else "entities")
    reply = message.get("reply_to_message")
    what = "edit" if edited else "text" if kind in NOT_COPIED or kind == "service" else "copy"
    return Piece(
        what,
        source,
        epoch,
        words=words,
        message_id=int(message["message_id"]),
        text=text,
        entities=entities if isinstance(entities, list) else None,
        caption=caption,
        album=None if edited else message.get("media_group_id"),
        reply_to=int(reply["message_id"]) if isinstance(reply, dict) and "message_id" in reply else 0,
        media=_media(kind, message),
        described="" if kind == "text" else in_words(message),
    )


def line_of(
    message: Mapping[str, Any],
    at: float,
    who: str,
    epoch: int,
    *,
    by: int,
    edited: bool = False,
    name: str | None = None,
    source: str | None = None,
) -> Line:
    """The line of the transcript about a message. `by`: the id of the bot that got it."""
    kind = "edit" if edited else kind_of(message)
    media = None if edited else _media(kind, message)
    if media is not None:
        media = {**media, **_facts(kind, message), "by": by}
    return Line(at, who, epoch, kind, int(message["message_id"]), text_of(message), name, source, media)


def _facts(kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """What Telegram says of a message's file."""
    content = message[kind][-1] if kind == "photo" else message[kind]
    facts = {"mime": content.get("mime_type"), "size": content.get("file_size")}
    return {name: value for name, value in facts.items() if value is not None}


def _media(kind: str, message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the file of a message is; of a photo, the largest size."""
    content = message.get(kind)
    if kind == "photo" and isinstance(content, list) and content:
        content = content[-1]
    if not isinstance(content, dict) or "file_id" not in content:
        return None
    media = {"kind": kind, "file_id": content["file_id"]}
    return media | ({"name": content["file_name"]} if "file_name" in content else {})
