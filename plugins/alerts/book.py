"""Which alerts are firing, and when people are told: a pure state machine. Times are Unix seconds.

An alert fires when its event came, or did not end within some time, and ends by another event. What changes
within `gather` seconds becomes one notice for each kind; after a notice its kind is quiet for `window`
seconds, in which further changes gather. What ended before it was told is never told, and what came back
before its end was told did not end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace
from trioworkers_plugins.alerts.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIRM = 120.0  # seconds after a restart in which what still goes on shows itself again
DAMAGE_LASTS = 3600.0
RECYCLED_WINDOW = 3600.0
MOST_LISTED = 200  # alerts of each sort in one notice
MOST_LATELY = 100  # alerts that are over and still known
REASON_LENGTH = 200  # characters
TOKEN_REFUSED = "token refused"  # noqa: S105 - the reason of bot.failed
BY_STATUS = frozenset({"bot_failed", "token_refused", "reload_refused", "plugin_disabled"})
"""Kinds that the status document can confirm."""


class Happened(Protocol):
    """An event of the daemon."""

    @property
    def event(self) -> str: ...
    @property
    def bot(self) -> str | None: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


class Seen(msgspec.Struct, frozen=True):
    """What the status says, which no lost event can change.

    Attributes:
        failed: the bots that have failed, with the reason.
        well: the bots that have not, and are not about to start.
        bots: all bots.
        refused: the first problem of a refused reload; None when the last one went well.
        off: the plugins that are switched off.
    """

    failed: dict[str, str] = {}
    well: frozenset[str] = frozenset()
    bots: frozenset[str] = frozenset()
    refused: str | None = None
    off: frozenset[str] = frozenset()


class Alert(msgspec.Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        kind: of `KINDS`.
        subject: a bot, a plugin, or empty.
        reason: in words, without texts of users.
        since: when it began.
        fires_at: when it counts as an alert, if it has not ended by then.
        until: when it ends by itself.
        ended: when it ended.
        told: whether a notice named it.
    """

    kind: str
    subject: str
    reason: str
    since: float
    fires_at: float
    until: float | None = None
    ended: float | None = None
    told: bool = False


class Notice(msgspec.Struct, frozen=True):
    """What is told of one kind at one time; of each sort `MOST_LISTED` at most are listed.

    Attributes:
        fired, resolved: what began and ended since the last notice.
        firing: all that goes on now, of which `fired` is a part.
        counts: how many of these three there are in all.
    """

    kind: str
    at: float
    fired: tuple[Alert, ...]
    resolved: tuple[Alert, ...]
    firing: tuple[Alert, ...]
    counts: tuple[int, int, int]


class BookState(msgspec.Struct, frozen=True):
    """What the book knows.

    Attributes:
        alerts: by kind and subject.
        counts: the last times of what is counted, by kind and subject.
        told_at: the time of each kind's last notice.
        lately: alerts that are over and wait for no notice any more, the last one last.
    """

    alerts: dict[str, Alert] = {}
    counts: dict[str, tuple[float, ...]] = {}
    told_at: dict[str, float] = {}
    lately: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of it; times are seconds.

    Attributes:
        on: the kinds that are watched.
        gather: for how long changes gather before the first notice.
        window: for how long a kind is quiet after a notice.
        repeat: after how long what goes on is told again; 0: never.
        patience: how long a bot may hear nothing.
        dead_letters, dead_letters_window: so many of one bot within this time are an alert.
        recycled: so many workers of one bot within an hour are an alert.
    """

    on: frozenset[str]
    gather: float
    window: float
    repeat: float
    patience: float
    dead_letters: int
    dead_letters_window: float
    recycled: int


class AlertBook:
    """The rules in force. It keeps nothing: what it knows is the state that each step takes and returns."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def step(
        self, state: BookState, events: Iterable[Happened | Seen], now: float
    ) -> tuple[BookState, tuple[Notice, ...]]:
        """Take in what happened until `now`; return the new state and what is to be told."""
        page = _Page(self._rules, state, now)
        for event in events:
            if isinstance(event, Seen):
                page.see(event)
            else:
                page.hear(event)
        return page.turn()

    def next_at(self, state: BookState) -> float:
        """When the next step is due though nothing happens; infinity when nothing is to come."""
        ends = [one.until for one in state.alerts.values() if one.until is not None and one.ended is None]
        return min([*ends, *_due(self._rules, state).values()], default=math.inf)


def restored(state: BookState, now: float) -> BookState:
    """A state of an earlier run of the daemon: what it cannot look up has to show itself again."""
    alerts = {}
    for key, alert in state.alerts.items():
        if alert.told and alert.until is None and alert.kind not in BY_STATUS:
            alert = replace(alert, until=now + CONFIRM)
        if alert.told or alert.kind in BY_STATUS:
            alerts[key] = alert
    return replace(state, alerts=alerts)


class _Page:
    """One step: a copy of the state, which is changed in place."""

    def __init__(self, rules: Rules, state: BookState, now: float) -> None:
        self._rules = rules
        self._now = now
        self._alerts = {key: alert for key, alert in state.alerts.items() if alert.kind in rules.on}
        self._counts = dict(state.counts)
        self._told_at = dict(state.told_at)
        self._lately = list(state.lately)

    def hear(self, happened: Happened) -> None:
        bot, reason = happened.bot or "", _words(happened.fields.get("reason", ""))
        match happened.event:
            case "bot.failed":
                self._fail(bot, reason)
            case "transport.refused":
                self._fail(bot, TOKEN_REFUSED)
            case "worker.ready":
                if not happened.fields.get("quarantine"):
                    self._end(bot, "bot_failed", "token_refused")
            case "bot.removed":
                self._end(bot, *(name for name, kind in KINDS.items() if kind.subjects == "bots"))
            case "transport.conflict":
                self._raise("another_poller", bot, reason)
            case "transport.trouble" | "webhook.refused":
                self._raise("hears_nothing", bot, reason, patience=self._rules.patience)
            case "transport.recovered" | "transport.switched" | "webhook.registered":
                self._end(bot, "another_poller", "hears_nothing")
                if happened.event == "webhook.registered":
                    self._end("", "hears_nothing")  # the listener's, which all bots share
            case "update.dead":
                most, window = self._rules.dead_letters, self._rules.dead_letters_window
                self._count("dead_letters", bot, most, window)
            case "worker.recycled":
                self._count("worker_recycled", bot, self._rules.recycled, RECYCLED_WINDOW)
            case "inbox.full" | "inbox.trouble":
                self._raise("inbox", "", reason)
            case "inbox.recovered":
                self._end("", "inbox")
            case "inbox.damaged":
                self._raise("inbox_damaged", "", reason, until=self._now + DAMAGE_LASTS)
            case "reload.refused":
                problems = happened.fields.get("problems") or [""]
                self._raise("reload_refused", "", _words(problems[0]))
            case "reload.applied":
                self._end("", "reload_refused")
            case "plugin.disabled":
                self._raise("plugin_disabled", str(happened.fields.get("plugin", "")), reason)

    def see(self, seen: Seen) -> None:
        for bot, reason in seen.failed.items():
            self._fail(bot, _words(reason))
        if seen.refused is None:
            self._end("", "reload_refused")
        else:
            self._raise("reload_refused", "", _words(seen.refused))
        for plugin in seen.off:
            self._raise("plugin_disabled", plugin, "")
        for alert in list(self._alerts.values()):
            is_of_bot = KINDS[alert.kind].subjects == "bots" and alert.subject
            is_well = alert.kind in ("bot_failed", "token_refused") and alert.subject in seen.well
            is_on = alert.kind == "plugin_disabled" and alert.subject not in seen.off
            if is_well or is_on or (is_of_bot and alert.subject not in seen.bots):
                self._end(alert.subject, alert.kind)

    def turn(self) -> tuple[BookState, tuple[Notice, ...]]:
        """Let the time be what it is."""
        for alert in list(self._alerts.values()):
            if alert.until is not None and alert.until <= self._now:
                self._end(alert.subject, alert.kind)
        longest = {"dead_letters": self._rules.dead_letters_window, "worker_recycled": RECYCLED_WINDOW}
        for key, times in list(self._counts.items()):
            if times[-1] + longest[key.partition("/")[0]] <= self._now:
                del self._counts[key]
        state = BookState(self._alerts, self._counts, self._told_at)
        due = _due(self._rules, state)
        notices = tuple(self._tell(kind) for kind, at in due.items() if at <= self._now)
        return replace(state, lately=tuple(self._lately[-MOST_LATELY:])), notices

    # -- what begins and ends ------------------------------------------------------------------------

    def _fail(self, bot: str, reason: str) -> None:
        is_token = reason == TOKEN_REFUSED and "token_refused" in self._rules.on
        self._end(bot, "bot_failed" if is_token else "token_refused")
        self._raise("token_refused" if is_token else "bot_failed", bot, reason)

    def _raise(
        self, kind: str, subject: str, reason: str, *, patience: float = 0.0, until: float | None = None
    ) -> None:
        if kind not in self._rules.on:
            return
        key = _key(kind, subject)
        known = self._alerts.get(key)
        if known is None:
            self._alerts[key] = Alert(kind, subject, reason, self._now, self._now + patience, until)
        else:
            self._alerts[key] = replace(known, reason=reason or known.reason, until=until, ended=None)

    def _end(self, subject: str, *kinds: str) -> None:
        for kind in kinds:
            alert = self._alerts.get(_key(kind, subject))
            if alert is None or alert.ended is not None:
                continue
            if alert.told:
                self._alerts[_key(kind, subject)] = replace(alert, ended=self._now)
            else:
                del self._alerts[_key(kind, subject)]
                if alert.fires_at <= self._now:
                    self._lately.append(replace(alert, ended=self._now))

    def _count(self, kind: str, subject: str, most: int, window: float) -> None:
        if kind not in self._rules.on:
            return
        key = _key(kind, subject)
        times = self._counts[key] = (*self._counts.get(key, ()), self._now)[-most:]
        if len(times) == most and times[-1] - times[0] <= window:
            reason = f"{most} or more within {shown_time(window)}"
            self._raise(kind, subject, reason, until=self._now + window)
        elif key in self._alerts and self._alerts[key].ended is None:
            self._alerts[key] = replace(self._alerts[key], until=self._now + window)

    # -- what is told --------------------------------------------------------------------------------

    def _tell(self, kind: str) -> Notice:
        of_kind = [(key, alert) for key, alert in self._alerts.items() if alert.kind == kind]
        going_on = [(key, one) for key, one in of_kind if one.ended is None and one.fires_at <= self._now]
        fired = tuple(alert for _, alert in going_on if not alert.told)
        resolved = tuple(alert for _, alert in of_kind if alert.ended is not None)
        firing = tuple(alert for _, alert in going_on)
        for key, alert in going_on:
            self._alerts[key] = replace(alert, told=True)
        for alert in resolved:
            del self._alerts[_key(kind, alert.subject)]
        self._lately += resolved
        self._told_at[kind] = self._now
        listed = (fired[:MOST_LISTED], resolved[:MOST_LISTED], firing[:MOST_LISTED])
        return Notice(kind, self._now, *listed, (len(fired), len(resolved), len(firing)))


def _due(rules: Rules, state: BookState) -> dict[str, float]:
    """When the next notice of each kind is due, where there is something to tell."""
    due: dict[str, float] = {}
    for alert in state.alerts.values():
        last = state.told_at.get(alert.kind, -math.inf)
        if alert.ended is not None:
            at = max(alert.ended + max(rules.gather, KINDS[alert.kind].settles), last + rules.window)
        elif not alert.told:
            at = max(alert.fires_at + rules.gather, last + rules.window)
        elif rules.repeat:
            at = last + max(rules.repeat, rules.window)
        else:
            continue
        due[alert.kind] = min(at, due.get(alert.kind, math.inf))
    return due


def _key(kind: str, subject: str) -> str:
    return f"{kind}/{subject}"


def _words(text: object) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= REASON_LENGTH else words[: REASON_LENGTH - 1] + "…"


def shown_time(seconds: float) -> str:
    """A duration for people: `45 s`, `10 min`, `3 h`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
