"""Reads configurations of supervisord: the programs of a file and of the files that it includes."""

from __future__ import annotations

import configparser
import re
import shlex
from glob import iglob
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.adopt.service import AdoptError, Place, Service, Survey, Variable, line_of, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("supervisord.conf", "supervisor.conf", "supervisord.ini")
MOST_INCLUDED, MOST_COPIES = 200, 1000
_EXPRESSION = re.compile(r"%\((\w+)\)([0-9]*)([sd])|%%")
_SECTION = re.compile(r"(?:program|fcgi-program):\s*(\S+)")
_ASSIGNMENT = re.compile(
    r"""\s*([A-Za-z_]\w*)\s*=\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,"']*)\s*(?:,|$)"""
)


def is_supervisord(text: str) -> bool:
    """Whether a text is such a configuration, or a part of one."""
    return re.search(r"(?m)^\[(?:program:|fcgi-program:|supervisord\])", text) is not None


def read_supervisord(file: Path) -> Survey:
    """Return the programs of a configuration; a program of several processes is several services.

    Raises:
        AdoptError: it cannot be read.
    """
    services = list(_services(file, file.absolute().parent))
    for pattern in _included(file):
        for path in islice(iglob(str(file.parent / pattern)), MOST_INCLUDED):
            services += _services(Path(path), file.absolute().parent)
    return Survey("a supervisord configuration", file, tuple(services), (), "supervisorctl stop {}")


def _parse(file: Path) -> tuple[configparser.RawConfigParser, str]:
    text = read_text(file)
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",), strict=False, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next(
            (line for line, _ in getattr(error, "errors", ())), None
        )
        where = f":{line}" if line else ""
        message = f"{file}{where}: expected sections with KEY = VALUE"
        raise AdoptError(message) from None
    return parser, text


def _included(file: Path) -> list[str]:
    parser, _ = _parse(file)
    found = parser.get("include", "files", fallback=None) or ""
    return [_expanded(pattern, {"here": str(file.absolute().parent)}) for pattern in found.split()]


def _services(file: Path, here: Path) -> Iterator[Service]:
    parser, text = _parse(file)
    for section in parser.sections():
        if (match := _SECTION.fullmatch(section)) is None:
            continue
        keys = {key: value or "" for key, value in parser.items(section)}
        number = keys.get("numprocs", "1").strip()
        count = min(int(number), MOST_COPIES) if re.fullmatch(r"[1-9][0-9]{0,5}", number) else 1
        yield from _program(match[1], keys, count, (file, text, here))


def _program(
    name: str, keys: Mapping[str, str], count: int, where: tuple[Path, str, Path]
) -> Iterator[Service]:
    """One service for each distinct process; those that differ in nothing are one, with copies."""
    file, text, here = where
    start = int(keys["numprocs_start"]) if keys.get("numprocs_start", "").strip().isdecimal() else 0
    differs = "process_num" in keys.get("command", "") + keys.get("environment", "") + keys.get(
        "directory", ""
    )
    for number in range(start, start + count) if differs else (start,):
        words = {"program_name": name, "group_name": name, "process_num": str(number), "here": str(here)}
        words["host_node_name"] = "localhost"
        full = {key: _expanded(value, words) for key, value in keys.items()}
        command, obstacle = _words(full.get("command", ""))
        notes = []
        if full.get("user"):
            notes.append("user does not come along: it runs as the daemon's user")
        if full.get("autorestart", "").strip().lower() == "false":
            notes.append("autorestart is false, but trioworkers starts a bot again that ends")
        yield Service(
            name=f"{name}-{number}" if differs and count > 1 else name,
            place=Place(file, line_of(text, name)),
            command=command,
            cwd=here / full.get("directory", "").strip(),
            variables=dict(_variables(full.get("environment", ""), file, text, name)),
            copies=1 if differs else count,
            enabled=full.get("autostart", "true").strip().lower() != "false",
            obstacle=obstacle,
            notes=tuple(notes),
        )


def _words(command: str) -> tuple[tuple[str, ...], str | None]:
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        return (), "its command has a quote without an end"
    return words, None if words else "it has no command"


def _expanded(value: str, words: Mapping[str, str]) -> str:
    """The value with supervisord's `%(name)s`; variables of its surroundings become `${NAME}`."""

    def expand(match: re.Match[str]) -> str:
        name, width, kind = match[1], match[2], match[3]
        if name is None:
            return "%"
        if name.startswith("ENV_"):
            return f"${{{name.removeprefix('ENV_')}}}"
        text = words.get(name, match[0])
        if kind != "d" or not text.isdecimal():
            return text
        return text.rjust(min(int(width or 0), 20), "0" if width.startswith("0") else " ")

    return _EXPRESSION.sub(expand, value)


def _variables(text: str, file: Path, whole: str, program: str) -> Iterator[tuple[str, Variable]]:
    at = 0
    text = text.replace("\n", " ")
    while (match := _ASSIGNMENT.match(text, at)) is not None and match.end() > at:
        at = match.end()
        name, value = match[1], match[2].strip()
        if value[:1] in "'\"" and value[:1]:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        place = Place(file, line_of(whole, program, name))
        outer = re.fullmatch(r"\$\{(\w+)\}", value)
        yield name, Variable("" if outer else value, place, outer[1] if outer else None)
