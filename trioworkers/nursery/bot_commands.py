"""What a run of a bot does otherwise while the bot is a program of its own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from trioworkers.bot_server import server_of
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.config.values import UPDATE_KINDS
from trioworkers.gateway.account import NotDroppedError
from trioworkers.inbox.store import StoreError
from trioworkers.nursery.command_session import CommandContext, CommandSession
from trioworkers.nursery.session import WorkerSession
from trioworkers.ratelimit.pace import OwnTurns
from trioworkers.transport.pending import drop_all_but

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from trioworkers.config import BotSettings
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.nursery.delivery import Settling
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.nursery.session import Session, SessionContext, SessionKind


class BotCommands:
    """Makes the sessions of a bot, whose settings may change from a handler to a program and back.

    Args:
        settings: those in force.
        context: the daemon around the bot.
        settling: what deliveries need.
        scheduler: hands updates out.
        fault: is given what breaks where the endpoint asks for something.
    """

    def __init__(
        self,
        settings: Callable[[], BotSettings],
        context: BotContext,
        settling: Settling,
        scheduler: Scheduler,
        fault: Callable[[Exception], None],
    ) -> None:
        self._refetch: Callable[[], None] = lambda: None
        self._nothing_fetched: Callable[[], AbstractAsyncContextManager[object]] = AsyncExitStack
        self._settings = settings
        self._backlog = settling.backlog
        self._scheduler = scheduler
        self._kinds: tuple[str, ...] | None = None
        bot_id = settings().bot_id  # the same for all of a run
        self._context = (
            None
            if context.commands is None
            else CommandContext(
                commands=context.commands,
                fleet=context.fleet,
                server=lambda: (server_of(context.fleet(), settings()), settings().token.reveal()),
                scheduler=scheduler,
                settling=settling,
                fault=fault,
                pending=lambda: context.inbox.tally(bot_id).pending,
                drop=self.drop,
                allows=self.allow,
                meter=None if context.figures is None else context.figures.calls,
                turns=None if context.paces is None else OwnTurns(context.paces, bot_id),
                may_call=context.may_call,
            )
        )
        self.retune()

    def fetches_by(
        self, refetch: Callable[[], None], nothing_fetched: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        """Note how the bot fetches.

        Args:
            refetch: lets it fetch anew, other kinds of updates than by the poll under way.
            nothing_fetched: inside, it fetches nothing.
        """
        self._refetch, self._nothing_fetched = refetch, nothing_fetched

    def retune(self) -> None:
        """Hand updates out as the settings in force say, and let all look again who wait for some."""
        settings = self._settings()
        self._backlog.set_order(by_chat=settings.command is None or settings.order == "chat")
        self._backlog.poke()

    @property
    def is_program(self) -> bool:
        """Whether the bot is a program, by the settings in force."""
        return self._settings().command is not None

    def make_session(
        self,
        context: SessionContext,
        kind: SessionKind,
        on_ready: Callable[[str | None], None] | None = None,
    ) -> Session:
        """As :class:`~trioworkers.nursery.session.MakesSessions`."""
        if self.is_program and self._context is not None:
            return CommandSession(self._context, context, kind, on_ready)
        return WorkerSession(context, kind, on_ready)

    async def drop(self, keep: int) -> int:
        """Drop what waits in the inbox and at Telegram, but the last `keep` updates; return their number.

        Raises:
            NotDroppedError: some were not dropped.
        """
        assert self._context is not None  # noqa: S101 - for mypy; a program asks for it
        server, token = self._context.server()
        async with self._nothing_fetched(), BotApi(server, token) as api:
            try:
                dropped, kept = await drop_all_but(api, keep)
                return dropped + await self._scheduler.drop_waiting(keep - kept, "dropped by the program")
            except (BotApiError, TransportError, StoreError) as error:
                raise NotDroppedError from error

    def allow(self, kinds: Sequence[str]) -> None:
        """The program asks for these kinds of updates."""
        before = self.intake_settings().allowed_updates
        self._kinds = tuple(sorted(set(kinds).intersection(UPDATE_KINDS)))
        if self.intake_settings().allowed_updates != before:
            self._refetch()

    def intake_settings(self) -> BotSettings:
        """The settings to fetch updates by: with the kinds that the program wants, if the file names none."""
        settings = self._settings()
        if self._kinds is None or not self.is_program or settings.allowed_updates:
            return settings
        return settings.model_copy(update={"allowed_updates": self._kinds})
