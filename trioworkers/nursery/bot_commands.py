"""What a run of a bot does otherwise while the bot is a program of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.bot_server import server_of
from trioworkers.config.values import UPDATE_KINDS
from trioworkers.nursery.command_session import CommandContext, CommandSession
from trioworkers.nursery.session import WorkerSession
from trioworkers.ratelimit.pace import OwnTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

    Attributes:
        refetch: called when other kinds of updates are to be fetched than by the poll under way.
    """

    def __init__(
        self,
        settings: Callable[[], BotSettings],
        context: BotContext,
        settling: Settling,
        scheduler: Scheduler,
        fault: Callable[[Exception], None],
    ) -> None:
        self.refetch: Callable[[], None] = lambda: None
        self._settings = settings
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
                allows=self.allow,
                meter=None if context.figures is None else context.figures.calls,
                turns=None if context.paces is None else OwnTurns(context.paces, bot_id),
            )
        )

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

    def allow(self, kinds: Sequence[str]) -> None:
        """The program asks for these kinds of updates."""
        before = self.intake_settings().allowed_updates
        self._kinds = tuple(sorted(set(kinds).intersection(UPDATE_KINDS)))
        if self.intake_settings().allowed_updates != before:
            self.refetch()

    def intake_settings(self) -> BotSettings:
        """The settings to fetch updates by: with the kinds that the program wants, if the file names none."""
        settings = self._settings()
        if self._kinds is None or not self.is_program or settings.allowed_updates:
            return settings
        return settings.model_copy(update={"allowed_updates": self._kinds})
