"""The simulated Telegram itself: a world in which users talk, bots call, and calls are noted.

Pure and synchronous as the world is. :func:`serve_telegram` puts it on a socket.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import Described, Refused, bad_request, method_not_found
from trioworkers.testing.bots import SimBot
from trioworkers.testing.calls import Call
from trioworkers.testing.limits import SendLimits
from trioworkers.testing.memberships import Member
from trioworkers.testing.methods.table import find_method
from trioworkers.testing.params import Params
from trioworkers.testing.queue import UpdateQueue
from trioworkers.testing.users import SimGroup, SimUser
from trioworkers.testing.world import TOKEN, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.testing.chats import Message

LEGACY_PARAMETERS = frozenset(
    [
        "allow_sending_without_reply",
        "can_send_media_messages",
        "correct_option_id",
        "disable_web_page_preview",
        "edit_message",
        "method",
        "png_sticker",
        "reply_to_message_id",
        "switch_pm_parameter",
        "switch_pm_text",
        "thumb",
        "tgs_sticker",
        "webm_sticker",
    ]
)
"""Parameters of older versions of the Bot API, which Telegram takes; `method` is of webhooks' answers."""


class Telegram(World):
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
        refuse_unknown: answer 400 to a parameter that its method does not have. Telegram ignores such
            parameters, so they are only noted otherwise.
        on_confirm: called with a bot and the update ids at the moment it loses the right to ask
            for them again; it must not block.

    Attributes:
        faults: what goes wrong on purpose.
        webhooks_changed: fires when a webhook is set or deleted.
        unknown_parameters: the parameters that bots sent and no such method has, by method.
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
        refuse_unknown: bool = False,
        on_confirm: Callable[[SimBot, list[int]], None] | None = None,
    ) -> None:
        super().__init__(
            seed,
            clock,
            local=local,
            history=history,
            repeat_guard=repeat_guard,
            limits=SendLimits(rate_limits, new_tokens_per_minute),
        )
        self.on_confirm = on_confirm
        self.refuse_unknown = refuse_unknown
        self.unknown_parameters: dict[str, set[str]] = {}
        self.record = record is not False
        self._calls: deque[Call] = deque(maxlen=None if record is True else int(record))

    # -- the cast --

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
            token = self.draw_token(bot_id)
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
        self.admit(bot)
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
        chat = self.open_group(title, supergroup=supergroup, forum=forum, username=username)
        group = SimGroup(self, chat)
        for member in members:
            chat.members[member.id] = Member()
        for admin in admins:
            group.promote(admin)
        return group

    # -- updates --

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

    def confirmed(self, bot: SimBot) -> list[int]:
        """The ids of all updates that the bot can never ask for again, in order of confirmation."""
        return list(bot.queue.confirmed)

    # -- calls --

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
        entry = find_method(method)
        if entry is None:
            raise method_not_found()
        unknown = entry.form.check(params)
        if unknown:
            self._note_unknown(entry.name, unknown)
        return entry.run(self, bot, params)

    def _note_unknown(self, method: str, names: list[str]) -> None:
        unknown = sorted(set(names) - LEGACY_PARAMETERS)
        if not unknown:
            return
        self.unknown_parameters.setdefault(method, set()).update(unknown)
        if self.refuse_unknown:
            raise bad_request(f"{method} has no parameter {', '.join(unknown)}")

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
