"""One line of a log: JSON for machines, text for people, text behind a priority for the journal.

What is told is a mapping with `event` and `level`, `at` (ISO 8601, UTC), and fields. As a last net below
the rule that nobody passes a token on, anything that looks like one is blotted out of each finished line.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trioworkers.service.journal import PRIORITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Render = Callable[[Mapping[str, Any]], str]

# https://core.telegram.org/bots/api#authorizing-your-bot; the secret has 35 characters today
TOKEN = re.compile(r"(?<!\d)\d{3,}(?::|%3[Aa])[A-Za-z0-9_-]{10,}")
# control characters, those that turn the direction of writing, halves of characters
STEERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_encode = json.JSONEncoder(default=repr).encode


def redact(line: str) -> str:
    """The line with everything that looks like a token blotted out."""
    return TOKEN.sub("<token>", line)


def stamp(at: float) -> str:
    """Unix seconds as the `at` of a line."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """The text without what would steer a terminal, or cannot be written to it; tabs are kept."""
    return STEERS.sub("?", text)


def rendering(format: str, *, colors: bool = False) -> Render:
    """What makes a line, with its end, of what is told. `format`: `json`, `text` or `journal`.

    A value may be a worker's word: in text neither its keys nor its values steer a terminal.
    """
    if format == "json":
        return _as_json
    import structlog  # here, since it takes a tenth of the daemon's start

    console = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20)

    def text(told: Mapping[str, Any]) -> str:
        shown = {printable(name): _shown(value) for name, value in told.items()}
        lines = shown.pop("traceback", None)
        if "at" in shown:
            shown = {"timestamp": shown.pop("at"), **shown}
        prefix = PRIORITY.get(str(told.get("level")), "<6>") if format == "journal" else ""
        below = "" if lines is None else "".join(f"\n    {line}" for line in str(lines).split("\n"))
        return f"{prefix}{redact(str(console(None, '', shown)).rstrip() + below)}\n"

    return text


def _as_json(told: Mapping[str, Any]) -> str:
    return redact(_encode(dict(told))) + "\n"


def _shown(value: object) -> object:
    """A line break stays for the renderer, which escapes it."""
    return "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else value
