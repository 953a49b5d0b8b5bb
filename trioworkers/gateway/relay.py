"""Passes a call on to the Bot API server, and its answer back, block by block.

No more is read from either side than the other takes: an upload of any size costs the daemon two blocks. A
body that is here as a whole leaves in one write with its head, and needs no task of its own.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from math import inf
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import trio

from trioworkers.botapi.messages import message_of
from trioworkers.gateway.answers import refused, whole
from trioworkers.gateway.messages import END, HOP_BY_HOP, End, MessageError, ResponseHead
from trioworkers.gateway.params import read_first_params, read_params

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from trioworkers.gateway.local_context import Process
    from trioworkers.gateway.messages import RequestHead
    from trioworkers.gateway.programs import RequestSource
    from trioworkers.gateway.targets import Target
    from trioworkers.gateway.upstream import UpstreamConnection

SILENCE = 300.0  # seconds in which the server moves no byte: more than any library waits
LONGEST_HOLD = 3600.0  # seconds; what a 429 may ask to wait
BROKEN = (httpx.TransportError, OSError, MessageError, trio.ClosedResourceError)
LOOKED_AT = 64 * 1024  # bytes of a body in which the chat is looked for, where messages take turns


async def relay(
    bot: Process,
    head: RequestHead,
    target: Target,
    program: RequestSource,
    answered: Answered | None = None,
) -> bool:
    """Pass a call on, and its answer back. Return whether the connection can be used again.

    `answered`: where it is noted what the server answered.

    Raises:
        OSError, trio.ClosedResourceError: the program is gone.
        MessageError: it sent what is no request.
    """
    turn = await take_turn(bot, head, target, program)
    hold = 0.0
    try:
        answered = answered or Answered()
        try:
            keeps = await _exchange(bot, head, target, program, answered)
        except httpx.TransportError as error:
            if answered.has_begun:
                return False
            reason = str(error) or "the server did not answer"
            await program.send(whole(502, refused(502, reason), keeps_alive=False))
            keeps = False
        hold = answered.hold
        count(bot, target, answered.status)
        return keeps
    finally:
        if turn is not None and bot.context.turns is not None:
            bot.context.turns.over(turn, hold)


class Answered:
    """What the server has answered so far: nothing, as long as `status` is 0.

    `hold`: seconds that a 429 asked to wait. `has_begun`: the program has got a part of it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.hold = 0.0
        self.has_begun = False


async def _exchange(
    bot: Process, head: RequestHead, target: Target, program: RequestSource, answered: Answered
) -> bool:
    upstream = bot.context.upstream
    connection = await upstream.take()
    is_kept = is_to_blame = False
    try:
        first, is_whole = first_part(bot, head, target, program)
        if is_whole:
            await send(connection, first)
            is_kept, keeps = await _receive(connection, head, program, answered)
        else:
            if head.waits:
                await program.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            uploading = _Uploading()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_upload, connection, head, first, program, uploading)
                try:
                    is_kept, keeps = await _receive(connection, head, program, answered)
                except BROKEN as error:
                    uploading.error = uploading.error or error
                nursery.cancel_scope.cancel()
            if uploading.error is not None:
                is_kept = False
                raise uploading.error
            if not uploading.is_done:  # it was refused before it had come: the rest would be the next request
                is_kept = keeps = False
        return keeps
    except httpx.TransportError:
        is_to_blame = True
        raise
    finally:
        upstream.take_back(connection, is_kept=is_kept, is_to_blame=is_to_blame)


class _Uploading:
    def __init__(self) -> None:
        self.is_done = False
        self.error: Exception | None = None


def first_part(
    bot: Process,
    head: RequestHead,
    target: Target,
    program: RequestSource,
    left_out: frozenset[bytes] = HOP_BY_HOP,
) -> tuple[bytes, bool]:
    """Return the head as the server is sent it, what is here of the body, and whether that is all of it.

    `left_out`: fields that the server does not get.
    """
    upstream = bot.context.upstream
    lines = [
        b"%s %s HTTP/1.1\r\nhost: %s\r\n"
        % (head.method, target.at(upstream.path, upstream.token, is_test=upstream.is_test), upstream.host)
    ]
    lines += [b"%s: %s\r\n" % field for field in head.fields if field[0] not in left_out]
    blocks, is_whole = program.take_blocks()
    is_chunked = head.has_body and head.length is None
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n\r\n")
        lines += [_chunk(block) for block in blocks]
        if is_whole:
            lines.append(b"0\r\n\r\n")
    else:
        lines.append(b"\r\n")
        lines += blocks
    return b"".join(lines), is_whole


async def _upload(
    connection: UpstreamConnection,
    head: RequestHead,
    first: bytes,
    program: RequestSource,
    uploading: _Uploading,
) -> None:
    """Send the body as it comes. Where the server takes no more, what it answers tells why."""
    is_chunked = head.length is None
    try:
        await send(connection, first)
        while True:
            try:
                part = await program.next_part()
            except (OSError, MessageError, trio.ClosedResourceError) as error:
                uploading.error = error
                connection.stream.close()  # whoever waits for the answer is woken
                return
            if part is END:
                break
            await send(connection, _chunk(part) if is_chunked else part)
        if is_chunked:
            await send(connection, b"0\r\n\r\n")
        uploading.is_done = True
    except httpx.TransportError:
        return


async def _receive(
    connection: UpstreamConnection, head: RequestHead, program: RequestSource, answered: Answered
) -> tuple[bool, bool]:
    """Pass the answer back; return whether the server's connection, and the program's, can be used again."""
    part = await next_part(connection)
    assert isinstance(part, ResponseHead)  # noqa: S101 - for mypy; a message begins with its head
    answered.status = part.status
    if part.status == 429:
        answered.hold = hold_of(part.field(b"retry-after"))
    is_chunked = part.length is None and part.status not in (204, 304)
    keeps = head.keeps_alive and (head.takes_chunks or not is_chunked)
    out = [_response_head(part, is_chunked=is_chunked and head.takes_chunks, keeps_alive=keeps)]
    answered.has_begun = True
    is_kept = part.keeps_alive
    while True:
        ended = False
        while connection.reader.parts:
            block = connection.reader.parts.popleft()
            if isinstance(block, End):
                ended = True
                break
            out.append(_chunk(block) if is_chunked and head.takes_chunks else block)
        if ended:
            if is_chunked and head.takes_chunks:
                out.append(b"0\r\n\r\n")
            await program.send(b"".join(out))
            if connection.reader.parts:  # surplus bytes, which nobody asked for
                is_kept = False
            return is_kept, keeps
        if out and part.length != 0:
            await program.send(b"".join(out))
            out = []
        await _feed(connection)


async def next_part(connection: UpstreamConnection) -> ResponseHead | bytes | End:
    """Return the head of the server's answer, then its blocks and its end.

    Raises:
        httpx.TransportError: the server broke off, or was silent.
    """
    while not connection.reader.parts:
        await _feed(connection)
    part: ResponseHead | bytes | End = connection.reader.parts.popleft()
    return part


async def _feed(connection: UpstreamConnection) -> None:
    stream = connection.stream
    stream.until = trio.current_time() + SILENCE
    try:
        connection.reader.feed(await stream.receive())
    except (OSError, trio.ClosedResourceError, MessageError):
        message = f"the server was silent for {SILENCE:g} s" if stream.is_late else "the server broke off"
        raise httpx.ReadError(message) from None
    finally:
        stream.until = inf


async def send(connection: UpstreamConnection, data: bytes) -> None:
    """Send all of it.

    Raises:
        httpx.TransportError: the server broke off, or took nothing.
    """
    stream = connection.stream
    try:
        taken = stream.send_nowait(data)
        while taken < len(data):
            with trio.move_on_after(SILENCE) as limit:
                await stream.wait_writable()
            if limit.cancelled_caught:
                message = f"the server took nothing for {SILENCE:g} s"
                raise httpx.ReadError(message)
            taken += stream.send_nowait(memoryview(data)[taken:])
    except (OSError, trio.ClosedResourceError):
        message = "the server broke off"
        raise httpx.ReadError(message) from None


def _response_head(part: ResponseHead, *, is_chunked: bool, keeps_alive: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %s\r\n" % (part.status, part.reason)]
    lines += [b"%s: %s\r\n" % field for field in part.fields if field[0] not in HOP_BY_HOP]
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    if not keeps_alive:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _chunk(block: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(block), block)


def hold_of(text: bytes) -> float:
    """The seconds that a field Retry-After asks to wait."""
    return min(float(text), LONGEST_HOLD) if text.isdigit() and len(text) < 10 else 0.0


def count(bot: Process, target: Target, status: int) -> None:
    """Count a request to the server. `status`: of its answer; 0: there was none."""
    meter, method = bot.context.meter, target.name
    if meter is None or target.is_file:
        return
    if not status:
        meter.count(method, "failed")
    elif status < 400:
        meter.count(method, "ok")
    else:
        meter.refused(method, status)


class _Caller:
    """What a message's turn is concerned with: each call of a program is its own."""

    @property
    def source(self) -> object:
        return self

    def standing_still(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def take_turn(bot: Process, head: RequestHead, target: Target, program: RequestSource) -> object | None:
    """Wait for the turn of a message; None: it is none, or messages take no turns."""
    turns = bot.context.turns
    if turns is None or not turns.is_on or target.is_file:
        return None
    if message_of(target.method, {"chat_id": 0}) is None:
        return None
    params = await look_at(head, target, program)
    for name in ("media", "message_ids"):  # forms have lists as JSON
        if isinstance(params.get(name), str):
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                params[name] = msgspec.json.decode(params[name])
    message = message_of(target.method, params)
    return None if message is None else await turns.take(message, _Caller())


async def look_at(head: RequestHead, target: Target, program: RequestSource) -> dict[str, Any]:
    """Return the parameters of a call, whose body is not taken: of a long form, those at its beginning.

    What cannot be read has no parameters: the server will refuse it.
    """
    if head.waits:
        await program.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await program.gather(LOOKED_AT)
    is_whole = END in program.parts
    read = read_params if is_whole else read_first_params
    body = b"".join(part for part in program.parts if isinstance(part, bytes))
    try:
        return read(target.query, head.field(b"content-type"), body)
    except ValueError:
        return {}
