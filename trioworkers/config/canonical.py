"""Settings as a text that differs exactly when they do, and hashes of it."""

from __future__ import annotations

import hashlib
import json
from datetime import date, time
from functools import cached_property

from pydantic import BaseModel

from trioworkers.config.secret import Secret


class Digested(BaseModel):
    """A frozen model that is hashed once, however often it is compared: bots are, at every reload."""

    @cached_property
    def digest(self) -> str:
        """A hash of all its values, secrets included; for comparing, never to be shown."""
        return digest_of(self.model_dump())


def digest_of(content: object) -> str:
    """Returns a stable hash of settings and secrets, whatever the order of keys."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: object) -> str:
    """Writes a value so that equal texts mean equal settings: 1, 1.0 and true differ, the order of keys
    does not count. The text holds secrets: compare it and let it go.
    """
    return json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=True)


def _plain(value: object) -> object:
    if isinstance(value, Digested):
        return {"digest": value.digest}
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Secret):
        # Hashed with all the rest, so a weak secret cannot be guessed from the digest alone.
        return {"secret": value.reveal()}
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
