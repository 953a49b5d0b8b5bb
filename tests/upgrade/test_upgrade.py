"""A state folder that an earlier version left behind is taken over: nothing of it is lost.

`state-9d254d6.tar.xz` was left by that commit's daemon, killed amid its work. `shop` had answered "hello",
given "bad" up, put "later" off for a minute, and answered "long", whose handling went on, with "behind"
waiting for its end. `rests` was paused, with three updates waiting. `added` had been added by command.
"""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.testing.fleet import running
from trioworkers.testing.threaded import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.fleet import RunningFleet
    from trioworkers.testing.users import SimUser

STATE = Path(__file__).with_name("state-9d254d6.tar.xz")
TOKENS = {
    name: f"{7_000_000_001 + number}:{'A' * 34}{number}"
    for number, name in enumerate(["shop", "rests", "added"])
}
SHOP = """
from pathlib import Path

async def handle(update, bot):
    with (Path(__file__).parent / "notes").open("a") as notes:
        notes.write(f"{bot.name} {update.text}\\n")
    await bot.send_message(chat_id=update.chat_id, text="echo " + update.text)
"""


class Scene:
    """The fleet of the former daemon, run by this version's."""

    def __init__(self, fleet: RunningFleet, bots: dict[str, SimBot], people: list[SimUser]) -> None:
        self.fleet, self.bots, self.people = fleet, bots, people

    def handled(self, bot: str) -> list[str]:
        """What the bot has handled since the upgrade, in order."""
        notes = self.fleet.folder.folder / "notes"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [text for name, _, text in (line.partition(" ") for line in lines) if name == bot]

    def sent(self, bot: str) -> list[str]:
        telegram = self.fleet.telegram
        return [m["text"] for one in self.people for m in telegram.sent(self.bots[bot], one.id)]


@contextmanager
def upgraded(folder: Path) -> Iterator[Scene]:
    with tarfile.open(STATE) as archive:
        how: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **how)  # noqa: S202 - it is our own
    tables: dict[str, Any] = {
        "fleet": {"name": "old"},
        "defaults": {"handler": "shop:handle", "retry": {"attempts": 5, "deadline": "36500d"}},
        "store": {"dead_retention": "36500d"},
        "bots": {name: {"token": TOKENS[name]} for name in ("shop", "rests")},
    }
    with TelegramThread(seed=2) as telegram:
        bots = {name: telegram.add_bot(f"{name}_bot", token=token) for name, token in TOKENS.items()}
        people = [telegram.add_user(name) for name in ("Alice", "Bob", "Carol")]
        for one in people:  # their chats are known to Telegram then
            for bot in bots.values():
                telegram.say(one, bot, "new")
        with running(folder, tables, telegram=telegram, modules={"shop": SHOP}) as fleet:
            yield Scene(fleet, bots, people)


def test_what_waited_is_handled_and_no_call_is_made_twice(tmp_path: Path) -> None:
    """In each chat what waited comes first; the answer that was given is not given again."""
    with upgraded(tmp_path) as scene:
        scene.fleet.wait_for(lambda: len(scene.handled("shop")) >= 6, 20)
        handled = scene.handled("shop")
        assert sorted(handled) == sorted(["long", "behind", "later", "new", "new", "new"])
        assert handled.index("long") < handled.index("behind")
        assert "echo long" not in scene.sent("shop")
        assert sorted(scene.sent("shop")) == sorted(["echo behind", "echo later", *["echo new"] * 3])


def test_a_paused_bot_rests_and_an_added_bot_runs(tmp_path: Path) -> None:
    """What waited for the paused one is handled once it is resumed, in order."""
    with upgraded(tmp_path) as scene:
        scene.fleet.wait_for(lambda: len(scene.handled("added")) == 3, 20)
        assert scene.fleet.bot("rests")["state"] == "paused"
        assert scene.handled("rests") == []
        assert scene.fleet.command("bots", "resume", "rests").returncode == 0
        scene.fleet.wait_for(lambda: len(scene.handled("rests")) == 6, 20)
        assert [text for text in scene.handled("rests") if text != "new"] == ["waits 1", "waits 2", "waits 3"]
        assert scene.fleet.command("bots", "remove", "added").returncode == 0


def test_a_dead_letter_is_still_there_and_can_be_replayed(tmp_path: Path) -> None:
    """With its reason; and figures go on where they were."""
    with upgraded(tmp_path) as scene:
        listed = scene.fleet.command("dlq", "list")
        assert "a bad one" in listed.stdout
        scene.fleet.wait_for(lambda: len(scene.handled("shop")) >= 6, 20)
        assert scene.fleet.command("dlq", "replay", "--bot", "shop").returncode == 0
        scene.fleet.wait_for(lambda: "bad" in scene.handled("shop"), 20)
        assert "a bad one" not in scene.fleet.command("dlq", "list").stdout
