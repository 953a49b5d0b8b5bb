"""Hypercorn on sockets of ours: the `[api]` address and the control socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.utils import wrap_app

from trioworkers.web.admission import MARK
from trioworkers.web.connections import GRACE, Bounds, Connections
from trioworkers.web.sockets import UnixSocket, serve_held

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

__all__ = ["GRACE", "Web", "serve_app"]


class Web:
    """Both listeners of a daemon and what is under way on them.

    Attributes:
        ended: nothing of it is left.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[Any]],
        *,
        control: UnixSocket,
        api: Sequence[socket.socket] | UnixSocket,
    ) -> None:
        self._app = app
        self._control = control
        self._api = api
        self._stop = trio.Event()
        self._scope = trio.CancelScope()
        self.ended = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`close`; cancelling it cuts requests off."""
        try:
            with self._scope:
                async with _life(self._app), trio.open_nursery() as nursery:
                    control = partial(serve_app, _mark(self._app))
                    await nursery.start(serve_held, control, self._control, self._stop)
                    api = partial(serve_app, self._app)
                    if isinstance(self._api, UnixSocket):
                        await nursery.start(serve_held, api, self._api, self._stop)
                    else:
                        await nursery.start(api, self._api, self._stop)
                    task_status.started()
        finally:
            self.ended.set()

    async def close(self, grace: float, hastened: trio.Event, *, last: float = 1.0) -> None:
        """Listen no more, let what is under way end within `grace` seconds, then cut it off.

        At once when `hastened` is or becomes set. Returns `last` seconds after the cut at the latest, also
        when something of it still runs: `ended` tells.
        """
        self._stop.set()
        self._scope.deadline = trio.current_time() + grace
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_on, hastened)
            with trio.move_on_after(grace + last):
                await self.ended.wait()
            nursery.cancel_scope.cancel()

    async def _cut_on(self, hastened: trio.Event) -> None:
        await hastened.wait()
        self._scope.cancel()


@asynccontextmanager
async def _life(app: Any) -> AsyncIterator[None]:
    """Start an application up, and shut it down at the end: once, whatever sockets it is served on meanwhile.

    Quart keeps the tasks of an application in one place: the end of one life would end them for all others.
    """
    lifespan = Lifespan(wrap_app(app, 0, "asgi"), Config(), {})
    async with trio.open_nursery() as living:
        await living.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        yield
        await lifespan.wait_for_shutdown()
        living.cancel_scope.cancel()


def _mark(app: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same application, told that its requests came by the control socket."""

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, MARK: True}, receive, send)

    return marked


async def serve_app(
    app: Callable[..., Awaitable[Any]],
    listeners: Sequence[socket.socket],
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listeners`, which it closes, until `stop`; as :meth:`Connections.serve`."""
    await Connections(app, bounds=Bounds()).serve(listeners, stop, task_status=task_status)
