"""What workers had called when the daemon was killed, taken over by the next one."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from trioworkers.call_marks import CallMarks
from trioworkers.inbox.left_calls import take_over
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import Accept, BeginCall, EndCall, Finish, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trioworkers.inbox.store import Store

KEY = "sendMessage 5 c0ffee 1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_file(tmp_path / "inbox.db")) as store:
        yield store


def mark(folder: Path, name: str, *calls: tuple[int, str]) -> None:
    """A worker's file with marks of these updates."""
    folder.mkdir(exist_ok=True, mode=0o700)
    marks = CallMarks(str(folder / name), len(calls))
    for number, (id_, key) in enumerate(calls, 1):
        slot = marks.take(0)
        assert slot is not None
        marks.write(slot, number, id_, 0, key.encode())
    marks.close()


def accept(store: Store, *update_ids: int) -> None:
    store.commit([Accept(7, one, "a", b"{}", 1.0) for one in update_ids])


def recorded(store: Store, id_: int) -> list[tuple[str, bytes | None, bool]]:
    return [(call.key, call.answer, call.repeated) for call in store.calls(id_)]


def test_a_call_that_nobody_heard_of_is_unknown_from_now_on(store: Store, tmp_path: Path) -> None:
    """It is recorded as begun, once however often the daemon starts; the files are gone then."""
    accept(store, 1, 2)
    folder = tmp_path / "calls"
    mark(folder, "a", (1, KEY))
    mark(folder, "b", (2, "once pay 1"))
    assert take_over(store, folder, 4.0) == 2
    assert take_over(store, folder, 4.0) == 0
    assert (recorded(store, 1), recorded(store, 2)) == ([(KEY, None, False)], [("once pay 1", None, False)])
    assert list(folder.iterdir()) == []


def test_what_was_reported_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    """A call with an answer keeps it, and one that was begun is not taken for repeated."""
    accept(store, 1, 2)
    store.commit([BeginCall(1, KEY, 2.0), EndCall(1, KEY, b"5"), BeginCall(2, KEY, 2.0)])
    mark(tmp_path / "calls", "a", (1, KEY), (2, KEY))
    assert take_over(store, tmp_path / "calls", 4.0) == 0
    assert (recorded(store, 1), recorded(store, 2)) == ([(KEY, b"5", False)], [(KEY, None, False)])


def test_a_mark_of_an_update_that_is_done_changes_nothing(store: Store, tmp_path: Path) -> None:
    """Its call is nobody's any more, nor is one of an update that never was."""
    accept(store, 1)
    store.commit([Finish(1, 7, "done")])
    mark(tmp_path / "calls", "a", (1, KEY), (99, KEY))
    take_over(store, tmp_path / "calls", 4.0)
    assert recorded(store, 1) == recorded(store, 99) == []


def test_the_folder_is_made_for_us_alone(store: Store, tmp_path: Path) -> None:
    """On the first start there is none; one that others may write into is refused."""
    folder = tmp_path / "calls"
    assert take_over(store, folder, 4.0) == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    os.chmod(folder, 0o777)  # noqa: S103 - that is what is refused
    with pytest.raises(PermissionError, match="can be written by other users"):
        take_over(store, folder, 4.0)


def test_files_stay_until_their_marks_are_recorded(store: Store, tmp_path: Path) -> None:
    """A store that refuses them leaves all for the next start."""
    accept(store, 1)
    mark(tmp_path / "calls", "a", (1, KEY))

    class Refuses:
        recorded = staticmethod(store.recorded)

        def commit(self, operations: object) -> None:
            raise StoreError

    with pytest.raises(StoreError):
        take_over(Refuses(), tmp_path / "calls", 4.0)  # type: ignore[arg-type]
    assert take_over(store, tmp_path / "calls", 4.0) == 1
