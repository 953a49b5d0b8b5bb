"""What there is in a simulated Telegram, and what the Bot API methods look up in it.

Pure and synchronous: nothing here waits, sleeps or touches a socket. Time is the injected clock,
chance the seeded dice, so a run can be repeated. :class:`trioworkers.testing.Telegram` is a world in which
bots and users act.
"""

from __future__ import annotations

import re
import string
from random import Random
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import Refused, bad_request, forbidden, not_found, unauthorized
from trioworkers.testing.chats import Chat
from trioworkers.testing.faults import Faults
from trioworkers.testing.files import FileStore
from trioworkers.testing.params import read_integer
from trioworkers.testing.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.accounts import Account
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.ledger import Payment, SimInvoice, SimPoll
    from trioworkers.testing.limits import SendLimits
    from trioworkers.testing.params import Params

TOKEN = re.compile(r"[1-9]\d{0,18}:[A-Za-z0-9_-]{1,60}")
_SECRET = string.ascii_letters + string.digits + "_-"


def _key(token: str, test: bool) -> str:
    return f"{token}/test" if test else token


class World:
    """Bots, people, chats, files and tokens, and the rules in force.

    The arguments are those of :class:`trioworkers.testing.Telegram`.

    Attributes:
        faults: what goes wrong on purpose.
        queries: who was asked, and when, by the id of each query that is not answered yet.
        query_answers: the parameters of each answer, by the id of its query.
        webhooks_changed: fires when a webhook is set or deleted.
        answered: fires when a bot answered a query.
        web: what bots may send by URL: the content of each URL that is not a 404.
        drafts: the last draft of each bot in each private chat, by their ids.
        inline_messages: bot and message of each inline_message_id.
        inline_results: bot, and the message of each result, of each inline query that was answered.
        prepared_messages: bot and message of each prepared inline message.
        polls: bot, chat and message of each poll.
        paid_media: the payload of each message with paid media, by chat and message id.
        invoices: what each invoice asks for, by `<chat id>/<message id>` or its link.
        payments: who paid what to which bot, by its charge id.
        scores: of each game, by user.
        uses: how many joined by each invite link that has a limit.
    """

    def __init__(
        self,
        seed: int,
        clock: Callable[[], float],
        *,
        local: bool,
        history: int | None,
        repeat_guard: bool,
        limits: SendLimits,
    ) -> None:
        self.clock = clock
        self.dice = Random(seed)
        self.local = local
        self.history = history
        self.repeat_guard = repeat_guard
        self.limits = limits
        self.faults = Faults(self.dice)
        self.files = FileStore(self.dice)
        self.bots: dict[int, SimBot] = {}
        self.users: dict[int, Account] = {}
        self.groups: dict[int, Chat] = {}
        self.dialogs: dict[tuple[int, int], Chat] = {}
        self.queries: dict[str, tuple[int, float]] = {}
        self.query_answers: dict[str, dict[str, Any]] = {}
        self.webhooks_changed = Signal()
        self.answered = Signal()
        self.web: dict[str, bytes] = {}
        self.drafts: dict[tuple[int, int], str] = {}
        self.inline_messages: dict[str, tuple[int, Message]] = {}
        self.inline_results: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {}
        self.prepared_messages: dict[str, tuple[int, dict[str, Any]]] = {}
        self.polls: dict[str, SimPoll] = {}
        self.paid_media: dict[tuple[int, int], str] = {}
        self.invoices: dict[str, SimInvoice] = {}
        self.payments: dict[str, Payment] = {}
        self.scores: dict[str, dict[int, int]] = {}
        self.uses: dict[str, int] = {}
        self._by_token: dict[str, SimBot] = {}

    # -- bots and tokens --

    def draw_token(self, bot_id: int) -> str:
        """A new token for a bot of that id."""
        return f"{bot_id}:{''.join(self.dice.choices(_SECRET, k=35))}"

    def admit(self, bot: SimBot) -> None:
        """Let a new bot call with its token."""
        self.bots[bot.id] = bot
        self._by_token[_key(bot.token, bot.test)] = bot

    def revoke(self, bot: SimBot) -> None:
        """From now on its token earns 401; a poll that waits ends with it at once."""
        bot.revoked = True
        bot.end_poll(unauthorized())

    def renew(self, bot: SimBot) -> str:
        """Give a bot a new token, as BotFather does, and return it; the old one earns 401."""
        bot.end_poll(unauthorized())
        del self._by_token[_key(bot.token, bot.test)]
        bot.token = self.draw_token(bot.id)
        bot.revoked = False
        self._by_token[_key(bot.token, bot.test)] = bot
        return bot.token

    def authenticate(self, token: str, *, test: bool = False) -> SimBot:
        """The bot of a token.

        Raises:
            Refused: 404 for what is no token, 401 for an unknown or revoked one, 429 for one new
                token too many.
        """
        bot = self._by_token.get(_key(token, test))
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

    def account(self, user_id: int) -> dict[str, Any] | None:
        """The User object of a person or a bot; None for an id that nobody has."""
        found = self.bots.get(user_id) or self.users.get(user_id)
        return None if found is None else found.brief

    def pending(self, bot: SimBot) -> int:
        """How many updates of a bot are not confirmed yet."""
        return len(bot.queue)

    def close_webhook(self, bot: SimBot) -> None:
        """Take a bot's webhook away, if it has one; what is pending stays queued."""
        if bot.webhook is not None:
            bot.webhook.close()
            bot.webhook = None
            self.webhooks_changed.fire()

    def add_inline_message(self, bot: SimBot, content: dict[str, Any]) -> str:
        """Keep a message that somebody sent through inline mode, and return its inline_message_id."""
        inline_id = f"AQAAA{''.join(self.dice.choices(_SECRET, k=22))}"
        self.inline_messages[inline_id] = (
            bot.id,
            {"date": int(self.clock()), "via_bot": bot.brief, **content},
        )
        return inline_id

    def ask(self, bot: SimBot) -> str:
        """A new query for a bot, which it has to answer; returns its id."""
        query_id = str(self.dice.randrange(10**17, 10**18))
        self.queries[query_id] = (bot.id, self.clock())
        return query_id

    # -- chats --

    def open_group(
        self, title: str, *, supergroup: bool = False, forum: bool = False, username: str = ""
    ) -> Chat:
        """A new group without members; a forum is a supergroup."""
        supergroup = supergroup or forum
        number = len(self.groups) + 1
        chat_id = -1_001_000_000_000 - number if supergroup else -4_000_000 - number
        kind = "supergroup" if supergroup else "group"
        chat = Chat(chat_id, kind, title, forum=forum, username=username, history=self.history)
        chat.last_message_id = 1 if forum else 0  # 1 is the general topic
        self.groups[chat_id] = chat
        return chat

    def dialog(self, bot: SimBot, user_id: int) -> Chat:
        """The private chat of a bot and a user; it exists as soon as somebody looks."""
        chat = self.dialogs.get((bot.id, user_id))
        if chat is None:
            user = self.users[user_id].brief
            chat = Chat(user_id, "private", user=user, history=self.history)
            self.dialogs[bot.id, user_id] = chat
        return chat

    def find_chat(self, bot: SimBot, params: Params, name: str = "chat_id") -> Chat:
        """The chat that a call names, by id or `@username`.

        Raises:
            Refused: none is named, none is known, or the bot may not see it.
        """
        return self.chat_of(bot, params.values.get(name), name)

    def chat_of(self, bot: SimBot, value: object, name: str = "chat_id") -> Chat:
        """The chat of an id or `@username`; see :meth:`find_chat`."""
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
