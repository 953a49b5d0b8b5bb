"""What a daemon keeps beside updates, in files or in a store: durable before it is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.fleet_state import read_files, state_in_files, state_in_store, write_files
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import StoreError

if TYPE_CHECKING:
    from pathlib import Path


def now() -> float:
    return 1000.0


async def test_what_was_kept_is_there_for_the_next_daemon() -> None:
    """On another machine as well; the secret is made by the first and stays."""
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        state = await state_in_store(inbox, now)
        assert (7 in state.paused, state.digests.get(7)) == (False, None)
        assert await state.paused.change(7, True)
        assert not await state.paused.change(7, True)
        assert await state.paused.change(8, True)
        assert await state.paused.change(8, False)
        await state.digests.put(7, "digest")
        await state.digests.put(8, "another")
        await state.digests.put(8, None)
    async with open_inbox(store) as inbox:
        again = await state_in_store(inbox, now)
        assert [bot_id for bot_id in (7, 8) if bot_id in again.paused] == [7]
        assert (again.digests.get(7), again.digests.get(8)) == ("digest", None)
        assert again.secret.reveal() == state.secret.reveal()
        assert len(again.secret.reveal()) >= 32


async def test_what_cannot_be_written_changes_nothing() -> None:
    """The caller hears of it as of a file that cannot be written."""
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        state = await state_in_store(inbox, now)

        def fail(operation: object) -> None:
            raise StoreError("no server")

        store.fault = fail
        with pytest.raises(OSError, match="no server"):
            await state.paused.change(7, True)
        assert 7 not in state.paused
        with pytest.raises(OSError, match="no server"):
            await state.digests.put(7, "digest")
        store.fault = lambda _: None


async def test_files_become_values_and_back(tmp_path: Path) -> None:
    """As a copy of a store into another kind does it."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir(0o700)
    files = state_in_files(tmp_path / "a")
    await files.paused.change(7, True)
    await files.digests.put(9, "digest")
    values = read_files(tmp_path / "a")
    assert values.keys() == {"paused/7", "webhook/9", "webhook-secret"}
    write_files(tmp_path / "b", values)
    assert read_files(tmp_path / "b") == values
    again = state_in_files(tmp_path / "b")
    assert (7 in again.paused, again.digests.get(9)) == (True, "digest")
    assert again.secret.reveal() == files.secret.reveal()
    assert read_files(tmp_path / "c") == {}
