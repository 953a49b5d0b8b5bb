"""Connections, as far as nobody speaks over them."""

from __future__ import annotations

import socket

import pytest
import trio
from names import Localhost

from trioworkers.http.stream import connect


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("localhost", None)]
)
async def test_what_is_no_name_is_not_looked_up(monkeypatch, host, family):
    """An address is connected to as it is; either way nothing waits to be sent in one piece with more."""
    trio.socket.set_custom_hostname_resolver(Localhost())
    looked_up = []
    real = trio.open_tcp_stream

    async def look_up(host, port):
        looked_up.append(host)
        return await real(host, port)

    monkeypatch.setattr(trio, "open_tcp_stream", look_up)
    address = ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
    with socket.create_server(address, family=family or socket.AF_INET) as listener:
        stream = await connect(host, listener.getsockname()[1], None)
        try:
            assert looked_up == ([] if family else [host])
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not stream.socket.getblocking()
            assert stream.send_nowait(b"x") == 1
        finally:
            stream.close()
