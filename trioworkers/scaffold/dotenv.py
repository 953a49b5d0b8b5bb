"""Reading a `.env` file as Node.js does.

The rules are those of Node's own `--env-file` and of the package dotenv. Both pass over a line that assigns
nothing; here it is an error, because somebody may rely on it.
"""

from __future__ import annotations

import re

from trioworkers.errors import TrioworkersError

_ASSIGNMENT = re.compile(
    r"""
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][\w.-]*) [ \t]*=[ \t]*
    (?:
        "(?P<double>[^"]*)" (?=[ \t]*(?:\#|\r?\n|$)) [^\n]*
        | '(?P<single>[^']*)' (?=[ \t]*(?:\#|\r?\n|$)) [^\n]*
        | `(?P<back>[^`]*)` (?=[ \t]*(?:\#|\r?\n|$)) [^\n]*
        | (?P<bare>[^\#\n]*) [^\n]*
    )
    """,
    re.VERBOSE,
)
_NOTHING = re.compile(r"[ \t\r]*(?:#[^\n]*)?")


class DotenvError(TrioworkersError):
    """A line of the file assigns nothing; the message names the line, and no value."""


def parse_dotenv(text: str, name: str = ".env") -> dict[str, str]:
    """Return the variables that a `.env` file sets; of a variable that stands twice, the last value.

    Values may stand in double quotes, in which `\\n` is a line break, in single quotes or in backticks, each
    over several lines. Without quotes, `#` begins a comment.

    Raises:
        DotenvError: a line is neither an assignment nor a comment nor empty.
    """
    found: dict[str, str] = {}
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        if match := _ASSIGNMENT.match(text, at):
            found[match["name"]] = _value(match)
        elif not (match := _NOTHING.match(text, at)) or text[match.end() : match.end() + 1] not in ("", "\n"):
            line = text.count("\n", 0, at) + 1
            message = f"{name}:{line}: expected NAME=VALUE, a comment or an empty line"
            raise DotenvError(message)
        at = match.end() + 1
    return found


def _value(match: re.Match[str]) -> str:
    if (double := match["double"]) is not None:
        return double.replace("\\n", "\n").replace("\r\n", "\n")
    for quoted in (match["single"], match["back"]):
        if quoted is not None:
            return quoted.replace("\r\n", "\n")
    return match["bare"].strip()
