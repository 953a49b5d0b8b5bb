"""A webhook listener on a thread of its own, and raw sockets to try it with."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import trio
from admitting import admission_for
from held import Held

from trioworkers.inbox.gate import Stored
from trioworkers.inbox.store import StoreError
from trioworkers.transport.deliveries import Deliveries
from trioworkers.web.connections import Bounds, Connections
from trioworkers.web.webhook import BodyTimes, WebhookApp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from trioworkers.records import Arrival

SECRET = "right"
TIME = 20.0  # seconds, for everything that a test waits for


def update(update_id: int = 1, text: str = "hi") -> bytes:
    return json.dumps({"update_id": update_id, "message": {"chat": {"id": 1}, "text": text}}).encode()


def request(
    body: bytes = b"",
    *,
    bot: str = "echo",
    method: str = "POST",
    secret: str = SECRET,
    headers: str = "",
    length: int | None = None,
) -> bytes:
    head = f"{method} /webhook/{bot} HTTP/1.1\r\nHost: x\r\nX-Telegram-Bot-Api-Secret-Token: {secret}\r\n"
    if length is not None or "chunked" not in headers:
        head += f"Content-Length: {len(body) if length is None else length}\r\n"
    return (head + headers + "\r\n").encode("latin-1") + body


@dataclass
class Settings:
    max_body: int = 10_000
    telegram_ips_only: bool = False
    trusted_proxies: list[Any] = field(default_factory=list)


class Peer:
    """A client on a raw socket."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._read = b""

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        """The next answer; None when the connection ended instead."""
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                assert not self._read, self._read
                return None
        head, _, rest = self._read.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        size = int(headers.get("content-length", "0"))
        self._read = rest
        while len(self._read) < size and self._more():
            pass
        body, self._read = self._read[:size], self._read[size:]
        return int(lines[0].split()[1]), headers, body

    def status(self) -> int | None:
        """The next answer's status."""
        answer = self.answer()
        return None if answer is None else answer[0]

    def statuses(self) -> list[int]:
        """Those of all answers until the connection ends."""
        found = []
        while (status := self.status()) is not None:
            found.append(status)
        return found

    def _more(self) -> bool:
        try:
            more = self.raw.recv(65536)
        except ConnectionError:
            return False
        self._read += more
        return bool(more)


class ListenerThread:
    """Inside, a listener with one bot, `echo`, runs in front of an inbox that is a list.

    Attributes:
        accepted: the ids of the updates that are durable.
        failing: the inbox refuses.
        errors: what hypercorn logged.
    """

    def __init__(
        self,
        bounds: Bounds | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        times: BodyTimes | None = None,
    ) -> None:
        self.settings = Settings()
        self.accepted: list[int] = []
        self.failing = False
        self.errors: list[str] = []
        self.held = Held()
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()
        self.deliveries = Deliveries()
        app = WebhookApp(
            self.deliveries,
            lambda: self.settings,
            admission_for("token").refusal_without_token,
            lambda: {"open": self.connections.open},
            times or BodyTimes(),
        )
        self.connections = Connections(app, bounds=bounds or Bounds(), tls=tls)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def offer(self, arrivals: Sequence[Arrival]) -> Sequence[Stored]:
        """The gate of its bot."""
        self.entered.set()
        while not self.hold.is_set():  # noqa: ASYNC110 - set by another thread
            await trio.sleep(0.001)
        if self.failing:
            message = "disk full"
            raise StoreError(message)
        self.accepted += [arrival.update_id for arrival in arrivals]
        return [Stored() for _ in arrivals]

    def __enter__(self) -> Self:
        logger = logging.getLogger("hypercorn.error")
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.errors.append(self._handler.format(record))  # type: ignore[method-assign]
        logger.addHandler(self._handler)
        self._thread.start()
        assert self._started.wait(TIME)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(TIME)
        assert not self._thread.is_alive()
        logging.getLogger("hypercorn.error").removeHandler(self._handler)

    def stop(self) -> None:
        """Begin to stop."""
        self.do(self._stop.set)

    def do(self, function: Callable[[], object]) -> None:
        """Call it on the listener's loop, soon."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    def _run(self) -> None:
        async def main() -> None:
            self._stop = trio.Event()
            self._token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                await nursery.start(self.deliveries.serve)
                self.deliveries.open("echo", 7, self).add_secret(SECRET)
                self._started.set()
                await self.connections.serve([self.listener], self._stop)
                nursery.cancel_scope.cancel()

        trio.run(main, instruments=[self.held])

    @contextmanager
    def peer(self) -> Iterator[Peer]:
        """A client's connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIME) as raw:
            yield Peer(raw)

    def ask(self, data: bytes) -> int | None:
        """The status of the answer to one request, on a connection of its own."""
        with self.peer() as peer:
            peer.send(data)
            return peer.status()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for it."""
        end = time.monotonic() + TIME
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.002)
