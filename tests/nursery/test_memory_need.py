"""What a bot's workers need is told from what they grow to."""

from __future__ import annotations

import pytest

from trioworkers.nursery.memory_need import FEW, MemoryNeed

MB = 2**20


@pytest.fixture
def need() -> MemoryNeed:
    """Of a bot whose first worker is ready."""
    need = MemoryNeed()
    need.begin("c0de")
    return need


def test_a_bot_that_needs_more_than_its_limit_is_recycled_once(need: MemoryNeed) -> None:
    """Then it is known what it needs; growth from there is what the limit acts on."""
    assert need.judge(210 * MB, 150 * MB, 0) == "grown"
    assert need.words is None
    assert need.judge(212 * MB, 150 * MB, 3) == "needed"
    assert (
        need.words == "needs 212 MB from the start, more than memory_limit (150 MB), which counts from there"
    )
    assert need.judge(212 * MB, 150 * MB, 9) == "fits"
    assert need.judge(362 * MB, 150 * MB, 900) == "fits"
    assert need.judge(363 * MB, 150 * MB, 900) == "grown"
    assert need.judge(230 * MB, 150 * MB, 0) == "fits"


def test_a_worker_that_leaks_is_recycled_as_ever(need: MemoryNeed) -> None:
    """However often: it has handled more than a few updates each time."""
    for _ in range(50):
        assert need.judge(149 * MB, 150 * MB, 100) == "fits"
        assert need.judge(151 * MB, 150 * MB, FEW + 1) == "grown"
    assert need.base == 0


def test_only_workers_in_a_row_count(need: MemoryNeed) -> None:
    """One in between that grew later says that so much is not needed at once."""
    for taken in (1, 500, 1):
        assert need.judge(151 * MB, 150 * MB, taken) == "grown"
    assert need.judge(151 * MB, 150 * MB, 1) == "needed"


def test_what_leaks_with_each_update_gains_little(need: MemoryNeed) -> None:
    """Its base rises while a few updates fill the limit, and never beyond what a few updates leak."""
    leak, memory, taken = 40 * MB, 5 * MB, 0
    for _ in range(10_000):
        memory, taken = memory + leak, taken + 1
        if need.judge(memory, 150 * MB, taken) == "grown":
            memory, taken = 5 * MB, 0
        assert memory <= 5 * MB + (FEW + 1) * leak + 150 * MB + leak


@pytest.mark.parametrize("change", ["limit", "code"])
def test_another_limit_and_other_code_are_tried_anew(need: MemoryNeed, change: str) -> None:
    """Either may be what mends it; a worker with the same code knows what the one before has shown."""
    limit = 150 * MB
    need.judge(210 * MB, limit, 0)
    need.judge(210 * MB, limit, 0)
    need.begin("c0de")
    assert need.judge(210 * MB, limit, 0) == "fits"
    if change == "code":
        need.begin("other")
    else:
        limit += 1
    assert need.judge(210 * MB, limit, 0) == "grown"
    assert need.words is None
