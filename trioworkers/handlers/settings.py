"""The settings of a bot whose mind is an HTTP backend: the bot's `settings` table, read in its worker.

A secret is read here, in the worker, so that a secret which is named by its source passes neither through the
daemon nor through the fleet's settings. Pydantic, which reads the fleet file, would cost each worker 10 MB.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("url", "secret", "timeout")
DEFAULT_TIMEOUT = 30.0  # seconds
LONGEST_TIMEOUT = 3600.0
SHORTEST_SECRET = 16  # characters
LARGEST_FILE = 64 * 1024  # bytes
SOURCES = ("env", "file", "credential")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_duration = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h)").fullmatch
_printable = re.compile(r"[\x21-\x7e]+").fullmatch
_credential = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@-]{1,255}").fullmatch  # systemd.exec(5)


class SettingsError(TrioworkersError):
    """The settings cannot be used.

    Attributes:
        problems: what is wrong, one line each, without a secret.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """How a backend is asked.

    Attributes:
        url: where updates are posted.
        secret: signs each request.
        timeout: seconds that one answer may take.
    """

    url: str
    secret: bytes = field(repr=False)
    timeout: float = DEFAULT_TIMEOUT


def read_settings(settings: Mapping[str, Any]) -> BackendSettings:
    """Read the `settings` table of a bot; blocks on the disk where the secret is in a file.

    Raises:
        SettingsError: with all that is wrong.
    """
    problems = [
        f"settings.{key}: unexpected key, expected {', '.join(KEYS)}" for key in settings.keys() - KEYS
    ]
    read: dict[str, Any] = {}
    for key, reader in (("url", _url), ("secret", _secret), ("timeout", _timeout)):
        try:
            read[key] = reader(settings.get(key))
        except ValueError as error:
            problems.append(f"settings.{key}: {error}")
    if problems:
        raise SettingsError(tuple(sorted(problems)))
    return BackendSettings(**read)


def _url(value: object) -> str:
    rule = "expected an http or https address without user and fragment"
    if not isinstance(value, str) or not _printable(value):
        raise ValueError(rule)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or "#" in value:
        raise ValueError(rule)
    _ = parts.port  # raises ValueError beyond 65535
    return value


def _timeout(value: object) -> float:
    seconds: float | None = None
    if value is None:
        return DEFAULT_TIMEOUT
    if isinstance(value, str) and (found := _duration(value)):
        seconds = float(found[1]) * _UNITS[found[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not 0 < seconds <= LONGEST_TIMEOUT:
        message = 'expected more than 0 seconds and at most an hour, as a number or such as "30s"'
        raise ValueError(message)
    return seconds


def _secret(value: object) -> bytes:
    text = value if isinstance(value, str) else _from_source(value)
    if len(text) < SHORTEST_SECRET:
        message = f"expected a secret of at least {SHORTEST_SECRET} characters"
        raise ValueError(message)
    return text.encode(errors="surrogateescape")


def _from_source(value: object) -> str:
    """The secret that a table with one source names; messages never say what the source holds."""
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in SOURCES:
        raise ValueError("expected a string, or a table with one of the keys env, file and credential")
    ((source, name),) = value.items()
    if not isinstance(name, str) or not name:
        message = f"expected a string after {source}"
        raise ValueError(message)
    if source == "env":
        text = os.environ.get(name)
        if not text:
            raise ValueError("the environment variable that env names is not set in the worker")
        return text
    if source == "file":
        return _from_file(Path(name), "the file")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ValueError("the environment variable CREDENTIALS_DIRECTORY is not set")
    if not _credential(name):
        raise ValueError("expected the name of a credential after credential")
    return _from_file(Path(folder) / name, "the credential")


def _from_file(path: Path, what: str) -> str:
    try:
        if not path.is_file():  # a fifo would block the worker
            message = f"{what} is not a regular file"
            raise ValueError(message)
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        message = f"{what} cannot be read: {(error.strerror or 'unknown error').lower()}"
        raise ValueError(message) from None
    if len(content) > LARGEST_FILE:
        message = f"{what} is larger than {LARGEST_FILE} bytes"
        raise ValueError(message)
    return content.decode(errors="surrogateescape").rstrip("\r\n")
