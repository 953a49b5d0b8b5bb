"""The shape of functions: what is given to them is few things, or one record."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 6
MANY = {
    "client/live.py:live": "options by name, each with its default, of programs of users",
    "cli/bots.py:add": "click gives a command each of its options as a parameter",
    "testing/telegram.py:__init__": "options by name, each with its default, of the simulator's users",
    "testing/server.py:_note": "the simulator's log of one request",
}


def test_no_function_has_more_than_six_parameters():
    """More are one record, which says what they are together."""
    found = set()
    for path in sorted((ROOT / "trioworkers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in every if one.arg not in ("self", "cls")]) > MOST:
                    found.add(f"{path.relative_to(ROOT / 'trioworkers')}:{node.name}")
    assert found == set(MANY)
