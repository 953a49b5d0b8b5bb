"""The servers of `bench webhook`, one in each process: `NAME DESCRIPTOR BOTS FOLDER`; says when it is ready.

It imports what one of them needs only: aiogram's runs in an environment without trioworkers.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

SECRET = "secret"  # noqa: S105 - of this benchmark
FIRST_BOT = 1_000_000_000


def serve_bare(listener: socket.socket) -> None:
    """Hypercorn's own server, with an application that reads the body and answers 200."""
    import trio
    from hypercorn.config import Config
    from hypercorn.trio import serve

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            message = "no lifespan"
            raise NotImplementedError(message)
        while (await receive())["more_body"]:
            pass
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def main() -> None:
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.errorlog = None
        config.keep_alive_timeout = 75
        config.keep_alive_max_requests = 1_000_000_000
        async with trio.open_nursery() as nursery:
            await nursery.start(_start, serve, app, config)
            print("ready", flush=True)

    async def _start(serve: Any, app: Any, config: Any, *, task_status: Any) -> None:
        await serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)

    trio.run(main)


def serve_ours(listener: socket.socket, bots: int, folder: Path) -> None:
    """Our listener before a real inbox with full durability, as in the daemon."""
    import trio

    from trioworkers.config.settings import Webhook
    from trioworkers.events import Events
    from trioworkers.inbox.gate import Gate
    from trioworkers.inbox.inbox import open_inbox
    from trioworkers.inbox.sqlite.store import open_sqlite
    from trioworkers.run import SWITCH_INTERVAL
    from trioworkers.transport.deliveries import Deliveries
    from trioworkers.web.connections import Bounds, Connections
    from trioworkers.web.webhook import WebhookApp

    settings = Webhook()

    async def admit(_: object) -> None:
        """Everybody may see the statistics, which nobody asks for."""

    async def main() -> None:
        async with open_inbox(open_sqlite(folder / "inbox.db")) as inbox, trio.open_nursery() as nursery:
            deliveries, events = Deliveries(), Events()
            await nursery.start(deliveries.serve)
            for number in range(bots):
                name, bot_id = f"bot{number}", FIRST_BOT + number
                deliveries.open(name, bot_id, Gate(name, bot_id, inbox, events)).add_secret(SECRET)
            app = WebhookApp(deliveries, lambda: settings, admit)
            connections = Connections(app, bounds=Bounds())
            await nursery.start(connections.serve, [listener], trio.Event())
            print("ready", flush=True)

    sys.setswitchinterval(SWITCH_INTERVAL)
    trio.run(main)


def serve_aiogram(listener: socket.socket, bots: int) -> None:
    """aiogram's request handler for many bots, each update going to a handler that does nothing."""
    from aiogram import Bot, Dispatcher, Router
    from aiogram.webhook.aiohttp_server import SimpleRequestHandler
    from aiohttp import web

    router = Router()

    @router.message()  # type: ignore[untyped-decorator]
    async def handle(_message: Any) -> None:
        return None

    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    app = web.Application()
    for number in range(bots):
        bot = Bot(f"{FIRST_BOT + number}:{'A' * 35}")
        handler = SimpleRequestHandler(dispatcher, bot, secret_token=SECRET)
        handler.register(app, path=f"/webhook/bot{number}")

    async def ready(_: Any) -> None:
        print("ready", flush=True)

    app.on_startup.append(ready)
    web.run_app(app, sock=listener, print=None, access_log=None)


def main() -> None:
    name, descriptor, bots, folder = sys.argv[1:]
    listener = socket.socket(fileno=int(descriptor))
    if name == "bare":
        serve_bare(listener)
    elif name == "ours":
        serve_ours(listener, int(bots), Path(folder))
    else:
        serve_aiogram(listener, int(bots))


if __name__ == "__main__":
    main()
