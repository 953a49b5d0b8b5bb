"""Answers what one bot's handlers ask the daemon for, whoever in the daemon knows the answers.

Each question is a task in the bot's nursery, and goes on when the worker that asked has ended: what it does
(a dialog that is given to an operator) must not be left half done. The update is handled again then, and asks
again, so whatever answers has to take the same question twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trioworkers.botapi.errors import BotApiError
from trioworkers.errors import AskRefusedError, Dead, Drop, Retry, TrioworkersError, describe
from trioworkers.protocol.frames import WORDS_LENGTH, Answer, cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.protocol.frames import Ask

    AskDaemon = Callable[[str, str, dict[str, Any]], Awaitable[Any]]

TIME_LIMIT = 30.0  # seconds for an answer
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class BotAsks:
    """One bot's questions. :meth:`run` once, in the bot's nursery.

    Args:
        bot: the bot's name.
        ask: answers, given the bot's name, the name of the question and its parameters; None: nobody does.
    """

    def __init__(self, bot: str, ask: AskDaemon | None) -> None:
        self._bot = bot
        self._ask = ask
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    async def ask(self, name: str, params: bytes | msgspec.Raw) -> msgspec.Raw:
        """Return the answer to a question, as JSON.

        Raises:
            AskRefusedError: there is none; the reason holds no words of a stranger's exception.
        """
        if self._ask is None:
            message = f"no plugin answers {name}"
            raise AskRefusedError(message)
        try:
            with trio.fail_after(TIME_LIMIT):
                return msgspec.Raw(msgspec.json.encode(await self._ask(self._bot, name, _decode(params))))
        except AskRefusedError:
            raise
        except trio.TooSlowError:
            reason = f"{name} was not answered within {TIME_LIMIT:g} s"
        except (Retry, Dead, Drop) as error:  # their words may be anything
            reason = f"{name} could not be answered: {describe(error)}"
        except BotApiError as error:  # Telegram's words may quote the call
            reason = f"{name} could not be answered: Telegram refused {error.method} with {error.error_code}"
        except TrioworkersError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{name} could not be answered: {describe(error)}"
        raise AskRefusedError(reason)

    def begin(self, question: Ask, reply: Callable[[Answer], Awaitable[None]]) -> None:
        """Answer a worker's question some time, by `reply`."""
        assert self._nursery is not None  # noqa: S101 - for mypy; no worker is ready before it runs
        self._nursery.start_soon(self._answer, question, reply)

    async def _answer(self, question: Ask, reply: Callable[[Answer], Awaitable[None]]) -> None:
        try:
            answer = Answer(question.number, await self.ask(question.name, question.params))
        except AskRefusedError as error:
            answer = Answer(question.number, error=cut(error.reason, WORDS_LENGTH))
        await reply(answer)
