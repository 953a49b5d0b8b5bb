"""Sends updates to a program's webhook, over connections that are kept, and reads the answers' heads.

What an answer holds besides its head is left to whoever asked: it may be a call of the size of an upload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from trioworkers.errors import TrioworkersError
from trioworkers.gateway.messages import END, MessageError, ResponseHead, ResponseReader
from trioworkers.http.addresses import Addresses, open_any
from trioworkers.http.stream import Stream
from trioworkers.shortage import words_of

if TYPE_CHECKING:
    from trioworkers.gateway.webhook import Webhook

KEPT = 30.0  # seconds for which an idle connection is used again; servers keep them for 5 to 75
SILENCE = 60.0  # seconds in which no byte comes of an answer that has begun
MOST_IDLE = 100
MOST_LEFT = 64 * 1024  # bytes of an answer that are read for the sake of the connection
LONGEST_LEFT = 1.0  # seconds for which they are waited for
BROKEN = (OSError, MessageError, trio.ClosedResourceError)


Place: TypeAlias = tuple[tuple[str, ...], int]  # addresses and port


class UnreachableError(TrioworkersError):
    """Nobody listens there."""


class UnansweredError(TrioworkersError):
    """What was sent has no answer of HTTP: it may have been taken in."""


class HookConnection:
    """A connection to a program's webhook.

    Args:
        stream: its bytes.
        place: where it leads.

    Attributes:
        is_used: it has answered before.
        is_closed: it cannot be used any more.
        idle_since: since when nobody uses it, trio time.
    """

    def __init__(self, stream: Stream, place: Place) -> None:
        self._stream = stream
        self.place = place
        self._reader = ResponseReader()
        self.is_used = self.is_closed = False
        self.idle_since = 0.0

    @property
    def parts(self) -> Any:
        """What has been read and not been taken."""
        return self._reader.parts

    def is_quiet(self) -> bool:
        """Whether it can be used again."""
        return trio.current_time() - self.idle_since < KEPT and self._stream.is_quiet()

    async def send(self, data: bytes) -> None:
        """Send all of it; raises one of `BROKEN`."""
        taken = self._stream.send_nowait(data)
        while taken < len(data):
            await self._stream.wait_writable()
            taken += self._stream.send_nowait(memoryview(data)[taken:])

    async def feed(self) -> None:
        """Read more of an answer that has begun; raises one of `BROKEN`."""
        with trio.move_on_after(SILENCE):
            self._reader.feed(await self._stream.receive())
            return
        raise TimeoutError

    async def next_part(self) -> Any:
        """Return the next block of an answer that has begun, or its end; raises one of `BROKEN`."""
        while not self.parts:
            await self.feed()
        return self.parts.popleft()

    async def head(self) -> ResponseHead:
        """Return the head of an answer, however long it takes; raises one of `BROKEN`."""
        while not self.parts:
            self._reader.feed(await self._stream.receive())
        part: ResponseHead = self.parts.popleft()
        return part

    def close(self) -> None:
        """Close it, or leave it closed."""
        if not self.is_closed:
            self.is_closed = True
            self._reader.close()
            self._stream.close()


class HookClient:
    """The connections to the webhook of one process of a program."""

    def __init__(self) -> None:
        self._idle: list[HookConnection] = []
        self._place: Place | None = None
        self._is_closed = False

    async def ask(self, webhook: Webhook, body: bytes) -> tuple[ResponseHead, HookConnection]:
        """Send an update; return the head of the answer, and the connection on which the rest comes.

        Give the connection back with :meth:`put_back`, or close it.

        Raises:
            UnreachableError: there is no connection.
            UnansweredError: there is no answer.
        """
        request = _request(webhook, body)
        while True:
            connection = await self._take(webhook)
            try:
                await connection.send(request)
                head = await connection.head()
            except BROKEN:
                connection.close()
                if connection.is_used:  # closed while it was idle, as it seems; a repetition is allowed
                    continue
                message = "broke off before an answer, or does not speak HTTP without TLS"
                raise UnansweredError(message) from None
            except BaseException:
                connection.close()
                raise
            return head, connection

    async def put_back(self, connection: HookConnection, head: ResponseHead) -> None:
        """Read the rest of a short answer, and keep the connection if it can be used again; else close it."""
        if connection.is_closed:
            return
        try:
            size = 0
            with trio.move_on_after(LONGEST_LEFT):
                while head.keeps_alive and size <= MOST_LEFT:
                    part = await connection.next_part()
                    if part is END:
                        self.keep(connection, head)
                        return
                    size += len(part)
        except BROKEN:
            pass
        except BaseException:
            connection.close()
            raise
        connection.close()

    def keep(self, connection: HookConnection, head: ResponseHead) -> None:
        """An answer has been read to its end."""
        is_wanted = connection.place == self._place and not self._is_closed and len(self._idle) < MOST_IDLE
        if connection.parts or not head.keeps_alive or not is_wanted:
            connection.close()
            return
        connection.is_used = True
        connection.idle_since = trio.current_time()
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle, and keep nothing from now on."""
        self._is_closed = True
        self._forget()

    async def _take(self, webhook: Webhook) -> HookConnection:
        place = webhook.hosts, webhook.port
        if self._place != place:
            self._forget()
            self._place = place
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        reason = ""
        for host in webhook.hosts:
            try:
                opened, _ = await open_any(Addresses(host, webhook.port))
            except OSError as error:
                reason = reason or words_of(error)
                continue
            return HookConnection(Stream(opened), place)
        message = f"cannot connect to {webhook.place}: {reason}"
        raise UnreachableError(message)

    def _forget(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _request(webhook: Webhook, body: bytes) -> bytes:
    secret = f"x-telegram-bot-api-secret-token: {webhook.secret}\r\n" if webhook.secret else ""
    head = (
        f"POST {webhook.target} HTTP/1.1\r\nhost: {webhook.place}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{secret}\r\n"
    )
    return head.encode() + body
