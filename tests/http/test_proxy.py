"""Calls, polls and downloads by way of proxies, with and without credentials, plain and over TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from functools import partial

import pytest
import trio
from names import Localhost
from proxies import SmallProxy, connect, socks5

from trioworkers.botapi import wire
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import TransportError
from trioworkers.botapi.server import Server
from trioworkers.http.proxy import Proxy, read_proxy

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{"ok":true,"result":1}'
SPEAKS = {"http": connect, "https": connect, "socks5": socks5, "socks5h": socks5}


@pytest.fixture(scope="session")
def proxy_certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1 and api.test with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("proxy-tls")
    key, cert = str(folder / "key"), str(folder / "cert")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:api.test,DNS:localhost"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def tls(proxy_certificate, monkeypatch):
    """A server's context, which ours trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*proxy_certificate)
    trusts = ssl.create_default_context(cafile=proxy_certificate[0])
    monkeypatch.setattr(wire, "tls_context", lambda: trusts)
    return context


class Api:
    """A Bot API server that answers everything, and notes first lines; large bodies are read whole."""

    def __init__(self):
        self.lines = []
        self.connections = 0

    async def serve(self, tls=None, *, task_status=trio.TASK_STATUS_IGNORED):
        async with trio.open_nursery() as nursery:
            start = partial(trio.serve_ssl_over_tcp, ssl_context=tls) if tls else trio.serve_tcp
            (listener,) = await nursery.start(partial(start, self._handle, 0, host="127.0.0.1"))
            listener = getattr(listener, "transport_listener", listener)
            task_status.started(listener.socket.getsockname()[1])

    async def _handle(self, stream):
        self.connections += 1
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                while len(data) < size:
                    data += await stream.receive_some()
                data = data[size:]
                self.lines.append(head.split(b"\r\n")[0].decode())
                await stream.send_all(ANSWER)
        except trio.BrokenResourceError:
            pass


@pytest.mark.parametrize("target", ["plain", "tls"])
@pytest.mark.parametrize("credentials", ["", "user:p@ss w/rd"])
@pytest.mark.parametrize("scheme", SPEAKS)
async def test_calls_uploads_and_downloads_go_by_the_proxy(tls, nursery, scheme, credentials, target):
    """By each kind of proxy, to servers with and without TLS; one connection serves many calls."""
    api, proxy = Api(), SmallProxy(credentials, names={"api.test": "127.0.0.1"})
    port = await nursery.start(api.serve, tls if target == "tls" else None)
    await nursery.start(proxy.serve, SPEAKS[scheme], tls if scheme == "https" else None)
    host = "127.0.0.1" if scheme == "socks5" else "api.test"  # which nobody but the proxy knows
    user = "user:p%40ss%20w%2Frd@" if credentials else ""
    server = Server(
        f"http{'s' if target == 'tls' else ''}://{host}:{port}", f"{scheme}://{user}127.0.0.1:{proxy.port}"
    )
    with trio.fail_after(20):
        async with BotApi(server, "42:SECRET") as bot:
            for _ in range(3):
                assert bytes(await bot.request("getMe", {})) == b"1"
            assert bytes(await bot.request("sendMessage", {"text": "x" * 3_000_000})) == b"1"
            assert (await bot.download("a/b.jpg")).startswith(b'{"ok"')
    assert api.lines == [
        *["POST /bot42:SECRET/getMe HTTP/1.1"] * 3,
        "POST /bot42:SECRET/sendMessage HTTP/1.1",
        "GET /file/bot42:SECRET/a/b.jpg HTTP/1.1",
    ]
    assert proxy.asked == [(host, port)]
    assert api.connections == 1
    nursery.cancel_scope.cancel()


async def test_socks5_looks_the_name_up_here_and_socks5h_there(nursery):
    """As curl's and requests' schemes do."""
    trio.socket.set_custom_hostname_resolver(Localhost())
    api, proxy = Api(), SmallProxy(names={"localhost": "127.0.0.1"})
    port = await nursery.start(api.serve)
    await nursery.start(proxy.serve, socks5)
    for scheme in ("socks5", "socks5h"):
        server = Server(f"http://localhost:{port}", f"{scheme}://127.0.0.1:{proxy.port}")
        async with BotApi(server, "42:SECRET") as bot:
            assert bytes(await bot.request("getMe", {})) == b"1"
    assert proxy.asked == [("127.0.0.1", port), ("localhost", port)]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("fault", ["credentials", "refuses", "nobody", "other protocol"])
async def test_a_proxy_that_does_not_serve_is_named_without_its_credentials(nursery, scheme, fault):
    """The words say that it is the proxy; neither the user nor the password is in them, or in a repr."""

    async def odd(proxy, stream):
        await stream.receive_some(1)
        await stream.send_all(b"\x05\x00junk\r\n\r\n" if scheme == "http" else b"HTTP/1.1 400 Bad\r\n\r\n")

    proxy = SmallProxy("user:right" if fault == "credentials" else "", refuses=fault == "refuses")
    await nursery.start(proxy.serve, odd if fault == "other protocol" else SPEAKS[scheme])
    if fault == "nobody":
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            proxy.port = one.getsockname()[1]
    server = Server("http://127.0.0.1:9", f"{scheme}://hidden:covert@127.0.0.1:{proxy.port}")
    with trio.fail_after(20):
        async with BotApi(server, "42:SECRET") as bot:
            with pytest.raises(TransportError) as caught:
                await bot.request("getMe", {})
    words = str(caught.value)
    assert "proxy" in words
    for shown in (words, repr(server), repr(read_proxy(server.proxy)), str(read_proxy(server.proxy))):
        assert "hidden" not in shown
        assert "covert" not in shown
    assert caught.value.__suppress_context__
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("proxy.test:3128", Proxy("http", "proxy.test", 3128)),
        ("http://proxy.test", Proxy("http", "proxy.test", 80)),
        ("https://proxy.test/", Proxy("https", "proxy.test", 443)),
        ("socks5://proxy.test", Proxy("socks5", "proxy.test", 1080)),
        ("socks5h://u:p%3Aw@[::1]:99", Proxy("socks5h", "::1", 99, "u", "p:w")),
        ("http://u@h:1", Proxy("http", "h", 1, "u", "")),
    ],
)
def test_addresses_of_proxies(text, proxy):
    """Ports are those of httpx, names and passwords may be quoted."""
    assert read_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "ftp://h:1",
        "socks4://h:1",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h:1/path",
        "http://h:1?q",
        "http://:p@h:1",
        "http://h\r\n:1",
        "socks5://ü:p@h:1",
        "socks5://" + "u" * 256 + ":p@h:1",
        "socks5://%C3%BC:p@h:1",
    ],
)
def test_what_is_no_address_of_a_proxy_is_refused_without_being_quoted(text):
    """It may hold a password."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words follow
        read_proxy(text)
    assert text not in str(caught.value)


async def test_the_test_environment_has_addresses_of_its_own(nursery):
    """`/bot<token>/test/<method>`, and files likewise."""
    api = Api()
    port = await nursery.start(api.serve)
    async with BotApi(Server(f"http://127.0.0.1:{port}", is_test=True), "42:SECRET") as bot:
        await bot.request("getMe", {})
        await bot.download("a/b.jpg")
    assert api.lines == [
        "POST /bot42:SECRET/test/getMe HTTP/1.1",
        "GET /file/bot42:SECRET/test/a/b.jpg HTTP/1.1",
    ]
    nursery.cancel_scope.cancel()
