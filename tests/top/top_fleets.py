"""Fleets for tests of `top`, and the screen as text."""

from __future__ import annotations

from typing import Any

from trioworkers.top.render import Screen, render
from trioworkers.top.state import TopState

HEALTHY = {"alive": True, "responsive": True, "progressing": True, "loop_lag_ms": 0, "oldest_in_flight_ms": 0}


def bot(name: str, state: str = "running", **fields: Any) -> dict[str, Any]:
    """A row of the status document."""
    works = state in ("running", "paused", "draining")
    row = {
        "bot": name, "bot_id": 7, "state": state, "paused": state == "paused", "pid": 4242 if works else None,
        "transport": "poll", "webhook": None, "uptime_ms": 754_000 if works else None, "messages": 1234,
        "errors": 2, "latency_ms": 12.5 if works else None, "restarts": 0,
        "memory_bytes": 31_000_000 if works else None, "last_heartbeat_age_ms": 2000 if works else None,
        "code": "ab12cd", "queue": {"ready": 0, "in_flight": 0, "retry": 0, "dead": 0}, "last_exit": None,
        "acknowledge": None, "next_start_at": None, "reason": None, "rate_limit": None,
        "health": {**HEALTHY, "alive": works},
        "plugins": {},
    }  # fmt: skip
    return {**row, **fields}


def snapshot(*rows: dict[str, Any], **fleet: Any) -> dict[str, Any]:
    """The first message of a stream."""
    config = {"hash": "x", "last_reload_ok": True, "last_reload_at": 0.0, "error": None}
    head = {"name": "demo", "version": "0", "pid": 4200, "uptime_ms": 11_520_000, "state": "running"}
    data = {"fleet": {**head, "config": config, **fleet}, "workers": list(rows)}
    return {"type": "snapshot", "seq": 1, "data": data}


def watching(*rows: dict[str, Any], **fleet: Any) -> TopState:
    """The state of a `top` that is connected to a fleet, at the moment 100."""
    state = TopState(100.0)
    state.apply({"type": "online"}, 100.0)
    state.apply(snapshot(*rows, **fleet), 100.0)
    state.table(100.0)
    return state


def mixed() -> list[dict[str, Any]]:
    """Bots in all states."""
    died = {
        "at": 1_790_000_000.0,
        "code": None,
        "signal": "SIGKILL",
        "oom": True,
        "stderr": ["MemoryError", "bye"],
    }
    queue = {"ready": 17, "in_flight": 3, "retry": 2, "dead": 4}
    return [
        bot("echo"),
        bot("shop", "paused", queue=queue),
        bot("support", "failed", reason="restart budget spent", last_exit=died, restarts=6, code=None),
        bot("news", "backoff", next_start_at=1_790_000_100.0, last_exit=died, restarts=2),
        bot("quiz", "sleeping"),
        bot("weather", "starting"),
        bot("old", "stopped"),
        bot("stuck", health={**HEALTHY, "responsive": False, "loop_lag_ms": 90_000}),
        bot("slow", health={**HEALTHY, "progressing": False, "oldest_in_flight_ms": 130_000}, queue=queue),
    ]


def event(name: str, bot: str | None, level: str = "info", **fields: Any) -> dict[str, Any]:
    """A message about an event."""
    return {
        "type": "event",
        "seq": 9,
        "at": 1_790_000_000.0,
        "level": level,
        "event": name,
        "bot": bot,
        **fields,
    }


def text(state: TopState, width: int = 120, height: int = 30, now: float = 100.0, **screen: Any) -> list[str]:
    """The screen's lines."""
    return [line.plain.rstrip() for line in render(state, Screen(width, height, **screen), now)]
