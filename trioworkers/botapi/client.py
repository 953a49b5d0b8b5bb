"""The Bot API client: one call, its errors told apart, its waits obeyed."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import msgspec
import trio

from trioworkers.botapi.answers import read_answer
from trioworkers.botapi.beside import beside
from trioworkers.botapi.content import copy_local, read_local, save_to
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.form import FilePart
from trioworkers.botapi.messages import Caller, Turn, message_of
from trioworkers.botapi.migration import moved, new_chat, old_chats
from trioworkers.botapi.parameters import form_fields, split_files, unencodable
from trioworkers.botapi.wire import CONNECT_TIMEOUT, Wire
from trioworkers.http.pool import ExchangeLimits
from trioworkers.http.response import EARLY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from trioworkers.botapi.files import InputFile
    from trioworkers.botapi.messages import Turns
    from trioworkers.botapi.meter import CallMeter, CallResult
    from trioworkers.botapi.server import Server
    from trioworkers.http.response import Response

    Sink = Callable[[bytes], Awaitable[None]]

CALL_TIMEOUT = 70.0  # seconds without a byte; uploads of large files answer late
CALL_TOTAL = 1800.0  # seconds for one try, or a download, as a whole: 50 MB at 30 kB/s
ANSWER_TIME = 120.0  # seconds that a poll may take beyond its silence, for an answer that comes slowly
ANSWER_LIMIT = 16 * 2**20  # bytes; Telegram's have some 4 MB
SMALL_ANSWER_LIMIT = 2**20  # bytes, for calls on the loop that all bots share; Telegram's have 200 kB
LARGEST_FILE = 2**31  # bytes of a download to the disk; a Bot API server with --local has files of 2,000 MB
FILE_LIMIT = 256 * 2**20  # bytes of a download; the cloud's files have 20 MB
TOO_MANY = 429
TRIES = 5  # of a call that fails on the way or with 5xx
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds; between tries, doubled, with full jitter
SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, 3600.0  # seconds; what a 429 may ask to wait
MOST_ASKED = 4  # chats of one call that are asked about, to find the one that became a supergroup

_DOWNLOAD = ExchangeLimits(CONNECT_TIMEOUT, CALL_TIMEOUT, CALL_TOTAL, FILE_LIMIT)
_USUAL = ExchangeLimits(CONNECT_TIMEOUT, CALL_TIMEOUT, CALL_TOTAL, ANSWER_LIMIT)
_encode = msgspec.json.Encoder().encode


class Patience(Caller, Protocol):
    """What a caller allows a call: waits, while Telegram asks for them (429), and requests."""

    def begin_request(self) -> None:
        """A request is about to be made; raise if none may be made any more."""

    def end_request(self) -> None:
        """The request that was begun has its answer, has failed, or was cancelled."""


class Waits:
    """Waits whatever Telegram asks for, and allows every request."""

    source = 0

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        yield

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def begin_request(self) -> None: ...

    def end_request(self) -> None: ...


class BotApi:
    """One bot's connection to a Bot API server. Use as an async context manager, or `close` it.

    Args:
        server: the server; a text is the address of one that is reached directly.
        token: the bot's token.
        connections: how many at once. A client for each bot: httpx looks at every connection of a pool
            at each request, so one pool for a thousand pending polls starves the loop.
        rng: where the jitter comes from.
        meter: counts its requests; None: they are not counted.
        largest: bytes of an answer, at most.

    Attributes:
        turns: where its messages wait for their turn; None, as at first: they do not. Its maker sets it.
        gate: awaited before each request; it waits until one may be made, or raises. Likewise.
    """

    def __init__(
        self,
        server: Server | str,
        token: str,
        *,
        connections: int = 4,
        rng: random.Random | None = None,
        meter: CallMeter | None = None,
        largest: int = ANSWER_LIMIT,
    ) -> None:
        self._bot_id = bot_id = int(token.partition(":")[0])
        self._local_files = "" if isinstance(server, str) else server.local_files
        self._make_wire: Callable[[], Wire] = lambda: Wire(server, bot_id, token, connections=connections)
        self._uniform = random.uniform if rng is None else rng.uniform
        self._meter = meter
        self._limits = _USUAL if largest == ANSWER_LIMIT else replace(_USUAL, body=largest)
        self.turns: Turns | None = None
        self.gate: Callable[[], Awaitable[None]] | None = None

    @cached_property
    def _wire(self) -> Wire:
        """Made with the first request, which most of a thousand workers do not make soon."""
        return self._make_wire()

    async def __aenter__(self) -> BotApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are idle; one that is in use closes when its call is cancelled."""
        if "_wire" in vars(self):
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
            TypeError, ValueError: a parameter, or a file's content type, cannot be sent.
        """
        plain, files = split_files(params)
        if self.gate is not None:
            await self.gate()
        limits = self._limits
        if silence is not None:
            limits = ExchangeLimits(CONNECT_TIMEOUT, silence, silence + ANSWER_TIME, limits.body)
        try:
            if files:
                response = await self._upload(method, form_fields(plain), files, limits)
            else:
                response = await self._wire.call(method, _encode(plain), limits)
        except UnicodeEncodeError:
            raise unencodable(plain) from None
        except httpx.InvalidURL:
            raise TransportError(method, "not the name of a method", heals=False) from None
        except httpx.HTTPError as error:
            self._count(method, "failed")
            raise TransportError(method, _in_words(error)) from None
        try:
            answer = await read_answer(method, response)
        except BotApiError as error:
            if self._meter is not None:
                self._meter.refused(method, error.error_code)
            raise
        except TransportError:
            self._count(method, "failed")
            raise
        self._count(method, "ok")
        return answer

    async def _upload(
        self,
        method: str,
        fields: Mapping[str, str],
        files: Mapping[str, InputFile],
        limits: ExchangeLimits,
    ) -> Response:
        with ExitStack() as opened:
            parts: dict[str, FilePart] = {}
            for name, file in files.items():
                content = await beside(file.open)
                if not isinstance(content, bytes):
                    opened.callback(content.close)
                parts[name] = FilePart(file.filename, content, file.content_type)
            return await self._wire.upload(method, fields, parts, limits)

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        patience: Patience | None = None,
        again: Callable[[], Awaitable[None]] | None = None,
        turn: Turn | None = None,
    ) -> msgspec.Raw:
        """Make a call until it succeeds or is refused; return its `result` as JSON.

        429 is waited out as Telegram asks, and longer each time, so that nothing that a server says makes
        this spin; 5xx and failures on the way are tried again a few times with back-off; a group that
        became a supergroup is followed to its new id, once for each group: where its id stands in the call,
        and nowhere else.

        `again` is awaited before a try that follows one which failed on the way or at the server (5xx), and
        may have succeeded. `turn` is the call's, of :meth:`turn`, where that was taken already; each request
        of a message waits for one.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: it failed on the way, also when tried again.
        """
        patience = patience or Waits()
        if turn is None and self.turns is not None:
            turn = self.turn(method, params, patience)
        failures = waits = 0
        unsure = False
        followed: tuple[int, ...] = ()
        while True:
            try:
                if turn is not None:
                    await turn.take()
                if unsure and again is not None:
                    await again()
                patience.begin_request()  # only now: a call that is refused here is known not to be under way
                unsure = False
                try:
                    return await self.request(method, params)
                finally:
                    patience.end_request()
            except BotApiError as error:
                if error.error_code == 429:
                    waits += 1
                    pause = max(retry_after(error), _bound(waits))
                    if turn is not None:
                        turn.over(pause)
                    await patience.wait(pause)
                    if self._meter is not None:
                        self._meter.waited += pause
                    continue
                new = new_chat(error)
                if new is not None and new not in followed:
                    old = await self._upgraded(params, new, patience)
                    if old is not None and old not in followed:
                        followed += (old, new)
                        params = moved(params, old, new)
                        if turn is not None:
                            turn.over()
                        turn = self.turn(method, params, patience)
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
            finally:
                if turn is not None:
                    turn.over()
            await trio.sleep(self._uniform(0, _bound(failures)))

    async def _upgraded(self, params: Mapping[str, Any], new: int, patience: Patience) -> int | None:
        """The chat in a call that has become the supergroup `new`; None when nobody can tell.

        Where several may be it, Telegram is asked who is in each: of the upgraded one it names the new id.
        """
        chats = old_chats(params)
        if len(chats) <= 1:
            return chats[0] if chats and chats[0] != new else None
        for chat in chats[:MOST_ASKED]:
            patience.begin_request()
            try:
                await self.request("getChatMember", {"chat_id": chat, "user_id": self._bot_id})
            except BotApiError as error:
                if new_chat(error) == new:
                    return chat
            except TransportError:
                return None
            finally:
                patience.end_request()
        return None

    def turn(self, method: str, params: Mapping[str, Any], caller: Caller) -> Turn | None:
        """The turn that a call has to take; None: it has not to wait for any."""
        if self.turns is None or not self.turns.is_on:
            return None
        message = message_of(method, params)
        return None if message is None else Turn(self.turns, message, caller)

    async def download(self, file_path: str) -> bytes:
        """The content of a file whose `file_path` getFile told, of at most 256 MB, all of it in memory.

        Raises:
            TransportError: it could not be had.
        """
        if not file_path.startswith("/"):
            return (await self._fetch(file_path, _DOWNLOAD)).body
        return await read_local(self._local_files, file_path, FILE_LIMIT)

    async def download_file(self, file_path: str, path: Path, *, most: int = LARGEST_FILE) -> int:
        """Write the content of a file to the disk, part by part; return its size in bytes.

        The file appears whole, or not at all; one that was there before is replaced.

        Raises:
            TransportError: as :meth:`download_to`.
            OSError: it cannot be written.
        """

        async def fetch(sink: Callable[[bytes], Awaitable[None]]) -> None:
            await self.download_to(file_path, sink, most=most, total=CALL_TOTAL)

        return await save_to(path, fetch)

    async def download_to(self, file_path: str, sink: Sink, *, most: int, total: float) -> None:
        """Give `sink` the content of a file part by part; the next one is read when it has returned.

        Args:
            file_path: as for :meth:`download`.
            sink: how long it waits is its own business; what it raises goes through.
            most: bytes; a larger file is refused, perhaps after parts of it.
            total: seconds for all of it.

        Raises:
            TransportError: it could not be had, or not all of it.
        """
        if file_path.startswith("/"):
            await copy_local(self._local_files, file_path, sink, most)
        else:
            await self._fetch(file_path, ExchangeLimits(CONNECT_TIMEOUT, CALL_TIMEOUT, total, most), sink)

    async def _fetch(self, file_path: str, limits: ExchangeLimits, sink: Sink | None = None) -> Response:
        """Get a file; a failure that may pass is tried again, while the sink has not been given anything."""
        has_begun = False

        async def give(part: bytes) -> None:
            nonlocal has_begun
            has_begun = True
            assert sink is not None  # noqa: S101 - for mypy
            await sink(part)

        failures = 0
        while True:
            try:
                response = await self._wire.fetch(file_path, limits, None if sink is None else give)
            except httpx.InvalidURL:
                raise TransportError("download", "not the path of a file", heals=False) from None
            except httpx.HTTPError as error:
                what = _in_words(error)
                passes = what == EARLY or not isinstance(
                    error, httpx.ProtocolError | httpx.UnsupportedProtocol
                )
            else:
                if response.status == 200:
                    return response
                passes = response.status >= 500 or response.status == TOO_MANY
                what = f"HTTP {response.status}"
            failures += 1
            if has_begun or not passes or failures >= TRIES:
                raise TransportError("download", what, heals=passes)
            await trio.sleep(self._uniform(0, _bound(failures)))

    def _count(self, method: str, result: CallResult) -> None:
        if self._meter is not None:
            self._meter.count(method, result)


def retry_after(error: BotApiError) -> float:
    """Seconds that a 429 asks to wait, between 1 and an hour; 1 when it says nothing sensible."""
    asked = error.parameters.get("retry_after")
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:  # NaN is not, either
        return SHORTEST_RETRY_AFTER
    # bounded first: an integer of 400 digits cannot be made a float
    return float(min(max(asked, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER))


def _bound(times: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times, 10))


def _in_words(error: httpx.HTTPError) -> str:
    """What went wrong; the transport's messages are our own words, without address and token."""
    return str(error) or type(error).__name__
