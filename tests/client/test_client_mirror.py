"""The copy of a fleet's status that a client keeps."""

from __future__ import annotations

from trioworkers.client import Mirror

SNAPSHOT = {
    "type": "snapshot",
    "seq": 5,
    "data": {
        "fleet": {"name": "f", "state": "running", "uptime_ms": 10_000},
        "workers": [
            {"bot": "echo", "state": "running", "uptime_ms": 4000, "last_heartbeat_age_ms": 100},
            {"bot": "shop", "state": "sleeping", "uptime_ms": None, "last_heartbeat_age_ms": None},
        ],
    },
}


def test_it_follows_changes() -> None:
    """Of bots, of the daemon, new bots and bots that are gone; a snapshot begins anew."""
    mirror = Mirror()
    mirror.apply(SNAPSHOT, 100.0)
    mirror.apply({"type": "change", "seq": 6, "bot": "echo", "data": {"state": "backoff"}}, 101.0)
    mirror.apply(
        {"type": "change", "seq": 7, "bot": "new", "data": {"bot": "new", "state": "starting"}}, 101.0
    )
    mirror.apply({"type": "change", "seq": 8, "bot": "shop", "data": None}, 101.0)
    mirror.apply({"type": "change", "seq": 9, "bot": None, "data": {"state": "stopping"}}, 101.0)
    mirror.apply({"type": "event", "seq": 10, "event": "x", "bot": "echo"}, 101.0)
    assert {bot: row["state"] for bot, row in mirror.rows.items()} == {"echo": "backoff", "new": "starting"}
    assert mirror.fleet["state"] == "stopping"
    mirror.apply(SNAPSHOT, 102.0)
    assert mirror.document(102.0) == SNAPSHOT["data"]


def test_figures_that_run_run_on() -> None:
    """They are told only when they begin anew."""
    mirror = Mirror()
    mirror.apply(SNAPSHOT, 100.0)
    row = mirror.row_at("echo", 103.5)
    assert (row["uptime_ms"], row["last_heartbeat_age_ms"]) == (7500, 3600)
    assert mirror.fleet_at(103.5)["uptime_ms"] == 13_500
    assert mirror.row_at("shop", 103.5)["uptime_ms"] is None
    mirror.apply({"type": "change", "seq": 6, "bot": "echo", "data": {"uptime_ms": 0}}, 104.0)
    assert mirror.row_at("echo", 105.0)["uptime_ms"] == 1000
    mirror.apply({"type": "change", "seq": 7, "bot": "echo", "data": {"uptime_ms": None}}, 106.0)
    assert mirror.row_at("echo", 107.0)["uptime_ms"] is None
