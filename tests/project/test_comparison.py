"""docs/comparison.md and the scripts that try what it says: each trial has a row, and each row a trial."""

from __future__ import annotations

import re

from benchmarks import foreign
from compare.contenders import BOTS, CONTENDERS
from compare.trials import TRIALS
from documents import code, page, rows

TRIED = {code(row[0])[0]: row[1:] for row in rows("comparison.md", "trials")}


def test_every_trial_has_its_row():
    """With an outcome for each product that can be tried by it."""
    assert TRIED.keys() == TRIALS.keys()
    for name, outcomes in TRIED.items():
        assert len(outcomes) == len(CONTENDERS) + 1, name
        assert all(outcomes), name


def test_the_versions_are_those_that_are_installed():
    """The page names each product with the version that the scripts install, and the day of the trial."""
    text = page("comparison.md")
    for package in [*foreign.NODE, *foreign.PYTHON]:
        name, _, version = package.replace("==", "@").partition("@")
        assert re.search(rf"{re.escape(name)} {re.escape(version)}", text, re.IGNORECASE), package
    assert re.search(r"tried on 20\d\d-\d\d-\d\d", text)


def test_all_bots_of_the_trials_know_the_same_words():
    """A word that a trial says does the same in every language."""
    words = {"slow", "raise", "hang", "flood"}
    for path in BOTS.iterdir():
        if path.suffix in (".py", ".js"):
            found = set(re.findall(r"""starts?[wW]ith\(['"](\w+)['"]\)""", path.read_text()))
            assert found == words, path
