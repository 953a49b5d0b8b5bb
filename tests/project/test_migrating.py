"""docs/migrating.md: each of the old system's variables, and the defaults that stand beside its limits."""

from __future__ import annotations

import json
import runpy

from documents import DOCS, code, rows

from trioworkers.config import fleet_schema
from trioworkers.config.schema import TABLES
from trioworkers.scaffold.moving import IGNORED, KNOWN

TABLES_SCRIPT = runpy.run_path(str(DOCS / "tables.py"))


def test_the_old_systems_variables_are_all_there():
    """Each has its row; those with a key are the ones that are read, and the keys exist."""
    keys = {code(row[0])[0]: code(row[1]) for row in rows("migrating.md", "old variables")}
    assert keys.keys() == KNOWN
    assert [name for name, found in keys.items() if not found] == [IGNORED]
    for key in {key for found in keys.values() for key in found}:
        table, _, name = key.partition(".")
        assert name in TABLES[table].model_fields


def test_the_limits_are_the_defaults():
    """Each key of the table has the default that stands there."""
    nodes = {f"{table}.{key}": node for table, key, node in TABLES_SCRIPT["keys"](fleet_schema())}
    for _, keys, values in rows("migrating.md", "old limits"):
        for key, value in zip(code(keys), code(values), strict=True):
            assert json.dumps(nodes[key]["default"]) == value, key
