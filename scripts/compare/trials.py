"""The trials: each does one thing to a contender, and says in words what came of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.processes import family, pss
from compare.contenders import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from compare.contenders import Contender

    from trioworkers.testing import TelegramThread
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.users import SimUser

READY = 30.0  # seconds until all bots answer
LONG = 25.0


class Scene:
    """A contender at work, with a simulated Telegram and two people."""

    def __init__(self, contender: Contender, telegram: TelegramThread, bots: dict[str, SimBot]) -> None:
        self.contender, self.telegram, self.bots = contender, telegram, bots
        self.alice: SimUser = telegram.add_user("Alice")
        self.bob: SimUser = telegram.add_user("Bob")

    def say(self, user: SimUser, bot: str, text: str) -> None:
        self.telegram.say(user, self.bots[bot], text)

    def said(self, user: SimUser, bot: str) -> list[str]:
        """Return what a bot has said to somebody."""
        return [message["text"] for message in self.telegram.sent(self.bots[bot], user.id)]

    def answered(self, user: SimUser, bot: str, text: str, seconds: float) -> float | None:
        """Return after how many seconds somebody was answered so."""
        return wait_until(lambda: text in self.said(user, bot), seconds)

    def ready(self) -> None:
        """Wait until each bot answers.

        Raises:
            SystemExit: one does not.
        """
        for bot in self.bots:
            self.say(self.bob, bot, "ready")
        for bot in self.bots:
            if self.answered(self.bob, bot, "ready", READY) is None:
                message = f"{type(self.contender).__name__}: {bot} does not answer"
                raise SystemExit(message)

    def pid(self, bot: str) -> int:
        return next(iter(self.contender.processes()[bot]))


def crash(scene: Scene) -> str:
    """A bot's process is killed; somebody writes to it."""
    scene.ready()
    os.kill(scene.pid("one"), signal.SIGKILL)
    scene.say(scene.alice, "one", "again")
    took = scene.answered(scene.alice, "one", "again", LONG)
    return "stays down" if took is None else f"answers after {took:.1f} s"


def kill_while_handling(scene: Scene) -> str:
    """A bot's process is killed while it handles an update."""
    scene.ready()
    scene.say(scene.alice, "one", "slow")
    time.sleep(1)
    os.kill(scene.pid("one"), signal.SIGKILL)
    took = scene.answered(scene.alice, "one", "slow", LONG)
    return "the update is lost" if took is None else f"the update is handled again, after {took:.1f} s"


def failing_handler(scene: Scene) -> str:
    """A handler raises the first time that it sees an update."""
    scene.ready()
    before = scene.contender.starts("one")
    scene.say(scene.alice, "one", "raise")
    took = scene.answered(scene.alice, "one", "raise", LONG)
    died = scene.contender.starts("one") > before
    how = "the process ends and is started again; " if died else ""
    return how + ("the update is lost" if took is None else f"handled again after {took:.1f} s")


def hang(scene: Scene) -> str:
    """A handler blocks its process for ever; somebody else writes to the bot, and to another bot."""
    scene.ready()
    scene.say(scene.alice, "one", "hang")
    time.sleep(1)
    scene.say(scene.bob, "one", "hello")
    scene.say(scene.bob, "two", "hello")
    other = scene.answered(scene.bob, "two", "hello", 5)
    took = scene.answered(scene.bob, "one", "hello", LONG)
    found = (
        f"never answers again (in {LONG:g} s)" if took is None else f"replaced, answers after {took:.1f} s"
    )
    return f"{found}; other bots {'answer' if other is not None else 'hang, too'}"


def order(scene: Scene) -> str:
    """One person writes twice; handling the first message takes 2 s."""
    scene.ready()
    scene.say(scene.alice, "one", "slow")
    scene.say(scene.alice, "one", "quick")
    wait_until(lambda: len(scene.said(scene.alice, "one")) >= 2, LONG)
    return " then ".join(scene.said(scene.alice, "one"))


def others_wait(scene: Scene) -> str:
    """Handling one person's message takes 2 s; another person writes 0.3 s later."""
    scene.ready()
    scene.say(scene.alice, "one", "slow")
    time.sleep(0.3)
    scene.say(scene.bob, "one", "quick")
    took = scene.answered(scene.bob, "one", "quick", LONG)
    return "not answered" if took is None else f"the other is answered after {took:.1f} s"


def kill_supervisor(scene: Scene) -> str:
    """The supervisor is killed, and started again three seconds later."""
    if not scene.contender.supervises:
        return "none"
    if not scene.contender.is_killable:
        return "cannot be killed alone"
    scene.ready()
    before = scene.contender.processes()
    os.kill(scene.contender.supervisor(), signal.SIGKILL)
    time.sleep(3)
    left = {pid for pids in before.values() for pid in pids if _alive(pid)}
    scene.contender.start()
    time.sleep(8)
    most = max(
        len({pid for pid in pids if _alive(pid)} | (left & before[bot]))
        for bot, pids in scene.contender.processes().items()
    )
    conflicts = len([c for c in scene.telegram.calls if c.error_code == 409])
    found = f"{len(left)} of 3 bots live on without it; after its start "
    return f"{found}{most} process(es) for a bot, {conflicts} polls refused with 409"


def _alive(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
    return False


def one_setting(scene: Scene) -> str:
    """One setting of one of three bots is changed, and applied as the manual says."""
    if not scene.contender.supervises:
        return "by a restart of the process, for all bots"
    scene.ready()
    before = scene.contender.processes()
    scene.contender.settings["two"] = "hello"
    code = scene.contender.apply()
    time.sleep(6)
    after = scene.contender.processes()
    changed = [bot for bot in before if before[bot] != after[bot]]
    return f"exit code {code}; processes replaced: {len(changed)} of 3"


def bad_file(scene: Scene) -> str:
    """The configuration becomes unreadable, and is applied."""
    if not scene.contender.supervises:
        return "none"
    scene.ready()
    before = scene.contender.processes()
    scene.contender.spoil()
    code = scene.contender.apply()
    time.sleep(2)
    same = scene.contender.processes() == before
    return f"exit code {code}; {'all processes stay' if same else 'processes changed'}"


def flood(scene: Scene) -> str:
    """A bot writes 70 MB to its output."""
    scene.ready()
    scene.say(scene.alice, "one", "flood")
    took = scene.answered(scene.alice, "one", "flood", LONG)
    time.sleep(5)
    sizes = sorted(path.stat().st_size >> 20 for path in scene.contender.folder.rglob("*") if path.is_file())
    largest = [size for size in sizes if size > 5]
    return f"{'answers' if took is not None else 'does not answer'}; files above 5 MB: {largest or 'none'} MB"


def memory(scene: Scene) -> str:
    """Fifty bots that have answered once."""
    scene.ready()
    pids = {pid for found in scene.contender.processes().values() for pid in found}
    if scene.contender.supervises:
        pids |= set(family(scene.contender.supervisor()))
    return f"{sum(map(pss, pids)):.0f} MB in {len(pids)} processes"


def crash_loop(scene: Scene) -> str:
    """Bots end as soon as they start."""
    return _loop(scene, "at once", 25)


def crash_soon(scene: Scene) -> str:
    """Bots end two seconds after each start."""
    return _loop(scene, "soon", 60)


def _loop(scene: Scene, _crash: str, seconds: float) -> str:
    time.sleep(seconds)
    first = scene.contender.starts("one")
    time.sleep(10)
    more = scene.contender.starts("one") - first
    return f"{first} starts in {seconds:g} s, {more} in the next 10 s"


TRIALS: dict[str, tuple[Callable[[Scene], str], str]] = {
    "flood": (flood, "no"),
    "memory of 50 bots": (memory, "no"),
    "crash": (crash, "no"),
    "kill while handling": (kill_while_handling, "no"),
    "failing handler": (failing_handler, "no"),
    "hang": (hang, "no"),
    "order in a chat": (order, "no"),
    "other chats": (others_wait, "no"),
    "supervisor killed": (kill_supervisor, "no"),
    "one setting": (one_setting, "no"),
    "bad file": (bad_file, "no"),
    "crash loop": (crash_loop, "at once"),
    "crash after 2 s": (crash_soon, "soon"),
}
"""Each with whether the bots end by themselves in it."""
