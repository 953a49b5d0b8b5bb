"""`trioworkers plugins` on terminals of different widths."""

from __future__ import annotations

import pytest

from trioworkers.cli.plugins import plugin_lines
from trioworkers.cli.shown import Paper

ROW = {
    "name": "quiet_hours",
    "version": "12.10.1",
    "state": "not loaded",
    "calls": 1_234_567,
    "failures": 12,
    "seconds": 12.5,
    "slowest_ms": 5.25,
    "missed_events": 0,
    "reason": None,
    "hooks": ["trioworkers_accept", "trioworkers_web"],
}


def shown(width):
    return "\n".join(plugin_lines([ROW], Paper(width)))


@pytest.mark.parametrize("width", [50, 69, 80, 1000])
def test_names_states_and_numbers_are_never_cut_off(width):
    """A narrow terminal has fewer columns, not shorter words."""
    text = shown(width)
    assert "…" not in text
    for word in ("quiet_hours", "not loaded", "1,234,567", "12"):
        assert word in text
    assert max(map(len, text.splitlines())) <= width


def test_a_wide_terminal_shows_everything():
    """The hooks, too, without their common beginning."""
    assert all(word in shown(1000) for word in ("12.10.1", "12.50s", "5.2ms", "accept web"))
    assert "12.10.1" not in shown(40)


def test_a_plugin_that_is_not_loaded_comes_first_with_the_reason():
    """Also where the table is long."""
    off = {**ROW, "name": "broken", "reason": "SyntaxError at broken.py:3", "origin": "plugins/broken.py"}
    first, second, *_ = plugin_lines([ROW, off], Paper())
    assert first == "broken is not loaded: SyntaxError at broken.py:3"
    assert second == "  from plugins/broken.py"
