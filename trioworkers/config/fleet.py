"""The whole fleet as one frozen value: what the rest of the daemon is given slices of."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from trioworkers.config.places import Places
from trioworkers.config.problems import KeyPath, Problem
from trioworkers.config.secret import Secret
from trioworkers.config.settings import (
    Api,
    BotSettings,
    FleetKeys,
    Limits,
    LogSettings,
    StoreSettings,
    Webhook,
)


class Fleet(FleetKeys):
    """A fleet file that was read and found good; the keys of `[fleet]` are its own attributes.

    Attributes:
        path: the fleet file, absolute.
        folder: its folder, what relative paths are relative to and the workers' working directory.
        digest: a hash of what the settings mean: the same after reordering, comments and other
            spellings of a value, another after any change, one of a secret included.
        bots: all bots by name, those of other shards and those not enabled included.
        plugins: each plugin's table as it stands in the file.
        secret_env_names: the variables that workers and the zygote must not see.
    """

    path: Path
    folder: Path
    digest: str
    limits: Limits
    api: Api
    webhook: Webhook
    store: StoreSettings
    log: LogSettings
    plugins: Mapping[str, Mapping[str, Any]] = Field(repr=False)
    bots: Mapping[str, BotSettings]
    secret_env_names: frozenset[str]
    _places: Places | None = PrivateAttr(None)

    def problem_at(self, path: KeyPath, message: str) -> Problem:
        """Returns a problem of the value at `path`, for checks that come after reading.

        `path` is as in the file, `("bots", "echo", "handler")`; a value that a bot has from
        `[defaults]` is found there. `message` follows the rules of :class:`Problem`.
        """
        if self._places is None:
            raise ValueError("this fleet was not read from a file")
        return self._places.problem(path, message)


def digest_of(tables: Mapping[str, Any]) -> str:
    """Returns a stable hash of plain values, settings and secrets, whatever the order of keys."""
    text = json.dumps(tables, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        # Hashed with all the rest, so a weak secret cannot be guessed from the digest alone.
        return {"secret": value.reveal()}
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
