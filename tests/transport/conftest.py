"""Shared by the tests of the transport."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture
def no_leftovers():
    """Collect what the test abandoned while its filters of warnings still apply."""
    yield
    gc.collect()
