"""The kinds of alerts: their names in settings and messages, and the events that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

AlertKind = Literal[
    "bot_failed",
    "token_refused",
    "another_poller",
    "hears_nothing",
    "dead_letters",
    "inbox",
    "inbox_damaged",
    "reload_refused",
    "worker_recycled",
    "plugin_disabled",
]
"""What `alerts` in the settings may name."""

SETTLES = 10.0  # seconds
NAMES: tuple[AlertKind, ...] = get_args(AlertKind)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind is shown.

    Attributes:
        title: for people.
        section: of docs/runbook.md, which says what to do.
        label: `alertname` in Alertmanager's format.
        severity: `critical` or `warning`.
        subjects: what it is about, in the plural; empty: the fleet as a whole.
        ends_quietly: it ends because time has passed, which people are not told.
        settles: seconds that its end has to last: the worker of a bot whose token is refused may be ready
            before that is known, and one that crashes may do so a moment later.
    """

    title: str
    section: str
    label: str
    severity: str
    subjects: str = "bots"
    ends_quietly: bool = False
    settles: float = 0.0


KINDS: dict[str, Kind] = {
    "bot_failed": Kind("bot failed", "botfailed", "TrioworkersBotFailed", "critical", settles=SETTLES),
    "token_refused": Kind(
        "token refused by Telegram", "tokenrefused", "TrioworkersTokenRefused", "critical", settles=SETTLES
    ),
    "another_poller": Kind(
        "another program takes the updates", "anotherpoller", "TrioworkersAnotherPoller", "critical"
    ),
    "hears_nothing": Kind(
        "no updates can be received", "hearsnothing", "TrioworkersHearsNothing", "critical"
    ),
    "dead_letters": Kind("many dead letters", "deadlettersgrow", "TrioworkersDeadLetters", "warning"),
    "inbox": Kind("updates cannot be stored", "storefails", "TrioworkersInbox", "critical", ""),
    "inbox_damaged": Kind(
        "the store was damaged", "storedamaged", "TrioworkersInboxDamaged", "critical", "", True
    ),
    "reload_refused": Kind(
        "the new settings are refused", "reloadrefused", "TrioworkersReloadRefused", "warning", ""
    ),
    "worker_recycled": Kind(
        "workers use too much memory", "workersrecycledoften", "TrioworkersWorkerRecycled", "warning"
    ),
    "plugin_disabled": Kind(
        "plugin switched off", "plugindisabled", "TrioworkersPluginDisabled", "warning", "plugins"
    ),
}

HEARD = frozenset(
    {
        "bot.failed",
        "bot.removed",
        "inbox.damaged",
        "inbox.full",
        "inbox.recovered",
        "inbox.trouble",
        "plugin.disabled",
        "reload.applied",
        "reload.refused",
        "transport.conflict",
        "transport.recovered",
        "transport.refused",
        "transport.switched",
        "transport.trouble",
        "update.dead",
        "webhook.refused",
        "webhook.registered",
        "worker.ready",
        "worker.recycled",
    }
)
"""The events that alerts begin and end with."""
