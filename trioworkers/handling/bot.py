"""The bot as a handler sees it: its settings, its log, and the Bot API."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVarTuple

import msgspec
import trio

from trioworkers.errors import AskRefusedError, Retry
from trioworkers.handling.remembered import encode_remembered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping

    from trioworkers.botapi.client import BotApi
    from trioworkers.botapi.messages import Turn
    from trioworkers.botapi.methods import Methods
    from trioworkers.handling.calls import Calls
    from trioworkers.handling.fence import HandlingFence
    from trioworkers.handling.log import BotLog

    BeginsTask = Callable[[Callable[..., Awaitable[None]], tuple[Any, ...]], None]
    AsksDaemon = Callable[[str, bytes], Awaitable[msgspec.Raw]]
else:
    Methods = object  # a stub: all methods with their parameters, for type checkers and editors


Args = TypeVarTuple("Args")
LONGEST_WAITS = 3600.0  # seconds that Telegram may prolong one handling by, all waits together
FAR = 1e9  # seconds; the deadline of a handling whose time stands still


class WaitsTooLong(Retry):
    """Telegram asked for a longer wait than this handling has time for; it counts as no attempt."""


class Handling:
    """What one handling has: time, which waits to send do not use up, and recorded calls.

    Args:
        scope: its time limit; None: it has none.
        calls, fence, source: as the attributes.

    Attributes:
        calls: records its calls; None when they are not recorded.
        fence: by which it can be cut off; None when it cannot.
        asks: asks the daemon, set by whoever makes its bot; None where nobody can.
        background: begins a task that belongs to no update, set likewise; None where that is not possible.
        on_stand: is given True when its time begins to stand still, and False when it goes on.
        source: what turns to send go round (see :mod:`trioworkers.ratelimit.limiter`).
        stood: seconds for which its time stood still.
    """

    def __init__(
        self,
        scope: trio.CancelScope | None,
        calls: Calls | None = None,
        fence: HandlingFence | None = None,
        source: Hashable = 0,
    ) -> None:
        self.calls = calls
        self.fence = fence
        self.asks: AsksDaemon | None = None
        self.background: BeginsTask | None = None
        self.on_stand: Callable[[bool], None] | None = None
        self.source = source
        self.stood = 0.0
        self._scope = scope
        self._waits = 0  # under way, of any kind
        self._waits_since = self._left = 0.0
        self._waits_until = -math.inf
        self._prolonged = 0.0

    async def ask(self, name: str, params: dict[str, Any]) -> msgspec.Raw:
        """Ask the daemon; return its answer as JSON.

        Raises:
            AskRefusedError: it refused, or nobody can be asked.
            FencedError: the handling was cut off.
        """
        if self.fence is not None:
            self.fence.check()
        if self.asks is None:
            message = f"{name}: only a handler can ask for it"
            raise AskRefusedError(message)
        return await self.asks(name, msgspec.json.encode(params))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Inside, the handling's time stands still; contexts at the same time count once."""
        scope = self._limit()
        if scope is None:
            yield
            return
        if not self._waits:
            self._waits_since = trio.current_time()
            self._left = scope.deadline - self._waits_since
            scope.deadline = self._waits_since + FAR
            if self.on_stand is not None:
                self.on_stand(True)
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                now = trio.current_time()
                self.stood += now - self._waits_since
                scope.deadline = now + self._left
                if self.on_stand is not None:
                    self.on_stand(False)

    async def wait(self, seconds: float) -> None:
        """Wait while the handling's time stands still; waits at the same time count once.

        A task that is no part of the handling (it began in `start` and goes on, say) just waits.

        Raises:
            WaitsTooLong: it is longer than the time that is left without waits, or all waits together
                are longer than `LONGEST_WAITS`.
        """
        scope = self._limit()
        if scope is None:
            await trio.sleep(seconds)
            return
        now = trio.current_time()
        begins = max(now, self._waits_until)
        more = max(0.0, now + seconds - begins)
        left = self._left if self._waits else scope.deadline - now
        if seconds > left or self._prolonged + more > LONGEST_WAITS:
            raise WaitsTooLong(seconds)
        self._waits_until = begins + more
        self._prolonged += more
        with self.standing_still():
            await trio.sleep(seconds)

    def _limit(self) -> trio.CancelScope | None:
        """The handling's time limit, if it bounds the task that asks.

        A task that is bound by it has no later deadline. One that is cancelled need not be told how long to
        wait.
        """
        deadline = trio.current_effective_deadline()
        if self._scope is None or deadline == -math.inf or deadline > self._scope.deadline:
            return None
        return self._scope

    def begin_request(self) -> None:
        """A request is about to be made.

        Raises:
            FencedError: the handling was cut off.
        """
        if self.fence is not None:
            self.fence.begin_request()

    def end_request(self) -> None:
        """The request that was begun is over."""
        if self.fence is not None:
            self.fence.end_request()


class Bot(Methods):
    """A bot, for one handling: `settings` stay as they were when it began.

    Attributes:
        name: its name in the fleet file.
        id: its Telegram id.
        settings: the `settings` table of the fleet file.
        log: writes to the bot's log file, `bot.log.info("event", key=value)`.
    """

    def __init__(
        self,
        name: str,
        bot_id: int,
        settings: Mapping[str, Any],
        log: BotLog,
        api: BotApi,
        handling: Handling | None = None,
    ) -> None:
        self.name = name
        self.id = bot_id
        self.settings = settings
        self.log = log
        self._api = api
        self._handling = handling

    def __repr__(self) -> str:
        return f"<Bot {self.name} {self.id}>"

    async def call(self, method: str, /, *, once: str | None = None, **params: Any) -> Any:
        """Call a Bot API method, `await bot.call("sendMessage", chat_id=…, text=…)`; return its result.

        Messages wait for their turn where the bot has a `rate_limit`. These waits, and those that Telegram
        asks for (429), use up neither attempts nor `handler_timeout`; 5xx and failures on the way are tried
        again. Values that are None are left out at every depth, an `InputFile` is uploaded, times are sent as
        Unix seconds (see `botapi.parameters.split_files`).

        A call that succeeded while the same update was handled before is not made again: it returns what
        it returned then. It is the same call when method and parameters are the same; with `once` when
        method and `once` are, whatever the parameters (a text that is made anew each time). Methods whose
        names begin with `get` are always called.

        Raises:
            BotApiError: Telegram refused the call; its subclasses say why.
            TransportError: it failed on the way, also when tried again.
            TypeError, ValueError: a parameter cannot be sent; the message names it.
        """
        handling = self._handling

        turn: Turn | None = None

        def make(again: Callable[[], Awaitable[None]] | None = None) -> Awaitable[msgspec.Raw]:
            if turn is not None:
                return self._api.call(method, params, patience=handling, again=again, turn=turn)
            return self._api.call(method, params, patience=handling, again=again)

        if handling is None or handling.calls is None or method[:3].lower() == "get":
            return msgspec.json.decode(await make())
        turn = self._api.turn(method, params, handling)
        if turn is None:
            return msgspec.json.decode(await handling.calls.make(method, params, make, once=once))
        try:
            answer = await handling.calls.make(method, params, make, once=once, ready=turn.take)
        finally:
            turn.over()
        return msgspec.json.decode(answer)

    def background(self, function: Callable[[Bot, *Args], Awaitable[None]], /, *args: *Args) -> None:
        """Run `function(bot, *args)` beside the handlings, until it returns or the worker stops.

        The bot that it is given has no time limit, its calls are not recorded, and its `settings` are always
        those in force. If the function raises, that is reported, and nothing else ends. When the worker
        stops, it is cancelled after the last handling, before `stop` runs.

        Raises:
            RuntimeError: it is not `start`, `settings_changed` or a background task that calls this: what an
                update needs done belongs to its handling, where it is not lost.
            TypeError: `function` is not an async function.
        """
        begin = None if self._handling is None else self._handling.background
        if begin is None:
            message = "background: expected to be called in start, settings_changed or a background task"
            raise RuntimeError(message)
        begin(function, args)

    async def handoff(self, chat_id: int, reason: str = "") -> Any:
        """Give the dialog of a chat to a human operator; return what the plugin answers that has them.

        It is recorded, and made once for an update and a chat: a second handling of the update gets the
        answer that the first one got. `reason` is shown to operators.

        Raises:
            AskRefusedError: no plugin has operators, or it refused.
        """
        params = {"chat_id": chat_id, "reason": reason}
        handling = self._handling

        async def make(again: Callable[[], Awaitable[None]] | None = None) -> msgspec.Raw:
            if handling is None:
                message = "handoff: only a handler can ask for it"
                raise AskRefusedError(message)
            return await handling.ask("handoff", params)

        if handling is None or handling.calls is None:
            return msgspec.json.decode(await make())
        return msgspec.json.decode(await handling.calls.make("handoff", params, make, once=str(chat_id)))

    async def remember(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """The value that `make` returned when this update was first handled, or returns now.

        For what should not be worked out anew when an update is handled again: a model's answer, the answer
        of another service. The value is recorded as calls are, and forgotten with them.

        Args:
            name: names the value within this update.
            make: an async function without parameters; what it returns can be expressed as JSON.

        Raises:
            TypeError: it returned something that would come back as something else: bytes, NaN, infinity.
            Exception: what `make` raised.
        """
        handling = self._handling
        if handling is None or handling.calls is None:
            return await make()

        async def made(_again: Callable[[], Awaitable[None]]) -> msgspec.Raw:
            return encode_remembered(name, await make())

        (value,) = msgspec.json.decode(await handling.calls.remember(name, made))
        return value

    def forget(self, name: str) -> None:
        """Forget a value that was remembered: when it is asked for again, it is made anew."""
        if self._handling is not None and self._handling.calls is not None:
            self._handling.calls.forget(name)

    async def download(self, file_path: str) -> bytes:
        """The content of a file, by the `file_path` that `getFile` returned; at most 256 MB.

        All of it is in memory, twice for a moment. Use :meth:`download_file` for what may be large.

        Raises:
            TransportError: it could not be had.
        """
        return await self._api.download(file_path)

    async def download_file(self, file_path: str, to: str | Path) -> int:
        """Write the content of a file to `to`, part by part; return its size in bytes, at most 2 GiB.

        The file appears whole, or not at all; one that was there before is replaced.

        Raises:
            TransportError: it could not be had.
            OSError: it cannot be written.
        """
        return await self._api.download_file(file_path, Path(to))

    if not TYPE_CHECKING:  # a type checker has each method from the stub, and finds one that is misspelt

        def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
            """Each Bot API method by its name in snake case: `bot.send_message` is sendMessage."""
            if name.startswith("_"):
                raise AttributeError(name)
            method = _method(name)

            async def call(**params: Any) -> Any:
                return await self.call(method, **params)

            call.__name__, call.__qualname__ = (
                name,
                f"Bot.{name}",
            )  # "coroutine 'Bot.send_message' was never awaited"
            return call


@cache
def _method(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
