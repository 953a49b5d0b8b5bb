"""The objects of the Bot API by name, for annotations: `from trioworkers.types import Message`.

Type checkers and editors read `types.pyi`, where each is a typed dictionary. At run time handlers are given
plain dictionaries, so each name is `dict`, and nothing of the stub is loaded.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if not name[:1].isupper():
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return dict
