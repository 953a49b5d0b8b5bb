"""From when one bot's updates are fetched, by which connection, and when for a while they are not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.nursery.intake import FIRST_LOOK
from trioworkers.nursery.proven_handlers import HandlerStart
from trioworkers.nursery.refused_token import RefusedToken
from trioworkers.protocol.frames import Ready
from trioworkers.transport.poll import TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

    from trioworkers.botapi.server import Server
    from trioworkers.config import BotSettings
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.nursery.intake import BotIntake
    from trioworkers.nursery.supervisor import Supervisor
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.protocol.frames import Unfit

REFUSED = "token refused"


class Fetching:
    """Runs one bot's intake: :meth:`serve` once, :meth:`stop` ends it.

    It begins when the bot's handler is proven: when a worker of its own is ready, or another bot's that
    proves as much (:mod:`trioworkers.nursery.proven_handlers`). It then goes on, whatever becomes of workers.

    Args:
        intake: what brings updates in.
        settings: the bot's settings in force.
        server: the bot's server.
        context: the daemon around it.
        emit: where it is emitted what happens.
        rng: where jitter comes from.
    """

    def __init__(
        self,
        intake: BotIntake,
        settings: Callable[[], BotSettings],
        server: Callable[[], Server],
        context: BotContext,
        emit: Callable[..., None],
        rng: Random,
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._server = server
        self._context = context
        self._emit = emit
        self._proven = trio.Event()
        self._scope = trio.CancelScope()
        self._fetching = trio.CancelScope()
        self._turn = trio.Lock()  # held while nothing may be fetched
        self._refused = RefusedToken(self._is_known, rng)

    @property
    def looks_at(self) -> float | None:
        """When a refused token is tried again, Unix seconds; None while it is not refused."""
        return self._refused.looks_at

    def stop(self) -> None:
        """Fetch no more updates."""
        self._scope.cancel()

    def begin_anew(self) -> None:
        """How updates are fetched has changed: fetch them by another connection."""
        self._fetching.cancel()

    def ask_again(self) -> None:
        """Somebody wants the bot to run, whose token may have been refused."""
        self._refused.ask_again()

    def look_again(self) -> None:
        """The settings in force have changed: another start may have to be proven."""
        settings, handlers = self._settings(), self._context.proven
        if self._proven.is_set():
            return
        if self._context.fetches_at_once(settings):
            self._proven.set()
        elif settings.handler is None:
            handlers.forget(self._proven)
        else:
            path = [str(path) for path in self._context.fleet().python_path]
            handlers.ask(self._proven, HandlerStart.of(settings.handler, path, settings.settings))

    def note_proven(self) -> None:
        """A worker of the bot's own was ready."""
        self._context.proven.forget(self._proven)
        self._proven.set()

    async def first_word(self, worker: ConnectedWorker) -> Ready | Unfit | None:
        """As :meth:`ConnectedWorker.first_word`; what it proves of the handler is noted.

        Raises:
            FrameError: it sent something that is not a valid frame.
        """
        word = await worker.first_word()
        if worker.start is not None and isinstance(word, Ready):
            self._context.proven.note_ready(worker.start, has_start=word.has_start)
        elif worker.start is not None and word is not None:
            self._context.proven.note_unfit(worker.start)
        return word

    @asynccontextmanager
    async def nothing_fetched(self) -> AsyncIterator[None]:
        """Inside, no updates are fetched; what was accepted is handled."""
        async with self._turn:
            self._fetching.cancel()
            yield

    async def serve(self, supervisor: Supervisor) -> None:
        """Fetch updates until stopped. A bot whose token is refused is parked."""
        with self._scope:
            self.look_again()
            try:
                await self._proven.wait()
            finally:
                self._context.proven.forget(self._proven)
            pause = FIRST_LOOK
            while True:
                refused, began = False, trio.current_time()
                with trio.CancelScope() as self._fetching:
                    async with self._turn:
                        pass
                    try:
                        await self._intake.serve(self._server())
                    except TokenRefusedError:
                        refused = not self._fetching.cancel_called  # else that was the token of before
                if refused:
                    self._emit("transport.refused")
                    supervisor.park(REFUSED)
                    if trio.current_time() - began > pause:  # it worked meanwhile
                        pause = FIRST_LOOK
                    pause, is_known = await self._refused.wait(pause)
                    if is_known:
                        self._emit("transport.recovered", after=REFUSED)
                        supervisor.replace()

    async def _is_known(self) -> bool:
        return await self._intake.is_known(self._server())
