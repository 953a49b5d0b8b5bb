"""The life that a state folder's daemon had last: who may take it for ended."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

from trioworkers.cluster.life_file import NAME, LifeFile

if TYPE_CHECKING:
    from pathlib import Path


def test_the_next_daemon_of_a_folder_knows_which_life_has_ended(tmp_path: Path) -> None:
    """The last one that was written; of a file that is damaged, none."""
    assert LifeFile(tmp_path).read() is None
    for life in (uuid4(), uuid4()):
        LifeFile(tmp_path).write(life)
        assert LifeFile(tmp_path).read() == life
    (tmp_path / NAME).write_bytes(b"[1]")
    assert LifeFile(tmp_path).read() is None


def test_a_copy_of_a_folder_ends_no_life(tmp_path: Path) -> None:
    """The daemon of the folder that was copied may run, on the same machine."""
    (tmp_path / "state").mkdir()
    LifeFile(tmp_path / "state").write(uuid4())
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    assert LifeFile(tmp_path / "copy").read() is None
