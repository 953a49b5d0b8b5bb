"""What `bots add` was given, and what the daemon found wrong with it, in the words of the command line. Pure.

The daemon reads the bot as a file that it would write. Nobody has seen that file: a problem with it is
cited by the option that the value came from.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUOTING = (
    """a value is as in TOML, a text in quotes that the shell leaves there: --set 'settings.greeting="hi"'"""
)
_PROBLEM = re.compile(
    r'(?P<file>.*?): bots\.(?:"(?:[^"\\]|\\.)*"|[^.:\s"]+)(?:\.(?P<key>\S+))?: (?P<what>.*)'
)


class KeyGivenError(ValueError):
    """An argument of `--set` is not KEY=VALUE."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the person wrote.

    Attributes:
        bot: the bot's name.
        table: what the daemon is asked to add.
        options: for a key of the table, how it was written: `--handler shop:handle`.
    """

    bot: str
    table: Mapping[str, Any] = field(repr=False)
    options: Mapping[str, str]

    def cited(self, problem: str) -> str:
        """A problem that the daemon found, by what was written; one of something else as it stands."""
        found = _PROBLEM.fullmatch(problem)
        folder_or_file = "" if found is None else found["file"].rpartition("/")[2]
        if found is None or not re.match(rf"{re.escape(self.bot)}\.toml:|fleet\.d$", folder_or_file):
            return problem
        key, what = found["key"], found["what"]
        if key is None:
            return f"{self.bot}: {what}"
        for known, option in self.options.items():
            if key == known or key.startswith(f"{known}."):
                return f"{option}: {what}"
        return f"{key}: {what}"


def read_keys(keys: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The table of all `--set KEY=VALUE`, and each as it was written, by its key.

    Raises:
        KeyGivenError: one is none; the message cites it, and says how to quote.
    """
    written: dict[str, str] = {}
    for given in keys:
        key, equals, value = given.partition("=")
        try:
            if not equals:
                message = f"--set {given}: expected KEY=VALUE; {QUOTING}"
                raise KeyGivenError(message)
            tomllib.loads(given)
        except tomllib.TOMLDecodeError:
            message = f"--set {given}: {QUOTING}"
            if _is_toml(meant := f"{key}={json.dumps(value, ensure_ascii=False)}"):
                message = f"--set {given}: expected quotes around a text: --set '{meant}'"
            raise KeyGivenError(message) from None
        written[key.strip()] = f"--set {given}"
    try:
        return tomllib.loads("\n".join(keys)), written
    except tomllib.TOMLDecodeError as error:
        message = f"--set: {str(error).partition(' (at')[0].lower()}: expected each key once"
        raise KeyGivenError(message) from None


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
