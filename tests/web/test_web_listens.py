"""Listening sockets: whose they are, and what is told when there is none."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from unix_listener import listen_unix

from trioworkers.folders import AlreadyRunningError
from trioworkers.web.sockets import ListenError, SocketPathError, listen_tcp

if TYPE_CHECKING:
    from pathlib import Path


def test_a_socket_is_ours_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    """Mode 0600 while it is there; an old one is replaced."""
    path = tmp_path / "control.sock"
    path.touch()
    with listen_unix(path, key="k"):
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_socket_has_one_listener(tmp_path: Path) -> None:
    """A second is told who has it, and takes nothing away."""
    path = tmp_path / "control.sock"
    with listen_unix(path, key="k"):
        with pytest.raises(AlreadyRunningError, match=rf"listens on {path} \(pid {os.getpid()}\)"):
            listen_unix(path, key="k").__enter__()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    with listen_unix(path, key="k"):
        pass


def test_two_sockets_share_a_folder(tmp_path: Path) -> None:
    """The lock is the socket's, not the folder's."""
    with listen_unix(tmp_path / "control.sock", key="k"), listen_unix(tmp_path / "api.sock", key="k"):
        pass


def test_what_took_a_sockets_place_stays(tmp_path: Path) -> None:
    """Only what is still our own is unlinked."""
    path = tmp_path / "control.sock"
    with listen_unix(path, key="k"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_a_path_that_is_too_long_names_its_setting(tmp_path: Path) -> None:
    """Trying again does not help: that is another error than an address in use."""
    with pytest.raises(SocketPathError, match=r"at most 107 bytes: choose a shorter fleet\.runtime_dir"):
        listen_unix(tmp_path / ("x" * 108), key="fleet.runtime_dir").__enter__()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The path and the reason."""
    path = tmp_path / "none" / "api.sock"
    with pytest.raises(ListenError, match=f"cannot listen on {path}: no such file or directory"):
        listen_unix(path, key="k").__enter__()


def test_a_port_in_use_names_its_setting() -> None:
    """The address, the reason, and where to name another."""
    with listen_tcp("127.0.0.1", 0, key="k") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as told:
            listen_tcp("127.0.0.1", port, key="[api] bind")
    assert str(told.value) == (
        f"cannot listen on 127.0.0.1:{port}: address already in use; [api] bind names another address"
    )


def test_localhost_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings count it as an address that only this machine reaches, whatever /etc/hosts says."""
    bound = []

    def create(address: tuple[str, int], **options: Any) -> socket.socket:
        bound.append(address)
        return create_server(address, **options)

    create_server = socket.create_server
    monkeypatch.setattr(socket, "create_server", create)
    with listen_tcp("localhost", 0, key="k") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    assert bound == [("127.0.0.1", 0)]


def test_many_may_connect_at_once() -> None:
    """Before any of them is accepted: Telegram comes with up to a hundred connections for each bot."""
    with listen_tcp("127.0.0.1", 0, key="[webhook] bind") as listener, ExitStack() as stack:
        for _ in range(300):  # hypercorn's backlog is 100
            peer = stack.enter_context(socket.socket())
            peer.settimeout(0.5)
            peer.connect(listener.getsockname())


def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well() -> None:
    """`[::]` listens for both families, as nginx's and systemd's do by default; `[::1]` for its own alone."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual stack here")
    for host in ("::", "0::0"):
        with listen_tcp(host, 0, key="[webhook] bind") as listener:
            port = listener.getsockname()[1]
            for address in ("127.0.0.1", "::1"):
                socket.create_connection((address, port), 10).close()
    with listen_tcp("::1", 0, key="[webhook] bind") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 10)
