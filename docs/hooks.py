"""Renews the hooks in docs/plugins.md from hookspecs.py: `python docs/hooks.py`. A test compares the two."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers import hookspecs

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("plugins.md")
BEGIN, END = "<!-- hooks -->\n", "<!-- end of hooks -->"
LONGEST = 110  # characters of a line
LABELS = ("When", "Where", "Effect", "Errors")
_LABEL = re.compile(rf"^({'|'.join(LABELS)}): (.*)$")
_ARGUMENT = re.compile(r"^    (\w+): (.*)$")


def hooks() -> Iterator[tuple[str, Any]]:
    """Yields each declared hook: its name and its function."""
    for declared in (hookspecs.Hooks, hookspecs.WorkerHooks):
        for name, function in vars(declared).items():
            if name.startswith("trioworkers_"):
                yield name, function


def parts(function: Any) -> tuple[str, dict[str, str], dict[str, str]]:
    """Returns a hook's purpose, its labelled paragraphs and its arguments, from its docstring."""
    purpose: list[str] = []
    labelled: dict[str, str] = {}
    arguments: dict[str, str] = {}
    into, key = "", ""
    for line in (inspect.getdoc(function) or "").splitlines():
        if line == "Args:":
            into = "arguments"
        elif into == "arguments" and (found := _ARGUMENT.match(line)):
            key = found[1]
            arguments[key] = found[2]
        elif into == "arguments" and line:
            arguments[key] += f" {line.strip()}"
        elif found := _LABEL.match(line):
            into, key = "labelled", found[1]
            labelled[key] = found[2]
        elif into == "labelled" and line:
            labelled[key] += f" {line.strip()}"
        elif not into:
            purpose.append(line)
    return "\n".join(purpose).strip(), labelled, arguments


def signature(name: str, function: Any) -> str:
    """Returns a hook's declaration as a plugin writes it, without a body."""
    declared = inspect.signature(function)
    given = [
        one.replace(annotation=_plain(one.annotation))
        for key, one in declared.parameters.items()
        if key != "self"
    ]
    text = str(inspect.Signature(given, return_annotation=_plain(declared.return_annotation))).replace(
        "'", ""
    )
    line = f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {name}{text}: ..."
    if len(line) > LONGEST:  # as ruff breaks it, which formats the page
        head, _, rest = line.partition("(")
        arguments, _, answer = rest.rpartition(") -> ")
        line = f"{head}(\n    {arguments}\n) -> {answer}"
    return line


def _plain(annotation: Any) -> Any:
    return "None" if annotation is None else annotation


def reference() -> str:
    """Returns a table of all hooks and a section for each, as Markdown."""
    table = ["| hook | when it is called |", "| --- | --- |"]
    sections: list[str] = []
    for name, function in hooks():
        purpose, labelled, arguments = parts(function)
        table.append(f"| `{name}` | {labelled['When'].rstrip('.')} |")
        sections += [
            f"### {name}",
            "",
            *_code(signature(name, function)),
            "",
            purpose,
            "",
            *(f"- **{label}:** {labelled[label]}" for label in LABELS),
            *(f"- `{argument}`: {about}" for argument, about in arguments.items()),
            "",
        ]
    return "\n".join([*table, "", *sections, ""])


def _code(text: str) -> list[str]:
    return ["```python", text, "```"]


if __name__ == "__main__":
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{reference()}{END}{rest.partition(END)[2]}")
