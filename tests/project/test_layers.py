"""The modules of the package: who may import whom, and what each of them has to have."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from import_graph import (
    Graph,
    Layers,
    find_arrows_up,
    find_circle,
    find_modules,
    import_graph,
    layer_of,
    under,
)

import trioworkers

ROOT = Path(__file__).parents[2]

VERBS = tuple(
    f"cli.{name}"
    for name in (
        "adopt",
        "backup",
        "bots",
        "check",
        "completion",
        "dashboard",
        "demo",
        "dlq",
        "logs",
        "migrate_store",
        "new",
        "nodes",
        "plugins",
        "reload",
        "run",
        "service",
        "status",
        "top",
        "unit",
    )
)


def _full(name: str) -> str:
    return name if name.startswith("trioworkers") else f"trioworkers.{name}"


LAYERS: Layers = [
    tuple(_full(name) for name in layer)
    for layer in (
        (
            "version",
            "awake",
            "call_marks",
            "lease_page",
            "errors",
            "machine",
            "terminal",
            "described",
            "breakage",
            "nearest",
            "records",
            "arrivals",
            "json_outline",
            "update_bounds",
            "private",
            "masking",
            "ip",
            "starved",
            "trouble",
            "shortage",
            "spare_memory",
            "inbox.policy",
            "user_modules",
            "types",
            "cluster.port",
            "cluster.__init__",
        ),
        ("config", "protocol", "http", "botapi", "figures"),
        (
            "nursery.restart",
            "nursery.life",
            "nursery.life_records",
            "nursery.ownership",
            "plugin_settings",
            "bot_server",
        ),
        (
            "inbox",
            "events",
            "ratelimit",
            "status",
            "reload_history",
            "logs",
            "descriptors",
            "folders",
            "stacks",
            "stop",
            "service",
        ),
        ("handling",),
        ("plugin_types", "plugin_store"),
        ("live", "cluster.wakes", "cluster.requests", "cluster.added_bots"),
        ("hookspecs",),
        ("plugins", "sources"),
        ("handlers",),
        ("transport",),
        ("worker",),
        ("trioworkers.__init__",),
        ("gateway", "cluster.foreign"),
        ("nursery",),
        ("cluster",),
        ("dashboard",),
        ("reload", "reports", "web"),
        ("holdings", "last_resort"),
        ("stores", "fleet_state"),
        ("apply", "snapshot", "neighbours"),
        ("daemon",),
        ("compose",),
        ("run",),
        # the simulator: values; state; what it looks up; methods and people; the whole; the whole on a socket
        ("testing.facts", "testing.answers", "testing.signal", "testing.accounts", "testing.invariants"),
        ("testing.params", "testing.unions", "testing.memberships"),
        ("testing.typed", "testing.shapes"),
        ("testing.forms", "testing.markup"),
        ("testing.keyboards",),
        ("testing.control", "testing.echo", "testing.folder"),
        ("testing.bodies", "testing.calls", "testing.limits", "testing.queue", "testing.webhook"),
        ("testing.bots",),
        ("testing.chats", "testing.faults", "testing.files"),
        ("testing.ledger",),
        ("testing.world",),
        ("testing.changes",),
        ("testing.polling",),
        ("testing.methods", "testing.purchases", "testing.opinions", "testing.joining"),
        ("testing.users",),
        ("testing.telegram",),
        ("testing.delivery",),
        ("testing.server",),
        ("testing.threaded", "testing.in_process"),
        ("testing.fleet",),
        ("testing.__init__", "testing.fixtures"),
        ("client",),
        ("top",),
        ("demo", "scaffold", "adopt"),
        # the command line: words and codes; failures; what verbs share; verbs
        ("cli.exits", "cli.shown", "cli.streams"),
        ("cli.promised", "cli.table"),
        ("cli.bot_screen",),
        ("cli.failures",),
        (
            "cli.added",
            "cli.awaited_store",
            "cli.bot_name",
            "cli.control",
            "cli.extended",
            "cli.fleet",
            "cli.fleet_screen",
            "cli.handlers",
            "cli.plans",
            "cli.plugin_tables",
            "cli.shells",
            "cli.start_problems",
            "cli.way",
        ),
        ("cli.pending",),
        VERBS,
        ("cli.main",),
        ("cli.__init__",),
        ("cli.__main__",),
        ("commands",),
        ("trioworkers_plugins",),
    )
]
"""Lowest first. The longest name that fits a module counts."""

OF_A_WORKER = [
    _full(name)
    for name in (
        "awake",
        "call_marks",
        "lease_page",
        "errors",
        "records",
        "protocol",
        "http",
        "botapi",
        "handling",
        "worker",
        "hookspecs",
        "starved",
        "user_modules",
        "private",
        "terminal",
    )
]
FOR_PLUGINS = [
    _full(name)
    for name in (
        "trioworkers.__init__",
        "hookspecs",
        "plugin_types",
        "plugin_settings",
        "commands",
        "config",
        "private",
        "figures",
        "described",
    )
]
"""What a stranger's plugin may import: the public names, what hooks are given and answer, how tables of the
fleet file are declared and read, how a file with secrets is written, and what a snapshot of figures is."""

RUN_ON_IMPORT = {
    "trioworkers.cli.__main__",
    "trioworkers.worker.__main__",
    "trioworkers.cli.main",
    "trioworkers.cli",
    "trioworkers.gateway.preload-files.sitecustomize",
}
"""Entry points, the one module that gathers the verbs, the one that puts Python's modules first, and the one
that Python loads before a bot of another library."""

DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
)  # fmt: skip

MODULES = find_modules({"trioworkers": ROOT / "trioworkers", "trioworkers_plugins": ROOT / "plugins"})
GRAPH = import_graph(MODULES)


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def _strange(inside: str, allowed: list[str]) -> list[str]:
    """Returns the imports of modules in `inside` that lead to none of `allowed`."""
    return [
        f"{name} imports {imported}"
        for name in MODULES
        if under(name, [inside])
        for imported in sorted(GRAPH[name])
        if not under(imported, [*allowed, inside])
    ]


def test_every_module_has_its_layer():
    """A new module has to be put somewhere."""
    assert [name for name in MODULES if layer_of(name, LAYERS) is None] == []


def test_every_layer_has_its_modules():
    """What is gone leaves no name in the table."""
    names = {prefix for layer in LAYERS for prefix in layer}
    assert names == {under(name, sorted(names)) for name in MODULES}


def test_imports_go_down_the_layers_only():
    """No module imports one of a higher layer, not even inside a function or for its types."""
    assert find_arrows_up(GRAPH, LAYERS) == []


def test_no_imports_in_circles():
    """Every module can be imported, read and understood before those that import it."""
    assert find_circle(GRAPH) == []


PURE = (
    "inbox.policy",
    "inbox.queue",
    "inbox.settle",
    "nursery.restart",
    "nursery.life",
    "nursery.life_records",
    "nursery.ownership",
)


def _run_time_imports(name: str) -> set[str]:
    """Returns what a module imports when it runs, by full names; what only type checkers read is left out."""
    found: set[str] = set()
    nodes: list[ast.AST] = [_tree(name)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        nodes.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("name", PURE)
def test_what_decides_is_pure(name):
    """It imports nothing of ours that is not pure, and nothing that waits, sleeps, reads or draws lots."""
    found = {f"trioworkers.{name}"}
    left = [*found]
    while left:
        new = _run_time_imports(left.pop()) - found
        found |= new
        left += [one for one in new if one in MODULES]
    foreign = {one.partition(".")[0] for one in found} - {"trioworkers"}
    allowed = {"__future__", "collections", "dataclasses", "hashlib", "heapq", "math", "msgspec", "typing"}
    assert foreign <= allowed


def test_the_simulator_stands_alone():
    """The simulator imports nothing else of ours, and only the demo uses it. Beside it stands the bot that a
    test gives to a handler, which is a real one."""
    bot = "trioworkers.testing.in_process"
    strange = _strange("trioworkers.testing", [])
    assert {arrow.partition(" ")[0] for arrow in strange} == {bot}
    assert _strange(bot, ["trioworkers.testing", *OF_A_WORKER]) == []
    assert {name for name in MODULES if bot in GRAPH[name]} == {"trioworkers.testing"}
    users = {name for name in MODULES for one in GRAPH[name] if under(one, ["trioworkers.testing"])}
    assert {under(name, ["trioworkers.testing", "trioworkers.demo"]) for name in users} == {
        "trioworkers.testing",
        "trioworkers.demo",
    }


def test_plugins_import_what_a_strangers_plugin_may():
    """The built-in plugins use no inner part of the daemon, and nothing imports them but their own parts."""
    assert _strange("trioworkers_plugins", FOR_PLUGINS) == []
    built_in = {name for name in MODULES if name.count(".") == 1 and under(name, ["trioworkers_plugins"])}
    for name in MODULES:
        for one in GRAPH[name]:
            own = under(one, [*built_in])
            assert own is None or under(name, [own]), f"{name} imports {one}"


def test_what_runs_in_a_worker_imports_nothing_of_the_daemon():
    """The worker's side knows the Bot API, what a handling is, and the frames."""
    assert _strange("trioworkers.worker", OF_A_WORKER) == []


def test_only_main_imports_verbs():
    """What verbs share has modules of its own."""
    verbs = [_full(name) for name in VERBS]
    assert {name for name in MODULES if GRAPH[name] & set(verbs)} == {"trioworkers.cli.main"}
    imported = {one for one in GRAPH["trioworkers.cli.main"] if under(one, ["trioworkers.cli"])}
    assert imported - {"trioworkers.cli.extended"} == set(verbs)


def _write(folder: Path, files: dict[str, str]) -> Graph:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return import_graph(find_modules({"made_up": folder}))


def test_a_package_named_alone_is_no_room_for_its_modules():
    """`a.__init__` is that module only; a new one beside it has no layer."""
    layers: Layers = [("a.b",), ("a.__init__",)]
    assert [layer_of(name, layers) for name in ("a", "a.b", "a.b.c", "a.c", "a.bc")] == [1, 0, 0, None, None]


TYPES_ONLY = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    {}
"""
IN_A_FUNCTION = """
class A:
    def f(self):
        with suppress(OSError):
            {}
"""
AT_THE_TOP = "{}\n"


@pytest.mark.parametrize("place", [TYPES_ONLY, IN_A_FUNCTION, AT_THE_TOP])
@pytest.mark.parametrize(
    "back",
    [
        "import made_up.low.a",
        "from made_up.low import a",
        "from made_up.low.a import A",
        "from ..low.a import A",
    ],
)
def test_a_circle_and_an_arrow_up_are_found_wherever_they_stand(tmp_path, place, back):
    """One import back makes a circle and an arrow up, under TYPE_CHECKING, inside a function, in any form."""
    files = {
        "__init__.py": "",
        "low/__init__.py": "",
        "low/a.py": "import os\n\nA = 1\n",
        "low/b.py": place.format(back),
        "high/__init__.py": "",
        "high/c.py": "from made_up.low import b\nfrom made_up.low.a import A\n",
    }
    layers: Layers = [("made_up.low",), ("made_up.high.c", "made_up.high.__init__"), ("made_up.__init__",)]
    graph = _write(tmp_path, files)
    assert graph["made_up.low.b"] == {"made_up.low.a"}
    assert graph["made_up.high.c"] == {"made_up.low.a", "made_up.low.b"}
    assert (find_circle(graph), find_arrows_up(graph, layers)) == ([], [])

    graph = _write(tmp_path, {"low/a.py": place.format("from made_up.high import c")})
    assert set(find_circle(graph)) >= {"made_up.low.a", "made_up.high.c"}
    assert find_arrows_up(graph, layers) == ["made_up.low.a imports made_up.high.c"]
    assert find_arrows_up(graph, layers[1:]) == [  # nothing is known of a module without a layer
        "made_up.high.c imports made_up.low.a",
        "made_up.high.c imports made_up.low.b",
        "made_up.low.a imports made_up.high.c",
        "made_up.low.b imports made_up.low.a",
    ]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - RUN_ON_IMPORT))
def test_importing_does_nothing(name):
    """At the top of a module things are defined; nothing is called for what it does."""
    for node in _tree(name).body:
        if isinstance(node, ast.If):
            asked = ast.unparse(node.test)
            if asked in ("TYPE_CHECKING", "__name__ == '__main__'") or asked.startswith("sys.version_info"):
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
