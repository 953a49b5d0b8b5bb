"""The way to systemd: a real socket, that may be full, gone, or not there at all."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from trioworkers.service.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """A socket as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listener.setblocking(False)
        yield listener


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """$NOTIFY_SOCKET, of both kinds."""
    return str(tmp_path / "n") if request.param == "path" else f"@tw-test-{secrets.token_hex(8)}"


def test_a_message_is_a_datagram(address: str) -> None:
    """As it was given."""
    with listening(address) as listener:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        assert notifier.is_heard
        notifier.send(b"READY=1\nSTATUS=x\n")
        notifier.send(None)
        assert listener.recv(999) == b"READY=1\nSTATUS=x\n"
        with pytest.raises(BlockingIOError):
            listener.recv(999)
        notifier.close()
        notifier.send(b"more")
        with pytest.raises(BlockingIOError):
            listener.recv(999)


async def test_what_finds_it_full_waits_in_order(address: str, nursery: trio.Nursery) -> None:
    """Nothing blocks, nothing is lost, and what comes later does not overtake."""
    with listening(address) as listener:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        nursery.start_soon(notifier.serve)
        count = 0
        while not notifier._waiting:
            notifier.send(b"%d" % count)
            count += 1
            assert count < 10_000
        notifier.send(b"last")
        found: list[bytes] = []
        with trio.fail_after(10):
            while not found or found[-1] != b"last":
                await trio.lowlevel.wait_readable(listener)
                found.append(listener.recv(999))
        assert found == [*(b"%d" % number for number in range(count)), b"last"]
        nursery.cancel_scope.cancel()
    notifier.close()


def test_another_listener_at_the_same_place_is_found(tmp_path: Path) -> None:
    """After a restart of whoever listens; meanwhile messages are dropped."""
    path = tmp_path / "n"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    notifier.send(b"nobody is there yet")
    for _ in range(2):
        with listening(str(path)) as listener:
            notifier.send(b"here")
            assert listener.recv(999) == b"here"
        path.unlink()
        notifier.send(b"gone")
    notifier.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
async def test_without_a_service_manager_it_does_nothing(environ: dict[str, str]) -> None:
    """No task stays, nothing is kept."""
    notifier = Notifier(environ)
    assert not notifier.is_heard
    notifier.send(b"READY=1")
    await notifier.serve()
    notifier.close()
