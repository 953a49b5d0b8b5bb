"""What a bot needs of the daemon around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from trioworkers.nursery.bot_hooks import NoHooks
from trioworkers.nursery.proven_handlers import ProvenHandlers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.config import BotSettings, Fleet
    from trioworkers.events import Events
    from trioworkers.figures import Figures
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.nursery.asks import AskDaemon
    from trioworkers.nursery.bot_hooks import BotHooks
    from trioworkers.nursery.command_session import Commands
    from trioworkers.nursery.intake import Webhooks
    from trioworkers.nursery.oom import OomKills
    from trioworkers.nursery.paused import PausedBots
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.nursery.spawn import MakesWorkers
    from trioworkers.protocol.frames import CodeLoaded, WorkerPlugin
    from trioworkers.ratelimit.pace import Paces


@dataclass(frozen=True, slots=True)
class BotContext:
    """What a bot needs of the daemon around it.

    Attributes:
        fleet: the fleet in force.
        inbox: the updates of all bots.
        makes: makes worker processes.
        events: where it is emitted what happens.
        may_start: waits for this bot's turn in the fleet's start rate, as :meth:`StartRate.wait`.
        slots: how many workers there may be at once.
        webhooks: what bots need for webhooks.
        paused: which bots are paused.
        oom: the kernel's counter of kills for want of memory.
        hooks: what plugins have on the way of a bot's updates.
        ask: answers what handlers ask for; None: nobody does.
        worker_plugins: the plugins that have hooks in workers.
        figures: counts for metrics; None: nobody wants them.
        touched: the bots whose row of the status may have changed, for whoever shows them.
        paces: the bots' turns to send; None: nobody limits these.
        echo: is given a bot's name and what it prints; None: nobody looks on.
        commands: what the daemon has for bots that are programs; None: there are none.
        console: the terminal for breakpoints of bots that run without time limits, empty where the daemon has
            none; None: nobody debugs.
        on_code: told of a bot, when its worker was started, and which files its code comes from; None: nobody
            watches these.
        epoch: under which epoch this daemon has a bot, by its id; None where it is in no cluster.
        lease_page: the file that says until when workers may call; empty: for ever.
        may_call: whether calls of bots may be made at this moment, as far as leases go.
        is_taken_over: the bot was run by another daemon, or by this one under an earlier lease.
        proven: the handlers of which a worker was ready.
        rng: where jitter comes from. One for all: it has 2.5 kB.
    """

    fleet: Callable[[], Fleet]
    inbox: Inbox
    makes: MakesWorkers
    events: Events
    may_start: Callable[[Callable[[], bool]], Awaitable[None]]
    slots: WorkerSlots
    webhooks: Webhooks
    paused: PausedBots
    oom: OomKills
    hooks: BotHooks = NoHooks()  # noqa: RUF009 - it has no state
    ask: AskDaemon | None = None
    worker_plugins: Callable[[], Sequence[WorkerPlugin]] = tuple
    figures: Figures | None = None
    touched: set[str] = field(default_factory=set)
    paces: Paces | None = None
    echo: Callable[[str, bytes], None] | None = None
    commands: Commands | None = None
    console: str | None = None
    on_code: Callable[[str, float, CodeLoaded], None] | None = None
    epoch: Callable[[int], int | None] = lambda _: None
    lease_page: Callable[[], str] = str
    may_call: Callable[[], bool] = lambda: True
    is_taken_over: bool = False
    proven: ProvenHandlers = field(default_factory=ProvenHandlers)
    rng: Random = field(default_factory=Random)

    def fetches_at_once(self, settings: BotSettings) -> bool:
        """Whether a bot takes in its updates before its handler is proven here.

        One whose workers start on demand has none to wait for. One that was taken over goes on with what was
        begun elsewhere: that updates of it were accepted shows that its handler was proven.
        """
        if settings.worker == "on_demand":
            return True
        return self.is_taken_over and self.inbox.tally(settings.bot_id).accepted > 0
