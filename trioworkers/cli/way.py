"""The way of one update on a terminal: `trioworkers logs --trace ID`."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import FAILED
from trioworkers.cli.failures import fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trioworkers.logs.way import Line, Way

SHORTEST = 8  # digits of a trace id
MOST_NAMED = 5  # trace ids that begin alike
ORIGIN = ("at", "level", "event", "bot", "trace_id", "dialog", "accepted_at")
"""What of a line stands in the head or in columns of its own."""
COLOURS = {"warn": "yellow", "error": "red"}


class TraceName(click.ParamType[str]):
    """Names an update by its trace id, the beginning of that, or `<bot_id>:<update_id>`.

    Its value is the trace id or the beginning of it.
    """

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from trioworkers.records import trace_id

        if re.fullmatch(r"[0-9]{1,19}:-?[0-9]{1,10}", value):
            bot_id, _, update_id = value.partition(":")
            return trace_id(int(bot_id), int(update_id))
        if not re.fullmatch(rf"[0-9a-fA-F]{{{SHORTEST},32}}", value):
            self.fail(
                f"expected a trace id, {SHORTEST} or more of its hexadecimal digits, or <bot_id>:<update_id>",
                param,
                ctx,
            )
        return str(value).lower()


def show_way(folder: Path, bot: str | None, prefix: str, *, as_json: bool, colours: bool) -> None:
    """Print the way of the update whose trace id begins with `prefix`; exits with 1 when none is found.

    Args:
        folder: where the logs are.
        bot: whose log is read; None: those of all bots.
        prefix: as :class:`TraceName` gives it.
        as_json: print an object instead of a table.
        colours: whether the terminal gets colours.

    Raises:
        OSError: a log cannot be read.
    """
    from trioworkers.logs.way import TRACE, way_of

    logs = _logs(folder, bot)
    lost: list[float] = []
    lines = [line for name in logs for line in _lines(folder / name, prefix, lost)]
    ids = sorted({str(line.told["trace_id"]) for line in lines})
    if not ids:
        fail(_not_found(prefix, folder, has_trace_log=TRACE in logs), FAILED)
    if len(ids) > 1:
        more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
        named = ", ".join(ids[:MOST_NAMED])
        fail(f"{prefix}: {len(ids)} updates have such a trace id: {named}{more}", FAILED)
    way = way_of(lines, has_trace_log=TRACE in logs, lost=lost)
    if as_json:
        click.echo(json.dumps(_document(way), indent=2))
        return
    for text in _table(way, colours=colours):
        click.echo(text, color=colours)


def _logs(folder: Path, bot: str | None) -> list[str]:
    """The names of the logs that may have lines about updates; of some, only rotated files may exist."""
    names = {re.sub(r"\.[0-9]+$", "", other.name) for other in folder.iterdir()}
    daemons = [name for name in ("master.log", "trace.log") if name in names]
    bots = sorted(name for name in names if re.fullmatch(r"worker_.+\.log", name))
    return daemons + [name for name in bots if bot is None or name == f"worker_{bot}.log"]


def _lines(path: Path, prefix: str, lost: list[float]) -> Iterator[Line]:
    from trioworkers.logs.read import LogReader
    from trioworkers.logs.way import find_lines

    with closing(LogReader(path)) as reader:
        yield from find_lines(path.name, reader.more(), prefix, lost)


def _not_found(prefix: str, folder: Path, *, has_trace_log: bool) -> str:
    reason = "it is not in the trace plugin's sample, or its lines were rotated away"
    if not has_trace_log:
        reason = 'the trace plugin is off, and unless log.level is "debug", only failures are logged'
    return f"{prefix}: no line about such an update in {folder}: {reason}"


def _document(way: Way) -> dict[str, Any]:
    return {
        "trace_id": way.trace_id,
        "bot": way.bot,
        "dialog": way.dialog,
        "began_at": way.began_at,
        "lines": [
            {"after": round(line.at - way.began_at, 6), "source": line.source, **line.told}
            for line in way.lines
        ],
        "missing": list(way.missing),
    }


def _table(way: Way, *, colours: bool) -> Iterator[str]:
    """Yield a head, a line for each step, and what may be missing."""
    from trioworkers.logs.render import printable, redact, stamp

    def plain(text: str) -> str:
        return printable(redact(text)).replace("\t", " ")

    of = "" if way.dialog is None else f" of {plain(way.dialog)}"
    yield f"update {way.trace_id}{of}, accepted {stamp(way.began_at)}"
    yield ""
    rows = [(f"+{duration(line.at - way.began_at)}", *map(plain, _words(line))) for line in way.lines]
    times, names = (max(len(row[column]) for row in rows) for column in (0, 1))
    for line, (time, name, text) in zip(way.lines, rows, strict=True):
        colour = COLOURS.get(str(line.told.get("level"))) if colours else None
        shown = click.style(name.ljust(names), fg=colour) if colour else name.ljust(names)
        yield f"{time.rjust(times)}  {shown}  {text}".rstrip()
    if way.missing:
        yield "\nlines may be missing:"
        yield from (f"  {sentence}" for sentence in way.missing)


def _words(line: Line) -> tuple[str, str]:
    """A step's name, and what is said about it."""
    told = line.told
    event = str(told["event"])
    if not line.is_event:
        bot = line.source.removeprefix("worker_").removesuffix(".log")
        return "log", f"{bot}: {event}{_fields(told, (*ORIGIN, 'traceback'))}"
    name = event.removeprefix("update.")
    match event:
        case "update.stored":
            return name, f"{told.get('kind', '')}, update {told.get('update_id', '?')}"
        case "update.delivered":
            return name, f"attempt {_next(told.get('attempt'))}, waited {_shown(told.get('waited'))}"
        case "update.call":
            return name, f"{told.get('call')}: {told.get('result')}, {_shown(told.get('took'))}"
        case "update.retried":
            rest = _fields(told, (*ORIGIN, "attempt", "took", "total", "wait", "error"))
            wait = _shown(told.get("wait"))
            return name, f"in {wait}, took {_shown(told.get('took'))}: {told.get('error', '')}{rest}"
        case "update.done" | "update.dropped" | "update.dead" | "update.returned" if "took" in told:
            rest = _fields(told, (*ORIGIN, "attempt", "took", "total"))
            return name, f"took {_shown(told['took'])}, {_shown(told.get('total'))} in all{rest}"
    return name, _fields(told, ORIGIN).lstrip()


def _fields(told: Mapping[str, Any], without: tuple[str, ...]) -> str:
    shown = {name: value for name, value in told.items() if name not in without}
    return "".join(f" {name}={json.dumps(value, ensure_ascii=False)}" for name, value in shown.items())


def _next(attempt: object) -> str:
    return str(attempt + 1) if isinstance(attempt, int) else "?"


def _shown(span: object) -> str:
    return duration(span) if isinstance(span, int | float) else "?"


def duration(seconds: float) -> str:
    """A span of time as people read it: `0.4 ms`, `12.3 ms`, `1.234 s`, `2 min 03 s`, `3 h 07 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
