"""A recipe's files in a folder, its fleet beside a simulated Telegram, its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from documents import fenced, page

from trioworkers.testing import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.testing import TelegramThread
    from trioworkers.testing.fleet import RunningFleet

NAME = re.compile(r"(?:#|//) ([\w./-]+)\n")
LIMIT = 240.0  # seconds of a block of commands, on a machine that others use, too


class Recipe:
    """The page's blocks, taken out one after the other.

    Attributes:
        folder: has the files.
        telegram: for its fleets.
        environ: of its commands.
    """

    def __init__(self, name: str, folder: Path, telegram: TelegramThread) -> None:
        self.folder = folder
        self.telegram = telegram
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {"PATH": path, "HOME": str(folder)}
        self.unused: set[str] = set()
        self._commands: list[str] = []
        for language, block in fenced(page(f"recipes/{name}.md")):
            if language == "sh":
                self._commands.append(block)
                continue
            named = NAME.match(block)
            assert named, f"a file without its name:\n{block}"
            path_ = folder / named[1]
            path_.parent.mkdir(parents=True, exist_ok=True)
            path_.write_text(block)
            if not named[1].endswith(".py") or named[1].startswith("test_"):
                self.unused.add(named[1])

    def tables(self, name: str = "fleet.toml") -> dict[str, Any]:
        """The fleet file's tables, whose bots get simulated tokens."""
        self.unused.discard(name)
        found = tomllib.loads((self.folder / name).read_text())
        for bot in found.get("bots", {}).values():
            del bot["token"]
        return found

    @contextmanager
    def fleet(self, tables: dict[str, Any] | None = None, **environ: str) -> Iterator[RunningFleet]:
        """The recipe's fleet, until the end of the block."""
        made = self.tables() if tables is None else tables
        with running(self.folder, made, telegram=self.telegram, environ=environ) as fleet:
            yield fleet

    def next_command(self) -> str:
        """The page's next block of shell."""
        return self._commands.pop(0)

    def run(self, command: str) -> str:
        """Run a command as it is typed; return what it prints."""
        result = subprocess.run(
            ["bash", "-e", "-c", command],  # noqa: S607 - any bash
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def passes(self, name: str, count: int) -> None:
        """Run a test that the page shows."""
        self.unused.discard(name)
        said = self.run(f"python -m pytest -q -p no:cacheprovider -c /dev/null --rootdir . {name}")
        assert f"{count} passed" in said

    def must_be_used_up(self) -> None:
        """Fail if a command was not run, or a file that is no module was not used."""
        assert self._commands == []
        assert self.unused == set()
