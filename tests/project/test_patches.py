"""Tests pass what they want to be different: a constant that they patch is one that nothing can be told."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
PATCHED = {
    "botapi/test_bot_api.py",
    "cli/test_cli_logs.py",
    "cli/test_cli_unit.py",
    "cluster/test_cluster_routes.py",
    "cluster/test_member.py",
    "config/test_config_hints.py",
    "config/test_config_watch.py",
    "faults/test_containment.py",
    "gateway/test_endpoint.py",
    "gateway/test_endpoint_fuzz.py",
    "gateway/test_probe.py",
    "gateway/test_probe_python.py",
    "handling/test_handling_fence.py",
    "http/test_http1.py",
    "inbox/test_acknowledgements.py",
    "inbox/test_copying.py",
    "inbox/test_inbox_disk.py",
    "inbox/test_inbox_held.py",
    "inbox/test_inbox_life.py",
    "inbox/test_inbox_moved.py",
    "inbox/test_inbox_writer.py",
    "inbox/test_postgres_faults.py",
    "inbox/test_postgres_takeover.py",
    "inbox/test_store_outcomes.py",
    "nursery/test_worker_executor.py",
    "plugins/trace/test_trace_recorder.py",
    "service/test_claim.py",
    "test_reload.py",
    "transport/test_intake.py",
    "transport/test_long_poll.py",
    "transport/test_registration.py",
    "web/test_web_letters.py",
    "worker/test_worker_handler.py",
}
"""Files whose patches have not been made arguments yet. It only ever becomes shorter."""


def patched_constants(source: str) -> list[str]:
    """The names in capitals that a test gives `monkeypatch.setattr` to set."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr != "setattr" or len(node.args) < 2:
            continue
        words = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
        names = [str(word).rpartition(".")[2] for word in words if isinstance(word, str)]
        found += [name for name in names[:1] if name.isupper()]
    return found


def test_no_test_patches_a_constant() -> None:
    """But for those of the list, which says no more than there is."""
    found = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("test_*.py")
        if patched_constants(path.read_text())
    }
    assert sorted(found - PATCHED) == []
    assert sorted(PATCHED - found) == [], "these can leave the list"


def test_a_patch_is_found_however_it_is_written() -> None:
    """By the module and a name, and by a path; nothing else is one."""
    source = """
monkeypatch.setattr(module, "LIMIT", 5)
monkeypatch.setattr("package.module.MOST_OF_ALL", 5)
monkeypatch.setattr(module, "function", print)
monkeypatch.setattr("package.Class.method", print)
monkeypatch.setenv("LIMIT", "5")
"""
    assert patched_constants(source) == ["LIMIT", "MOST_OF_ALL"]
