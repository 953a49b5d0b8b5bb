"""The repository itself: reproducible installs, and nothing in it that only one workplace knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SCRIPTS = [ROOT / "scripts" / name for name in ("run", "test", "test-machine", "check", "install")] + [
    ROOT / ".ci/run"
]


def files() -> list[Path]:
    """Returns every file of the repository, new ones included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if result.returncode:
        pytest.skip("not in a git checkout")
    paths = [ROOT / name for name in result.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def name_of(requirement: str) -> str:
    """Returns a distribution's name in its normal form (packaging.python.org, name normalization)."""
    name = re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_dependency_is_constrained():
    """What pyproject.toml names, to run, to test, to check and to build, has one exact version."""
    project = PROJECT["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    wanted = {
        name_of(name) for name in [*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]]
    }
    assert wanted - {name_of(line) for line in constraints()} == set()


def test_constraints_are_exact_versions_and_nothing_else():
    """No addresses, paths, hashes or ranges, and not the project itself."""
    assert [line for line in constraints() if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = [name_of(line) for line in constraints()]
    assert len(names) == len(set(names))
    assert "trioworkers" not in names


def test_no_file_names_a_package_index_or_a_folder_outside():
    """Where packages come from is the machine's business; what is needed is in the repository."""
    hosts = ("py" + "pi.org", "pythonhosted" + ".org", "npm" + "js.org")
    options = ("index" + "-url", "find" + "-links")
    outside = (".." + "/shared", "/work" + "/")
    found = []
    for path in files():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path}: {word}" for word in (*hosts, *options, *outside) if word in text]
    assert found == []


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "scripts/setup.sh"], ids=lambda path: path.name)
def test_scripts_stop_at_the_first_error(script):
    """Each is valid bash and strict, itself or through the one that it reads."""
    subprocess.run(["bash", "-n", script], check=True)  # noqa: S607 - any bash
    text = script.read_text()
    assert "set -euo pipefail" in text or "setup.sh" in text
    assert script.name == "setup.sh" or script.stat().st_mode & 0o111 == 0o111


def test_dependencies_say_why_they_are_there():
    """Each line of the dependencies has a comment; types and the like explain themselves."""
    text = (ROOT / "pyproject.toml").read_text()
    for name in PROJECT["project"]["dependencies"]:
        assert re.search(rf'"{re.escape(name)}", +# \w', text), name
