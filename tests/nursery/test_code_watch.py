"""Which bots are replaced when files change; the files are real, the bots are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from trioworkers.nursery.code_watch import CodeWatch
from trioworkers.protocol.frames import CodeFile, CodeLoaded
from trioworkers.user_modules import fingerprint_of

if TYPE_CHECKING:
    from pathlib import Path


class Fleet:
    """Bots that note when their code is tried, and the watch of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tried: list[str] = []
        self.events: list[tuple[str, str | None, dict[str, Any]]] = []
        self.renewals = 0
        self.bots: dict[str, Any] = {}
        self.watch = CodeWatch(lambda: self.bots, lambda: [folder], self.renew, self.emit)

    async def renew(self) -> None:
        self.renewals += 1

    def emit(self, event: str, bot: str | None = None, **fields: Any) -> None:
        self.events.append((event, bot, fields))

    def add(self, name: str, handler: str = "bot:handle") -> None:
        settings = SimpleNamespace(handler=handler)
        self.bots[name] = SimpleNamespace(settings=settings, try_code=lambda: self.tried.append(name))

    def save(self, name: str, source: str) -> None:
        (self.folder / name).write_text(source)

    def report(self, bot: str, since: float, *names: str, preloaded: tuple[str, ...] = ()) -> None:
        """A worker reports files as they are now; those that are absent as such."""
        files = []
        for name in names:
            path = self.folder / name
            found = fingerprint_of(path.read_bytes()) if path.exists() else ""
            files.append(CodeFile(str(path), found, name in preloaded))
        self.watch.report(bot, since, CodeLoaded(files))

    async def look(self) -> list[str]:
        """What is tried now."""
        self.tried.clear()
        await self.watch.changed()
        return sorted(self.tried)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Two bots that share `words.py`, and one that does not, whose workers have reported."""
    fleet = Fleet(tmp_path)
    for name in ("bot.py", "other.py", "words.py"):
        fleet.save(name, "X = 1\n")
    for name, files in (("a", ("bot.py", "words.py")), ("b", ("bot.py", "words.py")), ("c", ("other.py",))):
        fleet.add(name, "other:handle" if name == "c" else "bot:handle")
        fleet.report(name, 1.0, *files)
    return fleet


async def test_who_uses_a_file_is_replaced_once(fleet: Fleet) -> None:
    """However often it is looked at until the new worker reports; and once more when it changes meanwhile."""
    assert await fleet.look() == []
    fleet.save("words.py", "X = 2\n")
    assert await fleet.look() == ["a", "b"]
    assert await fleet.look() == []
    assert fleet.events == [("code.changed", None, {"files": ["words.py"], "bots": 2})]
    fleet.save("words.py", "X = 3\n")
    assert await fleet.look() == ["a", "b"]
    fleet.report("a", 2.0, "bot.py", "words.py")
    fleet.report("b", 2.0, "bot.py", "words.py")
    assert await fleet.look() == []
    assert {path.name for path in fleet.watch.watched().files} == {"bot.py", "words.py", "other.py"}


async def test_a_change_while_a_worker_starts_is_found_by_what_it_reports(fleet: Fleet) -> None:
    """It has loaded what is not there any more; a report of an older worker does not count."""
    fleet.report("c", 3.0, "other.py")
    fleet.save("other.py", "X = 2\n")
    fleet.report("c", 2.0, "other.py")
    assert await fleet.look() == ["c"]
    assert fleet.events[-1] == ("code.changed", "c", {"files": ["other.py"], "bots": 1})


async def test_a_file_that_goes_and_one_that_comes_are_changes(fleet: Fleet) -> None:
    """Broken code names the files that it missed."""
    (fleet.folder / "words.py").unlink()
    assert await fleet.look() == ["a", "b"]
    for bot in ("a", "b"):
        fleet.report(bot, 2.0, "bot.py", "words.py", "words/__init__.py")
    assert await fleet.look() == []
    (fleet.folder / "words").mkdir()
    fleet.save("words/__init__.py", "")
    assert await fleet.look() == ["a", "b"]


async def test_a_bot_without_a_report_is_watched_by_its_handlers_name(fleet: Fleet) -> None:
    """Its import ended the process: only another version of it may help. A bot that is gone is forgotten."""
    fleet.add("d", "new:handle")
    fleet.save("new.py", "import os; os._exit(1)\n")
    assert await fleet.look() == []
    fleet.save("new.py", "X = 1\n")
    assert await fleet.look() == ["d"]
    del fleet.bots["d"]
    fleet.save("new.py", "X = 2\n")
    assert await fleet.look() == []
    assert "new.py" not in {path.name for path in fleet.watch.watched().files}


async def test_what_was_loaded_before_the_fork_needs_a_new_zygote(fleet: Fleet) -> None:
    """Once for all bots; not for a file that cannot even be compiled, which would leave no zygote."""
    for bot in ("a", "b"):
        fleet.report(bot, 2.0, "bot.py", "words.py", preloaded=("words.py",))
    fleet.save("bot.py", "X = 2\n")
    assert await fleet.look() == ["a", "b"]
    assert fleet.renewals == 0
    fleet.save("words.py", "X = (\n")
    assert await fleet.look() == []
    assert fleet.events[-1][0] == "code.refused"
    assert fleet.events[-1][2]["reason"].endswith("words.py:1")
    fleet.save("words.py", "X = 3\n")
    assert await fleet.look() == ["a", "b"]
    assert fleet.renewals == 1
