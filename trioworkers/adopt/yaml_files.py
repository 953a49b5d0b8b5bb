"""Reads YAML: every scalar as the text that stands there, since `12:30` is a number to YAML 1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.adopt.service import AdoptError

if TYPE_CHECKING:
    from pathlib import Path

DEEPEST = 60  # levels


def read_yaml(file: Path, text: str) -> Any:
    """Return a file's first document as tables, lists and strings; merge keys (`<<`) are carried out.

    Raises:
        AdoptError: it is not YAML, or nested too deep.
    """
    import yaml

    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes strings, lists and tables only
        return _merged(content, DEEPEST)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        message = f"{file}{where}: expected YAML"
    except (yaml.YAMLError, ValueError, TypeError):
        message = f"{file}: expected YAML"
    except RecursionError:
        message = f"{file}: nested too deep"
    raise AdoptError(message) from None


def _merged(value: Any, depth: int) -> Any:
    """The value with its merge keys carried out; what is shared by aliases stays shared no more."""
    left = [100_000]  # values: aliases of aliases can stand for more than memory holds

    def merged(value: Any, depth: int) -> Any:
        left[0] -= 1
        if depth <= 0 or left[0] <= 0:
            raise RecursionError
        if isinstance(value, list):
            return [merged(item, depth - 1) for item in value]
        if not isinstance(value, dict):
            return value
        found: dict[Any, Any] = {}
        others = value.get("<<")
        for other in others if isinstance(others, list) else [others]:
            if isinstance(other, dict):
                found = {**merged(other, depth - 1), **found}
        return {**found, **{key: merged(item, depth - 1) for key, item in value.items() if key != "<<"}}

    return merged(value, depth)
