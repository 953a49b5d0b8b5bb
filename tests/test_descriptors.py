"""How many files may be open: as many as the system allows, and enough of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trioworkers.descriptors import OF_THE_DAEMON, needed

LIMITED = """
import resource
from trioworkers.descriptors import DescriptorsError, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
try:
    raise_limit({need})
except DescriptorsError as error:
    print(error)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(need):
    """What a process says that may open 256 files and has a limit of 64."""
    code = LIMITED.format(need=need)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()


def test_the_limit_is_raised_to_what_the_system_allows():
    """The soft limit becomes the hard one."""
    assert limited(256) == ["(256, 256)"]


def test_a_fleet_that_needs_more_is_refused_with_both_numbers():
    """What is allowed, what is needed, and what to do."""
    said, _ = limited(257)
    assert said.startswith("open files: 256 are allowed, expected at least 257 for this fleet: ")


@pytest.mark.parametrize(
    ("bots", "workers", "need"), [(0, 40, 0), (1000, 1000, 4000), (10_000, 200, 10_600), (3, 40, 12)]
)
def test_a_bot_needs_one_and_a_worker_three_more(bots, workers, need):
    """A bot that sleeps has its poll only."""
    assert needed(bots, workers) == OF_THE_DAEMON + need
