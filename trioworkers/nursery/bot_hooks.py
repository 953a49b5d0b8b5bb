"""What plugins have on the way of a bot's updates, as a port: a bot knows nothing of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.config import BotSettings
    from trioworkers.inbox.gate import Judge
    from trioworkers.nursery.scheduler import Route
    from trioworkers.protocol.frames import HookCount


class BotHooks(Protocol):
    """What plugins have on the way of a bot's updates. `settings`: those of the bot in force."""

    def judges(self, settings: Callable[[], BotSettings]) -> Callable[[], Sequence[Judge]]:
        """What gives the judges of the bot's gate, anew for each batch."""

    def route(self, settings: Callable[[], BotSettings]) -> Route | None:
        """What names the functions of the daemon that handle updates; None: there are none."""

    def status(self, settings: BotSettings) -> dict[str, Any]:
        """What plugins add to the bot's row of the status document."""

    def count(self, counts: Sequence[HookCount]) -> None:
        """Count what a worker reports of its calls of plugins."""


class NoHooks:
    """As :class:`BotHooks`, without plugins."""

    def judges(self, settings: Callable[[], BotSettings]) -> Callable[[], Sequence[Judge]]:
        return tuple

    def route(self, settings: Callable[[], BotSettings]) -> Route | None:
        return None

    def status(self, settings: BotSettings) -> dict[str, Any]:
        return {}

    def count(self, counts: Sequence[HookCount]) -> None:
        """Without plugins no worker has any to report."""
