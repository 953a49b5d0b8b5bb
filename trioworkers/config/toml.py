"""Reading TOML: a file's tables, or everything in it that is not TOML.

tomllib decides what is TOML and says so in its words, but it stops at the first fault. Further
faults are found by blanking the faulty line and reading on, and are reported only where the
grammar of tree-sitter sees a fault on the same line: blanking can make faults of its own (half a
string, half an array), and an invented one would be worse than one found late.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.config.bounds import DEEPEST, too_deep_key
from trioworkers.config.positions import Positions
from trioworkers.config.problems import Problem, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trioworkers.config.problems import KeyPath

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_MOST_FAULTS = 20
# tomllib's messages that quote keys as Python tuples. The others quote a character at most.
_REWORDED = {
    "Cannot declare": "a second table of this name, expected each table once",
    "Cannot overwrite": "a second key of this name, expected each key once",
    "Duplicate inline table key": "a second key of this name, expected each key once",
    "Cannot mutate immutable namespace": "a key of an inline table or array, expected it within the brackets",
    "Cannot redefine namespace": "a key of a table that has its own header, expected it below that header",
}
# Bytes: ten thousand bots are half as much. tomllib takes a second for each megabyte.
LARGEST = 16 * 1024 * 1024
# Characters of a text that is read again and again, to find all of its faults.
_READ_AGAIN = 256 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was read: its path, its tables and where they stand."""

    file: Path
    tables: dict[str, Any]
    positions: Positions


def read_source(file: Path) -> Source | list[Problem]:
    """Returns the file's contents, or all problems that keep it from being read."""
    try:
        with open(file, "rb", opener=_open_at_once) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                return [Problem(file, 0, 0, "", "cannot be read: it is not a regular file")]
            if mode & stat.S_IWOTH:  # it says which code runs as our user
                return [Problem(file, 0, 0, "", f"can be written by all users: chmod o-w {file}")]
            raw = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such path"
        return [Problem(file, 0, 0, "", f"cannot be read: {reason.lower()}")]
    if len(raw) > LARGEST:
        return [Problem(file, 0, 0, "", f"too large, expected at most {LARGEST // 2**20} MB")]
    return parse_source(file, raw)


def _open_at_once(path: str, flags: int) -> int:
    # a fifo would block whoever opens it, for good if nobody writes
    return os.open(path, flags | os.O_NONBLOCK)


def parse_source(file: Path, raw: bytes) -> Source | list[Problem]:
    """Returns what `raw`, read from `file`, says; or every place where it is not TOML."""
    raw = raw.removeprefix(codecs.BOM_UTF8)  # of an editor on Windows; a reader should ignore it (TOML 1.1)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        return [Problem(file, line, column, "", "not UTF-8, which TOML is written in")]
    too_deep = too_deep_key(text)
    if too_deep is not None:
        return [Problem(file, *too_deep, "", f"nested too deeply, expected at most {DEEPEST} levels")]
    positions = Positions(raw)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        return [Problem(file, 0, 0, "", f"nested too deeply, expected at most {DEEPEST} levels")]
    except ValueError as error:
        return _faults(file, text, error, positions)
    problems = [
        Problem(file, *positions.value(path), dotted(path), message) for path, message in refused(tables)
    ]
    if problems:
        return problems
    return Source(file, tables, positions)


def _faults(file: Path, text: str, error: ValueError, positions: Positions) -> list[Problem]:
    # Only \n counts: other line ends that str.splitlines knows are characters to TOML.
    lines = text.split("\n")
    problems = [_problem(file, error, lines)]
    while len(problems) < _MOST_FAULTS and len(text) <= _READ_AGAIN:
        line = problems[-1].line
        if line == 0:
            break
        lines[line - 1] = ""
        try:
            tomllib.loads("\n".join(lines))
        except RecursionError:
            break
        except ValueError as further:
            problem = _problem(file, further, lines)
            if problem.line <= line or problem.line not in positions.error_lines:
                break
            problems.append(problem)
        else:
            break
    return problems


def _problem(file: Path, error: ValueError, lines: list[str]) -> Problem:
    text = str(error)
    match = _AT.search(text)
    if match is None:
        # int() refuses numbers of more than 4300 digits without saying where.
        return Problem(file, 0, 0, "", "not TOML: a number is too long")
    line, column = (int(match[1]), int(match[2])) if match[1] else (len(lines), len(lines[-1]) + 1)
    what = text[: match.start()]
    for beginning, plain in _REWORDED.items():
        if what.startswith(beginning):
            what = plain
    return Problem(file, line, column, "", f"not TOML: {what[:1].lower()}{what[1:]}")


def refused(tables: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yields what TOML allows and no setting can use; without recursion, which deep tables would exhaust."""
    stack: list[tuple[KeyPath, Any]] = [((), tables)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict | list):
            if len(path) > DEEPEST:
                yield path, f"nested too deeply, expected at most {DEEPEST} levels"
                continue
            items = value.items() if isinstance(value, dict) else enumerate(value)
            stack.extend(((*path, key), inner) for key, inner in items)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            # TOML 1.0, "Integer": 64 bits must do; what is beyond cannot be sent to a worker.
            yield path, "expected an integer of 64 bits, got a larger one"
