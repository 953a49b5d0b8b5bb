"""A clean environment without a network: wheels, and exactly the packages that they declare."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement


def build_wheel(project: Path, into: Path) -> Path:
    """Build a project's wheel from a copy of its sources; return its path."""
    before = set(into.glob("*.whl"))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(project))
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


def make_venv(folder: Path, wheels: list[Path]) -> Path:
    """Make an environment that has the wheels and what trioworkers depends on; return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure("trioworkers"):
        _link(name, site)
    _pip("install", "--no-deps", "--no-index", "--target", str(site), *map(str, wheels))
    return folder / "bin" / "python"


def closure(name: str) -> set[str]:
    """The distributions that one depends on, directly or not."""
    found: set[str] = set()
    left = [(name, "")]
    while left:
        one, extra = left.pop()
        for line in distribution(one).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                key = requirement.name.lower()
                if key not in found or requirement.extras:
                    found.add(key)
                    left += [(key, more) for more in ("", *requirement.extras)]
    return found


def _link(name: str, site: Path) -> None:
    """Link the top-level files and folders of an installed distribution into another place."""
    installed = distribution(name)
    for top in {
        file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")
    }:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(installed.locate_file(top))))


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
