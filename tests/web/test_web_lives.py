"""The application behind the API has one life, whatever sockets it is served on, one after the other."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trio.testing
from quart_trio import QuartTrio

from trioworkers.web.serve import Web
from trioworkers.web.sockets import UnixSocket, listen_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


class Lives:
    """An application that keeps count of its starts and ends, and has a task that lasts as long as it."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.task_cut = trio.Event()
        self.app = app = QuartTrio("lives")
        app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = None

        @app.while_serving
        async def living() -> AsyncGenerator[None, None]:
            self.begun += 1
            app.add_background_task(self._last)
            yield
            self.ended += 1

        @app.get("/")
        async def index() -> str:
            return "here"

    async def _last(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.task_cut.set()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a short path: a socket lies in it."""
    return tmp_path_factory.mktemp("l")


async def test_a_control_socket_that_is_bound_again_and_again_ends_nothing(folder: Path) -> None:
    """A state folder may be removed more than once; each time the listener is another one.

    The application is started up once and shut down once, its tasks last as long, and the end is no error.
    """
    lives = Lives()
    path = folder / "c.sock"

    async def ask(client: httpx.AsyncClient) -> str:
        return (await client.get("/", headers={"connection": "close"})).text

    with (
        trio.fail_after(60),
        closing(UnixSocket(path, key="k")) as control,
        listen_tcp("127.0.0.1", 0, key="k") as tcp,
    ):
        port = tcp.getsockname()[1]
        async with trio.open_nursery() as nursery:
            web = Web(lives.app, control=control, api=[tcp])
            await nursery.start(web.serve)
            for _ in range(3):
                before = control.listener
                path.unlink()
                control.bind_again()
                control.announce()
                by_path = httpx.AsyncHTTPTransport(uds=str(path))
                async with httpx.AsyncClient(transport=by_path, base_url="http://c", timeout=20) as client:
                    assert await ask(client) == "here"
                while before.fileno() >= 0:  # noqa: ASYNC110 - the one that was replaced ends beside it
                    await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert not lives.task_cut.is_set()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                assert await ask(client) == "here"
            assert (lives.begun, lives.ended) == (1, 0)
            await web.close(3, trio.Event())
    assert (lives.begun, lives.ended) == (1, 1)
    assert lives.task_cut.is_set()
