"""Messages that another bot sends again: files go by the disk; what cannot be had is said in words."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trioworkers_plugins.handoff.carrying import Carrier, NotCarriedError
from trioworkers_plugins.handoff.pieces import Piece

from trioworkers import BotApiError, TransportError

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers import InputFile

PART = bytes(64 * 1024)
PHOTO = Piece("copy", "1", 1, message_id=1, text="look", media={"kind": "photo", "file_id": "f"})


class Source:
    """A bot that has a file of so many parts, or none."""

    def __init__(self, parts: int, error: Exception | None = None, path: Any = "photos/1") -> None:
        self.parts, self.error, self.path = parts, error, path

    async def call(self, method: str, **params: Any) -> Any:
        assert (method, params) == ("getFile", {"file_id": "f"})
        if isinstance(self.error, BotApiError):
            raise self.error
        return {"file_path": self.path}

    async def download_to(self, file_path: str, sink: Any, *, most: int, total: float) -> None:
        if self.error is not None:
            raise self.error
        for _ in range(self.parts):
            await sink(PART)


class Target:
    """A bot that sends what it is given; it notes how much that was, and which files were there meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size = 0
        self.named: list[str] = []
        self.params: dict[str, Any] = {}

    async def call(self, method: str, /, **params: Any) -> Any:
        self.params = {"method": method, **params}
        file: InputFile | None = params.get("photo")
        if file is not None:
            content = file.open()
            if isinstance(content, bytes):
                self.size = len(content)
            else:
                while block := await content.next_block():
                    self.size += len(block)
                content.close()
        self.named = os.listdir(self.folder)
        return {"message_id": 7}


async def test_a_large_file_needs_no_memory_and_leaves_nothing(tmp_path: Path) -> None:
    """200 MB in parts; on the disk it has no name, so that a crash leaves nothing of it either."""
    target: Any = Target(tmp_path)
    source: Any = Source(3200)
    tracemalloc.start()
    try:
        sent = await Carrier(str(tmp_path)).carry(source, target, {"chat_id": 5}, PHOTO)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (sent, target.size, target.named) == (7, 200 * 2**20, [])
    assert peak < 20 * 2**20
    assert (target.params["method"], target.params["caption"]) == ("sendPhoto", "look")
    assert target.params["photo"].filename == "photo.bin"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BotApiError("getFile", 400, "Bad Request: file is too big"), "Bad Request: file is too big"),
        (TransportError("download", "HTTP 404", heals=False), "cannot be fetched .HTTP 404"),
    ],
)
async def test_a_file_that_will_not_come_is_said_so(tmp_path: Path, error: Exception, words: str) -> None:
    """It is not asked for again."""
    with pytest.raises(NotCarriedError, match=words):
        await _carry(tmp_path, Source(1, error))


async def test_a_file_without_a_path_is_said_so(tmp_path: Path) -> None:
    """As getFile may answer."""
    with pytest.raises(NotCarriedError, match="does not say where"):
        await _carry(tmp_path, Source(1, path=None))


@pytest.mark.parametrize(
    "error",
    [
        TransportError("download", "HTTP 502"),
        BotApiError("getFile", 500, "Internal"),
        BotApiError("getFile", 401, "x"),
    ],
)
async def test_what_may_pass_is_raised(tmp_path: Path, error: Exception) -> None:
    """The courier tries it again."""
    with pytest.raises(type(error)) as caught:
        await _carry(tmp_path, Source(1, error))
    assert caught.value is error


async def _carry(folder: Path, source: Any) -> None:
    target: Any = Target(folder)
    await Carrier(str(folder)).carry(source, target, {"chat_id": 5}, PHOTO)


async def test_few_files_are_on_the_disk_at_once(tmp_path: Path) -> None:
    """However many dialogs have some."""
    now = most = 0

    class Slow(Source):
        async def download_to(self, file_path: str, sink: Any, *, most: int, total: float) -> None:
            nonlocal now
            now += 1
            seen.append(now)
            await trio.sleep(0.01)
            await super().download_to(file_path, sink, most=most, total=total)
            now -= 1

    seen: list[int] = []
    source: Any = Slow(1)
    target: Any = Target(tmp_path)
    carrier = Carrier(str(tmp_path))
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(carrier.carry, source, target, {}, PHOTO)
    most = max(seen)
    assert (len(seen), most) == (8, 2)
