"""The endpoint: one listener on loopback, for all bots that are programs of their own.

A program calls it as it would the Bot API server. What concerns its updates is answered here, and all else
passed on. A connection ends with the first thing on it that is no request; nothing of what a program sends
reaches a log.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from trioworkers.gateway.answers import refused, whole
from trioworkers.gateway.heard import relay_heard
from trioworkers.gateway.messages import MessageError
from trioworkers.gateway.params import read_params
from trioworkers.gateway.probe import CALL_OF, GREETING, EndReader
from trioworkers.gateway.probe import METHOD as PROBE
from trioworkers.gateway.programs import Gone, ProgramConnection
from trioworkers.gateway.promise import read_greeting
from trioworkers.gateway.recorded import relay_recorded
from trioworkers.gateway.relay import relay
from trioworkers.gateway.targets import LOCAL, Target, read_target
from trioworkers.gateway.tokens import Tokens
from trioworkers.http.patience import Patience
from trioworkers.http.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from trioworkers.gateway.local_bot import LocalBot
    from trioworkers.gateway.messages import RequestHead

HOST = "127.0.0.1"
BACKLOG = 1024
IDLE = 300.0  # seconds until the next request; libraries keep connections for as long as they live
HEAD = 30.0  # seconds from the first byte of a request to the end of its head
MOST_BODY = 256 * 1024  # bytes of the body of a call that is answered here
MOST_CONNECTIONS = 512  # of one process
MOST_STRANGERS = 256  # connections that have not yet shown a token
METHODS = (b"GET", b"POST")
CLOSED = (OSError, trio.ClosedResourceError)


class Endpoint:
    """Listens for programs. :meth:`serve` once; it listens from when its address is asked for.

    Args:
        broke: is told what broke in the connection of somebody who had shown no token yet, which is a bug.

    Attributes:
        patience: ends long waits, here and at the Bot API server, while it serves.
    """

    def __init__(self, broke: Callable[[Exception], None]) -> None:
        self.patience = Patience()
        self._broke = broke
        self._tokens: Tokens[LocalBot] = Tokens()
        self._listener: socket.socket | None = None
        self._wanted = trio.Event()
        self._strangers = 0

    @property
    def address(self) -> str:
        """Where it listens, `http://127.0.0.1:PORT`.

        Raises:
            OSError: it cannot listen.
        """
        if self._listener is None:
            self._listener = _listen()
            self._wanted.set()
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def known(self, token: str, bot: LocalBot) -> AbstractContextManager[None]:
        """Inside, whoever has this token is this process."""
        return self._tokens.known(token, bot)

    async def serve(self) -> None:
        """Serve programs until cancelled; that cuts their calls off."""
        await self._wanted.wait()
        listener = self._listener
        assert listener is not None  # noqa: S101 - for mypy; it is wanted
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.patience.serve)
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    self._accept(listener, nursery)
        finally:
            trio.lowlevel.notify_closing(listener)
            listener.close()

    def _accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:  # it is gone again, or there is no descriptor left: it stays with the kernel
            return
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._strangers >= MOST_STRANGERS:
            peer.close()
            return
        nursery.start_soon(self._serve_one, ProgramConnection(Stream(peer), self.patience))

    async def _serve_one(self, program: ProgramConnection) -> None:
        """Serve one connection to its end; whose it is, its first request says."""
        owner: LocalBot | None = None
        self._strangers += 1
        try:
            while (head := await program.next_head(HEAD if owner is None else IDLE, HEAD)) is not None:
                target = read_target(head.target)
                bot = None if target is None else self._tokens.find(target.token)
                if bot is None or target is None:
                    status = 404 if target is None else 401
                    await program.send(whole(status, refused(status), keeps_alive=False))
                    return
                if owner is not bot:
                    if bot.connections >= MOST_CONNECTIONS:
                        full = refused(503, "too many connections")
                        await program.send(whole(503, full, keeps_alive=False))
                        return
                    self._hand_over(owner, bot)
                    owner = bot
                if not await _answer(bot, head, target, program):
                    return
        except MessageError:
            with trio.move_on_after(1):
                await _tell_bad(program)
        except CLOSED:
            pass
        except Exception as error:  # a bug is the matter of one bot, as everywhere
            self._broke(error) if owner is None else owner.context.fault(error)
        finally:
            self._hand_over(owner, None)
            program.close()

    def _hand_over(self, before: LocalBot | None, after: LocalBot | None) -> None:
        """A connection is another process's, or nobody's any more."""
        if before is None:
            self._strangers -= 1
        else:
            before.connections -= 1
        if after is not None:
            after.connections += 1


async def _answer(bot: LocalBot, head: RequestHead, target: Target, program: ProgramConnection) -> bool:
    """Answer a request; return whether another may follow on the connection."""
    if head.method not in METHODS:
        await program.send(whole(405, refused(405), keeps_alive=False))
        return False
    if target.method == PROBE:
        with bot.probes.one():
            await EndReader(program, bot.ended).read(lambda: bot.in_hand > 0, bot.looks)
        return False
    for look in tuple(bot.looks):
        look()
    if target.method not in LOCAL:
        if bot.acknowledged_by == "quiet" and not target.is_file:
            return await relay_heard(bot, head, target, program)
        handling = None if target.is_file else bot.handling_of(head.field(CALL_OF))
        if handling is not None:
            with bot.speaking.one():
                return await relay_recorded(bot, handling, head, target, program)
        return await relay(bot, head, target, program)
    if head.waits:
        await program.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await program.read_body(MOST_BODY)
    if body is None:
        await program.send(whole(413, refused(413), keeps_alive=False))
        return False
    try:
        params = read_params(target.query, head.field(b"content-type"), body)
    except ValueError:
        words = refused(400, "the parameters cannot be read")
        await program.send(whole(400, words, keeps_alive=head.keeps_alive))
        return head.keeps_alive
    gone = Gone(program)
    answer = await bot.answer(target.method, params, gone, read_greeting(head.field(GREETING)))
    if gone.is_set():
        return False
    status, content = answer or (503, refused(503))
    await program.send(whole(status, content, keeps_alive=head.keeps_alive))
    return head.keeps_alive


async def _tell_bad(program: ProgramConnection) -> None:
    try:
        await program.send(whole(400, refused(400), keeps_alive=False))
    except CLOSED:
        return


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind((HOST, 0))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
