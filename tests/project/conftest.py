"""A fresh environment for the documents' examples and for type checkers."""

from __future__ import annotations

import pytest
from clean_venv import build_own_wheel, make_venv


@pytest.fixture(scope="package")
def fresh(tmp_path_factory):
    """The interpreter of an environment with our wheel, as a user gets it, and what tests of bots need."""
    folder = tmp_path_factory.mktemp("fresh")
    return make_venv(folder / "venv", [build_own_wheel(folder)], ["pytest", "pytest-trio"])
