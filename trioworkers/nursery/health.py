"""Whether a bot's worker is alive, responsive and making progress, and whether updates come in.

These are four facts, each with its own remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.nursery.session import OVERDUE

if TYPE_CHECKING:
    from trioworkers.config import BotSettings
    from trioworkers.nursery.session import Session


def health_of(
    session: Session | None,
    settings: BotSettings,
    now: float,
    *,
    waits: bool,
    deafness: dict[str, Any] | None,
) -> dict[str, Any]:
    """The part `health` of a bot's row of the status document.

    Args:
        session: of the bot's worker; None when it has none.
        settings: those in force.
        now: trio time.
        waits: messages of the bot wait for their turn to be sent, so that a handling takes longer.
        deafness: why no updates come in; None: they do.
    """
    worker = None if session is None else session.worker
    alive = worker is not None
    silent = now - (worker.heartbeat_at or now) if worker else 0.0
    held_for = session.held_for if session is not None else 0.0
    return {
        "alive": alive,
        "responsive": alive and silent <= 2 * settings.heartbeat_interval,
        "progressing": held_for <= settings.handler_timeout + OVERDUE or waits,
        "receiving": deafness is None,
        "intake": deafness,
        "loop_lag_ms": round(worker.lag * 1000) if worker else 0,
        "oldest_in_flight_ms": round(held_for * 1000),
    }
