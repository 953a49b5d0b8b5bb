"""Connections, as far as nobody speaks over them, and the order in which addresses are tried."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from names import Localhost

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import TransportError
from trioworkers.http.connect import Connector


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("localhost", None)]
)
async def test_what_is_no_name_is_not_looked_up(monkeypatch, host, family):
    """An address is connected to as it is; either way nothing waits to be sent in one piece with more."""
    trio.socket.set_custom_hostname_resolver(Localhost())
    looked_up = []
    real = trio.socket.getaddrinfo

    async def look_up(host, port, **more):
        looked_up.append(host)
        return await real(host, port, **more)

    monkeypatch.setattr(trio.socket, "getaddrinfo", look_up)
    address = ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
    with socket.create_server(address, family=family or socket.AF_INET) as listener:
        stream = await Connector(host, listener.getsockname()[1], None).connect()
        try:
            assert looked_up == ([] if family else [host])
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not stream.socket.getblocking()
            assert stream.send_nowait(b"x") == 1
        finally:
            stream.close()


class Both(Localhost):
    """`both.test` is ::1 first, then 127.0.0.1."""

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        six = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", int(port), 0, 0))
        four = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", int(port)))
        return [six, four]


@pytest.mark.parametrize("does", ["resets", "is silent", "resets late"])
async def test_the_attempt_after_a_failure_begins_with_the_next_address(nursery, does):
    """One that accepts at once would else be chosen for ever; the one that works is kept."""
    trio.socket.set_custom_hostname_resolver(Both())
    bad, good = 0, 0

    async def serve_badly(stream):
        nonlocal bad
        bad += 1
        if does == "resets late":
            await stream.receive_some()
        if does == "is silent":
            await trio.sleep_forever()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)

    async def serve_well(stream):
        nonlocal good
        good += 1
        async for _ in stream:
            await stream.send_all(
                b'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 22\r\n\r\n{"ok":true,"result":1}'
            )

    (four,) = await nursery.start(lambda task_status: _serve(serve_well, "127.0.0.1", 0, task_status))
    port = four.socket.getsockname()[1]
    await nursery.start(lambda task_status: _serve(serve_badly, "::1", port, task_status))
    with trio.fail_after(30):
        async with BotApi(f"http://both.test:{port}", "42:SECRET") as api:
            with pytest.raises(TransportError):
                await api.request("getMe", {}, silence=0.3)
            for _ in range(3):
                assert bytes(await api.request("getMe", {}, silence=20)) == b"1"
    assert (bad, good) == (1, 3)
    nursery.cancel_scope.cancel()


async def _serve(handler, host, port, task_status):
    await trio.serve_tcp(handler, port, host=host, task_status=task_status)


async def test_an_address_that_cannot_be_reached_costs_no_attempt(nursery):
    """The next one is tried at once."""
    trio.socket.set_custom_hostname_resolver(Both())
    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(20):
        stream = await Connector("both.test", listener.getsockname()[1], None).connect()
        assert stream.address is not None
        assert stream.address.host == "127.0.0.1"
        stream.close()
