"""A storm in small: every fifth handling fails, a worker is killed each second, and the invariants hold."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"


def test_a_storm_of_failures_and_kills_breaks_nothing() -> None:
    """Every update is somewhere, no reply was repeated that was not told, each chat went in order."""
    command = [
        sys.executable,
        str(BENCHMARKS),
        "queue",
        "--parts",
        "storm",
        "--updates",
        "3000",
        "--limit",
        "90",
    ]
    with tempfile.TemporaryDirectory() as folder:  # pytest's own would be too long for the path of a socket
        storm = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert storm.stdout.endswith("nothing is broken\n")
