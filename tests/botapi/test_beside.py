"""Work of the client beside the loop, and on it where no thread can be had."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from trioworkers.botapi.beside import beside
from trioworkers.botapi.content import FileContent, save_to
from trioworkers.botapi.decoding import LARGE, decode
from trioworkers.starved import NO_THREAD


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*args: Any, **options: Any) -> Any:
        raise RuntimeError(NO_THREAD)

    monkeypatch.setattr(trio.to_thread, "run_sync", refuses)


async def test_it_runs_in_a_thread() -> None:
    """With its arguments; what it raises is raised."""
    assert await beside(lambda one: (one, threading.current_thread() is threading.main_thread()), 3) == (
        3,
        False,
    )
    with pytest.raises(RecursionError):
        await beside(_raise, RecursionError("deep"))


async def test_without_a_thread_it_runs_on_the_loop(no_thread: None, tmp_path: Any) -> None:
    """A call that was answered is not made again, and a file is sent and saved."""
    assert await decode(len, b"x" * (LARGE + 1)) == LARGE + 1
    (tmp_path / "a").write_bytes(b"content")
    content = FileContent(tmp_path / "a")
    assert (await content.next_block(), await content.next_block()) == (b"content", b"")
    content.close()

    async def fetch(sink: Any) -> None:
        await sink(b"fetched")

    assert await save_to(tmp_path / "b", fetch) == 7
    assert (tmp_path / "b").read_bytes() == b"fetched"
    with pytest.raises(ValueError, match="of the work"):
        await beside(_raise, ValueError("of the work"))


def _raise(error: Exception) -> None:
    raise error
