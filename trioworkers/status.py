"""The status document: what the fleet is doing, in the shape that is promised to users."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trioworkers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class DaemonStatus:
    """What is told of the daemon itself. Times are Unix seconds.

    `state` is `starting`, `running` or `stopping`.
    """

    name: str
    config_hash: str
    state: str = "starting"
    started_at: float = field(default_factory=time.time)
    last_reload_ok: bool = True
    last_reload_at: float = field(default_factory=time.time)
    config_error: str | None = None

    def document(self, workers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole status document around the workers' rows."""
        return {
            "fleet": {
                "name": self.name,
                "version": __version__,
                "pid": os.getpid(),
                "uptime_ms": round((time.time() - self.started_at) * 1000),
                "state": self.state,
                "config": {
                    "hash": self.config_hash,
                    "last_reload_ok": self.last_reload_ok,
                    "last_reload_at": self.last_reload_at,
                    "error": self.config_error,
                },
            },
            "workers": list(workers),
        }


def summary(workers: Sequence[dict[str, Any]]) -> str:
    """One line for people: `12 bots: 11 running, 1 failed; 3 updates waiting`."""
    states = Counter(worker["state"] for worker in workers)
    parts = ("ready", "in_flight", "retry")
    waiting = sum(worker["queue"][part] for worker in workers for part in parts)
    bots = "1 bot" if len(workers) == 1 else f"{len(workers)} bots"
    told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none"
    updates = "1 update" if waiting == 1 else f"{waiting} updates"
    return f"{bots}: {told}; {updates} waiting"
