"""A notice as people and as Alertmanager's receivers read it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from trioworkers_plugins.alerts.book import shown_time
from trioworkers_plugins.alerts.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers_plugins.alerts.book import Alert, Notice
    from trioworkers_plugins.alerts.kinds import Kind

MOST_NAMED = 5  # in a message to a chat; the others are counted
NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which stands for "not over" in Alertmanager's format
RECEIVER = "trioworkers"


def in_words(notice: Notice, fleet: str, docs: str | None = None) -> str | None:
    """The message to a chat, as plain text. None: people are not told of this notice.

    `docs`: where the pages are served, to which the message links while something is wrong.
    """
    kind = KINDS[notice.kind]
    fired, resolved, firing = notice.counts
    parts = []
    if fired:
        parts.append(_section(f"🔴 {fleet}: {kind.title}", notice.fired, fired, _reason))
    elif firing and not resolved:
        parts.append(_section(f"🔴 {fleet}: {kind.title} (still)", notice.firing, firing, _reason))
    if resolved and not kind.ends_quietly:
        parts.append(_section(f"🟢 {fleet}: over: {kind.title}", notice.resolved, resolved, _lasted))
    if parts and resolved and firing > fired:
        parts.append(f"Still so: {firing - fired} {kind.subjects or 'alerts'}")
    if parts and firing and docs is not None:
        parts.append(f"What to do: {_page(kind, docs)}")
    return "\n\n".join(parts) or None


def _section(title: str, alerts: Sequence[Alert], count: int, tail: Callable[[Alert], str]) -> str:
    named = alerts[:MOST_NAMED]
    lines = [title, *(": ".join(filter(None, (alert.subject, tail(alert)))) for alert in named)]
    if count > MOST_NAMED:
        lines.append(f"and {count - MOST_NAMED} more {KINDS[alerts[0].kind].subjects}")
    return "\n".join(line for line in lines if line)


def _reason(alert: Alert) -> str:
    return alert.reason


def _lasted(alert: Alert) -> str:
    return f"after {shown_time(max(0.0, (alert.ended or alert.since) - alert.since))}"


def in_alertmanagers_format(notice: Notice, fleet: str, docs: str | None = None) -> dict[str, Any]:
    """The body for a receiver of Alertmanager's webhooks, version 4.

    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    """
    kind = KINDS[notice.kind]
    _, resolved, firing = notice.counts
    group = {"alertname": kind.label, "fleet": fleet}
    common = {**group, "severity": kind.severity}
    notes = {"summary": kind.title}
    if docs is not None:
        notes["runbook_url"] = _page(kind, docs)
    alerts = [_alert(alert, kind, common, notes) for alert in (*notice.firing, *notice.resolved)]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{kind.label}", fleet={_quoted(fleet)}}}',
        "truncatedAlerts": firing + resolved - len(alerts),
        "status": "firing" if firing else "resolved",
        "receiver": RECEIVER,
        "groupLabels": group,
        "commonLabels": common,
        "commonAnnotations": notes,
        "externalURL": "",
        "alerts": alerts,
    }


def _page(kind: Kind, docs: str) -> str:
    return f"{docs.rstrip('/')}/runbook.html#{kind.section}"


def _alert(alert: Alert, kind: Kind, common: dict[str, str], notes: dict[str, str]) -> dict[str, Any]:
    labels = dict(common)
    if alert.subject:
        labels["plugin" if kind.subjects == "plugins" else "bot"] = alert.subject
    named = "\0".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return {
        "status": "firing" if alert.ended is None else "resolved",
        "labels": labels,
        "annotations": {**notes, "description": alert.reason},
        "startsAt": _time(alert.since),
        "endsAt": NEVER if alert.ended is None else _time(alert.ended),
        "generatorURL": "",
        "fingerprint": blake2b(named.encode(), digest_size=8).hexdigest(),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
