"""What becomes of each service: a table of the fleet file, or a reason why not. Pure.

Everything that a table needs was read before; here it is decided. No token, and no value that looks like a
secret, gets into a table or a sentence.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.adopt.libraries import ADDRESS, UNMISTAKABLE, Mode, mode_of
from trioworkers.adopt.tokens import TokenWay, way_of
from trioworkers.config.values import BOT_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from trioworkers.adopt.code import BotCode
    from trioworkers.adopt.inspection import Inspected

_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PWD|CREDENTIAL|PRIVATE|(?:^|_)PASS(?:$|_)|(?:^|_)(?:API_?)?KEY(?:$|_)|DSN|AUTH",
    re.IGNORECASE,
)
_USER_IN_URL = re.compile(r"://[^/\s@]+@")
_RANDOM = re.compile(r"(?<![\w-])(?=[\w-]*[0-9])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{24,}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Bot:
    """A service that becomes a bot.

    Attributes:
        name: of its table.
        service: what it is called now.
        origin: where it is declared, `FILE:LINE`.
        library: what it is written with, with the version that it wants, if that is known.
        mode: how the library is run, in words.
        table: its table, as TOML would be read.
        notes: what has to be done or known.
    """

    name: str
    service: str
    origin: str
    library: str
    mode: str
    table: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A service that is not moved: its name, where it is declared, and why."""

    service: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What becomes of all services, in their order."""

    bots: tuple[Bot, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A service that is a bot: what was read, its code, its mode, its name, its token's way."""

    found: Inspected
    code: BotCode | None
    mode: Mode
    name: str
    way: TokenWay


def propose(found: Iterable[Inspected], folder: Path, taken: Collection[str] = ()) -> Proposal:
    """Return what becomes of services.

    Args:
        found: all of them.
        folder: of the fleet file, which paths in tables are relative to.
        taken: variables that the fleet file names already, for other tokens.
    """
    left: list[Left] = []
    chosen: list[_Chosen] = []
    names: Counter[str] = Counter()
    tokens: dict[tuple[str, str], str] = {}
    for one in found:
        reason = why_not(one)
        if reason is None:
            name = _name(one.service.name, names)
            code, mode = _mode(one)
            way = way_of(one, code, name) if code is not None else _foreign(one, name)
            reason = _same_token(way, tokens, one.service.name)
        if reason is not None:
            left.append(Left(one.service.name, str(one.service.place), reason))
            continue
        names[name] += 1
        chosen.append(_Chosen(one, code, mode, name, way))
    wanted = Counter(one.way.variable for one in chosen if one.way.file is None)
    bots = []
    for bot in chosen:
        variable = bot.way.variable
        if wanted[variable] > 1 or variable in taken:
            variable = _own_variable(bot.name, variable)
        bots.append(_bot(bot, variable, folder))
    return Proposal(tuple(bots), tuple(left))


def why_not(found: Inspected) -> str | None:
    """Return why a service cannot be moved; None: it can."""
    service = found.service
    if service.obstacle is not None:
        return service.obstacle
    if not found.bots and (found.program.language or not _others(found)):
        return _no_bot(found)
    if service.copies != 1:
        many = "on all processors" if not service.copies else f"{service.copies} times"
        return f"it runs {many}, and one token has one reader: make it one process, and adopt it again"
    if any(is_secret("", word) for word in service.command):
        return f"its command holds a secret (see {service.place}): let it read that from a variable"
    if len(found.bots) > 1:
        places = ", ".join(str(bot.place) for bot in found.bots)
        if found.program.entry is None:
            return f"it cannot be seen which of the bots in its folder its command runs ({places})"
        return f"it makes {len(found.bots)} bots in one program ({places}), and a table is one bot: split it"
    return _mode(found)[1].obstacle


def _no_bot(found: Inspected) -> str:
    """Why a service is taken for something else than a bot."""
    if found.program.entry is not None:
        where = f"neither {found.program.entry.name} nor what it imports makes a bot of a known library"
    elif found.program.language:
        where = "no file of its folder makes a bot of a known library"
    else:
        where = "it cannot be seen what its command runs"
    if found.missing is not None:
        where += f"; {found.missing}"
    return where if found.server is None else f"it looks like a web server ({found.server}): {where}"


def _others(found: Inspected) -> list[str]:
    return [library for library, _ in found.declared if "(" in library]


def _mode(found: Inspected) -> tuple[BotCode | None, Mode]:
    if found.bots:
        return found.bots[0], mode_of(found.bots[0].library, found.bots[0].how)
    return None, Mode(_others(found)[0], "how it polls is not known", note=ADDRESS)


def _foreign(found: Inspected, name: str) -> TokenWay:
    """The token's way of a program whose code is not read here."""
    from trioworkers.adopt.code import BotCode, TokenRead

    read = TokenRead("unseen", "", found.service.place)
    return way_of(found, BotCode("", "", found.service.place, read), name)


def _same_token(way: TokenWay, tokens: dict[tuple[str, str], str], service: str) -> str | None:
    other = tokens.setdefault(way.identity, service)
    return f"it has the token of {other}, and one token has one reader" if other != service else None


def _name(service: str, names: Mapping[str, int]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.-]+|\.{2,}", "-", service).lstrip("_.-").rstrip(".-")[:60] or "bot"
    stem = stem if BOT_NAME.fullmatch(stem) else "bot"
    name, number = stem, 1
    while name in names:
        number += 1
        name = f"{stem}-{number}"
    return name


def _own_variable(name: str, variable: str) -> str:
    prefix = re.sub(r"[^A-Za-z0-9]+", "_", name).upper()
    prefix = prefix if prefix[0].isalpha() else f"BOT_{prefix}"
    return variable if variable.upper().startswith(f"{prefix}_") else f"{prefix}_{variable.upper()}"


def _bot(one: _Chosen, variable: str, folder: Path) -> Bot:
    service, way = one.found.service, one.way
    notes = [line.replace("{variable}", variable) for line in way.says]
    table: dict[str, Any] = {"token": {"env": variable}}
    if way.file is not None:
        table["token"] = {"file": _relative(way.file, folder)}
    table["command"] = list(service.command)
    if service.cwd.resolve() != folder.resolve():
        table["cwd"] = _relative(service.cwd, folder)
    environment = dict(way.given)
    for name, text, note in _carried(one.found, {name for name, _ in way.given}):
        if note is not None:
            notes.append(note)
        else:
            environment[name] = text
    if environment:
        table["environment"] = environment
    table["acknowledge"] = one.mode.acknowledge
    if one.mode.concurrency is not None:
        table["concurrency"] = one.mode.concurrency
    is_checked = one.code is not None and one.code.checks is not None
    if way.is_real or is_checked:
        table["token_passed"] = "real"  # noqa: S105 - the name of a setting
    if service.memory_limit is not None:
        table["memory_limit"] = service.memory_limit
    if not service.enabled:
        table["enabled"] = False
    notes += _notes(one)
    versions = dict(one.found.declared)
    library = f"{one.mode.library} {versions.get(one.mode.library, '')}".strip()
    words = one.mode.words
    return Bot(one.name, service.name, str(service.place), library, words, table, tuple(notes))


def _notes(one: _Chosen) -> Iterator[str]:
    service, code = one.found.service, one.code
    if code is not None and code.checks is not None:
        yield f"{code.checks} checks what is signed with its token, so that it is given the real one"
    if code is not None and code.may_webhook:
        yield "it has code for a webhook, too: see that it polls"
    if code is not None and code.address is not None:
        yield (
            f"{code.address} names the address of a Bot API server: what it asks of api.telegram.org is"
            " redirected; for a server of your own, set fleet.api_base to it"
        )
    if code is not None and one.found.program.runner in ("bun", "deno"):
        yield f"{one.found.program.runner}: {ADDRESS}"
    if one.mode.note:
        yield one.mode.note
    if one.found.missing is not None:
        yield f"it cannot be started here yet: {one.found.missing}"
    if not service.enabled:
        yield "it does not start by itself there, so that its table has enabled = false"
    yield from service.notes


def _carried(found: Inspected, given: Collection[str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield each variable of a service with its value, or with a sentence about why it is left out."""
    for name, held in found.service.variables.items():
        if name in given:
            continue
        if _VARIABLE.fullmatch(name) is None:
            yield name, "", f"{held.place}: {name!r} is not a variable's name; left out"
        elif held.outer is not None:
            as_what = f" as {name}" if held.outer != name else ""
            yield name, "", f"{held.outer} has to be in the daemon's environment{as_what} (see {held.place})"
        elif is_secret(name, held.text):
            yield (
                name,
                "",
                f"{name} looks like a secret, and stays in {held.place}: set it in the daemon's environment",
            )
        elif "${" in held.text or "\0" in held.text:
            yield (
                name,
                "",
                f"{name} is put together from other variables in {held.place}: write it into environment",
            )
        else:
            yield name, held.text, None


def is_secret(name: str, text: str) -> bool:
    """Whether a variable is taken for a secret, by its name or by what it holds."""
    looks = (_USER_IN_URL, UNMISTAKABLE, _RANDOM)
    return bool(_SECRET_NAME.search(name)) or any(look.search(text) for look in looks)


def _relative(path: Path, folder: Path) -> str:
    """The path as a fleet file in `folder` writes it."""
    path, folder = path.resolve(), folder.resolve()
    return os.path.relpath(path, folder) if path.is_relative_to(folder) else str(path)
