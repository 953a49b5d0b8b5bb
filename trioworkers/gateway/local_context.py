"""What the endpoint's side of a program needs of its bot and the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trioworkers.botapi.messages import Turns
    from trioworkers.botapi.meter import CallMeter
    from trioworkers.gateway.update_ids import BotIds
    from trioworkers.gateway.upstream import Upstream


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What a local bot needs of its bot and the daemon.

    Attributes:
        ids: where its update ids come from.
        upstream: its connections to the Bot API server.
        acknowledge: what the settings ask for.
        most: how many updates the process has in hand at most, where their ends are known.
        handler_timeout: the seconds that a webhook has to answer.
        emit: emits an event of the bot.
        fault: is given what breaks in here.
        pending: how many updates wait for it.
        drop: drops what waits for the bot but the last so many updates, and returns how many were dropped;
            it raises NotDroppedError when some were not.
        may_drop: whether a program may ask for that.
        allows: is told which kinds of updates the program asks for.
        meter: counts requests to the Bot API; None: they are not counted.
        turns: where its messages wait for their turn; None: they do not.
    """

    ids: BotIds
    upstream: Upstream
    acknowledge: Callable[[], str]
    most: Callable[[], int]
    handler_timeout: Callable[[], float]
    emit: Callable[..., None]
    fault: Callable[[Exception], None]
    pending: Callable[[], int]
    drop: Callable[[int], Awaitable[int]]
    may_drop: Callable[[], bool]
    allows: Callable[[Sequence[str]], None] = lambda _: None
    meter: CallMeter | None = None
    turns: Turns | None = None


class Process(Protocol):
    """One process of a program, for what is done in its name."""

    @property
    def context(self) -> LocalContext:
        """What it works with."""

    def heard(self) -> None:
        """Note a sign of life."""
