"""The summary of a soak, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SHOWN = 40  # lines of what is broken


def show(summary: Mapping[str, Any]) -> None:
    """Print it; what is `broken` at its end."""
    for name, value in summary.items():
        if name != "broken":
            is_table = isinstance(value, dict)
            print(f"{name}: {', '.join(f'{k} {v}' for k, v in value.items()) if is_table else value}")
    print(*(summary["broken"][:MOST_SHOWN] or ["nothing is broken"]), sep="\n")
