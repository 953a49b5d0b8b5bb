"""The simulator on a socket: HTTP/1.1 by h11 on Trio.

Decisions are the world's; this module reads requests, lets the world answer, obeys faults, and
survives clients that vanish at any point. h11 is driven by hand because the benchmark of the whole
product runs against it: an ASGI stack costs three times as much a request.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import h11
import trio

from trioworkers.testing.answers import (
    Described,
    Refused,
    encode_refusal,
    encode_result,
    method_not_found,
    not_found,
)
from trioworkers.testing.bodies import read_params
from trioworkers.testing.calls import Call
from trioworkers.testing.delivery import deliver_webhooks
from trioworkers.testing.methods.table import find_method
from trioworkers.testing.params import Params
from trioworkers.testing.polling import open_poll, wait_poll
from trioworkers.testing.world import TOKEN

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.faults import Fault
    from trioworkers.testing.queue import Pending
    from trioworkers.testing.telegram import Telegram

BODY_LIMIT = 60 << 20  # bytes; an upload may have 50 MB
_CHUNK = 1 << 16
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_JSON = (b"Content-Type", b"application/json")


@dataclass(slots=True)
class Answer:
    """What goes back over the connection."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)
    fault: Fault | None = None


async def serve_telegram(
    telegram: Telegram,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the simulator, and deliver its webhooks, until cancelled; the started value is its base URL.

    Raises:
        OSError: the port cannot be bound.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound = listeners[0].socket.getsockname()[1]

    async def handle(stream: trio.SocketStream) -> None:
        await serve_connection(telegram, stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver_webhooks, telegram)
        await nursery.start(trio.serve_listeners, handle, listeners)
        task_status.started(f"http://{host}:{bound}")


async def serve_connection(telegram: Telegram, stream: trio.SocketStream) -> None:
    """Answer the requests of one client, one after the other, until it leaves or breaks the protocol."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_CHUNK)
    async with stream:
        try:
            while True:
                request = await _next_event(connection, stream)
                if not isinstance(request, h11.Request):
                    return
                body = await _read_body(connection, stream)
                answer = await answer_request(telegram, request, body, stream)
                await _send(connection, stream, answer)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await _complain(connection, stream, error)
        except (trio.BrokenResourceError, trio.ClosedResourceError, _ClientGone):
            return


class _ClientGone(Exception):
    """The client vanished while its answer was being prepared, or a fault took its connection."""


async def _next_event(connection: h11.Connection, stream: trio.SocketStream) -> Any:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(go_on or b"")
        connection.receive_data(await stream.receive_some(_CHUNK))


async def _read_body(connection: h11.Connection, stream: trio.SocketStream) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        event = await _next_event(connection, stream)
        if isinstance(event, h11.Data):
            size += len(event.data)
            if size > BODY_LIMIT:
                raise h11.RemoteProtocolError("the body is too big", error_status_hint=413)
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return b"".join(parts)
        else:
            raise _ClientGone


async def _complain(
    connection: h11.Connection, stream: trio.SocketStream, error: h11.RemoteProtocolError
) -> None:
    if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
        return
    status = error.error_status_hint
    refused = Refused(status, "Request Entity Too Large" if status == 413 else "Bad Request")
    try:
        await _send(connection, stream, Answer(status, encode_refusal(refused)))
    except (trio.BrokenResourceError, trio.ClosedResourceError, _ClientGone):
        return


async def answer_request(
    telegram: Telegram, request: h11.Request, body: bytes, stream: trio.SocketStream
) -> Answer:
    """The answer to one request. Cancelled or abandoned by the client, a call took effect or did not.

    Raises:
        _Gone: the client left while it was waiting for updates.
    """
    path, _, query = request.target.decode("ascii", "replace").partition("?")
    try:
        if request.method not in {b"GET", b"POST"}:
            raise not_found()
        if path.startswith("/file/bot"):
            return _download(telegram, unquote(path))
        token, test, method = split_path(unquote(path))
        content_type = next((value for name, value in request.headers if name == b"content-type"), b"")
        try:
            bot = telegram.authenticate(token, test=test)
            entry = find_method(method)
            if entry is None:
                raise method_not_found()
            params = read_params(query, content_type.decode("latin-1"), body)
        except Refused as refused:
            _note(telegram, token, method, Params({}), refused=refused)
            raise
        return await _call(telegram, bot, entry.name, params, stream)
    except Refused as refused:
        return _refusal(refused)


def split_path(path: str) -> tuple[str, bool, str]:
    """Token, whether it is the test environment, and method of `/bot<token>/[test/]<method>`.

    Raises:
        Refused: 404, the path is another one.
    """
    if not path.startswith("/bot"):
        raise not_found()
    token, _, rest = path[4:].partition("/")
    if not TOKEN.fullmatch(token):
        raise not_found()
    test = rest.startswith("test/")
    return token, test, rest[5:] if test else rest


async def _call(
    telegram: Telegram, bot: SimBot, method: str, params: Params, stream: trio.SocketStream
) -> Answer:
    fault = telegram.faults.match(method, bot, params.values.get("chat_id"))
    if fault is not None and not fault.executes:
        _note(telegram, bot.token, method, params, fault=fault)
        return Answer(
            fault.status,
            fault.body or b"",
            (
                (b"Content-Type", fault.content_type.encode()),
                *((name.encode(), value.encode()) for name, value in fault.headers),
            ),
            fault,
        )
    try:
        if method == "getUpdates":
            batch = await _poll(telegram, bot, params, stream)
            body = b'{"ok":true,"result":[' + b",".join(update.body for update in batch) + b"]}"
            result: object = len(batch)
        else:
            result = telegram.execute(bot, method, params)
            if isinstance(result, Described):
                body, result = encode_result(result.result, result.description), result.result
            else:
                body = encode_result(result)
    except Refused as refused:
        _note(telegram, bot.token, method, params, refused=refused, fault=fault)
        answer = _refusal(refused)
    else:
        _note(telegram, bot.token, method, params, result=result, fault=fault)
        answer = Answer(200, body)
    if fault is not None:
        answer.fault = fault
        if fault.body is not None:
            answer.status, answer.body = fault.status, fault.body
    return answer


async def _poll(telegram: Telegram, bot: SimBot, params: Params, stream: trio.SocketStream) -> list[Pending]:
    poll = open_poll(telegram, bot, params)
    batch = bot.queue.fetch(poll.offset, poll.limit)
    if batch or not poll.timeout:
        return batch
    gone = False
    refusal: Refused | None = None

    async def watch() -> None:
        # A peek, not a read: what a pipelining client sent ahead stays for the next request.
        nonlocal gone
        try:
            if await stream.socket.recv(1, socket.MSG_PEEK):
                return
        except OSError:
            pass
        gone = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            batch = await wait_poll(telegram, bot, poll)
        except Refused as refused:  # caught here, or the nursery would wrap it in a group
            refusal = refused
        nursery.cancel_scope.cancel()
    if gone:
        raise _ClientGone
    if refusal is not None:
        raise refusal
    return batch


def _download(telegram: Telegram, path: str) -> Answer:
    token, _, name = path.removeprefix("/file/bot").partition("/")
    test = name.startswith("test/")
    bot = telegram.authenticate(token, test=test)
    stored = telegram.files.by_path(bot, name[5:] if test else name)
    if stored is None:
        raise not_found()
    return Answer(200, stored.content, ((b"Content-Type", b"application/octet-stream"),))


def _refusal(refused: Refused) -> Answer:
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)
    if "retry_after" in refused.parameters:
        headers += ((b"Retry-After", str(refused.parameters["retry_after"]).encode()),)
    return Answer(refused.error_code, encode_refusal(refused), headers)


def _note(
    telegram: Telegram,
    token: str,
    method: str,
    params: Params,
    *,
    result: object = None,
    refused: Refused | None = None,
    fault: Fault | None = None,
) -> None:
    if not telegram.record:
        return
    if refused is not None:
        error_code: int | None = refused.error_code
    else:
        spoilt = fault is not None and not fault.executes and fault.status >= 400
        error_code = fault.status if fault is not None and spoilt else None
    took_effect = refused is None and (fault is None or fault.executes)
    bot_id = int(token.partition(":")[0])
    at, hit = telegram.clock(), fault is not None
    telegram.note(Call(at, bot_id, method, params.values, params.files, took_effect, result, error_code, hit))


async def _send(connection: h11.Connection, stream: trio.SocketStream, answer: Answer) -> None:
    fault = answer.fault
    if fault is not None:
        await trio.sleep(fault.delay)
        if fault.end == "close":
            raise _ClientGone
        if fault.end == "half-close":
            await stream.send_eof()
            while await stream.receive_some(_CHUNK):
                pass
            raise _ClientGone
    headers = [*answer.headers, (b"Content-Length", b"%d" % len(answer.body))]
    response = h11.Response(
        status_code=answer.status, headers=headers, reason=_REASONS.get(answer.status, b"")
    )
    head = connection.send(response) or b""
    body = connection.send(h11.Data(data=answer.body)) or b""
    end = connection.send(h11.EndOfMessage()) or b""
    wire = head + body + end
    if fault is not None and fault.cut is not None:
        await stream.send_all(wire[: len(head) + int(len(body) * fault.cut)])
        raise _ClientGone
    if fault is not None and fault.pace is not None:
        for i in range(len(wire)):
            await stream.send_all(wire[i : i + 1])
            await trio.sleep(1.0 / fault.pace)
        return
    await stream.send_all(wire)
