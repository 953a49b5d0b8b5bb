"""The simulator on a thread of its own, for tests that do not run on Trio.

Everything here may be called from any thread, and blocks it while it waits: a synchronous test, or
one on asyncio that has little else to do meanwhile, as tests have.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import trio

from trioworkers.testing.server import serve_telegram
from trioworkers.testing.telegram import Telegram
from trioworkers.testing.users import NothingSaid, SimGroup, SimUser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.calls import Call
    from trioworkers.testing.chats import Message
    from trioworkers.testing.faults import Fault, Rule

T = TypeVar("T")
POLL_INTERVAL = 0.005  # seconds between two looks at a condition
START_TIMEOUT = 10.0  # seconds


class TelegramThread:
    """A context manager: inside, a :class:`Telegram` is served by a background thread.

    Arguments are those of :class:`Telegram`.

    Attributes:
        base_url: where a bot finds it: `http://127.0.0.1:<port>`.
        world: the simulator itself; touch it through :meth:`do` only.
    """

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.world = Telegram(seed, **options)
        self.base_url = ""
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._thread = threading.Thread(target=self._run, name="telegram", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT) or self._error is not None:
            raise RuntimeError("the simulated telegram did not start") from self._error
        return self

    def __exit__(self, *exc: object) -> None:
        if self._nursery is not None and self._thread.is_alive():
            self._soon(self._nursery.cancel_scope.cancel)
        self._thread.join(START_TIMEOUT)
        if self._error is not None:
            raise RuntimeError("the simulated telegram broke") from self._error

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.base_url = await nursery.start(serve_telegram, self.world)
            self._started.set()

    # -- crossing over --------------------------------------------------------------------------

    def do(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function in the simulator's thread and return its result: `do(alice.block, bot)`.

        Whatever the function raises is raised here.
        """
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function(*args, **kwargs))
            except BaseException as error:
                result.set_exception(error)

        self._soon(run)
        return result.result()

    def do_async(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await an async function in the simulator's thread and return its result."""
        result: Future[T] = Future()

        async def run() -> None:
            try:
                result.set_result(await function(*args))
            except Exception as error:
                result.set_exception(error)
            except trio.Cancelled:
                result.cancel()
                raise

        self._soon(self._start_soon, run)
        return result.result()

    def _start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None  # noqa: S101 - for mypy; it is set before __enter__ returns
        self._nursery.start_soon(task)

    def _soon(self, function: Callable[..., None], *args: Any) -> None:
        if self._token is None or not self._thread.is_alive():
            raise RuntimeError("the simulated telegram is not running")
        self._token.run_sync_soon(function, *args)

    # -- the cast -------------------------------------------------------------------------------

    def add_bot(self, username: str, **options: Any) -> SimBot:
        """:meth:`Telegram.add_bot`."""
        return self.do(self.world.add_bot, username, **options)

    def add_user(self, first_name: str, **options: Any) -> SimUser:
        """:meth:`Telegram.add_user`."""
        return self.do(self.world.add_user, first_name, **options)

    def add_group(self, title: str, members: Sequence[SimBot | SimUser] = (), **options: Any) -> SimGroup:
        """:meth:`Telegram.add_group`."""
        return self.do(self.world.add_group, title, members, **options)

    def revoke(self, bot: SimBot) -> None:
        """:meth:`Telegram.revoke`."""
        self.do(self.world.revoke, bot)

    def enqueue(self, bot: SimBot, update: Mapping[str, Any]) -> int:
        """:meth:`Telegram.enqueue`."""
        return self.do(self.world.enqueue, bot, update)

    # -- talking --------------------------------------------------------------------------------

    def say(self, user: SimUser, bot: SimBot, text: str, **more: Any) -> int:
        """:meth:`SimUser.send`: say something to a bot; returns the update id."""
        return self.do(user.send, bot, text, **more)

    def press(self, user: SimUser, bot: SimBot, message: Message, button: str) -> int:
        """:meth:`SimUser.press`: press an inline button; returns the update id."""
        return self.do(user.press, bot, message, button)

    def expect(
        self, user: SimUser, bot: SimBot, timeout: float = 5.0, *, group: SimGroup | None = None
    ) -> Message:
        """:meth:`SimUser.expect`: the next message of the bot; blocks up to `timeout` seconds.

        Raises:
            NothingSaid: none came in time.
        """
        return self.do_async(partial(user.expect, bot, timeout, group=group))

    def wait_for(self, condition: Callable[[Telegram], T], timeout: float = 5.0) -> T:
        """Block until the condition holds and return what it returned; it is asked every 5 ms.

        Raises:
            NothingSaid: it did not hold within `timeout` seconds.
        """

        async def ask() -> T:
            with trio.move_on_after(timeout):
                while not (found := condition(self.world)):  # noqa: ASYNC110 - a condition may be about anything
                    await trio.sleep(POLL_INTERVAL)
                return found
            raise NothingSaid(f"the condition did not hold within {timeout:g} s")

        return self.do_async(ask)

    # -- looking --------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """:attr:`Telegram.calls`."""
        return self.do(lambda: self.world.calls)

    def sent(self, bot: SimBot, chat_id: int) -> list[Message]:
        """:meth:`Telegram.sent`."""
        return self.do(self.world.sent, bot, chat_id)

    def pending(self, bot: SimBot) -> int:
        """:meth:`Telegram.pending`."""
        return self.do(self.world.pending, bot)

    def confirmed(self, bot: SimBot) -> list[int]:
        """:meth:`Telegram.confirmed`."""
        return self.do(self.world.confirmed, bot)

    def add_fault(self, respond: Fault, **rule: Any) -> Rule:
        """`telegram.faults.add`: let something go wrong."""
        return self.do(self.world.faults.add, respond=respond, **rule)
