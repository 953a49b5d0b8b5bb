"""Alerts over HTTP: what is wrong now, and what was lately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from quart import Blueprint
from trioworkers_plugins.alerts.kinds import KINDS

from trioworkers.described import Description, TypedDict, described

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers_plugins.alerts.book import Alert
    from trioworkers_plugins.alerts.service import AlertService

SEVERITIES = ("critical", "warning")


class AlertRow(TypedDict):
    kind: str
    title: str
    severity: Literal["critical", "warning"]
    bot: str | None
    plugin: str | None
    reason: str
    since: float
    ended: float | None


class AlertPage(TypedDict):
    alerts: list[AlertRow]
    lately: list[AlertRow]
    waiting: int


def alert_routes(
    service: Callable[[], AlertService | None], clock: Callable[[], float] = time.time
) -> Blueprint:
    """`GET /api/alerts`. `service`: the one that runs; None while none does."""
    routes = Blueprint("alerts", __name__, url_prefix="/api/alerts")

    @routes.get("")
    @described(
        Description(
            "What is wrong now, and what was lately", AlertPage, refusals={503: "the alerts are not read yet"}
        )
    )
    async def page() -> tuple[dict[str, Any], int]:
        running = service()
        if running is None:
            return {"error": "the alerts are not read yet"}, 503
        return shown(running, clock()), 200

    return routes


def shown(service: AlertService, now: float) -> dict[str, Any]:
    """Return what is wrong, the gravest first, and what was, the last first."""
    known = service.state.alerts.values()
    firing = [one for one in known if one.ended is None and one.fires_at <= now]
    over = [*service.state.lately, *(one for one in known if one.ended is not None)]
    return {
        "alerts": [_row(one) for one in sorted(firing, key=_rank)],
        "lately": [_row(one) for one in sorted(over, key=lambda one: one.ended or 0.0, reverse=True)],
        "waiting": service.waiting,
    }


def _rank(alert: Alert) -> tuple[int, float]:
    return SEVERITIES.index(KINDS[alert.kind].severity), -alert.since


def _row(alert: Alert) -> dict[str, Any]:
    kind = KINDS[alert.kind]
    subject = {"bots": "bot", "plugins": "plugin"}.get(kind.subjects)
    return {
        "kind": alert.kind,
        "title": kind.title,
        "severity": kind.severity,
        "bot": alert.subject or None if subject == "bot" else None,
        "plugin": alert.subject or None if subject == "plugin" else None,
        "reason": alert.reason,
        "since": alert.since,
        "ended": alert.ended,
    }
