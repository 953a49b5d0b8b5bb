"""The screens of the commands over fixed fleets, as text; `python tests/screens/screens.py` writes them anew.

Whoever changes a screen runs it and reads the difference: these files are what people see.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

GOLDEN = Path(__file__).parent / "golden"
if __name__ == "__main__":
    sys.path.insert(0, str(GOLDEN.parents[1] / "top"))

from top_fleets import HEALTHY, bot, snapshot, watching  # noqa: E402 - found by pytest's settings otherwise
from trioworkers_plugins.handoff.commands import handoff_lines  # noqa: E402

from trioworkers.cli.bot_screen import bot_lines, list_lines  # noqa: E402
from trioworkers.cli.dlq import letter_lines  # noqa: E402
from trioworkers.cli.fleet_screen import fleet_lines  # noqa: E402
from trioworkers.cli.plans import dry_run_lines  # noqa: E402
from trioworkers.cli.plugins import plugin_lines  # noqa: E402
from trioworkers.cli.shown import Paper  # noqa: E402
from trioworkers.top.render import Screen, render  # noqa: E402
from trioworkers.transport.reception import Deafness  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
WIDTHS = (50, 80, 120, None)
LINES = 60  # of a long screen that are kept; the others are more of the same
DIED = {"at": NOW - 90, "code": 3, "signal": None, "oom": False, "stderr": ["no database here", "bye"]}


def deaf(problem: str, seconds: float) -> dict[str, Any]:
    """The health of a bot that hears nothing."""
    intake = Deafness(problem, NOW - seconds).document()
    return {**HEALTHY, "receiving": False, "intake": intake}


def fleet(size: int) -> list[dict[str, Any]]:
    """So many bots of long names, some of them not well."""
    rows = [bot(f"customer-support-emea-{number:04}") for number in range(1, size + 1)]

    def make(number: int, **fields: Any) -> None:
        name = rows[number - 1]["bot"]
        rows[number - 1] = bot(name, fields.pop("state", "running"), **fields)

    make(2, state="failed", reason="token refused")
    make(3, reason="another poller uses this token", health=deaf("another poller uses this token", 3725))
    if size >= 50:
        make(7, state="failed", reason="restart budget spent", last_exit=DIED, restarts=6)
        make(8, state="failed", reason="token refused")
        make(11, state="backoff", last_exit=DIED, next_start_at=NOW + 12, restarts=2)
        make(12, reason="HTTP 502", health=deaf("HTTP 502", 42))
        make(20, queue={"ready": 12_345, "in_flight": 16, "retry": 2, "dead": 1_234})
        make(21, state="sleeping")
        make(22, state="paused")
    if size >= 1000:
        for number in range(500, 640):
            make(number, reason="connection refused", health=deaf("connection refused", 600 + number))
        make(999, health={**HEALTHY, "responsive": False})
        make(1000, transport="webhook", reason="Telegram does not reach the webhook: Connection timed out",
             health=deaf("Telegram does not reach the webhook: Connection timed out", 90))  # fmt: skip
    return rows


def document(size: int, **config: Any) -> dict[str, Any]:
    """Its status document."""
    made: dict[str, Any] = snapshot(*fleet(size))["data"]
    made["fleet"]["config"].update(kept=[], **config)
    return made


def detailed(row: dict[str, Any]) -> dict[str, Any]:
    """What `bots show` is answered."""
    settings = {"handler_timeout": 90.0, "memory_limit": 157_286_400, "retry": {"attempts": 8, "max": 60.0}}
    return {**row, "handler": "support.emea.desk:handle", "origin": "/etc/trioworkers/fleet.toml",
            "settings": {**settings, "rate_limit": None, "settings": {"greeting": "a text"}}}  # fmt: skip


def letters() -> list[dict[str, Any]]:
    """Dead letters, one of them of a bot that is gone."""
    reason = "failed 8 times, last: ConnectionRefusedError at support/emea/desk.py:118 in ask_warehouse"
    return [
        {"id": number, "bot": f"customer-support-emea-{number:04}" if number != 14 else None,
         "bot_id": 7_000_000_000 + number, "chat_id": -1_001_234_567_890 if number != 13 else None,
         "update_id": 529_148_045 + number, "attempts": 8, "died_at": NOW - 60 * number, "reason": reason}
        for number in (12, 13, 14)
    ]  # fmt: skip


def plugins() -> list[dict[str, Any]]:
    """Plugins, one of which is off."""
    usual = {"version": "0.1.0", "origin": "trioworkers", "state": "active", "calls": 1_234_567,
             "failures": 0, "seconds": 12.5, "slowest_ms": 5.25, "missed_events": 0,
             "reason": None}  # fmt: skip
    return [
        {**usual, "name": "dedup", "hooks": ["trioworkers_accept", "trioworkers_serve"]},
        {**usual, "name": "handoff", "hooks": [f"trioworkers_{hook}" for hook in ("cli", "event", "route")]},
        {**usual, "name": "quiet_hours", "origin": "plugins/quiet_hours.py", "state": "off", "failures": 12,
         "hooks": ["trioworkers_accept"], "reason": "10 failures within 60 s"},
    ]  # fmt: skip


def handoffs() -> list[dict[str, Any]]:
    """Dialogs that operators have, or that wait for one."""
    usual = {"operator": None, "name": None, "since": NOW - 3600, "unanswered": 2}
    return [
        {**usual, "id": "customer-support-emea-0001:1000001", "state": "queued",
         "reason": "asks for a refund of an order that the warehouse has sent twice"},
        {**usual, "id": "customer-support-emea-0002:1000002", "state": "assigned", "name": "Berta",
         "operator": "77", "reason": ""},
    ]  # fmt: skip


def plans() -> Iterator[tuple[str, list[str]]]:
    """What `reload --dry-run` prints: before the daemon has seen the file, and after."""
    nothing: dict[str, Any] = {
        **{part: [] for part in ("added", "removed", "changed", "kept")}, "replaced": {}, "retuned": {},
    }  # fmt: skip
    plan = {**nothing, "added": ["shop"], "retuned": {"support": ["concurrency"]}, "kept": ["api.bind"]}
    past = {"at": NOW - 12, "by": "a changed file", "result": "applied", "plan": {**plan, "unchanged": 11}}
    yield "reload-dry-run", dry_run_lines({**plan, "unchanged": 11}, None)
    yield "reload-dry-run-late", dry_run_lines({**nothing, "kept": ["api.bind"], "unchanged": 13}, past)


def screens() -> Iterator[tuple[str, list[str]]]:
    """The name of each screen's file, and its lines."""
    yield from plans()
    for width in WIDTHS:
        paper, of = Paper(width), "piped" if width is None else str(width)
        for size in (3, 50, 1000):
            yield f"status-{size}-{of}", fleet_lines(document(size), paper, NOW)
            state = watching(*fleet(size))
            screen = Screen(120 if width is None else width, 24, is_paper=width is None)
            yield f"top-{size}-{of}", [line.plain.rstrip() for line in render(state, screen, 100.0)]
        refused = document(3, error="fleet.toml:7:1: bots.shop: unknown key\nfleet.toml:9:9: one more")
        refused["fleet"]["config"]["kept"] = ["api.bind", "store.url"]
        yield f"status-refused-{of}", fleet_lines(refused, paper, NOW)
        rows = [detailed(row) for row in fleet(50)]
        yield f"bots-list-{of}", list_lines(rows, paper)
        for name, row in (("deaf", rows[2]), ("failed", rows[6]), ("well", rows[0])):
            settings = {**row["settings"], "handler_timeout": "90s", "memory_limit": "150MB"}
            if name == "well":
                settings |= {"command": ["node", "bot.js"], "acknowledge": "poll", "order": "chat"}
            yield f"bots-show-{name}-{of}", bot_lines(row, settings, paper, NOW)
        yield f"dlq-list-{of}", letter_lines(letters(), paper)
        yield f"plugins-{of}", plugin_lines(plugins(), paper)
        yield f"handoff-list-{of}", handoff_lines(handoffs(), paper)


def kept(lines: list[str]) -> str:
    """The text of a golden file: the beginning of a long screen, and its end."""
    if len(lines) > LINES:
        lines = [*lines[: LINES - 2], f"[{len(lines) - LINES + 1} lines]", lines[-1]]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    for old in GOLDEN.glob("*.txt"):
        old.unlink()
    for name, lines in screens():
        (GOLDEN / f"{name}.txt").write_text(kept(lines))
