"""What a daemon keeps beside updates, in files or in a store: durable before it is in force."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trioworkers.fleet_state import read_files, state_in_files, state_in_store, write_files
from trioworkers.gateway.update_ids import BLOCK, UpdateIds
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import StoreError

NOWHERE = Path("/nowhere")


def now() -> float:
    return 1000.0


async def test_what_was_kept_is_there_for_the_next_daemon() -> None:
    """On another machine as well; the secret is made by the first and stays."""
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        state = await state_in_store(inbox, now, NOWHERE, ())
        assert (7 in state.paused, state.digests.get(7)) == (False, None)
        assert await state.paused.change(7, True)
        assert not await state.paused.change(7, True)
        assert await state.paused.change(8, True)
        assert await state.paused.change(8, False)
        await state.digests.put(7, "digest")
        await state.digests.put(8, "another")
        await state.digests.put(8, None)
    async with open_inbox(store) as inbox:
        again = await state_in_store(inbox, now, NOWHERE, ())
        assert [bot_id for bot_id in (7, 8) if bot_id in again.paused] == [7]
        assert (again.digests.get(7), again.digests.get(8)) == ("digest", None)
        assert again.secret.reveal() == state.secret.reveal()
        assert len(again.secret.reveal()) >= 32


async def test_what_cannot_be_written_changes_nothing() -> None:
    """The caller hears of it as of a file that cannot be written."""
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        state = await state_in_store(inbox, now, NOWHERE, ())

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


async def test_update_ids_grow_wherever_a_bot_runs(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Over the daemon's restarts, a move to another node and back, and from a file of an earlier version."""
    (tmp_path / "update-ids.json").write_text('{"7": 500}')
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        here = await state_in_store(inbox, now, tmp_path, [7, 8])
        there = await state_in_store(inbox, now, NOWHERE, ())
        for state in (here, there):
            nursery.start_soon(state.serve)
        given = [here.ids.of(7).take() for _ in range(3)]
        assert given == [500, 501, 502]
        assert here.ids.of(8).take() == 1  # it was never a program
        for number in range(4):
            state = (there, here)[number % 2]
            await state.arrive([7])
            given += [state.ids.of(7).take() for _ in range(BLOCK // 2 + 10)]  # the next block is noted
            await trio.testing.wait_all_tasks_blocked(0.01)
            await inbox.answers()
        assert given == sorted(set(given))
        later = await state_in_store(inbox, now, NOWHERE, [7, 8])
        assert later.ids.of(7).take() > given[-1]
        assert later.ids.of(8).take() > 1
    nursery.cancel_scope.cancel()


async def test_what_another_node_has_changed_is_read_when_a_bot_arrives() -> None:
    """It stays paused on the node that it moves to, which waits for a store that is away."""
    store = MemoryStore()
    async with open_inbox(store) as inbox:
        here, there = [await state_in_store(inbox, now, NOWHERE, ()) for _ in range(2)]
        await here.paused.change(7, True)
        await here.digests.put(7, "digest")
        assert (7 in there.paused, there.digests.get(7)) == (False, None)
        failures = iter([True, False])

        def fail_once(operation: object) -> None:
            if next(failures, False):
                raise StoreError("no server")

        store.fault = fail_once
        await there.arrive([7])
        assert (7 in there.paused, there.digests.get(7)) == (True, "digest")


async def test_update_ids_move_with_the_store(tmp_path: Path) -> None:
    """By `migrate-store`, to a server and back."""
    (tmp_path / "update-ids.json").write_text('{"7": 10001}')
    state = read_files(tmp_path)
    assert state["update-ids/7"] == b"10001"
    other = tmp_path / "other"
    other.mkdir()
    write_files(other, state)
    assert UpdateIds(other / "update-ids.json").of(7).take() == 10001
