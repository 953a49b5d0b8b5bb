"""The stand-in's bots: their queues of updates, their long polls, and what became of each update.

Pure but for the replies, which go through what the caller passes. Updates are numbered through all bots,
and the number is in the text; so an echo tells which update it answers, and is counted only if it comes
from that update's bot and goes to its chat.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.standin_http import response

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_BOT, FIRST_CHAT = 1_000_000_000, 7_000_000
LIMIT, DATE = 100, 1_700_000_000  # most updates of one poll, as at Telegram
UPDATE = (
    b'{"update_id":%d,"message":{"message_id":%d,"from":{"id":%d,"is_bot":false,"first_name":"Alice",'
    b'"last_name":"Example","username":"alice%d","language_code":"en"},"chat":{"id":%d,"first_name":"Alice",'
    b'"last_name":"Example","username":"alice%d","type":"private"},"date":%d,"text":"%b %d"}}'
)
SENT = (
    b'{"ok":true,"result":{"message_id":%d,"from":{"id":%d,"is_bot":true,"first_name":"Bot",'
    b'"username":"a_bot"},"chat":{"id":%d,"first_name":"Alice","type":"private"},"date":%d,"text":"%b"}}'
)
ME = (
    b'{"ok":true,"result":{"id":%d,"is_bot":true,"first_name":"Bot","username":"a_bot",'
    b'"can_join_groups":true,"can_read_all_group_messages":false,"supports_inline_queries":false}}'
)
TRUE = response(b'{"ok":true,"result":true}')
NOTHING = response(b'{"ok":true,"result":[]}')
NO_WEBHOOK = response(
    b'{"ok":true,"result":{"url":"","has_custom_certificate":false,"pending_update_count":0}}'
)
SETTERS = ("deleteWebhook", "setMyCommands", "deleteMyCommands", "sendChatAction", "close", "logOut")


def _refusal(status: bytes, description: bytes) -> bytes:
    code = int(status[:3])
    return response(b'{"ok":false,"error_code":%d,"description":"%b"}' % (code, description), status)


UNKNOWN_BOT = _refusal(b"401 Unauthorized", b"Unauthorized")
UNKNOWN_METHOD = _refusal(b"404 Not Found", b"Not Found")
CONFLICT = _refusal(b"409 Conflict", b"Conflict: terminated by other getUpdates request")


@dataclass(slots=True)
class Bot:
    """A bot: what it has not confirmed yet, and the poll that waits."""

    id: int
    queue: deque[tuple[int, bytes]] = field(default_factory=deque)
    last: int = 0
    messages: int = 0
    poll: Callable[[bytes], None] | None = None
    limit: int = LIMIT
    polls: int = 0


@dataclass(slots=True)
class Answers:
    """What became of the updates of one order.

    Attributes:
        latencies: seconds from an update's arrival to its first answer.
        twice: answers beyond an update's first.
        disordered: first answers that came after a later update's, of one bot and chat.
        wrong: messages that answer no update, or go to another chat than it came from.
    """

    latencies: list[float] = field(default_factory=list)
    twice: int = 0
    disordered: int = 0
    wrong: int = 0


class BotApi:
    """So many bots, and the people who write to them from so many chats."""

    def __init__(self, bots: int, chats: int) -> None:
        self.tokens = [f"{FIRST_BOT + number}:{'A' * 35}" for number in range(bots)]
        self.polling = 0
        self.answers = Answers()
        self._bots = [Bot(FIRST_BOT + number) for number in range(bots)]
        self._by_token = dict(zip(self.tokens, self._bots, strict=True))
        self._chats = chats
        self._sent: list[tuple[Bot, int, float]] = []
        self._answered = bytearray()
        self._newest: dict[tuple[int, int], int] = {}
        self._deadlines: list[tuple[float, int, int]] = []

    def say(self, now: float, number: int, word: bytes) -> int:
        """Let a person write to a bot, who is not told yet; returns the bot's place.

        Updates in turn go to bots in turn, and at each bot to chats in turn.
        """
        place, chat = number % len(self._bots), FIRST_CHAT + number // len(self._bots) % self._chats
        bot = self._bots[place]
        bot.last += 1
        bot.messages += 1
        serial = len(self._sent)
        values = (bot.last, bot.messages, chat, chat, chat, chat, DATE, word, serial)
        bot.queue.append((bot.last, UPDATE % values))
        self._sent.append((bot, chat, now))
        self._answered.append(0)
        return place

    def tell(self, place: int) -> None:
        """Let a bot that waits for updates have them."""
        bot = self._bots[place]
        if bot.poll is not None and bot.queue:
            reply, bot.poll = bot.poll, None
            reply(self._batch(bot))

    def handle(
        self, now: float, token: str, method: str, given: dict[str, Any], reply: Callable[[bytes], None]
    ) -> None:
        """Answer a request, at once or later."""
        bot = self._by_token.get(token)
        if bot is None:
            reply(UNKNOWN_BOT)
        elif method == "getUpdates":
            self._poll(now, bot, given, reply)
        elif method == "sendMessage":
            reply(self._message(now, bot, int(given["chat_id"]), given["text"]))
        elif method == "getMe":
            reply(response(ME % bot.id))
        elif method == "getWebhookInfo":
            reply(NO_WEBHOOK)
        else:
            reply(TRUE if method in SETTERS else UNKNOWN_METHOD)

    def next_deadline(self) -> float | None:
        """When the poll that waited longest has to be answered."""
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> None:
        """Answer the polls whose time is over with nothing."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, place, poll = heapq.heappop(self._deadlines)
            bot = self._bots[place]
            if bot.poll is not None and bot.polls == poll:
                reply, bot.poll = bot.poll, None
                reply(NOTHING)

    def _poll(self, now: float, bot: Bot, given: dict[str, Any], reply: Callable[[bytes], None]) -> None:
        self.polling += not bot.polls
        bot.polls += 1
        offset = int(given.get("offset") or 0)
        while bot.queue and bot.queue[0][0] < offset:
            bot.queue.popleft()
        if bot.poll is not None:
            earlier, bot.poll = bot.poll, None
            earlier(CONFLICT)
        bot.limit = int(given.get("limit") or LIMIT)
        timeout = float(given.get("timeout") or 0)
        if bot.queue:
            reply(self._batch(bot))
        elif timeout:
            bot.poll = reply
            heapq.heappush(self._deadlines, (now + timeout, bot.id - FIRST_BOT, bot.polls))
        else:
            reply(NOTHING)

    def _batch(self, bot: Bot) -> bytes:
        count = min(bot.limit, len(bot.queue))
        return response(b'{"ok":true,"result":[%b]}' % b",".join(bot.queue[n][1] for n in range(count)))

    def _message(self, now: float, bot: Bot, chat: int, text: str) -> bytes:
        bot.messages += 1
        serial = text.rpartition(" ")[2]
        number = int(serial) if serial.isdigit() else len(self._sent)
        answers = self.answers
        if number >= len(self._sent) or self._sent[number][:2] != (bot, chat):
            answers.wrong += 1
        elif self._answered[number]:
            answers.twice += 1
        else:
            self._answered[number] = 1
            answers.latencies.append(now - self._sent[number][2])
            key = (bot.id, chat)
            answers.disordered += self._newest.get(key, -1) > number
            self._newest[key] = max(number, self._newest.get(key, -1))
        return response(SENT % (bot.messages, bot.id, chat, DATE, text.encode()))
