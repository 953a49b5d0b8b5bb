"""Calls that a program makes within the handling of an update: recorded, and not made twice.

They have the keys, and the promises, of calls of native handlers (:mod:`trioworkers.handling.calls`). A call
is recorded as begun before it is passed on, and with its answer before the program gets that. A call with
files is passed on as it comes, since nobody could compare it: it is recorded as begun, and marked where it is
made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from msgspec.structs import replace

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.gateway.answers import refused, result, whole
from trioworkers.gateway.messages import HOP_BY_HOP, End, ResponseHead
from trioworkers.gateway.params import read_params
from trioworkers.gateway.programs import GoneError
from trioworkers.gateway.relay import Answered, count, first_part, hold_of, next_part, relay, send, take_turn
from trioworkers.protocol.frames import MOST_ANSWER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.gateway.handling import Handling
    from trioworkers.gateway.local_bot import LocalBot
    from trioworkers.gateway.messages import RequestHead
    from trioworkers.gateway.programs import ProgramConnection
    from trioworkers.gateway.targets import Target

MOST_READ = 256 * 1024  # bytes of a body that is compared
MULTIPART = b"multipart/"
# the answer is read here: it must not come packed
LEFT_OUT = HOP_BY_HOP | {b"accept-encoding"}


class _Answer(msgspec.Struct):
    """The Bot API's answer to a call."""

    ok: bool = False
    result: msgspec.Raw = msgspec.Raw(b"null")
    description: str = ""
    parameters: dict[str, Any] = {}


async def relay_recorded(
    bot: LocalBot, handling: Handling, head: RequestHead, target: Target, program: ProgramConnection
) -> bool:
    """Answer a call of a handling from its record, or pass it on. Return whether the connection goes on.

    When the program is gone meanwhile, the answer is recorded all the same.

    Raises:
        OSError, trio.ClosedResourceError: the program is gone.
        MessageError: it sent what is no request.
    """
    if head.waits:
        await program.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = replace(head, waits=False)
    params = await _read_call(head, target, program)
    if params is None:
        return await _relay_upload(bot, handling, head, target, program)
    call = _Call(bot, handling, head, target, program)
    try:
        found = await handling.calls.make(target.name, params, call.make, once=None, ready=call.take_turn)
        content = call.content or result(found)
        call.status = call.status or 200
        program.take_blocks()  # where it was not made
    except BotApiError:
        content = call.content
    except TransportError as error:
        call.status, content = (
            (call.status, call.content) if call.content else (502, refused(502, error.what))
        )
    finally:
        call.end_turn()
    await program.send(whole(call.status, content, keeps_alive=head.keeps_alive))
    return head.keeps_alive


async def _read_call(
    head: RequestHead, target: Target, program: ProgramConnection
) -> Mapping[str, Any] | None:
    """Return the parameters of a call, whose body is not taken; None: they cannot be compared."""
    kind = head.field(b"content-type")
    if kind.lower().startswith(MULTIPART):
        return None
    await program.gather(MOST_READ)
    body = program.whole_body()
    if body is None:
        return None
    try:
        return read_params(target.query, kind, body)
    except ValueError:  # the server will refuse it
        return None


async def _relay_upload(
    bot: LocalBot, handling: Handling, head: RequestHead, target: Target, program: ProgramConnection
) -> bool:
    answered = Answered()
    key = await handling.begin_upload(target.name)
    if handling.is_lost:
        raise GoneError
    keeps = await relay(bot, head, target, program, answered)
    if 400 <= answered.status < 500:
        handling.not_uploaded(key)
    return keeps


class _Call:
    """One call to the server, made with an answer that is read as a whole.

    Attributes:
        status: of the answer; 0: there is none.
        content: its body.
    """

    def __init__(
        self, bot: LocalBot, handling: Handling, head: RequestHead, target: Target, program: ProgramConnection
    ) -> None:
        self.status = 0
        self.content = b""
        self._bot = bot
        self._handling = handling
        self._head = head
        self._target = target
        self._program = program
        self._turn: object | None = None
        self._hold = 0.0

    async def take_turn(self) -> None:
        """Wait for its turn, if it is a message."""
        turns = self._bot.context.turns
        if turns is None or not turns.is_on:
            return
        with self._handling.standing_still():
            self._turn = await take_turn(self._bot, self._head, self._target, self._program)

    def end_turn(self) -> None:
        """It is over."""
        if self._turn is not None and self._bot.context.turns is not None:
            self._bot.context.turns.over(self._turn, self._hold)

    async def make(self, _begin: Callable[[], Awaitable[None]]) -> msgspec.Raw:
        """Make it, and return its result.

        Raises:
            BotApiError: it was refused.
            TransportError: nobody knows whether it was made.
        """
        method = self._target.name
        try:
            await self._exchange()
        except httpx.TransportError as error:
            count(self._bot, self._target, 0)
            raise TransportError(method, str(error) or "the server did not answer") from None
        count(self._bot, self._target, self.status)
        try:
            answer = msgspec.json.decode(self.content, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            answer = _Answer()
        if self.status < 400 and answer.ok:
            return answer.result
        if self.status < 400:
            raise TransportError(method, "no answer of the Bot API")
        refusal = BotApiError(method, self.status, answer.description, answer.parameters)
        self._handling.refusals[self.status] = refusal
        raise refusal

    async def _exchange(self) -> None:
        """Send it, and read the answer.

        Raises:
            httpx.TransportError: the server cannot be reached, or broke off.
        """
        upstream = self._bot.context.upstream
        connection = await upstream.take()
        is_kept = is_to_blame = False
        try:
            if self._handling.is_lost:  # it waited for its turn, say
                raise GoneError
            first, _ = first_part(self._bot, self._head, self._target, self._program, LEFT_OUT)
            await send(connection, first)
            part = await next_part(connection)
            assert isinstance(part, ResponseHead)  # noqa: S101 - for mypy; a message begins with its head
            blocks: list[bytes] = []
            size = 0
            while not isinstance(block := await next_part(connection), End):
                assert isinstance(block, bytes)  # noqa: S101 - for mypy
                blocks.append(block)
                size += len(block)
                if size > MOST_ANSWER:
                    message = f"an answer of more than {MOST_ANSWER >> 20} MB"
                    raise httpx.ReadError(message)
            self.status, self.content = part.status, b"".join(blocks)
            if part.status == 429:
                self._hold = hold_of(part.field(b"retry-after"))
            is_kept = part.keeps_alive and not connection.reader.parts
        except httpx.TransportError:
            is_to_blame = True
            raise
        finally:
            upstream.take_back(connection, is_kept=is_kept, is_to_blame=is_to_blame)
