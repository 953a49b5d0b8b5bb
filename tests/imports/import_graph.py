"""Who imports whom, read from the sources: every import counts, wherever it stands.

An import inside a function ties two modules together as one at the top does, and so does one that only type
checkers read. That a module's packages are imported with it is left out: a package would depend on itself.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Graph = dict[str, set[str]]
Layers = list[tuple[str, ...]]


def find_modules(packages: Mapping[str, Path]) -> dict[str, Path]:
    """Return the file of each module in the folders of `packages`, by its full name."""
    found = {}
    for package, folder in packages.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def import_graph(modules: Mapping[str, Path]) -> Graph:
    """Return for each module those of `modules` that it imports, itself left out."""
    return {name: _imports(name, path, modules) for name, path in modules.items()}


def _imports(name: str, path: Path, modules: Mapping[str, Path]) -> set[str]:
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *base.split(".")]).rstrip(".")
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= inner & modules.keys()
            if not inner <= modules.keys():
                found.add(base)
    return (found & modules.keys()) - {name}


def find_circle(graph: Graph) -> list[str]:
    """Return the modules of a circle, the first one again at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def under(name: str, prefixes: Sequence[str]) -> str | None:
    """Return the longest of `prefixes` that a module is or is in; `a.__init__` is the package a alone."""
    own = f"{name}.__init__"
    fitting = [prefix for prefix in prefixes if prefix in (name, own) or name.startswith(f"{prefix}.")]
    return max(fitting, key=len, default=None)


def layer_of(name: str, layers: Layers) -> int | None:
    """Return the number of the layer that a module is in: that with the longest prefix of its name."""
    prefix = under(name, [prefix for layer in layers for prefix in layer])
    return next((number for number, layer in enumerate(layers) if prefix in layer), None)


def find_arrows_up(graph: Graph, layers: Layers) -> list[str]:
    """Return `a imports b` for each import of a module in a higher layer, or in none."""
    arrows = []
    for name, imported in graph.items():
        own = layer_of(name, layers)
        for other in sorted(imported):
            theirs = layer_of(other, layers)
            if own is None or theirs is None or theirs > own:
                arrows.append(f"{name} imports {other}")
    return arrows
