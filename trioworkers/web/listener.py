"""The webhook's listener: bound from the moment a bot needs it, to the end of the daemon.

At the start it has to succeed. Later, when a reload needs it first, it is tried until it does: what stands
in its way may be the daemon that this one replaces.

It stays when no bot needs it any more: what was under way to it is still taken for ten minutes.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import trio

from trioworkers.folders import AlreadyRunningError
from trioworkers.stop import Ask
from trioworkers.web.connections import Bounds, Connections
from trioworkers.web.sockets import ListenError, UnixSocket, listen_tcp, serve_held
from trioworkers.web.tls import Certificate, CertificateError
from trioworkers.web.webhook import WebhookApp

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from trioworkers.config import Webhook
    from trioworkers.errors import TrioworkersError
    from trioworkers.transport.deliveries import Deliveries
    from trioworkers.web.webhook import Refusal

KEY = "[webhook] bind"
MODE = 0o666  # of a unix socket: the proxy is another user; who gets at it is up to the folder, as to a port
AGAIN = 5.0  # seconds until an address is tried again


class WebhookListener:
    """Listens once it is asked to.

    Args:
        deliveries: where deliveries go.
        settings: the settings in force.
        refusal: judges who asks for the statistics.
        handed: sockets that systemd handed over; then none is bound.
        trouble: hears of an address or a certificate that cannot be used, each once.
        hold: is given the socket that listens at a path, to put it back when somebody removes it.

    Attributes:
        trouble: why it does not listen although it should.
        ended: set when `serve` has.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        settings: Callable[[], Webhook],
        refusal: Refusal,
        handed: Sequence[socket.socket],
        trouble: Callable[[TrioworkersError], None],
        hold: Callable[[UnixSocket], object] = lambda _: None,
    ) -> None:
        self._deliveries = deliveries
        self._settings = settings
        self._refusal = refusal
        self._handed = list(handed)
        self._emit = trouble
        self._hold = hold
        self._changes = Ask()
        self._stop = trio.Event()
        self._sockets = ExitStack()
        self._bound: list[socket.socket] | UnixSocket | None = None
        self._wanted = trio.Event()
        self._connections: list[Connections] = []  # of each socket that was listened on
        self.trouble: TrioworkersError | None = None
        self.certificate: Certificate | None = None
        self.ended = trio.Event()

    def bind(self) -> None:
        """Listen from now on. Idempotent.

        Raises:
            ListenError, AlreadyRunningError: the address is in use or is not ours.
            CertificateError: the files are no certificate with its key.
        """
        if self._bound is not None:
            return
        settings = self._settings()
        if settings.tls_cert is not None and settings.tls_key is not None:
            self.certificate = Certificate(settings.tls_cert, settings.tls_key, self._emit, self._changes.ask)
        self._bound = self._handed or self._listen(settings)
        self._wanted.set()

    def want(self) -> None:
        """Listen from now on, or as soon as that is possible."""
        self._try()
        self._wanted.set()

    def upload(self) -> bytes | None:
        """The certificate that Telegram has to be given; None for one that it can verify by itself."""
        return None if self.certificate is None else self.certificate.upload()

    async def wait_changed(self) -> None:
        """Return when Telegram may have to hear of it: it listens after all, or has a new certificate."""
        await self._changes.wait()

    async def serve(self) -> None:
        """Serve what was bound, until :meth:`close`; cancelling it cuts requests off."""
        try:
            with self._sockets:
                await self._wanted.wait()
                while self._bound is None and not self._stop.is_set():
                    with trio.move_on_after(AGAIN):
                        await self._stop.wait()
                        break
                    self._try()
                if isinstance(self._bound, UnixSocket):
                    await serve_held(self._serve, self._bound, self._stop)
                elif self._bound is not None:
                    await self._serve(self._bound, self._stop)
        finally:
            self.ended.set()

    async def _serve(
        self,
        listeners: Sequence[socket.socket],
        stop: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        app = WebhookApp(self._deliveries, self._settings, self._refusal, self._count)
        tls = None if self.certificate is None else self.certificate.context
        connections = Connections(app, bounds=Bounds(), tls=tls)
        self._connections.append(connections)
        await connections.serve(listeners, stop, task_status=task_status)

    def close(self) -> None:
        """Take no more connections, end those that are idle, and let `serve` return.

        That may take as long as a new connection has for its first request (:data:`.connections.ARRIVAL`).
        """
        self._stop.set()
        self._wanted.set()

    def _try(self) -> None:
        before = self.trouble
        try:
            self.bind()
        except (ListenError, AlreadyRunningError, CertificateError) as error:
            self.trouble = error
            if str(error) != str(before):
                self._emit(error)
        else:
            self.trouble = None
            if before is not None:
                self._changes.ask()

    def _count(self) -> dict[str, int]:
        names = ("open", "accepted", "evicted", "broken")
        return {name: sum(getattr(one, name) for one in self._connections) for name in names}

    def _listen(self, settings: Webhook) -> list[socket.socket] | UnixSocket:
        bind = settings.bind
        if bind.path is not None:
            held = self._sockets.enter_context(closing(UnixSocket(bind.path, key=KEY, mode=MODE)))
            self._hold(held)
            return held
        return [self._sockets.enter_context(listen_tcp(bind.host, bind.port, key=KEY))]
