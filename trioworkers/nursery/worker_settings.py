"""What a worker is given of its bot's settings: all of them first, then those that change while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.bot_server import server_of
from trioworkers.call_marks import FOLDER
from trioworkers.protocol.frames import Configure, Retune

if TYPE_CHECKING:
    from trioworkers.config import BotSettings
    from trioworkers.nursery.bot_context import BotContext


def tuning_of(settings: BotSettings, context: BotContext) -> Retune:
    """The settings that apply to the next updates of a worker that runs."""
    return Retune(
        settings=dict(settings.settings),
        handler_timeout=settings.handler_timeout,
        heartbeat_interval=settings.heartbeat_interval,
        memory_check_interval=settings.memory_check_interval,
        log_level=context.fleet().log.level,
        plugin_settings={one.name: one.settings for one in context.worker_plugins()},
        takes_turns=settings.rate_limit is not None,
    )


def configuration_of(settings: BotSettings, context: BotContext) -> Configure:
    """What a worker is told first. It holds the bot's token."""
    fleet = context.fleet()
    server = server_of(fleet, settings)
    return Configure(
        name=settings.name,
        bot_id=settings.bot_id,
        token=settings.token.reveal(),
        api_base=server.base,
        proxy=server.proxy,
        is_test=server.is_test,
        local_files=server.local_files,
        handler=settings.handler or "",
        python_path=[str(path) for path in fleet.python_path],
        concurrency=settings.concurrency,
        tuning=tuning_of(settings, context),
        plugins=list(context.worker_plugins()),
        counts_calls=context.figures is not None,
        tells_code=context.on_code is not None,
        console=context.console,
        lease="" if settings.command is not None else context.lease_page(),
        marks="" if settings.command is not None else str(fleet.state_dir / FOLDER),
    )
