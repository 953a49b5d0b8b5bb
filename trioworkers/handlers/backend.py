"""Asks a backend: one signed POST for an update, and what its answer's status means for the update."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

import httpx
import msgspec
import trio

from trioworkers.botapi.errors import TransportError
from trioworkers.botapi.wire import CONNECT_TIMEOUT, LONG, tls_context
from trioworkers.errors import Dead, Retry
from trioworkers.handlers.answer import BACKEND
from trioworkers.handling.bot import WaitsTooLong
from trioworkers.http.pool import ExchangeLimits, Http1Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.handlers.settings import BackendSettings
    from trioworkers.handling.update import Update
    from trioworkers.http.response import Response

ANSWER_LIMIT = 2**20  # bytes
MOST_CONNECTIONS = 1000  # as many as handlings at the same time; the bot's `concurrency` is what limits them
LONGEST_RETRY_AFTER = 3600  # seconds
TRIES = 2  # an idle connection may end while a request is on its way


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted about one update.

    Attributes:
        body: the update, as JSON.
        idempotency_key: the same at each attempt.
        trace_id: names the update in logs.
        attempt: how often it was handled before.
        bot: the bot's name.
    """

    body: bytes
    idempotency_key: str
    trace_id: str
    attempt: int
    bot: str

    @classmethod
    def of(cls, update: Update, bot: str) -> Request:
        """The request for an update of a bot."""
        body = msgspec.json.encode(update.raw)
        return cls(body, update.idempotency_key, update.trace_id, update.attempt, bot)


class Backend:
    """One bot's connections to its backend; `retire` it.

    Args:
        settings: how it is asked.
        clock: Unix seconds, for signatures.
    """

    def __init__(self, settings: BackendSettings, clock: Callable[[], float] = time.time) -> None:
        url = httpx.URL(settings.url)
        tls = tls_context() if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        self._pool = Http1Pool(url.host, port, tls, connections=MOST_CONNECTIONS)
        self._start = b"POST %s HTTP/1.1\r\nhost: %s\r\n" % (url.raw_path, url.netloc)
        timeout = settings.timeout
        self._limits = ExchangeLimits(min(CONNECT_TIMEOUT, timeout), timeout, timeout, ANSWER_LIMIT)
        self._timeout = timeout
        self._secret = settings.secret
        self._clock = clock
        self._asking = 0
        self._is_retired = False

    async def ask(self, request: Request) -> bytes | None:
        """Post an update; return the body of the answer, None when there is nothing to do (204).

        Raises:
            Dead: the backend refused the update (4xx).
            Retry: it asks for a wait (429, or 503 with Retry-After).
            TransportError: it failed (5xx), or gave no answer that can be used.
        """
        self._asking += 1
        try:
            with trio.fail_after(self._timeout):
                response = await self._post(request)
        except trio.TooSlowError:
            raise TransportError(BACKEND, f"no answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:  # the pool's own words, which quote nothing
            raise TransportError(BACKEND, str(error) or type(error).__name__) from None
        finally:
            self._asking -= 1
            self._close_if_over()
        judge(response, self._clock())
        return None if response.status == 204 else response.body

    def retire(self) -> None:
        """Close the connections, each once it is not in use any more. Idempotent."""
        self._is_retired = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._is_retired and not self._asking:
            self._pool.close()

    async def _post(self, request: Request) -> Response:
        """Make the exchange; once more if the connection broke, which the idempotency key allows."""
        tries = 1
        while True:
            try:
                head = self._head(request)
                if len(request.body) > LONG:
                    return await self._pool.exchange(head, self._limits, [request.body])
                return await self._pool.exchange(head + request.body, self._limits)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                if tries == TRIES:
                    raise
                tries += 1

    def _head(self, request: Request) -> bytes:
        at = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            "content-length": len(request.body),
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "trioworkers",
            "idempotency-key": request.idempotency_key,
            # https://www.w3.org/TR/trace-context/#traceparent-header; each request is a span of its own
            "traceparent": f"00-{request.trace_id}-{token_hex(8)}-01",
            "x-trioworkers-bot": request.bot,
            "x-trioworkers-attempt": request.attempt,
            "x-trioworkers-timestamp": at,
            "x-trioworkers-signature": sign(self._secret, at, request.body),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return self._start + lines.encode() + b"\r\n"


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a request: `sha256=` and HMAC-SHA256 of timestamp, full stop and body, hexadecimal."""
    return "sha256=" + hmac.digest(secret, timestamp.encode() + b"." + body, "sha256").hex()


def judge(response: Response, now: float) -> None:
    """Return when an answer is to be read, else raise what becomes of the update. `now`: Unix seconds.

    Raises:
        Dead: 4xx, but for those that say that another time is better.
        Retry: 429, or 503 with Retry-After. With Retry-After it uses up no attempt, as Telegram's 429.
        TransportError: any other status.
    """
    status = response.status
    if status in (200, 201, 202, 203, 204):
        return
    after = _retry_after(response.fields.get(b"retry-after", b""), now)
    if status in (429, 503) and after is not None:
        raise WaitsTooLong(after)
    if status == 429:
        raise Retry
    if 400 <= status < 500 and status not in (408, 425):
        message = f"the backend answered with {status}"
        raise Dead(message)
    raise TransportError(BACKEND, f"it answered with {status}")


def _retry_after(value: bytes, now: float) -> float | None:
    """Seconds, from 1 to an hour; None where the field says nothing sensible.

    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    if value.isdigit() and len(value) < 10:
        seconds = float(value)
    else:
        from email.utils import parsedate_to_datetime  # few servers send dates: not in each worker's memory

        try:
            seconds = parsedate_to_datetime(value.decode("ascii")).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(1.0, seconds), float(LONGEST_RETRY_AFTER))
