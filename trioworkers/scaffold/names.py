"""Names of new plugins and bots: each becomes a module, which must hide no other module."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from trioworkers.errors import TrioworkersError

GROUP = "trioworkers"  # of the entry points of plugins
RULE = "lower-case letters, digits and underscores, at most 40, the first a letter"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OURS = ("test", "tests", "conftest", "play", "fleet", "plugins")


class NameRefusedError(TrioworkersError):
    """The name cannot be used; the message says why, and what was expected."""


def check_name(name: str) -> None:
    """Check the name of a new plugin or bot.

    Raises:
        NameRefusedError: it is malformed, or another module or plugin has it.
    """
    if _NAME.fullmatch(name) is None:
        suggestion = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
        instead = f"; {suggestion} would do" if _NAME.fullmatch(suggestion) else ""
        raise NameRefusedError(f"{name!r}: expected {RULE}{instead}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise NameRefusedError(f"{name!r} is a keyword of Python")
    if name in sys.stdlib_module_names or name in _OURS or name.startswith(GROUP):
        raise NameRefusedError(f"{name!r} would hide a module of that name that is needed")
    for point in entry_points(group=GROUP, name=name):
        owner = f" of {point.dist.name}" if point.dist is not None else ""
        raise NameRefusedError(f"{name!r} is the name of a plugin{owner}")
    if _is_installed(name):
        raise NameRefusedError(f"{name!r} would hide the installed module of that name")


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # a folder without __init__.py hides nothing
        return False
    return not Path(spec.origin).is_relative_to(
        Path.cwd()
    )  # what lies here is not installed, but seen by `-m`
