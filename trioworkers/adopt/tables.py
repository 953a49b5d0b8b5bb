"""Tables of bots as the text of a fleet file, and their place at its end: nothing else of it is changed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trioworkers.adopt.service import AdoptError
from trioworkers.config import BotSettings, FleetFileError
from trioworkers.config.defaults import merge
from trioworkers.config.messages import faults
from trioworkers.config.problems import dotted
from trioworkers.config.secret import SecretContext
from trioworkers.config.toml import Source, parse_source, read_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trioworkers.adopt.proposal import Bot

_BARE = re.compile(r"[A-Za-z0-9_-]+")
NEW = '[fleet]\nname = "my-fleet"\n'


def bots_text(bots: Sequence[Bot]) -> str:
    """Return the tables of bots, as they are appended to a fleet file."""
    return "\n".join("\n".join(_lines(bot)) + "\n" for bot in bots)


def _lines(bot: Bot) -> Iterator[str]:
    yield f"[bots.{_key(bot.name)}]  # {_comment(f'{bot.origin}: {bot.library}, {bot.mode}')}"
    for key, value in bot.table.items():
        yield f"{_key(key)} = {_value(value)}"


def _comment(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    """A value as TOML; strings as JSON has them, whose escapes are TOML's, too (DEL aside)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class FleetText:
    """A fleet file that bots are added to.

    Attributes:
        path: the file.
        text: what it holds; None: it does not exist.
        defaults: its table `[defaults]`.
        owners: the file in which each of its bots stands, by name.
        variables: what its bots' tokens are taken from.
    """

    path: Path
    text: str | None
    defaults: Mapping[str, Any]
    owners: Mapping[str, Path]
    variables: frozenset[str]


def read_fleet_text(path: Path) -> FleetText:
    """Return a fleet file as text, with the names in it and in `fleet.d`.

    Raises:
        FleetFileError: it is there and cannot be read as TOML.
    """
    if not path.exists():
        return FleetText(path, None, {}, {}, frozenset())
    main = read_source(path)
    if not isinstance(main, Source):
        raise FleetFileError(main)
    state = _table(main.tables.get("fleet")).get("state_dir", "state")
    folders = dict.fromkeys((path.parent / "fleet.d", path.parent / str(state) / "fleet.d"))
    others = [read_source(file) for folder in folders for file in sorted(folder.glob("*.toml"))]
    owners: dict[str, Path] = {}
    variables: set[str] = set()
    for source in (main, *(other for other in others if isinstance(other, Source))):
        for name, table in _table(source.tables.get("bots")).items():
            owners.setdefault(name, source.file)
            if isinstance(variable := _table(_table(table).get("token")).get("env"), str):
                variables.add(variable)
    defaults = _table(main.tables.get("defaults"))
    return FleetText(path, path.read_text(encoding="utf-8"), defaults, owners, frozenset(variables))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def clashes(fleet: FleetText, bots: Sequence[Bot]) -> list[str]:
    """Return a sentence for each bot whose name the fleet has."""
    return [
        f"bots.{dotted((bot.name,))} is in {fleet.owners[bot.name]} already: nothing of it was changed"
        for bot in bots
        if bot.name in fleet.owners
    ]


def refusals(fleet: FleetText, bots: Sequence[Bot]) -> list[str]:
    """Return what a check of the fleet would say of these tables, but for tokens that are not there yet."""
    found = []
    for bot in bots:
        given = {**bot.table, "token": "1:stand-in", "name": bot.name}
        try:
            BotSettings.model_validate(
                merge(fleet.defaults, given), context=SecretContext(fleet.path.absolute().parent, os.environ)
            )
        except ValidationError as error:
            found += [
                f"{dotted(('bots', bot.name, *path))}: {message}"
                for path, message, _ in faults(BotSettings, error)
            ]
    return found


def with_bots(fleet: FleetText, bots: Sequence[Bot]) -> bytes:
    """Return what has to be appended to a fleet file.

    Raises:
        AdoptError: the file would not be TOML any more, since it writes its bots in another way.
    """
    before = NEW if fleet.text is None else fleet.text
    gap = "" if not before or before.endswith("\n\n") else "\n" if before.endswith("\n") else "\n\n"
    added = (NEW if fleet.text is None else "") + gap + bots_text(bots)
    whole = added if fleet.text is None else before + added
    source = parse_source(fleet.path, whole.encode())
    if not isinstance(source, Source):
        message = f"{fleet.path}: has its bots in one line or table, which nothing can be appended to"
        raise AdoptError(message)
    return added.encode()


def append(fleet: FleetText, added: bytes) -> None:
    """Append to a fleet file in one write, or make it; its owner, mode and links stay.

    Raises:
        AdoptError: it was changed since it was read.
        OSError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    flags |= os.O_CREAT | os.O_EXCL if fleet.text is None else 0
    descriptor = os.open(fleet.path, flags, 0o666)
    try:
        if fleet.text is not None and fleet.path.read_text(encoding="utf-8") != fleet.text:
            message = f"{fleet.path}: was changed meanwhile: nothing was written"
            raise AdoptError(message)
        if os.write(descriptor, added) != len(added):
            message = f"{fleet.path}: only a part could be written: is the disk full?"
            raise AdoptError(message)
    finally:
        os.close(descriptor)
