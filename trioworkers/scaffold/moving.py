"""A fleet from the variables of the Node.js system that trioworkers replaces.

What the variables mean is decided by `config/environment.py`, as for a running daemon; here it is written
down. Tokens and secrets are named by the variable, or are written to files of their own that only their owner
can read. No message and no other file holds one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.config.environment import Environment
from trioworkers.errors import TrioworkersError
from trioworkers.scaffold.names import NameRefusedError, check_name
from trioworkers.scaffold.writing import bot_files, fleet_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TOKEN = re.compile(r"[0-9]{1,19}:[A-Za-z0-9_-]{1,256}")
_UNMISTAKABLE = re.compile(r"[0-9]{5,19}:[A-Za-z0-9_-]{20,256}")  # under whatever name it stands
_SAYS_NOTHING = {"api", "bot", "bots", "key", "telegram", "tg", "token", "tokens"}
_KEYS = ("public_url", "bind", "secret", "tls_cert", "tls_key")
IGNORED = "NODE_ENV"
KNOWN = frozenset(
    {
        "AUTO_SWITCH_MODE", "BOT_MODE", IGNORED, "WEBHOOK_HOST", "WEBHOOK_PORT", "WEBHOOK_SECRET",
        "WEBHOOK_SSL_CERT", "WEBHOOK_SSL_KEY",
    }
)  # fmt: skip
FIRST_BOT = "greeter"


class VariablesRefusedError(TrioworkersError):
    """A variable has a value that means nothing; the message has a line for each, and no value."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is written, and what there is to say.

    Attributes:
        files: texts by their paths in the new folder.
        private: those of them that hold a secret.
        bots: the names of the bots, each with the variable that its token stood in.
        notes: sentences about what could not be carried over.
    """

    files: Mapping[str, str]
    private: frozenset[str]
    bots: Mapping[str, str]
    notes: tuple[str, ...]


def plan_move(variables: Mapping[str, str], origin: Path, *, read_later: bool) -> Move:
    """Return the fleet that the variables describe.

    Args:
        variables: the old system's.
        origin: the folder that relative paths in them start from.
        read_later: whether the daemon will have these variables, too: then tokens are named by them. Else the
            tokens are written to files.

    Raises:
        VariablesRefusedError: some mean nothing.
    """
    read = Environment(variables)
    webhook, defaults = read.fill_webhook({}), read.fill_defaults({})
    if read.faults:
        raise VariablesRefusedError("\n".join(f"{read.origins[path]}: {text}" for path, text in read.faults))
    for key in ("tls_cert", "tls_key"):
        if key in webhook:
            webhook[key] = str(origin / webhook[key])
    private: dict[str, str] = {}
    if "secret" in webhook and not read_later:
        private["secrets/webhook.secret"] = variables["WEBHOOK_SECRET"].strip()
        webhook["secret"] = {"file": "secrets/webhook.secret"}
    tables, bots, notes = [], {}, list(_notes(variables, read_later=read_later))
    for name, variable, token, is_alone in _bots(variables, notes):
        source: dict[str, str] = {"env": variable}
        if not (read_later and is_alone):
            file = f"secrets/{name}.token"
            private[file], source = token, {"file": file}
        bots[name] = variable
        tables.append(_bot_table(name, variable, source))
    if not bots:
        notes.append(f"no variable holds a bot's token: the bot {FIRST_BOT} takes its from GREETER_TOKEN")
        bots[FIRST_BOT] = "GREETER_TOKEN"
        tables.append(_bot_table(FIRST_BOT, "", {"env": "GREETER_TOKEN"}))
    files = {name: text for name, text in fleet_files(FIRST_BOT).items() if name == "play.py"}
    files[".gitignore"] = fleet_files(FIRST_BOT)[".gitignore"] + "secrets/\n"
    for name in bots:
        files |= bot_files(name)
    sections = {"webhook": {key: webhook[key] for key in _KEYS if key in webhook}, "defaults": defaults}
    files["fleet.toml"] = "\n".join(["\n".join(_head(sections, read)), *tables])
    texts = {name: f"{text}\n" for name, text in private.items()}
    return Move({**files, **texts}, frozenset(texts), bots, tuple(notes))


def _bots(variables: Mapping[str, str], notes: list[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield each bot's name, variable and token, and whether that is all the variable holds."""
    names: set[str] = set()
    seen: dict[str, str] = {}  # a bot's id, and the variable that has its token
    for variable, value in variables.items():
        tokens = _tokens(variable, value)
        for number, token in enumerate(tokens, start=1):
            bot_id = token.partition(":")[0]
            if bot_id in seen:
                notes.append(f"{variable}: its bot has its token from {seen[bot_id]} already; left out")
                continue
            seen[bot_id] = variable
            name = _name(variable, number if len(tokens) > 1 else None, names)
            names.add(name)
            yield name, variable, token, len(tokens) == 1


def _tokens(variable: str, value: str) -> list[str]:
    """Return the tokens of bots that a variable holds, if it holds nothing else."""
    parts = [part for part in re.split(r"[,;\s]+", value) if part]
    shape = _TOKEN if re.search(r"TOKENS?$", variable.upper()) else _UNMISTAKABLE
    return parts if all(shape.fullmatch(part) for part in parts) else []


def _name(variable: str, number: int | None, taken: set[str]) -> str:
    """Return a name that no bot has yet and that hides no module."""
    words = re.findall(r"[a-z0-9]+", variable.lower())
    stem = "_".join(word for word in words if word not in _SAYS_NOTHING)[:30] or "bot"
    if number is not None:
        stem = f"{stem}_{number}"
    for candidate in (stem, f"bot_{stem}", *(f"bot_{stem}_{more}" for more in range(2, 1000))):
        if candidate not in taken:
            try:
                check_name(candidate)
            except NameRefusedError:
                continue
            return candidate
    message = f"{variable}: expected a name that a bot can be called after"
    raise VariablesRefusedError(message)


def _head(sections: Mapping[str, Mapping[str, Any]], read: Environment) -> Iterator[str]:
    yield "# Every key has a default: see `trioworkers schema`, or the documentation of the fleet file."
    yield '[fleet]\nname = "my-fleet"\n\n[api]\nbind = "127.0.0.1:3001"\n'
    for section, table in sections.items():
        if table:
            yield f"[{section}]"
        for key, value in table.items():
            yield f"{key} = {_toml(value)}  # {read.origins[section, key]}"
        if table:
            yield ""


def _bot_table(name: str, variable: str, source: Mapping[str, str]) -> str:
    said = f"  # {variable}" if variable and "env" not in source else ""
    lines = [f"[bots.{name}]", f"token = {_toml(source)}{said}", f'handler = "{name}:handle"']
    return "\n".join([*lines, 'settings = { greeting = "hi" }', ""])


def _toml(value: object) -> str:
    """Return a string, or a table of one string, as TOML; JSON's escapes are TOML's, too (DEL aside)."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _notes(variables: Mapping[str, str], *, read_later: bool) -> Iterator[str]:
    if variables.get(IGNORED):
        yield f"{IGNORED} means nothing to trioworkers"
    if not read_later:
        others = [name for name, value in variables.items() if name not in KNOWN and not _tokens(name, value)]
        if others:
            yield f"not carried over: {', '.join(others)}"
