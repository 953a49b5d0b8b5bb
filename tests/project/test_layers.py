"""The modules of the package: who may import whom, and what each of them has to have."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trioworkers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LAYERS: list[tuple[str, ...]] = [
    (
        "errors",
        "records",
        "private",
        "inbox.policy",
        "nursery.restart",
        "nursery.life",
        "nursery.life_records",
    ),
    ("config", "hookspecs", "protocol", "http", "botapi"),
    ("inbox", "events", "status", "logs", "descriptors", "folders", "stacks", "stop", "plugins", "sources"),
    ("transport",),
    ("worker",),
    ("nursery",),
    ("reload", "web"),
    ("daemon",),
    ("start",),
    ("run",),
    ("cli", "demo"),
]
"""Lowest first. The longest name that fits a module counts."""

OF_A_WORKER = ("errors", "records", "protocol", "http", "botapi", "worker")
RUN_ON_IMPORT = {"trioworkers.cli.__main__", "trioworkers.worker.__main__", "trioworkers.cli.main"}
"""Entry points, and the one module that gathers the verbs."""

DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
)  # fmt: skip


def _modules() -> dict[str, Path]:
    found = {}
    for package, folder in (("trioworkers", ROOT / "trioworkers"), ("trioworkers_plugins", ROOT / "plugins")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = _modules()


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def _walk(node: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    """Yields what runs, without what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not into_functions:
            continue
        yield child
        yield from _walk(child, into_functions=into_functions)


def _imports(name: str, *, into_functions: bool = True) -> set[str]:
    """Returns the modules of ours that a module imports, itself left out."""
    found: set[str] = set()
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in _walk(_tree(name), into_functions=into_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *base.split(".")]).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in MODULES:
                    found.add(inner)
                elif (base, alias.name) != (
                    "trioworkers",
                    "__version__",
                ):  # a constant, for all
                    found.add(base)
    return (found & MODULES.keys()) - {name}


def _under(name: str, prefixes: tuple[str, ...]) -> str | None:
    """Returns the longest of `prefixes` that a module is or is in."""
    short = name.removeprefix("trioworkers.")
    fitting = [prefix for prefix in prefixes if short == prefix or short.startswith(prefix + ".")]
    return max(fitting, key=len, default=None)


ALL_PREFIXES = tuple(prefix for layer in LAYERS for prefix in layer)


def _layer(name: str) -> int | None:
    prefix = "worker" if name == "trioworkers" else _under(name, ALL_PREFIXES)  # what a bot imports
    return next((number for number, layer in enumerate(LAYERS) if prefix in layer), None)


def test_every_module_has_its_layer():
    """A new module has to be put somewhere; only the simulator and the plugins stand beside the layers."""
    beside = ("testing", "trioworkers_plugins", "trioworkers")
    lost = [name for name in MODULES if _layer(name) is None and _under(name, beside) is None]
    assert lost == []


def test_imports_go_down_the_layers_only():
    """No module imports one of a higher layer, not even inside a function."""
    upwards = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in sorted(_imports(name))
        if (own := _layer(name)) is not None
        and _under(imported, ("testing",)) is None
        and ((other := _layer(imported)) is None or other > own)
    ]
    assert upwards == []


@pytest.mark.parametrize("name", ["inbox.policy", "nursery.restart", "nursery.life", "nursery.life_records"])
def test_what_decides_is_pure(name):
    """It imports nothing of ours that is not pure, and nothing that waits, sleeps, reads or draws lots."""
    trees = [_tree(f"trioworkers.{name}"), *(_tree(imported) for imported in _imports(f"trioworkers.{name}"))]
    found = {
        alias.name if isinstance(node, ast.Import) else node.module
        for tree in trees
        for node in _walk(tree, into_functions=True)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    strange = {module.partition(".")[0] for module in found if module} - {"trioworkers"}
    assert strange <= {"__future__", "dataclasses", "math", "typing", "msgspec"}


def test_the_simulator_stands_alone():
    """The simulator imports nothing else of ours, and only the demo uses it."""
    for name in MODULES:
        for imported in _imports(name):
            inside, used = _under(name, ("testing",)), _under(imported, ("testing",))
            assert inside is None or used is not None, f"{name} imports {imported}"
            assert used is None or inside or _under(name, ("demo",)), f"{name} imports {imported}"


def test_what_runs_in_a_worker_imports_nothing_of_the_daemon():
    """The worker's side knows the transport, the records, the errors and the frames."""
    for name in MODULES:
        if _under(name, ("worker",)) is not None:
            strange = {imported for imported in _imports(name) if _under(imported, OF_A_WORKER) is None}
            assert strange == set(), name


def test_no_imports_in_circles():
    """Every module can be imported first."""
    graph = {name: _imports(name, into_functions=False) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(MODULES.keys() - RUN_ON_IMPORT))
def test_importing_does_nothing(name):
    """At the top of a module things are defined; nothing is called for what it does."""
    for node in _tree(name).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            continue
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, DEFINITIONS), f"{name}:{node.lineno}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_says_why_it_exists_and_is_one_idea(name):
    """A docstring, and at most 400 lines."""
    assert ast.get_docstring(_tree(name)), f"{name} has no docstring"
    assert len(MODULES[name].read_text().splitlines()) <= 400, f"{name} wants splitting"


def test_every_public_name_has_a_docstring():
    """What a bot imports explains itself."""
    names = [name for name in trioworkers.__all__ if name != "__version__"]
    assert [name for name in names if not getattr(trioworkers, name).__doc__] == []


def test_every_package_is_installed():
    """The list of packages in pyproject.toml is what lies in the folders."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(tables["tool"]["setuptools"]["packages"]) == packages


@pytest.mark.parametrize("name", sorted(MODULES.keys() - RUN_ON_IMPORT))
def test_every_module_can_be_imported(name):
    """Nothing is missing at run time that only the type checker saw."""
    import_module(name)
