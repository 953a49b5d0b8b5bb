"""The simulated Telegram itself: bots, users, chats, files, and the calls that bots made.

Pure and synchronous: nothing here waits, sleeps or touches a socket. Time is the injected clock,
chance the seeded dice, so a run can be repeated. :func:`serve_telegram` puts it on a socket.
"""

from __future__ import annotations

import re
import string
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import Refused, bad_request, forbidden, not_found, unauthorized
from trioworkers.testing.bots import SimBot
from trioworkers.testing.chats import Chat, Member, Message
from trioworkers.testing.faults import Faults
from trioworkers.testing.files import FileStore
from trioworkers.testing.limits import SendLimits
from trioworkers.testing.methods import METHODS, Described
from trioworkers.testing.params import Params, Upload, read_integer
from trioworkers.testing.polling import end_poll
from trioworkers.testing.queue import UpdateQueue
from trioworkers.testing.signal import Signal
from trioworkers.testing.users import SimGroup, SimUser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOKEN = re.compile(r"[1-9]\d{0,18}:[A-Za-z0-9_-]{1,60}")
_SECRET = string.ascii_letters + string.digits + "_-"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the simulator, as it was answered.

    Attributes:
        at: when, on the world's clock.
        bot_id: of the token, 0 if none could be read.
        result: what a success returned; None otherwise, and for getUpdates the number of updates.
        error_code: None for a success, else the status. A fault that took the connection away
            leaves `ok` telling whether the call took effect, and no code.
        fault: whether a fault had its hand in it.
    """

    at: float
    bot_id: int
    method: str
    params: Mapping[str, Any]
    files: Mapping[str, Upload] = field(repr=False)
    ok: bool
    result: Any
    error_code: int | None
    fault: bool = False


class Telegram:
    """A whole Telegram in memory.

    Args:
        seed: of all chance: tokens, first update ids, faults with a probability.
        clock: seconds since the epoch; dates, lifetimes and limits follow it.
        local: as a Bot API server run with `--local`: webhooks may use http and any port.
        record: True keeps all calls, a number the last so many, False none.
        history: how many messages each chat keeps, None for all.
        repeat_guard: slow clients that repeat an offset or fight over a bot, as Telegram does.
        rate_limits: answer 429 beyond 30 messages/s, 1/s per chat, 20/min per group.
        new_tokens_per_minute: answer 429 when more bots than that call for the first time.
        on_confirm: called with a bot and the update ids at the moment it loses the right to ask
            for them again; it must not block.

    Attributes:
        faults: what goes wrong on purpose.
        webhooks_changed: fires when a webhook is set or deleted.
    """

    def __init__(
        self,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        *,
        local: bool = True,
        record: bool | int = True,
        history: int | None = None,
        repeat_guard: bool = True,
        rate_limits: bool = False,
        new_tokens_per_minute: int | None = None,
        on_confirm: Callable[[SimBot, list[int]], None] | None = None,
    ) -> None:
        self.clock = clock
        self.dice = Random(seed)
        self.local = local
        self.history = history
        self.repeat_guard = repeat_guard
        self.on_confirm = on_confirm
        self.limits = SendLimits(rate_limits, new_tokens_per_minute)
        self.faults = Faults(self.dice)
        self.files = FileStore(self.dice)
        self.bots: dict[int, SimBot] = {}
        self.users: dict[int, SimUser] = {}
        self.groups: dict[int, Chat] = {}
        self.dialogs: dict[tuple[int, int], Chat] = {}
        self.queries: dict[str, tuple[int, float]] = {}
        self.query_answers: dict[str, dict[str, Any]] = {}
        self.webhooks_changed = Signal()
        self.record = record is not False
        self._calls: deque[Call] = deque(maxlen=None if record is True else int(record))
        self._by_token: dict[str, SimBot] = {}

    # -- the cast -------------------------------------------------------------------------------

    def add_bot(
        self,
        username: str,
        *,
        token: str | None = None,
        test: bool = False,
        privacy: bool = False,
    ) -> SimBot:
        """A new bot; `test` puts it behind `/bot<token>/test/`.

        Raises:
            ValueError: the token has not the form `<id>:<secret>`, or the id is taken.
        """
        if token is None:
            bot_id = 7_000_000_001 + len(self.bots)
            token = f"{bot_id}:{''.join(self.dice.choices(_SECRET, k=35))}"
        if TOKEN.fullmatch(token) is None:
            raise ValueError("a bot's token: expected <id>:<secret>")
        bot_id = int(token.partition(":")[0])
        if bot_id in self.bots:
            raise ValueError(f"bot {bot_id}: there is one already")

        def confirmed(update_ids: list[int]) -> None:
            if self.on_confirm is not None:
                self.on_confirm(bot, update_ids)

        queue = UpdateQueue(self.dice, self.clock, confirmed)
        bot = SimBot(bot_id, token, username, queue, test=test, privacy=privacy)
        self.bots[bot_id] = bot
        self._by_token[f"{token}/test" if test else token] = bot
        return bot

    def add_user(
        self,
        first_name: str,
        *,
        id: int | None = None,
        username: str = "",
        language_code: str = "en",
    ) -> SimUser:
        """A new user, whom scripts make talk; see :class:`SimUser`."""
        user_id = 1_000_001 + len(self.users) if id is None else id
        user = SimUser(self, user_id, first_name, username, language_code)
        self.users[user_id] = user
        return user

    def add_group(
        self,
        title: str,
        members: Sequence[SimBot | SimUser] = (),
        *,
        admins: Sequence[SimBot | SimUser] = (),
        supergroup: bool = False,
        forum: bool = False,
        username: str = "",
    ) -> SimGroup:
        """A new group with these members; a forum is a supergroup. Administrators have all rights."""
        supergroup = supergroup or forum
        number = len(self.groups) + 1
        chat_id = -1_001_000_000_000 - number if supergroup else -4_000_000 - number
        kind = "supergroup" if supergroup else "group"
        chat = Chat(chat_id, kind, title, forum=forum, username=username, history=self.history)
        chat.last_message_id = 1 if forum else 0  # 1 is the general topic
        self.groups[chat_id] = chat
        group = SimGroup(self, chat)
        for member in members:
            chat.members[member.id] = Member()
        for admin in admins:
            group.promote(admin)
        return group

    def dialog(self, bot: SimBot, user_id: int) -> Chat:
        """The private chat of a bot and a user; it exists as soon as somebody looks."""
        chat = self.dialogs.get((bot.id, user_id))
        if chat is None:
            user = self.users[user_id].brief
            chat = Chat(user_id, "private", user=user, history=self.history)
            self.dialogs[bot.id, user_id] = chat
        return chat

    # -- tokens ---------------------------------------------------------------------------------

    def revoke(self, bot: SimBot) -> None:
        """From now on its token earns 401; a poll that waits ends with it at once."""
        bot.revoked = True
        end_poll(bot, unauthorized())

    def renew(self, bot: SimBot) -> str:
        """Give a bot a new token, as BotFather does, and return it; the old one earns 401."""
        end_poll(bot, unauthorized())
        del self._by_token[f"{bot.token}/test" if bot.test else bot.token]
        bot.token = f"{bot.id}:{''.join(self.dice.choices(_SECRET, k=35))}"
        bot.revoked = False
        self._by_token[f"{bot.token}/test" if bot.test else bot.token] = bot
        return bot.token

    def authenticate(self, token: str, *, test: bool = False) -> SimBot:
        """The bot of a token.

        Raises:
            Refused: 404 for what is no token, 401 for an unknown or revoked one, 429 for one new
                token too many.
        """
        bot = self._by_token.get(f"{token}/test" if test else token)
        if bot is None:
            raise not_found() if TOKEN.fullmatch(token) is None else unauthorized()
        if bot.revoked:
            raise unauthorized()
        now = self.clock()
        if bot.seen_at is None:
            self.limits.check_new_token(now)
            bot.seen_at = now
        if now < bot.locked_until:
            raise Refused(400, "Logged out")
        return bot

    # -- updates --------------------------------------------------------------------------------

    def enqueue(self, bot: SimBot, update: Mapping[str, Any]) -> int:
        """Queue `{kind: object}` for a bot and return its update id, 0 if the bot wants no such kind.

        A private chat named in it is opened, so that the bot can answer.
        """
        for inner in update.values():
            chat = inner.get("chat") if isinstance(inner, dict) else None
            if isinstance(chat, dict) and chat.get("type") == "private":
                user_id = chat["id"]
                if user_id not in self.users:
                    self.add_user(chat.get("first_name", "Somebody"), id=user_id)
                self.dialog(bot, user_id).started = True
        return bot.queue.push(update)

    def pending(self, bot: SimBot) -> int:
        """How many updates of a bot are not confirmed yet."""
        return len(bot.queue)

    def confirmed(self, bot: SimBot) -> list[int]:
        """The ids of all updates that the bot can never ask for again, in order of confirmation."""
        return list(bot.queue.confirmed)

    # -- calls ----------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """The recorded calls, oldest first."""
        return list(self._calls)

    def calls_of(self, method: str, bot: SimBot | None = None) -> list[Call]:
        """The recorded calls of one method, of one bot if given."""
        wanted = method.lower()
        return [
            call
            for call in self._calls
            if call.method.lower() == wanted and (bot is None or call.bot_id == bot.id)
        ]

    def note(self, call: Call) -> None:
        """Record a call."""
        if self.record:
            self._calls.append(call)

    def sent(self, bot: SimBot, chat_id: int) -> list[Message]:
        """What a bot said in a chat, in order, as it stands now; deleted messages are among it."""
        chat = self.dialogs.get((bot.id, chat_id)) or self.groups.get(chat_id)
        if chat is None:
            return []
        return [message for message in chat.sent if message["from"]["id"] == bot.id]

    def execute(self, bot: SimBot, method: str, params: Params) -> object:
        """Do what a call asks and return its result, unrecorded. getUpdates never waits here.

        Raises:
            Refused: what Telegram would answer.
        """
        entry = METHODS.get(method.lower())
        if entry is None:
            raise not_found()
        return entry.run(self, bot, params)

    def run(self, bot: SimBot, method: str, params: Params) -> object:
        """:meth:`execute` and record the call.

        Raises:
            Refused: what Telegram would answer.
        """
        try:
            result = self.execute(bot, method, params)
        except Refused as refused:
            self._note(bot, method, params, None, refused.error_code)
            raise
        self._note(bot, method, params, result, None)
        return result

    def _note(self, bot: SimBot, method: str, params: Params, result: object, error_code: int | None) -> None:
        plain = result.result if isinstance(result, Described) else result
        ok, at = error_code is None, self.clock()
        self.note(Call(at, bot.id, method, params.values, params.files, ok, plain, error_code))

    def call(self, bot: SimBot, method: str, /, **params: Any) -> Any:
        """Call a method by name without any HTTP, for tests of what the world decides; it is recorded.

        Raises:
            Refused: what Telegram would answer.
        """
        result = self.run(bot, method, Params(params))
        return result.result if isinstance(result, Described) else result

    def find_chat(self, bot: SimBot, params: Params, name: str = "chat_id") -> Chat:
        """The chat that a call names, by id or `@username`.

        Raises:
            Refused: none is named, none is known, or the bot may not see it.
        """
        value = params.values.get(name)
        if value is None or value == "":
            raise bad_request(f"{name} is empty")
        if isinstance(value, str) and value.startswith("@"):
            wanted = value[1:].lower()
            group = next((g for g in self.groups.values() if g.username.lower() == wanted), None)
            if not wanted or group is None:
                raise bad_request("chat not found")
            return group
        chat_id = read_integer(value)
        chat = self.dialogs.get((bot.id, chat_id)) or self.groups.get(chat_id)
        if chat is None:
            if chat_id in self.bots:
                raise forbidden("bots can't send messages to bots")
            if chat_id not in self.users:
                raise bad_request("chat not found")
            return self.dialog(bot, chat_id)
        chat.check_member(bot)
        return chat
