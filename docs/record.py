"""Records a fleet for the pictures: `python docs/record.py`, then `python docs/pictures.py`.

Runs a daemon with nine bots beside a simulated Telegram for about a minute. Some of the bots are not well, as
in a real fleet. Writes what the daemon says into `docs/pictures/fleet.json`, and takes the pictures of the
dashboard with the Chromium that tests use.
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trioworkers.testing import running

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browsing"))
from dashboard_browser import opened, started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.testing.fleet import RunningFleet

FOLDER = Path(__file__).parent / "pictures"
SECONDS = 20.0
SAMPLES = 6  # seconds before the recording in which handled updates are counted
EVENTS = 5
QUIET = (
    "update.",
    "inbox.",
    "daemon.",
    "control.",
    "log.",
    "zygote.",
    "worker.starting",
)  # events that a picture does not need

MODULES = {
    "talks": """
import random

import trio


async def handle(update, bot):
    await trio.sleep(random.expovariate(1 / bot.settings["takes"]))
    await bot.send_message(chat_id=update.chat_id, text=f"{bot.name}: {update.text}")
""",
    "fails": """
from trioworkers import Dead


async def handle(update, bot):
    if update.update_id % 9 == 0:
        raise Dead("the warehouse does not know the article")
    await bot.send_message(chat_id=update.chat_id, text=update.text)
""",
    "crashes": """
import sys


async def start(bot):
    print("no connection to the mail server", file=sys.stderr, flush=True)
    sys.exit(3)


async def handle(update, bot): ...
""",
}
TALKS = {  # the bots that work: seconds for an update, how much is written to them
    "booking": (0.02, 5), "helpdesk": (0.12, 9), "news": (0.01, 14), "quiz": (0.03, 8), "weather": (0.05, 3),
}  # fmt: skip
BOTS: dict[str, dict[str, Any]] = {
    **{name: {"handler": "talks:handle", "settings": {"takes": takes}} for name, (takes, _) in TALKS.items()},
    "orders": {"handler": "fails:handle"},
    "mailer": {"handler": "crashes:handle", "restart": {"initial": "25s", "max": "25s"}},
    "billing": {"handler": "talks:handle", "settings": {"takes": 0.01}},
    "archive": {"handler": "talks:handle", "settings": {"takes": 0.01}, "worker": "on_demand"},
}
HEARD = {**{name: share for name, (_, share) in TALKS.items()}, "orders": 3}


def talk(fleet: RunningFleet, seconds: float, look: Callable[[], None]) -> None:
    """Let people write to the bots; call `look` once a second."""
    chosen = random.Random(19)  # noqa: S311 - of conversations
    people = [fleet.user(f"Person {number}") for number in range(12)]
    end, next_look = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end:
        (bot,) = chosen.choices([*HEARD], [*HEARD.values()])
        chosen.choice(people).says("hello", bot)
        if time.monotonic() >= next_look:
            look()
            next_look += 1.0
        time.sleep(chosen.expovariate(25))


def is_shown(event: Mapping[str, Any]) -> bool:
    """Whether a picture shows the event: not those of each update, nor a start of a worker each second."""
    return event["event"] == "update.dead" or not event["event"].startswith(QUIET)


def record(fleet: RunningFleet) -> None:
    """Write the recording."""
    handled: list[dict[str, int]] = []
    talk(
        fleet,
        SECONDS,
        lambda: handled.append({row["bot"]: row["messages"] for row in fleet.status()["workers"]}),
    )
    status = fleet.status()
    latest = [event for event in fleet.events() if is_shown(event)][-EVENTS:]
    for row in status["workers"]:
        row["plugins"] = {}
    recorded = {
        "at": round(time.time()),
        "status": status,
        "handled": {row["bot"]: [one[row["bot"]] for one in handled[-SAMPLES:]] for row in status["workers"]},
        "events": [{**event, "at": datetime.fromisoformat(event["at"]).timestamp()} for event in latest],
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "fleet.json").write_text(json.dumps(recorded, indent=1) + "\n")


def main() -> None:
    """Run the fleet, record it, and take the pictures of its dashboard."""
    with TemporaryDirectory() as folder, started() as browser:
        tables = {"fleet": {"name": "shop"}, "log": {"level": "info"}, "bots": BOTS}
        with running(Path(folder), tables, modules=MODULES) as fleet:
            fleet.telegram.revoke(fleet.sim_bot("billing"))
            screen = opened(browser, fleet, "#/", width=1200, height=760)
            talk(fleet, 50.0, lambda: None)
            fleet.reload({**tables, "defaults": {"concurrency": 32}})
            fleet.command("bots", "pause", "archive")
            record(fleet)
            screen.go("#/bots")
            talk(fleet, 3.0, lambda: None)
            screen.page.screenshot(path=FOLDER / "dashboard-bots.png")
            screen.go("#/")
            talk(fleet, 3.0, lambda: None)
            screen.page.screenshot(path=FOLDER / "dashboard.png")
            screen.page.context.close()


if __name__ == "__main__":
    main()
