"""A worker's life in small, run once before workers are forked: what it imports and makes, they share.

It is the real worker on a real channel, with a Bot API that is a few bytes on the loopback interface; so
whatever a worker comes to do is rehearsed without being named here.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.awake import AwakeClock
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Configure, Deliver, Drain, FromWorker, Outcome, Retune
from trioworkers.worker.process import TICK, serve_worker

if TYPE_CHECKING:
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update

TIMES = 10  # about 5 ms each
LAST = 3  # of these, after which the interpreter knows what a worker looks up
UPDATES = 5  # of each worker, about 1 ms each
TIMEOUT = 20.0  # seconds
MODULE = "trioworkers_rehearsed"
HANDLER = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text or "")
"""
UPDATE = b'{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":1,"type":"private"},"text":"x"}}'
BODY = b'{"ok":true,"result":true}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def handle(update: Update, bot: Bot) -> None:
    """The handler that is rehearsed where no file can be made: an echo."""
    await bot.send_message(chat_id=update.chat_id, text=update.text or "")


def rehearse(scratch: str) -> None:
    """Let one worker after another handle a few updates, with their calls marked and recorded.

    Several, since the interpreter rewrites the code of a function over its first calls: what is rewritten
    in a worker is copied there (0.5 MB).

    Args:
        scratch: a folder that is made for the handler's file, and removed; empty: no file is made, so that
            the search for the handler is not rehearsed.

    Raises:
        RuntimeError: one did not handle them.
    """
    folder = _make(scratch)
    try:
        for number in range(TIMES):
            if number == TIMES - LAST and sys.version_info < (3, 12):
                # full of what imports looked up: a worker would copy the pages of the names that it replaces
                sys._clear_type_cache()
            clock = AwakeClock(tick=TICK, counts_steps=True)
            is_done = trio.run(_rehearse, folder, number, clock=clock)
            sys.modules.pop(MODULE, None)
            if not is_done:
                message = "the rehearsal of a worker failed"
                raise RuntimeError(message)
    finally:
        if folder:
            sys.path[:] = [entry for entry in sys.path if entry != folder]
            rmtree(folder, ignore_errors=True)


def _make(folder: str) -> str:
    """Make the folder of the handler's file; empty where it cannot be made."""
    if not folder:
        return ""
    try:
        rmtree(folder, ignore_errors=True)  # of a zygote that was killed
        os.mkdir(folder, 0o700)
        Path(folder, f"{MODULE}.py").write_text(HANDLER)
    except OSError:
        return ""
    return folder


async def _rehearse(folder: str, number: int) -> bool:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, FromWorker)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    done = False
    with trio.move_on_after(TIMEOUT):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, _answer, [listener])
            nursery.start_soon(channel.serve_writes)
            nursery.start_soon(_work, theirs)
            channel.send(_configure(f"http://127.0.0.1:{port}", folder, number))
            # the next one only then, as a second call takes the connection that the first has left
            for delivery in range(UPDATES):
                channel.send(Deliver(delivery, 0, False, msgspec.Raw(UPDATE), []))
                done = await _is_done(channel)
            channel.send(Drain())
            while await channel.receive():
                pass
            nursery.cancel_scope.cancel()
    channel.close()
    return done


async def _is_done(channel: Channel) -> bool:
    """Whether the next outcome is a success."""
    while frames := await channel.receive():
        for frame in frames:
            if isinstance(frame, Outcome):
                return frame.result == "done"
    return False


async def _work(end: socket.socket) -> None:
    with end:
        await serve_worker(end)


async def _answer(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        await stream.send_all(ANSWER)


def _configure(api_base: str, folder: str, number: int) -> Configure:
    return Configure(
        name="rehearsal",
        bot_id=1,
        token="1:rehearsal",  # noqa: S106 - of no bot
        api_base=api_base,
        handler=f"{MODULE if folder else __name__}:handle",
        python_path=[folder] if folder else [],
        concurrency=1,
        tuning=Retune({}, TIMEOUT, TIMEOUT, TIMEOUT, "error"),
        counts_calls=True,
        marks=folder and f"{folder}/marks-{number}",
    )
