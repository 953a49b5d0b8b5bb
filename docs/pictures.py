"""Draws the pictures of terminals from a recorded fleet: `python docs/pictures.py`.

`docs/pictures/fleet.json` is what a real daemon said, as `docs/record.py` recorded it. The commands' own code
makes of that what a terminal shows, colours included, and it is drawn as SVG. So the pictures change with the
screens, and a test fails when they were not drawn anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from rich.color import ColorType
from rich.console import Console
from rich.text import Text

from trioworkers.cli.fleet_screen import fleet_lines
from trioworkers.cli.shown import Paper
from trioworkers.top.render import Screen, render
from trioworkers.top.state import TopState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.style import Style

FOLDER = Path(__file__).parent / "pictures"
COLUMNS, ROWS = 110, 24
CELL, LINE, SIZE = 8.4, 18, 14  # pixels: of a character, from line to line, of the font
MARGIN, BAR = 14, 34  # around the text; above it, where the title is
BACK, FRAME, FORE, DIM = "#1b1f27", "#12151b", "#d7dae0", "#8b93a1"
PALETTE = (  # of the eight colours of a terminal, on that background
    "#5c6370", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#d7dae0",
)  # fmt: skip
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"


def status_lines(recorded: Mapping[str, Any]) -> list[Text]:
    """What `trioworkers status` prints on a terminal."""
    lines = fleet_lines(recorded["status"], Paper(COLUMNS, has_colours=True), recorded["at"])
    return [Text.from_ansi(line) for line in lines]


def top_lines(recorded: Mapping[str, Any]) -> list[Text]:
    """What `trioworkers top` shows."""
    state = TopState(0.0)
    state.apply({"type": "online"}, 0.0)
    seconds = recorded["handled"]  # of each bot, in each second before the recording
    for second in range(len(next(iter(seconds.values())))):
        rows = [{**row, "messages": seconds[row["bot"]][second]} for row in recorded["status"]["workers"]]
        data = {**recorded["status"], "workers": rows}
        state.apply({"type": "snapshot", "seq": second, "data": data}, 0.0)
        state.tick(0.0)
    for event in recorded["events"]:
        state.apply({"type": "event", "seq": 0, **event}, 0.0)
    state.table(0.0)
    return render(state, Screen(COLUMNS, ROWS), 0.0)


PICTURES = {"status": status_lines, "top": top_lines}
"""The pictures, by the verb that they show."""


def svg(title: str, lines: Sequence[Text]) -> str:
    """A window of a terminal with these lines; every run of one style is placed where its first cell is."""
    width, height = round(COLUMNS * CELL) + 2 * MARGIN, BAR + len(lines) * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACK}"/>',
        f'<path d="M0 26V8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v18z" fill="{FRAME}"/>',
        f'<g font-family="{FONT}" font-size="{SIZE}" fill="{FORE}">',
        f'<text x="{width / 2:g}" y="18" text-anchor="middle" font-size="12" fill="{DIM}">',
        f"{escape(title)}</text>",
    ]
    for number, line in enumerate(lines):
        top = BAR + number * LINE
        for first, text, style in _runs(line):
            parts += _drawn(MARGIN + first * CELL, top, text, style)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _runs(line: Text) -> Iterator[tuple[int, str, Style]]:
    """The pieces of a line that have one style, each with its first column; blanks around them left out."""
    console, column = Console(width=COLUMNS), 0
    base = console.get_style(line.style)
    for piece in line.render(console):
        style = base if piece.style is None else base + piece.style
        text = piece.text.rstrip("\n")
        if style.reverse:
            yield column, text, style
        elif text.strip():
            yield column + len(text) - len(text.lstrip()), text.strip(), style
        column += piece.cell_length


def _drawn(x: float, top: int, text: str, style: Style) -> Iterator[str]:
    colour, length = _colour(style), len(text) * CELL
    if style.reverse:
        yield f'<rect x="{x:g}" y="{top}" width="{length:g}" height="{LINE}" fill="{colour}"/>'
        colour = BACK
    fill = "" if colour == FORE else f' fill="{colour}"'
    bold = ' font-weight="bold"' if style.bold else ""
    place = f'x="{x:g}" y="{top + 13}" textLength="{length:g}"'
    kept = escape(text.replace(" ", "\N{NO-BREAK SPACE}"))  # browsers draw a row of other spaces as one
    yield f"<text {place}{fill}{bold}>{kept}</text>"


def _colour(style: Style) -> str:
    if style.color is not None and style.color.type is ColorType.STANDARD and style.color.number is not None:
        return PALETTE[style.color.number % len(PALETTE)]
    return DIM if style.dim else FORE


def drawn() -> dict[str, str]:
    """The pictures by the names of their files."""
    recorded = json.loads((FOLDER / "fleet.json").read_text())
    return {f"{verb}.svg": svg(f"trioworkers {verb}", make(recorded)) for verb, make in PICTURES.items()}


if __name__ == "__main__":
    for name, picture in drawn().items():
        (FOLDER / name).write_text(picture)
