"""Posts updates to webhooks: the hands of :class:`trioworkers.testing.webhook.SimulatedWebhook`.

One dispatcher for each webhook takes what is due and gives each update a task of its own, with a
kept-alive connection; the webhook's `max_connections` bounds both.
"""

from __future__ import annotations

import math
import select
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11
import trio

from trioworkers.testing.answers import Refused
from trioworkers.testing.bodies import read_params
from trioworkers.testing.methods.table import find_method

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.queue import Pending
    from trioworkers.testing.telegram import Telegram
    from trioworkers.testing.webhook import SimulatedWebhook

RESPONSE_DEADLINE = 60.0  # seconds for connecting, sending and the whole answer
BODY_LIMIT = 1 << 20  # bytes of an answer that are read
NEVER_IN_A_RESPONSE = ("get", "setwebhook", "deletewebhook", "close", "logout")
_CHUNK = 1 << 16


async def deliver_webhooks(telegram: Telegram) -> None:
    """Deliver the updates of all bots that have a webhook, until cancelled."""
    served: set[SimulatedWebhook] = set()
    async with trio.open_nursery() as nursery:
        while True:
            set_now = {bot.webhook: bot for bot in telegram.bots.values() if bot.webhook is not None}
            for webhook in set_now.keys() - served:
                nursery.start_soon(_dispatch, telegram, set_now[webhook], webhook)
            served = set(set_now)
            await telegram.webhooks_changed.wait()


async def _dispatch(telegram: Telegram, bot: SimBot, webhook: SimulatedWebhook) -> None:
    idle: list[_Line] = []
    free = webhook.max_connections
    try:
        async with trio.open_nursery() as nursery:

            async def deliver(line: _Line, update: Pending) -> None:
                nonlocal free
                try:
                    await _deliver(telegram, bot, webhook, line, update)
                finally:
                    free += 1
                    if line.open:
                        idle.append(line)
                    else:
                        line.abandon()
                    webhook.changed.fire()

            while not webhook.closed:
                now = telegram.clock()
                while free > 0 and (update := webhook.take(now)) is not None:
                    free -= 1
                    nursery.start_soon(deliver, _pick(idle) or _Line(webhook), update)
                wait = webhook.next_due() - now if free > 0 else math.inf
                with trio.move_on_after(max(wait, 0.0)):
                    await webhook.changed.wait()
            nursery.cancel_scope.cancel()
    finally:
        for line in idle:
            line.abandon()


def _pick(idle: list[_Line]) -> _Line | None:
    while idle:
        line = idle.pop()
        if line.open:
            return line
        line.abandon()
    return None


async def _deliver(
    telegram: Telegram, bot: SimBot, webhook: SimulatedWebhook, line: _Line, update: Pending
) -> None:
    status: int | None = None
    retry_after = 0
    try:
        with trio.fail_after(RESPONSE_DEADLINE):
            response, body = await line.post(update.body)
    except trio.TooSlowError:
        what = "Read timeout expired"
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        what = _describe(error)
    except h11.ProtocolError:
        what = "Wrong response from the webhook"
    else:
        status = response.status_code
        headers = dict(response.headers)
        if 200 <= status <= 299:
            webhook.succeeded(update, telegram.clock())
            _run_response(telegram, bot, headers.get(b"content-type", b""), body)
            return
        what = f"Wrong response from the webhook: {status} {response.reason.decode('latin-1')}".rstrip()
        if headers.get(b"retry-after", b"").isdigit():
            retry_after = int(headers[b"retry-after"])
    finally:
        if status is None:
            line.abandon()
    if webhook.failed(update, telegram.clock(), what, status=status, retry_after=retry_after):
        telegram.close_webhook(bot)


def _describe(error: Exception) -> str:
    """What getWebhookInfo tells of a connection that failed."""
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLError):
        return f"SSL error {{{cause.reason or 'unknown'}}}".lower().replace("ssl", "SSL", 1)
    # open_tcp_stream reports that all addresses failed as a plain OSError with the reasons as cause.
    if isinstance(cause, ConnectionRefusedError) or "attempts to connect" in str(error):
        return "Connection refused"
    return "Webhook connection closed"


def _run_response(telegram: Telegram, bot: SimBot, content_type: bytes, body: bytes) -> None:
    """Execute the call that a webhook's answer may carry; its result is for nobody."""
    try:
        params = read_params("", content_type.decode("latin-1"), body)
        method = find_method(params.text("method"))
        if method is not None and not method.name.lower().startswith(NEVER_IN_A_RESPONSE):
            telegram.run(bot, method.name, params)
    except Refused:
        return


class _Line:
    """A connection to a webhook, opened when it is first needed."""

    def __init__(self, webhook: SimulatedWebhook) -> None:
        parts = urlsplit(webhook.url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._address = webhook.ip_address or self._host
        self._certificate = webhook.certificate
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = [("Host", parts.netloc.rpartition("@")[2]), ("Content-Type", "application/json")]
        if webhook.secret:
            self._headers.append(("X-Telegram-Bot-Api-Secret-Token", webhook.secret))
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] | None = None
        self._connection = h11.Connection(h11.CLIENT)

    @property
    def open(self) -> bool:
        """Whether another request may use it: it is connected, and the receiver did not hang up."""
        stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        if stream is None:
            return False
        waiting = select.poll()
        waiting.register(stream.socket.fileno(), select.POLLIN)
        return not waiting.poll(0)

    async def post(self, body: bytes) -> tuple[h11.Response, bytes]:
        """Send one update and return the whole answer. Cancelled, the line is of no more use.

        Raises:
            OSError, trio.BrokenResourceError, ssl.SSLError: no connection, or it broke.
            h11.ProtocolError: the answer is no HTTP.
        """
        stream = self._stream or await self._connect()
        headers = [*self._headers, ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=self._target, headers=headers)
        wire = (self._connection.send(request) or b"") + (self._connection.send(h11.Data(data=body)) or b"")
        self._connection.send(h11.EndOfMessage())
        await stream.send_all(wire)
        response = await self._next(stream)
        while isinstance(response, h11.InformationalResponse):
            response = await self._next(stream)
        if not isinstance(response, h11.Response):
            raise trio.BrokenResourceError("the webhook closed the connection")
        answer = bytearray()
        while isinstance(event := await self._next(stream), h11.Data):
            if len(answer) < BODY_LIMIT:
                answer += event.data
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        else:
            self.abandon()
        return response, bytes(answer)

    def abandon(self) -> None:
        """Close the line at once, without farewell."""
        stream, self._stream = self._stream, None
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if stream is not None:
            stream.socket.close()

    async def _connect(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        self._connection = h11.Connection(h11.CLIENT)
        transport = await trio.open_tcp_stream(self._address, self._port)
        self._stream = transport
        if self._secure:
            cadata = self._certificate.decode("ascii", "replace") if self._certificate is not None else None
            context = ssl.create_default_context(cadata=cadata)
            self._stream = trio.SSLStream(
                transport, context, server_hostname=self._host, https_compatible=True
            )
        return self._stream

    async def _next(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> object:
        while True:
            event = self._connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = bytes(await stream.receive_some(_CHUNK))
            if not data and self._connection.their_state is h11.SEND_RESPONSE:
                raise trio.BrokenResourceError("the webhook closed the connection")
            self._connection.receive_data(data)
