"""The API's application on a thread of its own, in front of nothing, and raw sockets to try it with."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import trio
from admitting import admission_for
from held import Held
from listening import TIME, Peer

from trioworkers.web.app import AppContext, make_app
from trioworkers.web.connections import Bounds, Connections

if TYPE_CHECKING:
    from collections.abc import Iterator


class ApiThread:
    """Inside, the API is served, bound as if anywhere, with the token `token`.

    Attributes:
        errors: what was logged at error level, or above.
        held: how long its loop was held.
    """

    def __init__(self, **parts: Any) -> None:
        """`parts`: what an :class:`AppContext` has and a test needs."""
        nothing: Any = None
        needed = dict.fromkeys(
            ("inbox", "backs_up", "restarts", "backups", "events", "reloads", "live"), nothing
        )
        self._parts = {**needed, "plugins": nothing, "bots": dict, "is_ready": lambda: True} | parts
        self.errors: list[str] = []
        self.held = Held()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._handler = logging.Handler(logging.ERROR)
        self._handler.emit = lambda record: self.errors.append(self._handler.format(record))  # type: ignore[method-assign]
        logging.getLogger().addHandler(self._handler)
        self._thread.start()
        assert self._started.wait(TIME)
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._stop.set)
        self._thread.join(TIME)
        assert not self._thread.is_alive()
        logging.getLogger().removeHandler(self._handler)

    @contextmanager
    def peer(self) -> Iterator[Peer]:
        """A client's connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIME) as raw:
            yield Peer(raw)

    def _run(self) -> None:
        async def main() -> None:
            self._stop = trio.Event()
            self._token = trio.lowlevel.current_trio_token()
            app = make_app(
                AppContext(
                    admission=admission_for("token", loopback=False),
                    status=lambda: {"workers": []},
                    **self._parts,
                )
            )
            self.connections = Connections(app, bounds=Bounds())
            async with trio.open_nursery() as nursery:
                await nursery.start(self.connections.serve, [self.listener], self._stop)
                self._started.set()

        trio.run(main, instruments=[self.held])
