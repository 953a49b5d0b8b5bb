"""A clean environment without a network: wheels, and exactly the packages that they declare."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]


def build_wheel(project: Path, into: Path) -> Path:
    """Build a project's wheel from a copy of its sources; return its path."""
    before = set(into.glob("*.whl"))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(project))
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


def build_own_wheel(into: Path) -> Path:
    """Build the wheel of this checkout; return its path."""
    checkout = into / "checkout"  # a copy, as a build leaves files behind
    for name in ("trioworkers", "plugins", "share"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, checkout)
    return build_wheel(checkout, into)


def make_venv(folder: Path, wheels: list[Path], others: Iterable[str] = ()) -> Path:
    """Make an environment that has the wheels and what trioworkers depends on; return its interpreter.

    `others`: further distributions that it has, with what they depend on.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    python = folder / "bin" / "python"
    for name in closure("trioworkers").union(others, *map(closure, others)):
        _link(name, site)
    _pip("--python", str(python), "install", "--no-deps", "--no-index", *map(str, wheels))
    return python


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
