"""A program's connection to the endpoint: its requests, read part by part, and what is sent to it."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioworkers.gateway.messages import END, READ_SIZE, MessageError, RequestHead, RequestReader

if TYPE_CHECKING:
    from collections import deque

    from trioworkers.http.patience import Patience
    from trioworkers.http.stream import Stream

SENDING = 120.0  # seconds for the program to take something of what it is sent


class GoneError(OSError):
    """The program has closed the connection, or takes nothing."""


class RequestSource(Protocol):
    """Where the body of a call comes from, and its answer goes to."""

    @property
    def parts(self) -> deque[Any]:
        """What has been read and not been taken."""

    async def next_part(self) -> Any:
        """Return the next block of the body, or :data:`END`."""

    def take_blocks(self) -> tuple[list[bytes], bool]:
        """Return what has been read of the body, and whether that is all of it."""

    async def gather(self, most: int) -> None:
        """Read until the body has ended, or so many bytes of it have been read; nothing of it is taken."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""


class ProgramConnection:
    """One connection.

    Args:
        stream: its bytes.
        patience: ends waits for requests.
    """

    def __init__(self, stream: Stream, patience: Patience) -> None:
        self._stream = stream
        patience.watch(stream)
        self._reader = RequestReader()

    @property
    def parts(self) -> deque[Any]:
        """What has been read and not been taken."""
        return self._reader.parts

    async def next_head(self, idle: float, head: float) -> RequestHead | None:
        """Return the head of the next request; None at the end of the connection.

        `idle`: seconds until its first byte; `head`: seconds from there to its end.

        Raises:
            MessageError: it is not a valid request.
            OSError, trio.ClosedResourceError: the connection is broken, or it took too long.
        """
        parts, stream = self._reader.parts, self._stream
        if not parts:
            stream.until = trio.current_time() + idle
            while not parts:
                data = await stream.receive()
                if not data:
                    return None
                self._reader.feed(data)
                if not parts:  # a part of a head
                    stream.until = min(stream.until, trio.current_time() + head)
            stream.until = math.inf
        part = parts.popleft()
        assert isinstance(part, RequestHead)  # noqa: S101 - for mypy; a message begins with its head
        return part

    async def next_part(self, patience: float = SENDING) -> Any:
        """Return the next block of the body, or :data:`END`. `patience`: seconds until it comes.

        Raises:
            GoneError: the connection has ended.
            MessageError: it is not a valid request.
        """
        parts = self._reader.parts
        while not parts:
            await self._feed(patience)
        return parts.popleft()

    def read_nowait(self) -> bool:
        """Read what is here of the body; return whether that was anything.

        Raises:
            MessageError: it is not a valid request.
            OSError: the connection is broken.
        """
        data = self._stream.receive_nowait()
        if data:
            self._reader.feed(data)
        return bool(data)

    def take_blocks(self) -> tuple[list[bytes], bool]:
        """Return what has been read of the body, and whether that is all of it."""
        blocks: list[bytes] = []
        parts = self._reader.parts
        while parts:
            part = parts.popleft()
            if part is END:
                return blocks, True
            blocks.append(part)
        return blocks, False

    async def gather(self, most: int) -> None:
        """Read until the body has ended, or so many bytes of it have been read; nothing of it is taken."""
        while END not in self.parts:
            if sum(len(part) for part in self.parts if isinstance(part, bytes)) >= most:
                return
            await self._feed()

    def whole_body(self) -> bytes | None:
        """Return the whole body without taking it; None when it is not here yet."""
        blocks: list[bytes] = []
        for part in self.parts:
            if part is END:
                return b"".join(blocks)
            blocks.append(part)
        return None

    async def read_body(self, most: int) -> bytes | None:
        """Return the whole body; None when it has more than so many bytes, of which the rest is not read."""
        await self.gather(most + 1)
        blocks, is_whole = self.take_blocks()
        body = b"".join(blocks)
        return body if is_whole and len(body) <= most else None

    async def _feed(self, patience: float = SENDING) -> None:
        data = b""
        if patience == math.inf:  # a scope costs as much as what is read
            data = await self._stream.receive()
        else:
            with trio.move_on_after(patience):
                data = await self._stream.receive()
        if not data:
            raise GoneError
        self._reader.feed(data)

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            GoneError: the program takes nothing.
            OSError, trio.ClosedResourceError: the connection has ended.
        """
        taken = self._stream.send_nowait(data)
        while taken < len(data):
            with trio.move_on_after(SENDING) as limit:
                await self._stream.wait_writable()
            if limit.cancelled_caught:
                raise GoneError
            taken += self._stream.send_nowait(memoryview(data)[taken : taken + READ_SIZE])

    async def wait_gone(self) -> None:
        """Return when the program has closed the connection. What it sends meanwhile is kept.

        A client that waits for an answer sends nothing; one that sends further requests ahead is read no
        further than a block, and seen to be gone when it is answered.
        """
        while not self.parts:
            with suppress(OSError):
                data = await self._stream.receive()
                if data:
                    self._reader.feed(data)
                    continue
            return
        await trio.sleep_forever()

    def close(self) -> None:
        """Close it."""
        self._reader.close()
        self._stream.close()


class Gone:
    """Whether a program has closed its connection. That is looked at only while somebody waits for it.

    Args:
        program: the connection.
    """

    def __init__(self, program: ProgramConnection) -> None:
        self._program = program
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it was seen to be closed."""
        return self._is_set

    async def wait(self) -> None:
        """Return when it is closed, or sends what is not a request."""
        with suppress(MessageError):
            await self._program.wait_gone()
        self._is_set = True
