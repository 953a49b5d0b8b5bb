"""Drops an update that says what another one of the last moments has said.

    [plugins.dedup]
    by = "message"
    window = "30s"

Telegram may deliver one message under two update ids, after an outage of a webhook, say; the inbox knows
updates by their ids only. A key is committed in the transaction of its update, so that it never outlives an
update that was not kept, and survives a restart of the daemon.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from time import monotonic
from typing import Any, Literal

import msgspec
import trio

from trioworkers import Once, hookimpl
from trioworkers.plugin_settings import PluginSettings, Seconds, live

REQUIRES_TABLE = True
REASON = "another update with the same message came within the window"
SAID_REASON = "the same was said within the window"


class Settings(PluginSettings):
    """`[plugins.dedup]`."""

    by: Literal["message", "content"] = live(
        "message",
        "message: chat, message_id and edit_date, or the callback's id; content: what was said in the chat, "
        "and by which user",
    )
    window: Seconds = live("30s", "for how long an update's key counts", gt=0, le=86400)
    max_entries: int = live(10000, "how many keys of a bot count; of more, the oldest count no longer", ge=1)
    clean_interval: Seconds = live("5m", "how often what has expired is removed from memory", ge=1)


class _Id(msgspec.Struct, gc=False):
    id: int


class _Message(msgspec.Struct, gc=False):
    message_id: int | None = None
    chat: _Id | None = None
    edit_date: int | None = None


class _Asked(msgspec.Struct, gc=False):
    """A query: of a button, inline, of a shipping address."""

    id: str | None = None


def _decoder(kind: str, content: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    """Reads what an update of a kind holds, and passes over all else in it."""
    return msgspec.json.Decoder(
        msgspec.defstruct("_Update", [("content", content)], rename={"content": kind}, gc=False)
    )


_WITH_MESSAGE = {
    "message", "edited_message", "channel_post", "edited_channel_post",
    "business_message", "edited_business_message",
}  # fmt: skip
_WITH_ID = {"callback_query", "inline_query", "shipping_query", "pre_checkout_query"}
_FILES = ("animation", "audio", "document", "sticker", "video", "video_note", "voice")
_messages = {kind: _decoder(kind, _Message) for kind in _WITH_MESSAGE}
_queries = {kind: _decoder(kind, _Asked) for kind in _WITH_ID}


class _Recent:
    """When the last keys were given, so that only so many of them count."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._times)

    def window(self, settings: Settings, now: float) -> float:
        """The window of a key that is given now: shorter than the setting where more keys came in it."""
        times, most = self._times, settings.max_entries
        times.append(now)
        if len(times) <= most:
            return settings.window
        while len(times) > most + 1:
            times.popleft()
        return min(settings.window, max(now - times[0], 1e-6))

    def clean(self, settings: Settings, now: float) -> None:
        """Forget what is older than the window."""
        while self._times and now - self._times[0] > settings.window:
            self._times.popleft()


def _recent(plugin: Any, bot_id: int) -> _Recent:
    """The recent keys of a bot."""
    found: _Recent | None = plugin.memory.get(str(bot_id))
    if found is None:
        found = plugin.memory[str(bot_id)] = _Recent()
    return found


@hookimpl
def trioworkers_accept(bot: Any, update: Any, plugin: Any) -> Once | None:
    """Let an update in once by its key."""
    settings: Settings = plugin.settings
    if settings.by == "message":
        key, reason = message_key(update.kind, update.body), REASON
    else:
        key, reason = content_key(update), SAID_REASON
    if key is None:
        return None
    return Once(key, _recent(plugin, bot.id).window(settings, monotonic()), reason, "warn")


@hookimpl
async def trioworkers_serve(plugin: Any) -> None:
    """Remove what has expired from memory."""
    while True:
        with trio.move_on_after(plugin.settings.clean_interval):
            await plugin.wait_settings_changed()
        for recent in plugin.memory.values():
            recent.clean(plugin.settings, monotonic())


def message_key(kind: str, body: bytes) -> str | None:
    """What tells one message, edit or query from another; None for updates that have no such mark.

    A message and its edits have different keys, and so have two edits of different seconds.
    """
    decoder = _messages.get(kind)
    try:
        if decoder is not None:
            message = decoder.decode(body).content
            if message.chat is None or message.message_id is None:
                return None
            return f"message {message.chat.id} {message.message_id} {message.edit_date or 0}"
        if (decoder := _queries.get(kind)) is None:
            return None
        asked = decoder.decode(body).content
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # of an unknown shape
    return None if asked.id is None else f"{kind} {asked.id}"[:256]


def content_key(update: Any) -> str | None:
    """What a user said in a chat, as a digest: texts are kept nowhere but in the update itself."""
    content = update.raw.get(update.kind)
    if not isinstance(content, dict) or update.kind not in (*_WITH_MESSAGE, "callback_query"):
        return None
    said: Any = [update.text, content.get("data")]
    for name in _FILES:
        file = content.get(name)
        if isinstance(file, dict):
            said.append(file.get("file_unique_id"))
    photo = content.get("photo")
    if isinstance(photo, list) and photo and isinstance(photo[-1], dict):
        said.append(photo[-1].get("file_unique_id"))
    if not any(said):
        return None
    digest = blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()
    return f"said {update.kind} {update.key} {update.user_id} {digest}"
