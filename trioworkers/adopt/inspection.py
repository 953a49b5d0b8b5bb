"""Looks at the code that a service runs, and at the `.env` files beside it; nothing is started."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trioworkers.adopt.code import BotCode, assigned_in, sources_below
from trioworkers.adopt.javascript import SUFFIXES, read_javascript
from trioworkers.adopt.program import Program, libraries_of, program_of
from trioworkers.adopt.python_code import read_python
from trioworkers.adopt.service import text_or_none
from trioworkers.config.command import program_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.adopt.service import Place, Service, Survey

_SERVER = re.compile(
    r"""\b(uvicorn|gunicorn|nginx|hypercorn)\b|\b(createServer)\s*\("""
    r"""|(?:require\(|from|import)\s*['"]?(express|fastify|koa|next|fastapi|flask|django|starlette)\b"""
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A service, and what its code says.

    Attributes:
        service: what is run.
        program: which language and file that is.
        bots: the bots that its code makes.
        declared: the libraries that the project says it needs, each with the version that it wants.
        assigned: variables that `.env` files beside it assign, with their values, by name.
        missing: why its command cannot be started on this machine as it is; None: it can.
        server: what its code serves the web with, if that can be seen.
    """

    service: Service
    program: Program
    bots: tuple[BotCode, ...] = ()
    declared: tuple[tuple[str, str], ...] = ()
    assigned: Mapping[str, tuple[Place, str]] = field(default_factory=dict, repr=False)
    missing: str | None = None
    server: str | None = None


def inspect(service: Service, survey: Survey) -> Inspected:
    """Return what the code of a service says."""
    if service.obstacle is not None:
        return Inspected(service, Program())
    folder = service.cwd
    program = program_of(service.command, folder)
    bots: list[BotCode] = []
    if program.language == "python":
        bots = read_python(program.entry or list(sources_below(folder, (".py",))), folder)
    elif program.language == "javascript" or (program.entry is None and (folder / "package.json").is_file()):
        bots = read_javascript(program.entry or list(sources_below(folder, SUFFIXES)))
    folders = (
        [folder] if program.entry is None else [folder, program.entry.parent, *program.entry.parents[1:3]]
    )
    declared = dict(found for place in reversed(dict.fromkeys(folders)) for found in libraries_of(place))
    names = {bot.token.name for bot in bots if bot.token.kind == "variable"}
    names |= {held.outer for held in service.variables.values() if held.outer}
    beside = survey.path if survey.path.is_dir() else survey.path.parent
    assigned: dict[str, tuple[Place, str]] = {}
    for name in sorted(names):
        for place in dict.fromkeys((*folders[:2], beside)):
            if (found := assigned_in(place / ".env", name)) is not None:
                assigned.setdefault(name, found)
    missing = program_problem(service.command, folder, os.environ.get("PATH"))
    text = " ".join(service.command) if program.entry is None else text_or_none(program.entry) or ""
    server = _SERVER.search(text)
    return Inspected(
        service,
        program,
        tuple(bots),
        tuple(declared.items()),
        assigned,
        missing,
        None if server is None else next(filter(None, server.groups())),
    )
