"""What is promised for a program's updates: what its settings ask for, as far as its probe keeps it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Promise = Literal["poll", "receipt", "quiet", "probe"]

_GREETING = re.compile(rb"([!-:<-~]{1,80})/([!-.0-:<-~]{1,40})((?:;[ -:<-~]{1,40}){0,9})")
UNKNOWN = "unknown"
AT_ONCE = "at-once="


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a probe says of itself with each poll (docs/decisions/probe.md).

    Attributes:
        library: the library that it is in, by its name on its registry.
        version: of the library.
        is_known: the library was tried in this version, so the probe tells how its updates end.
        at_once: how many updates the library handles side by side; None: all that it is given.
    """

    library: str
    version: str
    is_known: bool = True
    at_once: int | None = None

    @property
    def name(self) -> str:
        """The library and its version, for people."""
        return f"{self.library} {self.version}"


def read_greeting(field: bytes) -> Greeting | None:
    """Return what a probe said; None: there is none, or it is not understood."""
    match = _GREETING.fullmatch(field)
    if match is None:
        return None
    words = [word.strip() for word in match[3].decode().split(";")]
    at_once = next((word.removeprefix(AT_ONCE) for word in words if word.startswith(AT_ONCE)), "")
    return Greeting(
        match[1].decode(),
        match[2].decode(),
        UNKNOWN not in words,
        max(1, int(at_once)) if at_once.isdigit() else None,
    )


def promise_of(acknowledge: str, greeting: Greeting | None) -> Promise:
    """Return what is promised by a setting for a program whose last poll had this greeting.

    What the setting asks for and the program does not keep becomes the least.
    """
    if acknowledge == "quiet":
        return "quiet"
    if acknowledge == "poll":
        return "poll"
    if acknowledge != "receipt" and greeting is not None and greeting.is_known:
        return "probe"
    return "receipt"


def lacking(greeting: Greeting | None) -> str:
    """Why updates of a program cannot have the promise of a probe."""
    if greeting is None:
        return "no library that the probe knows polls in it"
    return f"the probe was not tried with {greeting.name}"
