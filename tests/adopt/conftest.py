"""Fixtures of the tests of `adopt`: a machine with a few programs, and a folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; PATH has node, if this machine has it, and programs that do nothing."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("npm", "python", "python3"):
        (programs / name).write_text("#!/bin/sh\necho started >>/started\nexit 70\n")
        (programs / name).chmod(0o755)
    if (node := shutil.which("node")) is not None:
        (programs / "node").symlink_to(node)
    monkeypatch.setenv("PATH", str(programs))
    for name in ("TRIOWORKERS_CONFIG", "SHOP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
