"""The page of one bot: how it is, in words, and what happened to it last. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from trioworkers.top import words
from trioworkers.top.words import plain
from trioworkers.trouble import trouble_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trioworkers.top.rows import Shown
    from trioworkers.top.state import TopState

EVENTS = 8
LABEL = 13  # columns for the names of values
STDERR = 6  # lines of a worker's last words
COMMON = frozenset({"type", "seq", "at", "level", "event", "bot", "trace_id"})


def wrapped(name: str, value: str, width: int) -> list[Text]:
    """A name and its value, on as many lines as it takes."""
    indent = LABEL if name else 1
    parts = wrap(value, max(20, width - indent - 1)) or [""]
    first = Text.assemble((f" {name}".ljust(indent), "dim"), parts[0])
    return [first, *(Text(" " * indent + part) for part in parts[1:])]


def page_of(state: TopState, width: int, now: float, *, is_plain: bool = False) -> list[Text]:
    """The lines of the opened bot's page."""
    assert state.opened is not None  # noqa: S101 - the caller looked
    shown = state.shown(state.opened, now)
    if shown is None:
        return [Text(), Text(f" {plain(state.opened)} is not in the fleet any more", "yellow")]
    lines = [Text(), Text(f" {plain(shown.bot)}", "bold"), *wrapped("", health(shown), width), Text()]
    found = trouble_of(shown.row)
    if found is not None:
        lines += wrapped("what to do", plain(found.remedy.replace("BOT", shown.bot)), width)
    for name, value in figures(shown):
        lines += wrapped(name, value, width)
    bars = words.spark(shown.pace.seconds, max(10, min(60, width - LABEL - 1)), is_plain=is_plain)
    if bars:
        lines += [Text.assemble((" last minute".ljust(LABEL), "dim"), bars.strip())]
    lines += last_exit(shown.row, width)
    own = [event for event in state.events if event.get("bot") == shown.bot][-EVENTS:]
    if own:
        lines += [Text(), Text(" its latest events", "bold")]
        for event in own:
            at = words.clock(event["at"])
            lines.append(Text.assemble(f" {at} {plain(event['event'])}", (fields_of(event), "dim")))
    return lines


def fields_of(event: Mapping[str, Any]) -> str:
    """An event's own fields, on one line."""
    return "".join(f" {plain(name)}={plain(value)}" for name, value in event.items() if name not in COMMON)


def health(shown: Shown) -> str:
    """How the bot is, in a sentence."""
    row, trouble = shown.row, shown.trouble
    queue = row.get("queue") or {}
    said = {
        "running": "it works", "sleeping": "it sleeps until an update comes", "starting": "its worker starts",
        "draining": "it finishes what it has", "stopped": "it is stopped",
        "paused": "it is paused: updates are accepted and wait",
        "backoff": "its worker waits for its next start", "failed": "it failed",
    }.get(shown.state, shown.state)  # fmt: skip
    if trouble is not None:
        said += f", {'but ' if shown.state == 'running' else ''}{plain(trouble)}"
        found = trouble_of(row)
        if found is not None and found.since is not None:
            said += f", since {words.moment(found.since)}"
    if queue.get("retry"):
        said += f"; {queue['retry']} updates wait for another attempt"
    return said


def figures(shown: Shown) -> Iterator[tuple[str, str]]:
    """Names and values."""
    row = shown.row
    queue = row.get("queue") or {}
    up, code = words.span(row.get("uptime_ms")), plain(row.get("code") or "-")
    yield "worker", f"pid {row.get('pid') or '-'}, up {up}, code {code}"
    yield "heartbeat", f"{words.span(row.get('last_heartbeat_age_ms'))} ago" if row.get("pid") else "-"
    yield "memory", words.size(row.get("memory_bytes"))
    yield "restarts", words.count(row.get("restarts")) + _next_start(row)
    yield "transport", plain(row.get("transport"))
    yield "updates", f"{words.count(row.get('messages'))} handled, {words.count(row.get('errors'))} failures"
    yield "speed", f"{words.rate(shown.pace.rate)} updates/s, median {words.brief(row.get('latency_ms'))}"
    parts = ", ".join(
        f"{queue.get(part, 0)} {part.replace('_', ' ')}" for part in ("ready", "in_flight", "retry")
    )
    yield "queue", f"{parts}; {shown.dead} dead"


def _next_start(row: Mapping[str, Any]) -> str:
    at = row.get("next_start_at")
    return "" if at is None else f", next start at {words.clock(at)}"


def last_exit(row: Mapping[str, Any], width: int) -> Iterator[Text]:
    """How the bot's last worker ended, with its last words."""
    ended = row.get("last_exit")
    if not ended:
        return
    how = plain(ended.get("signal") or f"exit code {ended.get('code')}")
    if ended.get("oom"):
        how += ", since memory ran out"
    at = words.moment(ended["at"])
    yield from wrapped("last exit", f"{how}, at {at}", width)
    for line in (ended.get("stderr") or [])[-STDERR:]:
        yield Text(f"   {plain(line)}", "dim")
