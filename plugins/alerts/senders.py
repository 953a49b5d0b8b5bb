"""Sends notices: to a chat through a bot of the fleet, and to a URL in Alertmanager's format."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from trioworkers_plugins.alerts.outbox import TRY_TIME, SendError
from trioworkers_plugins.alerts.words import in_alertmanagers_format, in_words

from trioworkers import BotApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers_plugins.alerts.book import Notice
    from trioworkers_plugins.alerts.settings import Settings

    from trioworkers.plugin_types import PluginDaemon

LONGEST_TEXT = 4096  # characters; https://core.telegram.org/bots/api#sendmessage


class ChatSender:
    """Sends to the chat.

    Args:
        daemon: has the bot.
        settings: those in force, which have `bot` and `chat`.
        mute: why the bot cannot send now; None when it can.
    """

    def __init__(
        self, daemon: PluginDaemon, settings: Callable[[], Settings], mute: Callable[[], str | None]
    ) -> None:
        self._daemon = daemon
        self._settings = settings
        self._mute = mute

    async def send(self, notice: Notice) -> None:
        settings = self._settings()
        if settings.bot is None:
            raise SendError("no chat is set any more", is_final=True)
        text = in_words(notice, self._daemon.name, settings.docs)
        if text is None:
            return
        if (reason := self._mute()) is not None:
            raise SendError(reason)
        try:
            await self._daemon.bot(settings.bot).call(
                "sendMessage",
                chat_id=settings.chat,
                message_thread_id=settings.thread,
                text=text[:LONGEST_TEXT],
                link_preview_options={"is_disabled": True},
            )
        except KeyError:
            message = f"no bot of the name {settings.bot} runs here"
            raise SendError(message) from None
        except BotApiError as error:
            # 401: the token will be replaced; the others would be refused again
            is_final = 400 <= error.error_code < 500 and error.error_code not in (401, 429)
            message = f"Telegram refused it with {error.error_code}"
            raise SendError(message, is_final=is_final) from None
        except TransportError as error:
            raise SendError(f"Telegram cannot be reached: {error.what}") from None


class UrlSender:
    """Sends to the URL; a connection for each notice, as they are few."""

    def __init__(self, daemon: PluginDaemon, settings: Callable[[], Settings]) -> None:
        self._daemon = daemon
        self._settings = settings

    async def send(self, notice: Notice) -> None:
        settings = self._settings()
        if settings.url is None:
            raise SendError("no URL is set any more", is_final=True)
        where = urlsplit(settings.url).netloc
        headers = {} if settings.token is None else {"Authorization": f"Bearer {settings.token.reveal()}"}
        body = in_alertmanagers_format(notice, self._daemon.name, settings.docs)
        try:
            # redirects are not followed: the token is for this host; the body of the answer is not read
            async with (
                httpx.AsyncClient(timeout=TRY_TIME) as client,
                client.stream("POST", settings.url, json=body, headers=headers) as response,
            ):
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            message = f"{where} gave no answer: {type(error).__name__}"
            raise SendError(message) from None
        if not 200 <= status < 300:
            is_final = 400 <= status < 500 and status not in (401, 403, 404, 408, 425, 429)
            message = f"{where} answered with {status}"
            raise SendError(message, is_final=is_final)
