"""The model of the leases' protocol: nothing goes wrong in any state; without any one safeguard it does."""

from __future__ import annotations

import pytest
from lease_model import SAFEGUARDS, Bounds, Explorer  # type: ignore[import-not-found] # it lies beside

WRITE = "a write under an old life"
TWO = "two nodes work for one bot"


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(Bounds(claims=3, jumps=0), id="pauses and partitions"),
        pytest.param(Bounds(claims=2, lives=1, late=True), id="late answers"),
        pytest.param(Bounds(claims=1, lives=1, breaks=1, writes=True), id="a lost answer to COMMIT"),
        pytest.param(Bounds(claims=2, lives=1, cuts=1), id="a lost connection of the lease"),
        pytest.param(Bounds(claims=2, failovers=1, moves=False), id="a failover that loses commits"),
        pytest.param(
            Bounds(claims=1, failovers=1, is_synchronous=True, writes=True), id="one that loses none"
        ),
        pytest.param(Bounds(claims=1, jumps=1), id="a clock that jumps"),
    ],
)
def test_nothing_goes_wrong_in_any_state(bounds):
    """Never two nodes work for a bot within the margin, no write is made under an old life, and no accepted
    update is lost that the standby had to have."""
    states, fault = Explorer(bounds).explore(600_000)
    assert fault is None
    assert states > 2_000


@pytest.mark.parametrize(
    ("safeguard", "bounds", "expected"),
    [
        ("margin", Bounds(claims=2), TWO),
        ("sent", Bounds(claims=2, lives=1, late=True, moves=False), TWO),
        ("same beat", Bounds(claims=2), TWO),
        ("fence", Bounds(claims=2, writes=True), WRITE),
        ("settled", Bounds(claims=2, writes=True, breaks=1), WRITE),
        ("new life", Bounds(claims=2, writes=True, failovers=1), TWO),
        ("quiet", Bounds(claims=2, failovers=1), TWO),
        ("epochs", Bounds(claims=2, late=True), TWO),
        ("no clock", Bounds(claims=2, jumps=1), TWO),
    ],
)
def test_each_safeguard_is_needed(safeguard, bounds, expected):
    """Without it the model finds what goes wrong, so the model can see it, and no safeguard is idle."""
    assert Explorer(bounds, without=safeguard).explore(600_000)[1] == expected


def test_all_safeguards_are_tried():
    """The table above names each of them."""
    tried = test_each_safeguard_is_needed.pytestmark[0].args[1]
    assert {name for name, _, _ in tried} == set(SAFEGUARDS)


def test_what_an_asynchronous_standby_may_lose():
    """An update that was confirmed to Telegram, and nothing else goes wrong; a synchronous one loses none."""
    bounds = Bounds(claims=1, failovers=1, lives=1, writes=True)
    assert Explorer(bounds, forgives=False).explore(600_000)[1] == "an accepted update is lost"
