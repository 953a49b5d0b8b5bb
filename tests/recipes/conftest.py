"""The recipes' pages, each with a simulated Telegram of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from recipe_pages import Recipe

from trioworkers.testing import TelegramThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Callable[[str], Recipe]]:
    """`recipe("albums")`: that page's files in a folder. In the end, each block must have been used."""
    made: list[Recipe] = []
    with TelegramThread() as telegram:

        def make(name: str) -> Recipe:
            made.append(Recipe(name, tmp_path, telegram))
            return made[-1]

        yield make
    for one in made:
        one.must_be_used_up()
