"""`[plugins.alerts]`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, ValidationInfo
from trioworkers_plugins.alerts.book import Rules
from trioworkers_plugins.alerts.kinds import NAMES, AlertKind

from trioworkers.config.declare import at_key
from trioworkers.plugin_settings import PluginSettings, Seconds, Secret, Text, expected, live

Chat = Annotated[StrictInt | Text, Field(description="a chat's id or @name")]


def _address(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.fragment:
        raise expected("an http or https address without user and fragment")
    return text


def _beside_bot(chat: int | str | None, info: ValidationInfo) -> int | str | None:
    if "bot" in info.data and (chat is None) != (info.data["bot"] is None):
        given, absent = ("bot", "chat") if chat is None else ("chat", "bot")
        raise at_key(given, f"needs {absent} beside it")
    return chat


def _or_chat(url: str | None, info: ValidationInfo) -> str | None:
    if url is None and info.data.keys() >= {"bot", "chat"} and info.data["chat"] is None:
        raise at_key("url", "expected a URL, or a bot and a chat: there is nowhere to send alerts to")
    return url


class Settings(PluginSettings):
    """Where alerts go, and which there are."""

    bot: Text | None = live(None, "the bot of this fleet that writes to the chat")
    chat: Annotated[Chat | None, AfterValidator(_beside_bot)] = live(None, "the chat's id or @name")
    thread: StrictInt | None = live(None, "the topic of the chat, if it is a forum")
    url: Annotated[Text | None, AfterValidator(_address), AfterValidator(_or_chat)] = live(
        None, "alerts are posted here in the format of Alertmanager's webhooks", repr=False
    )
    token: Secret | None = live(None, "a secret, sent to the URL as `Authorization: Bearer …`", repr=False)
    docs: Annotated[Text | None, AfterValidator(_address)] = live(
        None, "where the pages of the documentation are served; each alert has a link to its section"
    )
    alerts: tuple[AlertKind, ...] = live(NAMES, "the alerts that are on")
    gather: Seconds = live("5s", "for how long changes gather before a notice is sent", ge=0)
    window: Seconds = live("1m", "at most one notice of one kind of alert is sent in this time", ge=0)
    repeat: Seconds = live("4h", "after how long a notice of what goes on is sent again; 0: never", ge=0)
    hears_nothing_after: Seconds = live("1m", "how long a bot may hear nothing", ge=0)
    dead_letters: StrictInt = live(10, "so many dead letters of one bot are an alert …", ge=1, le=1000)
    dead_letters_window: Seconds = live("10m", "… within this time", gt=0)
    recycled: StrictInt = live(
        3, "so many recycled workers of one bot within an hour are an alert", ge=1, le=1000
    )

    def rules(self) -> Rules:
        """What the book has to know."""
        return Rules(
            on=frozenset(self.alerts),
            gather=self.gather,
            window=self.window,
            repeat=self.repeat,
            patience=self.hears_nothing_after,
            dead_letters=self.dead_letters,
            dead_letters_window=self.dead_letters_window,
            recycled=self.recycled,
        )
