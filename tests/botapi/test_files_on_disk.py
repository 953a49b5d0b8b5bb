"""Files that are uploaded from the disk, and downloaded to it: in bounded memory, whole or not at all."""

from __future__ import annotations

import tracemalloc
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.content import BLOCK, FileContent
from trioworkers.botapi.errors import TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.botapi.server import Server

SIZE = 200 * 2**20
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{"ok":true,"result":1}'
MOST = 30 * 2**20  # bytes that a transfer may have in memory, whatever its size


class Disk:
    """A server that takes any upload, and gives files of zeros; it keeps nothing.

    Attributes:
        received: bytes of bodies.
        tail: the last bytes of the last body.
        gives: how many bytes of a file it gives before it closes.
    """

    def __init__(self):
        self.received, self.tail, self.gives = 0, b"", SIZE

    async def handle(self, stream):
        with suppress(trio.BrokenResourceError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            head, _, body = head.partition(b"\r\n\r\n")
            if head.startswith(b"GET"):
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
                for _ in range(self.gives // 2**16):
                    await stream.send_all(bytes(2**16))
                return
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.received += len(body)
            while self.received < size:
                data = await stream.receive_some()
                if not data:
                    return
                self.received += len(data)
                self.tail = (self.tail + data)[-200:]
            await stream.send_all(ANSWER)


@asynccontextmanager
async def served(disk, **more):
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(partial(trio.serve_tcp, disk.handle, 0, host="127.0.0.1"))
        server = Server(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", **more)
        async with BotApi(server, "42:SECRET") as api:
            with trio.fail_after(120):
                yield api
        nursery.cancel_scope.cancel()


@pytest.fixture
def large(tmp_path):
    """A file of 200 MB, which is a hole but for its end."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.seek(SIZE - 3)
        file.write(b"end")
    return path


@pytest.fixture
def peak():
    """The most memory that Python had since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


async def test_a_large_file_is_uploaded_in_bounded_memory(large, peak):
    """All of it, with the form around it; a worker used to have all of it at once."""
    disk = Disk()
    async with served(disk) as api:
        params = {"chat_id": 1, "document": InputFile(large)}
        assert bytes(await api.request("sendDocument", params)) == b"1"
    assert disk.received > SIZE
    assert b"end\r\n--" in disk.tail
    assert peak() < MOST


async def test_a_large_file_is_downloaded_in_bounded_memory(tmp_path, peak):
    """It appears whole, in the place of what was there."""
    path = tmp_path / "got.bin"
    path.write_bytes(b"old")
    async with served(Disk()) as api:
        assert await api.download_file("x", path) == SIZE
    assert path.stat().st_size == SIZE
    assert [one.name for one in tmp_path.iterdir()] == ["got.bin"]
    assert peak() < MOST


async def test_a_download_that_breaks_leaves_what_was_there(tmp_path):
    """And nothing beside it."""
    disk, path = Disk(), tmp_path / "got.bin"
    path.write_bytes(b"old")
    disk.gives = 2**20
    async with served(disk) as api:
        with pytest.raises(TransportError, match="download: the server closed early"):
            await api.download_file("x", path)
        with pytest.raises(TransportError, match="download: an answer of more than 5 bytes"):
            await api.download_file("x", path, most=5)
        with pytest.raises(FileNotFoundError):
            await api.download_file("x", tmp_path / "none" / "got.bin")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["got.bin"]


async def test_a_file_that_becomes_shorter_ends_its_upload(large, monkeypatch):
    """At once, and not after a silence: the server waits for bytes that nobody has."""
    real = FileContent.next_block

    async def cut(self):
        with large.open("r+b") as file:
            file.truncate(BLOCK)
        return await real(self)

    monkeypatch.setattr(FileContent, "next_block", cut)
    async with served(Disk()) as api:
        with trio.fail_after(20), pytest.raises(OSError, match="became shorter"):
            await api.request("sendDocument", {"document": InputFile(large)})


async def test_what_is_no_file_is_not_uploaded(tmp_path):
    """Nothing is sent."""
    disk = Disk()
    async with served(disk) as api:
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(OSError):  # noqa: PT011 - the system's own
                await api.request("sendDocument", {"document": InputFile(path)})
    assert disk.received == 0


# -- a server with --local ---------------------------------------------------------------------


async def test_a_file_of_a_local_server_is_read_from_its_folder(tmp_path):
    """In memory, part by part and to the disk; nothing is asked of the server."""
    folder = tmp_path / "server"
    file = folder / "42:SECRET" / "documents" / "file_0.pdf"
    file.parent.mkdir(parents=True)
    content = bytes(range(256)) * 10_000
    file.write_bytes(content)
    parts: list[bytes] = []

    async def sink(part):
        parts.append(part)

    async with served(Disk(), local_files=str(folder)) as api:
        assert await api.download(str(file)) == content
        await api.download_to(str(file), sink, most=len(content), total=60)
        assert await api.download_file(str(file), tmp_path / "got") == len(content)
        with pytest.raises(TransportError, match="a file of more than 9 bytes"):
            await api.download_to(str(file), sink, most=9, total=60)
    assert b"".join(parts) == content
    assert (tmp_path / "got").read_bytes() == content


@pytest.mark.parametrize("escape", ["outside", "dots", "link", "none", "folder", "no key", "prefix"])
async def test_no_other_file_of_this_machine_is_read(tmp_path, escape):
    """The path is the server's word; and the token, which is a part of it, is in no message."""
    folder = tmp_path / "42:SECRET"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (folder / "link").symlink_to(secret)
    beside = tmp_path / "42:SECRET-too"
    beside.write_bytes(b"x")
    path = {
        "outside": str(secret),
        "dots": f"{folder}/../secret",
        "link": f"{folder}/link",
        "none": f"{folder}/none",
        "folder": str(folder),
        "no key": str(secret),
        "prefix": str(beside),
    }[escape]
    async with served(Disk(), local_files="" if escape == "no key" else str(folder)) as api:
        with pytest.raises(TransportError) as caught:
            await api.download(path)
    assert "local_files" in str(caught.value) or escape in ("none", "folder")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
