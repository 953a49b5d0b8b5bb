"""The Bot API client: one call, its errors told apart, its waits obeyed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import msgspec
import trio

from trioworkers.errors import BotApiError, TransportError
from trioworkers.transport.files import form_fields, split_files
from trioworkers.transport.wire import CONNECT_TIMEOUT, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL_TIMEOUT = 70.0  # seconds without a byte; uploads of large files answer late
TRIES = 5  # of a call that fails on the way or with 5xx
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds; between tries, doubled, with full jitter
LONGEST_RETRY_AFTER = 3600.0  # seconds; what a server may ask a call to wait


class _Answer(msgspec.Struct):
    """https://core.telegram.org/bots/api#making-requests"""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: int = 0
    description: str = ""
    parameters: dict[str, Any] = {}


_SILENCE = {"connect": CONNECT_TIMEOUT, "read": CALL_TIMEOUT}
_JSON = {"content-type": "application/json", "user-agent": "trioworkers"}
_decoder = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode


class Patience(Protocol):
    """What a caller allows a call while Telegram asks it to wait (429)."""

    async def wait(self, seconds: float) -> None:
        """Wait so long, or raise what becomes of the call's caller."""


class Waits:
    """Waits whatever Telegram asks for."""

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)


class BotApi:
    """One bot's connection to a Bot API server. Use as an async context manager, or `aclose` it.

    Args:
        api_base: the server, without a slash at its end.
        token: the bot's token.
        connections: how many at once. A client for each bot: httpx looks at every connection of a pool
            at each request, so one pool for a thousand pending polls starves the loop.
        chance: where the jitter comes from.
    """

    def __init__(
        self, api_base: str, token: str, *, connections: int = 4, chance: random.Random | None = None
    ) -> None:
        bot_id = int(token.partition(":")[0])
        self._prefix = f"{api_base}/bot{bot_id}/"
        self._files = f"{api_base}/file/bot{bot_id}/"
        self._urls: dict[str, httpx.URL] = {}
        self._client = httpx.AsyncClient(
            transport=Wire(api_base, bot_id, token, connections=connections),
            timeout=httpx.Timeout(CALL_TIMEOUT, connect=CONNECT_TIMEOUT),
        )
        self._chance = chance or random.Random()  # noqa: S311 - jitter

    async def __aenter__(self) -> BotApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(
        self, method: str, params: Mapping[str, Any], *, silence: float | None = None
    ) -> msgspec.Raw:
        """Make one request; return the `result` of its answer, as JSON.

        Cancelling it leaves open whether the call takes effect.

        Args:
            method: the Bot API method.
            params: its parameters; None is left out, `InputFile`s are uploaded.
            silence: seconds without a byte before it fails; `CALL_TIMEOUT` by default.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: no answer, or none of the Bot API.
            OSError: a file to upload cannot be read.
        """
        plain, files = split_files(params)
        limits = _SILENCE if silence is None else {"connect": CONNECT_TIMEOUT, "read": silence}
        if files:
            parts = {
                name: (file.filename, await trio.to_thread.run_sync(file.read), file.content_type)
                for name, file in files.items()
            }
            request = httpx.Request("POST", self._url(method), data=form_fields(plain), files=parts)
        else:
            request = httpx.Request("POST", self._url(method), headers=_JSON, content=_encode(plain))
        request.extensions["timeout"] = limits
        try:
            response = await self._client.send(request)
        except httpx.HTTPError as error:
            raise TransportError(method, _in_words(error)) from None
        return _read_answer(method, response)

    def _url(self, method: str) -> httpx.URL:
        """The method's address; taking one apart costs more than sending a request to it."""
        url = self._urls.get(method)
        if url is None:
            url = self._urls[method] = httpx.URL(self._prefix + method)
        return url

    async def call(
        self, method: str, params: Mapping[str, Any], *, patience: Patience | None = None
    ) -> msgspec.Raw:
        """Make a call until it succeeds or is refused; return its `result` as JSON.

        429 is waited out as Telegram asks, 5xx and failures on the way are tried again a few times with
        back-off, a group that became a supergroup is followed to its new id.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: it failed on the way, also when tried again.
        """
        patience = patience or Waits()
        failures = 0
        while True:
            try:
                return await self.request(method, params)
            except BotApiError as error:
                new_chat = error.parameters.get("migrate_to_chat_id")
                if error.error_code == 429:
                    await patience.wait(retry_after(error))
                    continue
                if new_chat is not None and params.get("chat_id") not in (None, new_chat):
                    params = {**params, "chat_id": new_chat}
                    continue
                if error.error_code < 500:
                    raise
                failures += 1
                if failures >= TRIES:
                    raise
            except TransportError:
                failures += 1
                if failures >= TRIES:
                    raise
            await trio.sleep(self._chance.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)))

    async def download(self, file_path: str) -> bytes:
        """The content of a file whose `file_path` getFile told.

        Raises:
            TransportError: it could not be had.
        """
        try:
            response = await self._client.get(self._files + file_path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransportError("download", _in_words(error)) from None
        if response.status_code != 200:
            raise TransportError("download", f"HTTP {response.status_code}")
        return response.content


def retry_after(error: BotApiError) -> float:
    """Seconds that a 429 asks to wait; 1 when it does not say."""
    asked = error.parameters.get("retry_after", 1)
    seconds = float(asked) if isinstance(asked, int | float) else 1.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _read_answer(method: str, response: httpx.Response) -> msgspec.Raw:
    try:
        answer = _decoder.decode(response.content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # a page of a proxy in between, a body cut short
        raise TransportError(method, f"HTTP {response.status_code} with a body that is no answer") from None
    if answer.ok:
        return answer.result
    parameters = answer.parameters
    header = response.headers.get("retry-after", "")
    if answer.error_code == 429 and "retry_after" not in parameters and header.isdecimal():
        parameters = {**parameters, "retry_after": int(header)}
    raise BotApiError(method, answer.error_code or response.status_code, answer.description, parameters)


def _in_words(error: Exception) -> str:
    """What went wrong; the transport's messages hold no address and no token."""
    return str(error) or type(error).__name__
