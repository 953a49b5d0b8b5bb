"""How many workers a fleet may have at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trioworkers.config import load_fleet
from trioworkers.config.in_force import most_workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("limits", "most"), [((1000, 20), 60), ((50, 20), 50), ((60, 1), 3)])
def test_the_lower_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], most: int
) -> None:
    """That of the whole, or that of the cores which this process may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    file = tmp_path / "fleet.toml"
    file.write_text("[limits]\nmax_workers = {}\nmax_workers_per_core = {}\n".format(*limits))
    assert most_workers(load_fleet(file, {})) == most
