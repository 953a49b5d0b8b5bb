"""The end of a soak: its summary, as lines or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SHOWN = 40  # lines of what is broken


def finish(summary: Mapping[str, Any], *, as_json: bool) -> int:
    """Print the summary; return the exit code: 1 if something is `broken`."""
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary)
    return 1 if summary["broken"] else 0


def _show(summary: Mapping[str, Any]) -> None:
    for name, value in summary.items():
        if name != "broken":
            is_table = isinstance(value, dict)
            print(f"{name}: {', '.join(f'{k} {v}' for k, v in value.items()) if is_table else value}")
    print(*(summary["broken"][:MOST_SHOWN] or ["nothing is broken"]), sep="\n")
