"""The screen as lines of text: a head, the table or a bot's page, the latest events, the keys. Pure.

Every line is cut to the width, and there are never more lines than the screen has. Nothing is said by
colour alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from trioworkers.top import words
from trioworkers.top.page import fields_of, page_of
from trioworkers.top.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.top.rows import Shown
    from trioworkers.top.state import TopState

STATES = {
    "failed": "bold red", "backoff": "yellow", "starting": "cyan", "draining": "yellow", "paused": "magenta",
    "running": "green", "sleeping": "blue", "stopped": "dim",
}  # fmt: skip
"""The states with their styles, what is not well first."""
LEVELS = {"warn": "yellow", "error": "bold red", "debug": "dim"}
EVENT_LINES = 5
TALL = 24  # lines from which on the events have a place
HELP = (
    ("up, down, j, k", "select a bot"),
    ("enter", "show the selected bot"),
    ("escape", "back to the table; in the table, clear the filter"),
    ("/", "filter by name, state or trouble; enter keeps it"),
    ("s, S", "sort by the next column; reverse"),
    ("p", "pause the bot, or let it go on: updates wait meanwhile"),
    ("r", "restart the bot's worker (asks first)"),
    ("q", "quit"),
)


@dataclass(frozen=True, slots=True)
class Screen:
    """What is drawn on.

    Attributes:
        is_plain: nothing but ASCII can be shown.
        is_paper: nobody can press a key: there is no selection, and no line is kept free.
    """

    width: int
    height: int
    is_plain: bool = False
    is_paper: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. `order`: the sort that it belongs to; `least`: the least width of its screen."""

    title: str
    width: int
    least: int
    order: str | None
    cell: Callable[[Shown, Screen], str]
    is_left: bool = False


def _state(shown: Shown) -> str:
    """The state, with a mark at a bot that seems well by it and is not: its reason may have no room."""
    return f"{shown.state} !" if shown.is_unwell else shown.state


def _style(shown: Shown) -> str:
    return "yellow" if _state(shown) != shown.state else STATES.get(shown.state, "")


COLUMNS = (
    Column("state", 10, 0, None, lambda shown, _: _state(shown), is_left=True),
    Column("up", 7, 74, None, lambda shown, _: words.span(shown.row.get("uptime_ms"))),
    Column("upd/s", 6, 36, "rate", lambda shown, _: words.rate(shown.pace.rate)),
    Column("median", 7, 66, "latency", lambda shown, _: words.brief(shown.row.get("latency_ms"))),
    Column("handled", 8, 98, None, lambda shown, _: words.count(shown.row.get("messages"))),
    Column("errors", 7, 106, "errors", lambda shown, _: words.count(shown.row.get("errors"))),
    Column("waiting", 7, 44, "waiting", lambda shown, _: words.count(shown.waiting)),
    Column("dead", 5, 56, "dead", lambda shown, _: words.count(shown.dead)),
    Column("restarts", 8, 90, "restarts", lambda shown, _: words.count(shown.row.get("restarts"))),
    Column("memory", 8, 82, "memory", lambda shown, _: words.size(shown.row.get("memory_bytes"))),
    Column(
        "last minute", 30, 150, None,
        lambda shown, screen: words.spark(shown.pace.seconds, 30, is_plain=screen.is_plain),
    ),
)  # fmt: skip
TITLES = {"name": "bot", "trouble": "bot, by trouble"}
SHORTEST_NAME = 12
WHOLE = 110  # columns from which on states and totals have one line
REASON = 16  # columns that the reason of a row's trouble gets at least, or it has no place there


def render(state: TopState, screen: Screen, clock: float) -> list[Text]:
    """All lines of the screen. `clock`: now, in seconds of the clock that the state was told."""
    now = clock
    if not state.is_online:
        now = state.offline_since  # nobody knows what ran on since then
    rows = state.table(now)
    lines = head(state, screen, clock)
    if screen.is_paper:
        return lines + _table(state, screen, rows, screen.height)  # for a program: nothing is cut
    foot = [*_selected(state, now), _keys(state)]
    if state.shows_help:
        body = [Text.assemble((f"  {keys:<16}", "bold"), does) for keys, does in HELP]
        return _fit([*lines, Text(), *body], [Text(" any key: back", "dim")], screen)
    if state.opened is not None:
        return _fit(lines + page_of(state, screen.width, now, is_plain=screen.is_plain), foot, screen)
    events = _events(state) if screen.height >= TALL and state.events else []
    room = screen.height - len(lines) - len(foot) - len(events)
    return _fit(lines + _table(state, screen, rows, room), events + foot, screen)


def head(state: TopState, screen: Screen, now: float) -> list[Text]:
    """Which fleet it is, how it is on the whole, and whether what is shown is true at this moment."""
    then = now if state.is_online else state.offline_since
    fleet = state.mirror.fleet_at(then)
    lines: list[Text] = []
    if fleet:
        seen = "" if state.is_online else "last seen "
        title = Text.assemble(
            (f" {plain(fleet.get('name'))}", "bold"), f": {seen}{plain(fleet.get('state'))}"
        )
        title.append(f", pid {fleet.get('pid')}, up {words.span(fleet.get('uptime_ms'))}", "dim")
        states, totals = _sums(state, then)
        lines.append(title)
        lines += [states + totals] if screen.width >= WHOLE else [states, Text(" ") + totals[2:]]
        config = fleet.get("config") or {}
        if config.get("error"):
            first = plain(str(config["error"]).splitlines()[0])
            lines.append(Text(f" the fleet file was refused, the old settings stay: {first}", "red"))
    if not state.is_online:
        lines.append(Text(_offline(state, now), "bold white on red"))
    notice = state.notice
    if state.asks is not None:
        lines.append(
            Text(f" {state.asks.verb} {plain(state.asks.bot)}? y: yes, any other key: no", "bold yellow")
        )
    elif notice is not None:
        lines.append(Text(f" {plain(notice.text)}", "bold red" if notice.is_bad else "bold"))
    return lines


def _offline(state: TopState, now: float) -> str:
    if state.offline_reason is None:
        return " CONNECTING to the daemon"
    since = words.span(max(0.0, now - state.offline_since) * 1000)
    shown = f"; what is shown is {since} old" if state.mirror.rows else ""
    return f" OFFLINE: {plain(state.offline_reason)}; trying again{shown}"


def _sums(state: TopState, now: float) -> tuple[Text, Text]:
    """How many bots are in which state, and what they do together."""
    rows = state.mirror.rows
    found = [shown for bot in rows if (shown := state.shown(bot, now)) is not None]
    states = Text(" 1 bot: " if len(rows) == 1 else f" {len(rows)} bots: ")
    counts = Counter(shown.state for shown in found)
    known = list(STATES)
    unwell = sum(shown.is_unwell for shown in found)
    for name in sorted(counts, key=lambda name: known.index(name) if name in STATES else len(known)):
        states.append(f"{counts[name]} {plain(name)}", STATES.get(name, ""))
        if name == "running" and unwell:
            states.append(f" ({unwell} unwell)", "yellow")
        states.append(", ")
    states.right_crop(2)
    totals = Text(f"; {words.rate(sum(shown.pace.rate for shown in found))} updates/s")
    totals.append(f", {words.count(sum(shown.waiting for shown in found))} waiting")
    dead = sum(shown.dead for shown in found)
    totals.append(f", {words.count(dead)} dead", "red" if dead else "")
    return states, totals if rows else Text()


def _table(state: TopState, screen: Screen, rows: Sequence[Shown], room: int) -> list[Text]:
    if not state.mirror.fleet:
        return []
    longest = max((cell_len(plain(shown.bot)) for shown in rows), default=0)
    title = TITLES.get(state.order, "bot")
    columns = _columns(screen, max(SHORTEST_NAME, len(title) + 2, longest))
    room_left = screen.width if screen.is_paper else screen.width - 2 - sum(one.width + 1 for one in columns)
    name = max(SHORTEST_NAME, len(title) + 2, min(longest, room_left))
    lines = [Text()] if room > 4 else []
    lines.append(_titles(state, columns, name))
    if not rows:
        nothing = "no bot's name, state or trouble contains this" if state.filter else "the fleet has no bots"
        return [*lines, Text(f"  {nothing}", "dim")]
    room = max(1, room - len(lines))
    place = next((place for place, shown in enumerate(rows) if shown.bot == state.selected), 0)
    if len(rows) > room and room > 1:
        room -= 1  # for the line that says how many there are
    first = max(0, min(place - room // 2, len(rows) - room))
    seen = rows[first : first + room]
    names = [plain(shown.bot) for shown in seen]
    for shown, word in zip(seen, words.shortened(names, name, is_plain=screen.is_plain), strict=True):
        is_selected = shown.bot == state.selected and not screen.is_paper
        lines.append(_row(shown, columns, word.ljust(name), screen, is_selected=is_selected))
    if len(rows) > room:
        lines.append(Text(f"  {first + 1} to {first + min(room, len(rows))} of {len(rows)} bots", "dim"))
    return lines


def _columns(screen: Screen, name: int) -> list[Column]:
    """The most important columns that fit beside names of that width; the state is always one of them."""
    left, shown = screen.width - 2 - name, [COLUMNS[0]]
    left -= COLUMNS[0].width + 1
    for column in sorted(COLUMNS[1:], key=lambda column: column.least):
        if column.least <= screen.width and column.width + 1 <= left:
            shown.append(column)
            left -= column.width + 1
    return [column for column in COLUMNS if column in shown]


def _titles(state: TopState, columns: Sequence[Column], name: int) -> Text:
    arrow = "^" if state.reverse else "v"
    title = TITLES.get(state.order)
    title = "bot" if title is None else f"{title} {arrow}"
    line = Text("  " + set_cell_size(title, name), "bold")
    for column in columns:
        text = f"{column.title}{arrow}" if column.order == state.order else column.title
        line.append(" " + (text.ljust(column.width) if column.is_left else text.rjust(column.width)))
    return line


def _row(shown: Shown, columns: Sequence[Column], name: str, screen: Screen, *, is_selected: bool) -> Text:
    line = Text("> " if is_selected else "  ")
    line.append(name, "bold" if is_selected else "")
    for column in columns:
        text = plain(column.cell(shown, screen))
        style = _style(shown) if column.title == "state" else ""
        if column.title == "dead" and shown.dead:
            style = "red"
        padded = text.ljust(column.width) if column.is_left else text.rjust(column.width)
        line.append(" ")
        line.append(padded, style)
    room = screen.width - cell_len(line.plain) - 2
    if shown.trouble is not None and (screen.is_paper or room >= REASON):
        trouble = Text(plain(shown.trouble), "red" if shown.state == "failed" else "yellow")
        if not screen.is_paper:
            trouble.truncate(room, overflow="crop" if screen.is_plain else "ellipsis")
        line.append("  ").append_text(trouble)
    if is_selected:
        line.stylize("reverse")
    return line


def _events(state: TopState) -> list[Text]:
    lines = [Text(" latest events", "bold")]
    lines += [event_line(event) for event in list(state.events)[-EVENT_LINES:]]
    return lines + [Text()] * (EVENT_LINES + 1 - len(lines))


def event_line(event: Mapping[str, Any]) -> Text:
    """An event on one line."""
    at = words.clock(event["at"])
    line = Text(f" {at} ")
    line.append(plain(event["event"]), LEVELS.get(event["level"], ""))
    if event.get("bot"):
        line.append(f" {plain(event['bot'])}", "bold")
    return line.append(fields_of(event), "dim")


def _selected(state: TopState, now: float) -> list[Text]:
    """The trouble of the selected bot, which its row may have no room for."""
    shown = None if state.selected is None or state.opened else state.shown(state.selected, now)
    if shown is None or shown.trouble is None:
        return []
    return [Text(f" {plain(shown.bot)}: {plain(shown.trouble)}", "yellow")]


def _keys(state: TopState) -> Text:
    """The line of keys. A narrow screen cuts its end off, so the keys that lead on come first."""
    if state.is_typing:
        return Text.assemble((" filter: ", "bold"), plain(state.filter), ("_", "blink"))
    if state.opened is not None:
        return Text(" q quit  ? help  esc back  p pause or resume  r restart  up/down other bot", "dim")
    text = Text()
    if state.filter:
        text.append(f" filter: {plain(state.filter)} (esc clears)", "bold")
    return text.append(" q quit  ? help  enter open  / filter  s sort  p pause  r restart", "dim")


def _fit(body: list[Text], foot: list[Text], screen: Screen) -> list[Text]:
    """Exactly as many lines as the screen has, none longer than it is wide."""
    room = max(0, screen.height - len(foot))
    return _cut(body[:room] + [Text()] * (room - len(body)) + foot, screen)[: screen.height]


def _cut(lines: list[Text], screen: Screen) -> list[Text]:
    """The lines, none longer than the screen is wide."""
    for line in lines:
        line.rstrip()
        if cell_len(line.plain) > screen.width:
            line.truncate(screen.width, overflow="crop" if screen.is_plain else "ellipsis")
    return lines
