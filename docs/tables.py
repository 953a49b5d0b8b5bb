"""Renews the table of settings in docs/fleet-file.md: `python docs/tables.py`. A test compares the two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.config import fleet_schema, reload_class

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("fleet-file.md")
HEAD = "| key | default | change | meaning |"
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->"

NOT_YET: frozenset[str] = frozenset()
"""Keys that are validated but change nothing yet, `table.key`."""


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields each key of the fleet file: its table, its name, its schema; keys of inner tables are dotted."""
    tables = {
        name: node for name, node in schema["properties"].items() if name not in ("defaults", "plugins")
    }
    for name, node in tables.items():
        if name == "bots":
            yield from _inside("bots.NAME", "", node["additionalProperties"], schema)
        else:
            yield from _inside(name, "", node, schema)


def _inside(
    table: str, prefix: str, node: dict[str, Any], schema: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, key in _resolved(node, schema)["properties"].items():
        yield table, prefix + name, key
        for form in (key, *key.get("anyOf", [])):
            target = _resolved(form, schema)
            if target is not form and "properties" in target:
                yield from _inside(table, f"{prefix}{name}.", form, schema)


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else node
    return found


def settings_table() -> str:
    """Returns the table of settings, as Markdown."""
    lines: list[str] = []
    last = None
    for table, key, node in keys(fleet_schema()):
        if table != last:
            lines += [
                "",
                f"`[{table}]`",
                "",
                "| key | default | change | meaning |",
                "| --- | --- | --- | --- |",
            ]
            last = table
        path = (*table.split("."), *key.split("."))
        mark = " †" if f"{table}.{key}" in NOT_YET else ""
        meaning = node.get("description", "").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
        lines.append(f"| `{key}`{mark} | {_default(node)} | {reload_class(path)} | {meaning} |")
    return "\n".join([*lines[1:], "", ""])


def _default(node: dict[str, Any]) -> str:
    if "default" not in node:
        return "none"
    return "" if node["default"] == {} else f"`{_toml(node['default'])}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


if __name__ == "__main__":
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}{settings_table()}{END}{tail}")
