"""How many workers a fleet may have at once, and how it is said which key says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.config import FleetFileError, load_fleet
from trioworkers.config.worker_places import WAITS, held_back, held_back_now, places_of
from trioworkers.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

GB = 2**30


@pytest.mark.parametrize(
    ("limits", "machine", "words"),
    [
        ((1000, 20), Machine(3, GB), "limits.max_workers_per_core = 20 with 3 cores allows 60 workers"),
        ((50, 20), Machine(3, GB), "limits.max_workers = 50 allows 50 workers"),
        ((60, 1), Machine(1, GB), "limits.max_workers_per_core = 1 with 1 core allows 1 worker"),
        (
            (1000, '"auto"'),
            Machine(2, GB),
            'limits.max_workers_per_core = "auto" with 1024 MB of memory and 2 cores allows 64 workers',
        ),
        (
            (1000, '"auto"'),
            Machine(2, GB // 8),
            'limits.max_workers_per_core = "auto" with 128 MB of memory and 2 cores allows 40 workers',
        ),
        ((1000, '"auto"'), Machine(2, 64 * GB), "limits.max_workers = 1000 allows 1000 workers"),
    ],
)
def test_the_lower_limit_counts_and_is_named(
    tmp_path: Path, limits: tuple[int, int | str], machine: Machine, words: str
) -> None:
    """That of the whole, that of the cores, or what memory holds; never fewer than 20 for each core."""
    file = tmp_path / "fleet.toml"
    file.write_text("[limits]\nmax_workers = {}\nmax_workers_per_core = {}\n".format(*limits))
    places = places_of(load_fleet(file, {}).limits, machine)
    assert places.words == f"{words} at the same time"
    assert f"allows {places.most} worker" in places.words


def test_fifty_bots_fit_on_two_cores_by_default(tmp_path: Path) -> None:
    """With a gigabyte of memory; workers have 4 MB."""
    file = tmp_path / "fleet.toml"
    file.write_text("")
    assert places_of(load_fleet(file, {}).limits, Machine(2, GB)).most >= 50


@pytest.mark.parametrize("value", ["0", "true", '"many"', "1.5", "[]"])
def test_the_key_takes_a_count_or_auto(tmp_path: Path, value: str) -> None:
    """Anything else is told with what was expected."""
    file = tmp_path / "fleet.toml"
    file.write_text(f"[limits]\nmax_workers_per_core = {value}\n")
    with pytest.raises(FleetFileError, match='expected "auto" or an integer from 1 on'):
        load_fleet(file, {})


@pytest.mark.parametrize(("most", "waiting"), [(1, "2 bots wait"), (2, "1 bot waits"), (3, None)])
def test_bots_that_will_wait_are_known_before_they_do(tmp_path: Path, most: int, waiting: str | None) -> None:
    """Those that are enabled and want a worker always; the sentence says what to do."""
    file = tmp_path / "fleet.toml"
    bots = [f'[bots.b{number}]\ntoken = "{number}:a"\n' for number in range(1, 6)]
    bots[3] += "enabled = false\n"
    bots[4] += 'worker = "on_demand"\n'
    file.write_text(f'[limits]\nmax_workers = {most}\n[defaults]\nhandler = "a:b"\n{"".join(bots)}')
    fleet = load_fleet(file, {})
    said = held_back(fleet, places_of(fleet.limits, Machine(2, GB)))
    if waiting is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith(f"{waiting} for a place: limits.max_workers = {most} allows")
        assert "Raise it" in said


def test_bots_that_wait_are_counted_in_a_status() -> None:
    """By their reason, which names the key."""
    reasons = (None, "token refused", *[f"{WAITS}limits.x allows 1"] * 2)
    rows = [{"reason": reason} for reason in reasons]
    said = held_back_now(rows)
    assert said is not None
    assert said.startswith("2 bots wait for a place: limits.x allows 1. Raise it")
    assert held_back_now(rows[:2]) is None
