"""Where the daemon gets a bot's token from, and how the bot gets it from the daemon. Pure.

A token is never copied: it stays where it is, and is named. One that stands in plain text in a file that no
`file =` can name is to be moved by its owner, who is told the place and not the token.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.adopt.code import BotCode, TokenRead
    from trioworkers.adopt.inspection import Inspected


@dataclass(frozen=True, slots=True)
class TokenWay:
    """The way of one bot's token.

    Attributes:
        variable: the daemon's variable that holds it, unless `file` does.
        file: the file that holds it and nothing else.
        given: the variables that the bot is given, with their values as the fleet file writes them.
        is_real: whether the bot has to be given the real token, since it reads one of its own.
        says: what the user is told, `{variable}` in place of the daemon's variable.
        identity: equal for two bots exactly when they have one token, as far as can be seen.
    """

    variable: str
    file: Path | None = None
    given: tuple[tuple[str, str], ...] = ()
    is_real: bool = False
    says: tuple[str, ...] = ()
    identity: tuple[str, str] = field(default=("", ""), repr=False)


def way_of(found: Inspected, bot: BotCode, name: str) -> TokenWay:
    """Return the way of a bot's token.

    Args:
        found: its service.
        bot: its code.
        name: of its table, for a variable of its own.
    """
    read = bot.token
    own = f"{''.join(c if c.isalnum() else '_' for c in name).upper()}_TOKEN"
    own = own if own[0].isalpha() else f"BOT_{own}"
    if read.kind == "literal":
        says = (
            f"{read.place} has its token in plain text: put it into {{variable}} of the daemon's environment"
        )
        later = (
            "let the code read it from a variable, give that {token} in environment, and drop token_passed"
        )
        return TokenWay(own, is_real=True, says=(says, later), identity=("text", read.text))
    if read.kind == "file":
        path = found.service.mounted.get(read.name) or found.service.cwd / read.name
        return TokenWay(own, file=path, is_real=True, identity=("file", os.path.abspath(path)))
    if read.kind == "variable":
        return _of_variable(found, read, own)
    likely = [key for key in found.service.variables if "TOKEN" in key.upper()]
    if len(likely) == 1:
        return _of_variable(found, _guess(read, likely[0]), own)
    says = f"{read.place}: it cannot be seen where this bot reads its token: put it into {{variable}}"
    more = "if it reads a variable, give that {token} in environment, and drop token_passed"
    return TokenWay(own, is_real=True, says=(says, more), identity=("place", str(read.place)))


def _guess(read: TokenRead, name: str) -> TokenRead:
    return type(read)("variable", name, read.place, is_sure=False)


def _of_variable(found: Inspected, read: TokenRead, own: str) -> TokenWay:
    """The way of a token that the code reads from a variable."""
    name, service = read.name, found.service
    says = [] if read.is_sure else [f"{name} is taken for the variable of its token: see {read.place}"]
    held = service.variables.get(name)
    if held is not None and held.outer is None:
        path = service.mounted.get(held.text)
        if path is None and name.upper().endswith("_FILE"):
            path = service.cwd / held.text
        if path is not None:  # a variable that names a file
            return TokenWay(
                own,
                file=path,
                given=((name, os.path.abspath(path)),),
                is_real=True,
                says=tuple(says),
                identity=("file", os.path.abspath(path)),
            )
        says.append(
            f"{held.place} has its token in plain text: put it into {{variable}} of the daemon's environment"
        )
        return TokenWay(name, given=((name, "{token}"),), says=tuple(says), identity=("text", held.text))
    outer = held.outer if held is not None and held.outer else name
    if (assigned := found.assigned.get(outer)) is not None:
        place, text = assigned
        says.append(f"{place} holds its token: put it into {{variable}} of the daemon's environment")
        identity = ("text", text) if text else ("variable", outer)
    else:
        says.append(f"{{variable}} has to be in the daemon's environment, with what {outer} holds for it now")
        identity = ("variable", outer) if held is not None else ("place", f"{service.name} {service.place}")
    return TokenWay(outer, given=((name, "{token}"),), says=tuple(says), identity=identity)
