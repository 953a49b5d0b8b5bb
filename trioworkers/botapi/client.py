"""The Bot API client: one call, its errors told apart, its waits obeyed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import httpx
import msgspec
import trio

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.form import FilePart
from trioworkers.botapi.parameters import form_fields, split_files
from trioworkers.botapi.wire import CONNECT_TIMEOUT, Wire
from trioworkers.http.pool import ExchangeLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.http.response import Response

CALL_TIMEOUT = 70.0  # seconds without a byte; uploads of large files answer late
CALL_TOTAL = 1800.0  # seconds for one try, or a download, as a whole: 50 MB at 30 kB/s
ANSWER_TIME = 120.0  # seconds that a poll may take beyond its silence, for an answer that comes slowly
ANSWER_LIMIT = 16 * 2**20  # bytes; Telegram's have some 4 MB, and an update has to fit into a frame
FILE_LIMIT = 256 * 2**20  # bytes of a download; the cloud's files have 20 MB
TRIES = 5  # of a call that fails on the way or with 5xx
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds; between tries, doubled, with full jitter
SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, 3600.0  # seconds; what a 429 may ask to wait
LARGEST_ID = 2**52  # https://core.telegram.org/bots/api#chat: "at most 52 significant bits"


class _Answer(msgspec.Struct):
    """https://core.telegram.org/bots/api#making-requests"""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    description: str = ""
    parameters: Any = None  # of any type: what is odd in it must not hide what the answer says


_CALL = ExchangeLimits(CONNECT_TIMEOUT, CALL_TIMEOUT, CALL_TOTAL, ANSWER_LIMIT)
_DOWNLOAD = ExchangeLimits(CONNECT_TIMEOUT, CALL_TIMEOUT, CALL_TOTAL, FILE_LIMIT)
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
    """One bot's connection to a Bot API server. Use as an async context manager, or `close` it.

    Args:
        api_base: the server, without a slash at its end.
        token: the bot's token.
        connections: how many at once. A client for each bot: httpx looks at every connection of a pool
            at each request, so one pool for a thousand pending polls starves the loop.
        rng: where the jitter comes from.
    """

    def __init__(
        self, api_base: str, token: str, *, connections: int = 4, rng: random.Random | None = None
    ) -> None:
        bot_id = int(token.partition(":")[0])
        # not httpx's client: its cookies, redirects, proxies and log lines are not wanted, and they and its
        # requests and responses cost more than all the rest of a call, in time and in memory
        self._wire = Wire(api_base, bot_id, token, connections=connections)
        self._rng = rng or random.Random()  # noqa: S311 - jitter

    async def __aenter__(self) -> BotApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are idle; one that is in use closes when its call is cancelled."""
        self._wire.close()

    async def request(
        self, method: str, params: Mapping[str, Any], *, silence: float | None = None
    ) -> msgspec.Raw:
        """Make one request; return the `result` of its answer, as JSON.

        Cancelling it leaves open whether the call takes effect.

        Args:
            method: the Bot API method.
            params: its parameters; None is left out, `InputFile`s are uploaded.
            silence: seconds without a byte before it fails, and `ANSWER_TIME` more as a whole; by default
                `CALL_TIMEOUT`, and `CALL_TOTAL` as a whole.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: no answer, or none of the Bot API.
            OSError: a file to upload cannot be read.
            ValueError: a file's content type cannot be one.
        """
        plain, files = split_files(params)
        limits = _CALL
        if silence is not None:
            limits = ExchangeLimits(CONNECT_TIMEOUT, silence, silence + ANSWER_TIME, ANSWER_LIMIT)
        try:
            if files:
                parts = {
                    name: FilePart(file.filename, await trio.to_thread.run_sync(file.read), file.content_type)
                    for name, file in files.items()
                }
                response = await self._wire.upload(method, form_fields(plain), parts, limits)
            else:
                response = await self._wire.call(method, _encode(plain), limits)
        except httpx.InvalidURL:
            raise TransportError(method, "not the name of a method") from None
        except httpx.HTTPError as error:
            raise TransportError(method, _in_words(error)) from None
        return _read_answer(method, response)

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        patience: Patience | None = None,
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> msgspec.Raw:
        """Make a call until it succeeds or is refused; return its `result` as JSON.

        429 is waited out as Telegram asks, and longer each time, so that nothing that a server says makes
        this spin; 5xx and failures on the way are tried again a few times with back-off; a group that
        became a supergroup is followed to its new id, once.

        `again` is awaited before a try that follows one which failed on the way or at the server (5xx), and
        may have succeeded.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: it failed on the way, also when tried again.
        """
        patience = patience or Waits()
        failures = waits = 0
        followed = unsure = False
        while True:
            try:
                if unsure and again is not None:
                    await again()
                unsure = False
                return await self.request(method, params)
            except BotApiError as error:
                if error.error_code == 429:
                    waits += 1
                    await patience.wait(max(retry_after(error), _bound(waits)))
                    continue
                new_chat = _new_chat(error)
                if not followed and new_chat is not None and params.get("chat_id") not in (None, new_chat):
                    followed = True
                    params = {**params, "chat_id": new_chat}
                    continue
                if error.error_code < 500:
                    raise
                unsure = True
                failures += 1
                if failures >= TRIES:
                    raise
            except TransportError:
                unsure = True
                failures += 1
                if failures >= TRIES:
                    raise
            await trio.sleep(self._rng.uniform(0, _bound(failures)))

    async def download(self, file_path: str) -> bytes:
        """The content of a file whose `file_path` getFile told.

        Raises:
            TransportError: it could not be had.
        """
        try:
            response = await self._wire.fetch(file_path, _DOWNLOAD)
        except httpx.InvalidURL:
            raise TransportError("download", "not the path of a file") from None
        except httpx.HTTPError as error:
            raise TransportError("download", _in_words(error)) from None
        if response.status != 200:
            raise TransportError("download", f"HTTP {response.status}")
        return response.body


def retry_after(error: BotApiError) -> float:
    """Seconds that a 429 asks to wait, between 1 and an hour; 1 when it says nothing sensible."""
    asked = error.parameters.get("retry_after")
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:  # NaN is not, either
        return SHORTEST_RETRY_AFTER
    # bounded first: an integer of 400 digits cannot be made a float
    return float(min(max(asked, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER))


def _new_chat(error: BotApiError) -> int | None:
    new = error.parameters.get("migrate_to_chat_id")
    return new if isinstance(new, int) and not isinstance(new, bool) and abs(new) < LARGEST_ID else None


def _bound(times: int) -> float:
    bound: float = FIRST_PAUSE * 2 ** min(times, 10)
    return min(LONGEST_PAUSE, bound)


def _read_answer(method: str, response: Response) -> msgspec.Raw:
    status = response.status
    try:
        answer = _decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if status == 413:  # Telegram's proxy says so with a page of its own, and would say it again
            raise BotApiError(method, status, "Request Entity Too Large") from None
        # a page of a proxy in between, a body cut short
        raise TransportError(method, f"HTTP {status} with a body that is no answer") from None
    if answer.ok:
        return answer.result
    code = answer.error_code or status
    parameters = answer.parameters if isinstance(answer.parameters, dict) else {}
    header = response.fields.get(b"retry-after", b"")
    if code == 429 and "retry_after" not in parameters and header.isdigit() and len(header) < 10:
        parameters = {**parameters, "retry_after": int(header)}
    raise BotApiError(method, code, answer.description, parameters)


def _in_words(error: httpx.HTTPError) -> str:
    """What went wrong; the transport's messages are our own words, without address and token."""
    return str(error) or type(error).__name__
