"""Which bots are paused: durable, by id."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
import trio

from trioworkers.inbox.store import StoreRefusedError
from trioworkers.nursery.paused import PausedBots

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_was_paused_is_there_for_the_next_run(tmp_path: Path) -> None:
    """In a file of mode 0600; what changed is said."""
    path = tmp_path / "paused.json"
    paused = PausedBots(path)
    assert not path.exists()
    assert await paused.change(7, True)
    assert await paused.change(8, True)
    assert not await paused.change(8, True)
    assert await paused.change(7, False)
    assert 7 not in paused
    assert 8 in PausedBots(path)
    assert 7 not in PausedBots(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["paused.json"]


async def test_changes_at_once_all_count(tmp_path: Path) -> None:
    """None overwrites another."""
    paused = PausedBots(tmp_path / "paused.json")
    async with trio.open_nursery() as nursery:
        for bot_id in range(20):
            nursery.start_soon(paused.change, bot_id, True)
    assert all(bot_id in PausedBots(tmp_path / "paused.json") for bot_id in range(20))


@pytest.mark.parametrize("text", ["", "{", "{}", '["7"]', "[true]", "[7.0]", "\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    """Taking it for empty would let bots handle what they were paused for."""
    path = tmp_path / "paused.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreRefusedError, match=r"paused\.json is damaged, expected a list of bot ids"):
        PausedBots(path)


async def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    """Neither in the file nor in force, and nothing is left behind."""
    folder = tmp_path / "state"
    folder.mkdir()
    paused = PausedBots(folder / "paused.json")
    await paused.change(7, True)
    (folder / "paused.json").unlink()
    (folder / "paused.json").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        await paused.change(8, True)
    assert 8 not in paused
    assert [entry.name for entry in folder.iterdir()] == ["paused.json"]
