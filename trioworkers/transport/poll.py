"""Long polling: fetch, make durable, and only then ask for more.

An update is confirmed to Telegram by the next call's offset, so that call is made after the inbox has
the batch. An offset confirms its batch, again after a poll that failed or a batch that the inbox refused,
and is forgotten with the next answer: ids belong to a Bot API server and may go on anywhere after a quiet
week, where an old offset would confirm what nobody has seen; and what comes twice the inbox knows
(https://core.telegram.org/bots/api#getupdates). Nothing of the server's words is told.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.botapi.client import BotApi, retry_after
from trioworkers.botapi.decoding import decode
from trioworkers.botapi.errors import BotApiError, TransportError, UndecodableError
from trioworkers.inbox.gate import Duplicate
from trioworkers.inbox.store import StoreError
from trioworkers.transport.batch import MOST_UPDATES, read_batch, read_broken_batch
from trioworkers.transport.reception import (
    INBOX,
    OTHER_POLLER,
    OTHER_WEBHOOK,
    RATE,
    WEBHOOK_REMOVED,
    Reception,
)
from trioworkers.transport.refusals import in_words, is_token_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.inbox.gate import TakesUpdates
    from trioworkers.transport.batch import Batch

SLACK = 10.0  # seconds that an answer may be later than its poll's timeout
TOO_SOON = 0.1  # seconds: an answer without a new update that came faster was no long poll
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds between polls that fail, doubled, with jitter
WEBHOOK_IS_SET = "can't use getUpdates method while webhook is active"
CONFLICTS = {
    "terminated by other getUpdates request": OTHER_POLLER,
    "terminated by setWebhook request": OTHER_WEBHOOK,
}  # what Telegram's descriptions hold, and what is told of it


class TokenRefusedError(Exception):
    """Telegram does not know this token (any more): nothing will work until it is changed."""


class PollSettings(Protocol):
    """What a poll reads anew each time, so that changes apply to the next one."""

    @property
    def poll_timeout(self) -> float: ...
    @property
    def allowed_updates(self) -> Sequence[str]: ...


class PollEvents(Protocol):
    """What is told of the polling. `reason` is always in our own words."""

    def conflict(self, reason: str, pause: float) -> None:
        """Somebody else polls with this token (409); the next poll is in `pause` seconds."""

    def trouble(self, reason: str, pause: float) -> None:
        """A poll failed; the next one is in `pause` seconds."""

    def recovered(self) -> None:
        """A poll succeeded after ones that failed."""

    def webhook_removed(self) -> None:
        """The bot had a webhook, which is switched off now; whoever it served gets nothing any more."""

    def unreadable(self, reason: str) -> None:
        """An update was left out because it could not be read."""


class LongPoll:
    """Brings one bot's updates in. `serve` runs until it is cancelled.

    Args:
        api: the bot's own connection.
        gate: takes each batch, which is confirmed to Telegram once it has.
        settings: the settings in force.
        events: who hears of conflicts and failures.
        reception: is told how the polls go.
    """

    def __init__(
        self,
        api: BotApi,
        gate: TakesUpdates,
        settings: Callable[[], PollSettings],
        events: PollEvents,
        rng: random.Random | None = None,
        reception: Reception | None = None,
    ) -> None:
        self._api = api
        self._gate = gate
        self._settings = settings
        self._events = events
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._reception = reception or Reception()
        self._offset: int | None = None
        self._failures = 0
        self._webhook_is_set = False

    async def serve(self) -> None:
        """Poll until cancelled; whatever was not accepted by then, Telegram still has.

        Raises:
            TokenRefusedError: the token was refused (401, or 404 for one that is malformed).
        """
        while True:
            if self._failures:
                self._reception.tries()
            try:
                if self._webhook_is_set:
                    await self._api.request("deleteWebhook", {})  # never drops what is pending
                    self._webhook_is_set = False
                    self._events.webhook_removed()
                await self._poll()
            except BotApiError as error:
                await self._refused(error)
            except TransportError as error:
                await self._pause(error.what)
            except StoreError:
                await self._pause(INBOX)
            else:
                self._reception.recovered()
                if self._failures:
                    self._failures = 0
                    self._events.recovered()

    async def _poll(self) -> None:
        began = trio.current_time()
        batch = await self._fetch()
        at_once = trio.current_time() - began < TOO_SOON
        if not await self._offer(batch) and at_once:
            # a server that does not wait or does not confirm, or a proxy that answers for it
            await trio.sleep(TOO_SOON)

    async def _fetch(self) -> Batch:
        settings = self._settings()
        asked = {
            "offset": self._offset,
            "limit": MOST_UPDATES,
            "timeout": max(1, round(settings.poll_timeout)),
            "allowed_updates": list(settings.allowed_updates),
        }
        try:
            answer = await self._api.request("getUpdates", asked, silence=settings.poll_timeout + SLACK)
            return await decode(read_batch, answer)
        except UndecodableError as error:
            return await trio.to_thread.run_sync(read_broken_batch, error.body)

    async def _offer(self, batch: Batch) -> bool:
        """Give them to the gate and note the next offset; True when not all of them came before."""
        for problem in batch.problems:
            self._events.unreadable(problem)
        if batch.problems and not batch.arrivals and not batch.refused:
            # A batch of them would stop everything behind it. Ids ascend, so that whatever was not in this
            # answer to `offset` has an id of at least `offset` and as many as it held: nothing unseen is
            # confirmed. Without an offset nothing is known; a negative one would forget what is readable.
            if self._offset is not None:
                self._offset += batch.without_id
            raise TransportError("getUpdates", "an answer without a readable update")
        admissions = await self._gate.offer(batch.arrivals) if batch.arrivals else ()
        self._offset = batch.next_offset()
        return not all(isinstance(admission, Duplicate) for admission in admissions)

    async def _refused(self, error: BotApiError) -> None:
        if is_token_refused(error):
            raise TokenRefusedError from None
        if error.error_code == 429:
            await self._pause(RATE, at_least=retry_after(error))
        elif error.error_code == 409 and WEBHOOK_IS_SET in error.description:
            self._webhook_is_set = True
            await self._pause(WEBHOOK_REMOVED)
        elif error.error_code == 409:
            told = [words for theirs, words in CONFLICTS.items() if theirs in error.description]
            await self._pause(told[0] if told else "409 Conflict", conflict=True)
        else:
            await self._pause(in_words(error))

    async def _pause(self, reason: str, *, conflict: bool = False, at_least: float = 0.0) -> None:
        self._failures += 1
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10))
        pause = max(at_least, self._rng.uniform(bound / 2, bound))
        if conflict:
            self._reception.conflicted(reason)
            self._events.conflict(reason, pause)
        else:
            self._reception.failed(reason)
            self._events.trouble(reason, pause)
        await trio.sleep(pause)
