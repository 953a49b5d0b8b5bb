"""A worker that is started only to see whether it can be: up to its handshake, and ended again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.worker import START_TIMEOUT, open_worker
from trioworkers.protocol.frames import FrameError, Unfit

if TYPE_CHECKING:
    from trioworkers.nursery.session import Means

LEAVES = 10.0  # seconds for the handler's `stop`


async def try_worker(means: Means) -> str | None:
    """Start a worker beside the bot's own, wait until it is ready, end it; return why it never was, or None.

    It is given no update; the handler's `start` and `stop` run. Takes at most `START_TIMEOUT` and
    `LEAVES` seconds; cancelling ends the process's group.
    """
    problem: str | None = f"not ready within {START_TIMEOUT:g} s"
    try:
        async with open_worker(means.makes.start, means.configure(), means.output) as worker:
            with trio.move_on_after(START_TIMEOUT):
                word = await worker.first_word()
                if isinstance(word, Unfit):
                    problem = f"{word.reason}: {word.detail}" if word.detail else word.reason
                elif word is not None:
                    problem = None
                    worker.drain()
                    with trio.move_on_after(LEAVES):
                        while await worker.receive():
                            pass  # its last heartbeats and the like
                else:
                    problem = f"it ended before it was ready: {await worker.end()}"
    except FrameError as error:
        return str(error)
    except OSError as error:
        return f"it could not be started: {error.strerror}"
    return problem
