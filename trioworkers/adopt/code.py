"""What the code of a bot says of it: which library, how it is run, and where its token comes from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trioworkers.adopt.libraries import SPEAKS
from trioworkers.adopt.service import Place, text_or_none

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

MOST_FILES = 400
CHECKS = re.compile(
    r"WebAppData|check_webapp_signature|safe_parse_webapp_init_data|check_integrity\b"
    r"|@(?:telegram-apps|tma\.js)/init-data-node|@grammyjs/validator"
)
SKIPPED = frozenset(
    {"node_modules", "venv", "env", "__pycache__", "site-packages", "test", "tests", "coverage", "build"}
)


@dataclass(frozen=True, slots=True)
class TokenRead:
    """Where a bot's code has its token from.

    Attributes:
        kind: a variable of its environment, a text in the code, a file, or nothing that was seen.
        name: of the variable, or the path of the file as the code names it.
        place: where that stands.
        is_sure: whether the constructor's argument leads there. If not, it is the only one that is likely.
        text: the token in the code.
    """

    kind: Literal["variable", "literal", "file", "unseen"]
    name: str
    place: Place
    is_sure: bool = True
    text: str = field(default="", repr=False)


@dataclass
class Assigned:
    """What the code of one program assigns to names, and which variables of its environment it reads.

    Attributes:
        variables: names that hold a variable's value: the variable, and where it is read.
        literals: names that hold a token.
        files: names that hold what a file says: its path in the code, and where it is read.
        reads: all variables that are read.
    """

    variables: dict[str, tuple[str, Place]] = field(default_factory=dict)
    literals: dict[str, TokenRead] = field(default_factory=dict)
    files: dict[str, tuple[str, Place]] = field(default_factory=dict)
    reads: dict[str, Place] = field(default_factory=dict)

    def token_of(self, names: Iterable[str], place: Place) -> TokenRead:
        """Return where a token comes from that the code names so; the first name that says it counts."""
        for name in names:
            if name in self.variables:
                return TokenRead("variable", *self.variables[name])
            if name in self.literals:
                return self.literals[name]
            if name in self.files:
                return TokenRead("file", *self.files[name])
            if SPEAKS.fullmatch(name):
                return TokenRead("variable", name, place, is_sure=False)
        likely = {name: where for name, where in self.reads.items() if "TOKEN" in name.upper()}
        if len(likely) == 1:
            return TokenRead("variable", *likely.popitem(), is_sure=False)
        return TokenRead("unseen", "", place)


@dataclass(frozen=True, slots=True)
class BotCode:
    """A bot that code makes.

    Attributes:
        library: the library that it is made with.
        how: the way in which it is run, a key of :data:`~trioworkers.adopt.libraries.MODES`, or `webhook`.
        place: where the bot is made.
        token: where its token comes from.
        address: where the code names the address of a Bot API server.
        may_webhook: whether it polls, but has code for a webhook, too.
        checks: where it checks data of a Mini App or a login, which is signed with its token.
    """

    library: str
    how: str
    place: Place
    token: TokenRead
    address: Place | None = None
    may_webhook: bool = False
    checks: Place | None = None


def sources_below(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the files of a project that have one of these endings, `MOST_FILES` at most.

    Neither hidden folders nor those of installed packages, and no symbolic links.
    """
    count = 0
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED
            and not name.startswith(".")
            and not os.path.exists(os.path.join(where, name, "pyvenv.cfg"))
        )
        for name in sorted(files):
            path = Path(where, name)
            if path.suffix in suffixes and not path.is_symlink():
                yield path
                count += 1
                if count >= MOST_FILES:
                    return


def assigned_in(file: Path, name: str) -> tuple[Place, str] | None:
    """Return where a `.env` file assigns a variable, and the value, without its quotes."""
    text = text_or_none(file)
    for number, line in enumerate((text or "").splitlines(), start=1):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key.strip() == name:
            value = value.partition(" #")[0].strip()
            return Place(file, number), value.strip("'\"`")
    return None
