"""The bot as a handler sees it: its settings, its log, and the Bot API."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trioworkers.errors import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.botapi.client import BotApi
    from trioworkers.handling.calls import Calls
    from trioworkers.handling.log import BotLog


LONGEST_WAITS = 3600.0  # seconds that one handling may be prolonged by, all its waits together


class WaitsTooLong(Retry):
    """Telegram asked for a longer wait than this handling has time for; it counts as no attempt."""


class Handling:
    """What one handling has: time, which waits that Telegram asks for do not use up, and recorded calls.

    Attributes:
        calls: records its calls; None when they are not recorded.
    """

    def __init__(self, scope: trio.CancelScope, calls: Calls | None = None) -> None:
        self.calls = calls
        self._scope = scope
        self._waits_until = -math.inf
        self._prolonged = 0.0

    async def wait(self, seconds: float) -> None:
        """Wait, and move the handling's deadline by as much; waits at the same time count once.

        Raises:
            WaitsTooLong: it is longer than the time that is left without waits, or all waits together
                are longer than `LONGEST_WAITS`.
        """
        now = trio.current_time()
        begins = max(now, self._waits_until)
        more = max(0.0, now + seconds - begins)
        if seconds > self._scope.deadline - begins or self._prolonged + more > LONGEST_WAITS:
            raise WaitsTooLong(seconds)
        self._waits_until = begins + more
        self._prolonged += more
        self._scope.deadline += more
        await trio.sleep(seconds)


class Bot:
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

        429 is waited out without using up attempts or `handler_timeout`; 5xx and failures on the way are
        tried again. Parameters that are None are left out, an `InputFile` is uploaded.

        A call that succeeded while the same update was handled before is not made again: it returns what
        it returned then. It is the same call when method and parameters are the same; with `once` when
        method and `once` are, whatever the parameters (a text that is made anew each time). Methods whose
        names begin with `get` are always called.

        Raises:
            BotApiError: Telegram refused the call.
            TransportError: it failed on the way, also when tried again.
        """
        handling = self._handling

        def make(again: Callable[[], Awaitable[None]] | None = None) -> Awaitable[msgspec.Raw]:
            return self._api.call(method, params, patience=handling, again=again)

        if handling is None or handling.calls is None or method[:3].lower() == "get":
            return msgspec.json.decode(await make())
        return msgspec.json.decode(await handling.calls.make(method, params, make, once=once))

    async def download(self, file_path: str) -> bytes:
        """The content of a file, by the `file_path` that `getFile` returned.

        Raises:
            TransportError: it could not be had.
        """
        return await self._api.download(file_path)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Each Bot API method by its name in snake case: `bot.send_message` is sendMessage."""
        if name.startswith("_"):
            raise AttributeError(name)
        method = _method(name)

        async def call(**params: Any) -> Any:
            return await self.call(method, **params)

        call.__name__ = name
        return call


@cache
def _method(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
