"""What `trioworkers bots show` and `bots list` show. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from trioworkers.cli.promised import promise_of
from trioworkers.cli.shown import counted, moment, printable
from trioworkers.cli.table import Column, folded, table_lines
from trioworkers.top.words import brief, count, size, span
from trioworkers.trouble import trouble_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

from trioworkers.cli.shown import Paper

LABEL = 14  # columns for the names of values
STATES = {
    "running": "it runs",
    "sleeping": "it sleeps until an update comes",
    "starting": "its worker starts",
    "draining": "it finishes what it has",
    "stopped": "it is stopped",
    "paused": "it is paused: updates are accepted and wait",
    "backoff": "its worker waits for its next start",
    "failed": "it failed",
}
COLUMNS = (
    Column("bot"),
    Column("id", 1),
    Column("state"),
    Column("handler", 4),
    Column("code", 2),
    Column("pid", 3),
    Column("reason", 5, is_text=True),
)


def marked(state: str, is_unwell: bool) -> str:
    """The state, with a mark at a bot that would seem well by its state alone."""
    return f"{state} !" if is_unwell and state not in ("failed", "backoff") else state


def list_lines(bots: Sequence[Mapping[str, Any]], paper: Paper) -> list[str]:
    """The lines of `bots list`."""
    rows = [
        [
            bot["bot"],
            str(bot["bot_id"]),
            marked(bot["state"], bot["reason"] is not None),
            printable(bot["handler"] or "-"),
            printable(bot["code"] or "-"),
            str(bot["pid"] or "-"),
            printable(bot["reason"] or ""),
        ]
        for bot in bots
    ]
    columns = [*COLUMNS]
    if any("node" in bot for bot in bots):
        columns.insert(3, Column("node", 4))
        for row, bot in zip(rows, bots, strict=True):
            row.insert(3, printable(bot.get("node", "-")))
    return table_lines(columns, rows, paper) if rows else ["no bots"]


def bot_lines(bot: Mapping[str, Any], settings: Mapping[str, Any], paper: Paper, now: float) -> list[str]:
    """The lines of `bots show`.

    Args:
        bot: its row of the status document, and what it is.
        settings: those in force, with units.
        paper: what they are shown on.
        now: Unix seconds.
    """
    lines = folded(f"{bot['bot']}: {_health(bot, now)}", paper.width)
    for name, value in _values(bot, now):
        lines += folded(f"  {name.ljust(LABEL)}{value}", paper.width, "", " " * (LABEL + 2))
        if name == "last exit":
            lines += [f"    | {printable(line)}" for line in bot["last_exit"]["stderr"] or ()]
    promise = promise_of(settings, bot["acknowledge"])
    if promise is not None:
        lines += folded(f"  {'promise'.ljust(LABEL)}{promise}", paper.width, "", " " * (LABEL + 2))
    lines.append("settings in force")
    for key, setting in flat(settings):
        is_known = not key.startswith("settings.")  # of the handler's own, only the kind is told
        said = f"{key} = {_toml(key, setting)}" if is_known else f"{key}: {setting}"
        lines += folded(f"  {printable(said)}", paper.width)
    return lines


def _health(bot: Mapping[str, Any], now: float) -> str:
    state: str = STATES.get(bot["state"], bot["state"])
    trouble = trouble_of(bot)
    if trouble is None:
        return state
    lasts = "" if trouble.since is None else f" for {span(max(0.0, now - trouble.since) * 1000)}"
    why = f": {printable(trouble.why)}" if trouble.why else ""
    if bot["state"] in ("failed", "backoff"):
        return f"{state}{why}" if bot["state"] == "failed" else f"{state}, {trouble.what}{why}"
    return f"{state}, but {trouble.what.replace('hears', 'it hears', 1)}{lasts}{why}"


def _values(bot: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    queue, trouble = bot["queue"], trouble_of(bot)
    if trouble is not None:
        yield "what to do", printable(trouble.remedy.replace("BOT", bot["bot"]))
    yield "bot id", str(bot["bot_id"])
    yield "stands in", printable(bot["origin"])
    code = f", code {printable(bot['code'])}" if bot["code"] else ""
    yield "handler", f"{printable(bot['handler'] or '-')}{code}"
    yield "worker", _worker(bot)
    if bot["next_start_at"] is not None:
        left = span(max(0.0, bot["next_start_at"] - now) * 1000)
        yield "next try", f"{moment(bot['next_start_at'])}, in {left}"
    yield "restarts", f"{count(bot['restarts'])} since the daemon's start"
    yield "updates come", _transport(bot)
    latency = "" if bot["latency_ms"] is None else f", half of them within {brief(bot['latency_ms'])}"
    yield "updates", f"{count(bot['messages'])} handled{latency}, {counted(bot['errors'], 'failure')}"
    parts = f"{queue['ready']:,} ready, {queue['in_flight']:,} in flight"
    yield "waiting", f"{parts}, {queue['retry']:,} to be tried again"
    yield "dead letters", count(queue["dead"])
    if bot["rate_limit"] is not None:
        limit = bot["rate_limit"]
        waited = span(limit["waited_ms"])
        yield (
            "rate limit",
            f"{limit['waiting']:,} messages wait; {limit['delayed']:,} waited, {waited} in all",
        )
    for plugin, told in bot["plugins"].items():
        yield printable(plugin), printable(_words(told))
    if bot["last_exit"] is not None:
        yield "last exit", _exit(bot["last_exit"])


def _worker(bot: Mapping[str, Any]) -> str:
    if bot["pid"] is None:
        return "no process"
    up, used = span(bot["uptime_ms"]), size(bot["memory_bytes"])
    beat = f", last sign of life {span(bot['last_heartbeat_age_ms'])} ago"
    return f"pid {bot['pid']}, up {up}, {used}{beat if bot['last_heartbeat_age_ms'] is not None else ''}"


def _transport(bot: Mapping[str, Any]) -> str:
    if bot["transport"] == "poll":
        return "by long polling"
    webhook = bot["webhook"]
    return "by webhook" if webhook is None else f"by webhook; {webhook['pending']:,} wait at Telegram"


def _exit(ended: Mapping[str, Any]) -> str:
    if ended["oom"]:
        how = "killed, since memory ran out"
    else:
        how = f"signal {ended['signal']}" if ended["signal"] else f"exit code {ended['code']}"
    return f"{printable(how)}, at {moment(ended['at'])}"


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested tables with their values, as `retry.attempts`."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _toml(key: str, value: Any) -> str:
    """As the fleet file has it; what it has no value for, in words."""
    if value is None:
        return '"off"' if key == "rate_limit" else "none"
    return json.dumps(value, ensure_ascii=False)
