"""Where requests go once a preload is loaded: those for the Bot API server to the daemon, others as ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trioworkers.nursery.command_session import PRELOAD, redirected_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_CI = bool(os.environ.get("CI"))  # where nothing is skipped
LIBRARIES = Path(__file__).parents[2] / ".tools" / "libraries"
HOSTS = "api.telegram.org,telegram.test:8081"
WAYS = """
const http = require("node:http"), https = require("node:https");
const other = process.env.OTHER, sent = { method: "POST", body: "12345" };
const read = async (answer) => { let text = ""; for await (const part of answer) text += part; return text; };
const got = (module, ...args) => new Promise((done, failed) =>
  module.get(...args, (answer) => done(read(answer))).on("error", failed));
const posted = (module, options, body) => new Promise((done, failed) =>
  module.request(options, (answer) => done(read(answer))).on("error", failed).end(body));
const main = async () => {
  console.log(await got(https, "https://api.telegram.org/bot1:a/getMe?x=%20"));
  console.log(await got(https, new URL("https://api.telegram.org/bot1:a/url"), { agent: new https.Agent() }));
  console.log(await posted(https, { host: "api.telegram.org", path: "/options", method: "POST" }, "12345"));
  console.log(await got(http, "http://telegram.test:8081/port"));
  console.log(await (await fetch("https://api.telegram.org/fetch?a=b%20c", sent)).text());
  console.log(await (await fetch(new Request("https://api.telegram.org/asked", sent))).text());
  console.log(await got(http, other + "/mine"));
  console.log(await (await fetch(other + "/mine")).text());
};
main();
"""
PYTHON = """
import os, urllib.request

other = os.environ["OTHER"]


def asked(address, body=None):
    return urllib.request.urlopen(address, body).read().decode()


print(asked("https://api.telegram.org/bot1:a/getMe?x=%20"))
print(asked(urllib.request.Request("https://api.telegram.org/request", b"12345")))
print(asked("http://telegram.test:8081/port"))
print(asked(other + "/mine"))
"""
LIBRARIES_OF_PYTHON = """
import asyncio, os
import aiohttp, httpx, requests

other = os.environ["OTHER"]


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post("https://api.telegram.org/aiohttp?x=%20", data=b"12345") as answer:
            print(await answer.text())
        async with session.get(other + "/mine") as answer:
            print(await answer.text())
    async with httpx.AsyncClient() as client:
        print((await client.post("https://api.telegram.org/httpx?x=%20", content=b"12345")).text)
        print((await client.get(other + "/mine")).text)


asyncio.run(main())
print(httpx.get("http://telegram.test:8081/port").text)
print(requests.post("https://api.telegram.org/requests?x=%20", data=b"12345").text)
print(requests.get(other + "/mine").text)
"""
ADDRESSES = """
import os, runpy

redirected = runpy.run_path(os.environ["PYTHONPATH"] + "/sitecustomize.py")["redirected"]
for address in (
    "https://API.telegram.org:443/a", "https://api.telegram.org:8443/a", "https://api.telegram.org.example/a",
    "http://telegram.test/a", "http://[bad/a", "https://example.org/?https://api.telegram.org/", "https://api.telegram.org",
):
    print(redirected(address))
"""


@contextmanager
def server(name: str) -> Iterator[str]:
    """A server that answers with its name, the target and the length of the body; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b""
            if self.headers.get("transfer-encoding") == "chunked":  # fetch of a Request sends so
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
            answer = f"{name} {self.path} {len(body)}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def answers(words: list[str], **more: str) -> list[str]:
    """What a program with the preloads prints."""
    with server("daemon") as daemon, server("other") as other:
        environ = {
            "PATH": os.environ["PATH"],
            "TRIOWORKERS_API_BASE": daemon,
            "TRIOWORKERS_REDIRECT": HOSTS,
            "OTHER": other,
            "NODE_OPTIONS": f"--require {PRELOAD}/redirect.cjs",
            "PYTHONPATH": str(PRELOAD),
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }
        ran = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return [line.replace(daemon, "DAEMON") for line in ran.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("node") is None and not IN_CI, reason="Node.js is missing")
def test_each_way_to_ask_in_node_is_redirected():
    """By address, by URL, by options, by fetch and by Request, with what is sent."""
    assert answers(["node", "-e", WAYS]) == [
        "daemon /bot1:a/getMe?x=%20 0",
        "daemon /bot1:a/url 0",
        "daemon /options 5",
        "daemon /port 0",
        "daemon /fetch?a=b%20c 5",
        "daemon /asked 5",
        "other /mine 0",
        "other /mine 0",
    ]


def test_each_way_to_ask_by_urllib_is_redirected():
    """By address and by request, with what is sent."""
    assert answers([sys.executable, "-c", PYTHON]) == [
        "daemon /bot1:a/getMe?x=%20 0",
        "daemon /request 5",
        "daemon /port 0",
        "other /mine 0",
    ]


@pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not IN_CI, reason="scripts/test fetches the libraries"
)
def test_libraries_of_python_are_redirected():
    """Of aiohttp, httpx and requests."""
    paths = os.pathsep.join((str(PRELOAD), str(LIBRARIES / "python")))
    assert answers([sys.executable, "-c", LIBRARIES_OF_PYTHON], PYTHONPATH=paths) == [
        "daemon /aiohttp?x=%20 5",
        "other /mine 0",
        "daemon /httpx?x=%20 5",
        "other /mine 0",
        "daemon /port 0",
        "daemon /requests?x=%20 5",
        "other /mine 0",
    ]


def test_the_whole_host_and_its_port_decide():
    """Addresses that only resemble that of the Bot API server stay as they are."""
    assert answers([sys.executable, "-c", ADDRESSES]) == [
        "DAEMON/a",
        "https://api.telegram.org:8443/a",
        "https://api.telegram.org.example/a",
        "http://telegram.test/a",
        "http://[bad/a",
        "https://example.org/?https://api.telegram.org/",
        "DAEMON",
    ]


@pytest.mark.parametrize(
    ("api_base", "hosts"),
    [
        ("https://api.telegram.org", ["api.telegram.org"]),
        ("https://bots.example.org", ["api.telegram.org", "bots.example.org"]),
        ("http://bots.example.org:80", ["api.telegram.org", "bots.example.org"]),
        ("http://bots.example.org:443", ["api.telegram.org", "bots.example.org:443"]),
        ("http://127.0.0.1:8081", ["127.0.0.1:8081", "api.telegram.org"]),
    ],
)
def test_the_hosts_are_telegrams_and_that_of_api_base(api_base, hosts):
    """With a port where it is not the scheme's own."""
    assert redirected_hosts(api_base) == hosts
