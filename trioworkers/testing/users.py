"""Scripted users and groups: the other side of every conversation.

A :class:`SimUser` talks to bots as a person with a Telegram client does; what it does becomes
updates. Everything but :meth:`SimUser.say` and :meth:`SimUser.expect` is synchronous.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.testing.changes import change_member, tell_blocked
from trioworkers.testing.chats import Chat, Message, Topic
from trioworkers.testing.joining import Joiner
from trioworkers.testing.memberships import ADMIN_RIGHTS, Member
from trioworkers.testing.opinions import Voter
from trioworkers.testing.params import Upload
from trioworkers.testing.purchases import Buyer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.testing.accounts import Account
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.world import World


_COMMAND = re.compile(r"/[A-Za-z0-9_]{1,32}(@\w+)?(?!\w)")


def _command_in(text: str) -> dict[str, Any]:
    """The entity of the command that a text begins with, as a field of a message."""
    found = _COMMAND.match(text)
    if found is None:
        return {}
    return {"entities": [{"type": "bot_command", "offset": 0, "length": found.end()}]}


class NothingSaid(AssertionError):
    """A bot did not say in time what was expected of it."""


class SimUser(Buyer, Voter, Joiner):
    """One person; made by :meth:`Telegram.add_user`.

    Attributes:
        inline_messages: the last message sent through inline mode, by the id of its bot.
    """

    def __init__(
        self, world: World, user_id: int, first_name: str, username: str, language_code: str
    ) -> None:
        super().__init__(user_id, first_name, username, language_code)
        self._world = world
        self._read: dict[tuple[int, int], int] = {}
        self._said: dict[int, Message] = {}
        self.inline_messages: dict[int, Message] = {}

    def __repr__(self) -> str:
        return f"<SimUser {self.id}>"

    # -- talking --------------------------------------------------------------------------------

    def send(
        self,
        bot: SimBot,
        text: str,
        *,
        group: SimGroup | None = None,
        thread_id: int | None = None,
        reply_to: Message | None = None,
        **content: Any,
    ) -> int:
        """Say something and return the update id that `bot` gets for it, 0 if it gets none.

        In a group the other bots there get updates of their own. `content` adds fields to the
        message or replaces them.
        """
        body: dict[str, Any] = {"text": text} if text else {}
        body |= _command_in(text)
        if reply_to is not None:
            body["reply_to_message"] = reply_to
        if thread_id is not None:
            body |= {"message_thread_id": thread_id, "is_topic_message": True}
        return self._post(bot, group, body | content)

    async def say(self, bot: SimBot, text: str, **more: Any) -> int:
        """:meth:`send` and let other tasks run; arguments and result are the same."""
        update_id = self.send(bot, text, **more)
        await trio.lowlevel.checkpoint()
        return update_id

    def send_album(
        self,
        bot: SimBot,
        parts: Sequence[dict[str, Any]],
        *,
        group: SimGroup | None = None,
        thread_id: int | None = None,
    ) -> list[int]:
        """Send an album of contents (`{"photo": …, "caption": …}`); returns the update id of each."""
        album: dict[str, Any] = {"media_group_id": str(self._world.dice.randrange(10**16, 10**17))}
        if thread_id is not None:
            album |= {"message_thread_id": thread_id, "is_topic_message": True}
        return [self._post(bot, group, album | part) for part in parts]

    def last_said(self, bot: SimBot, *, group: SimGroup | None = None) -> Message:
        """The last message that was said there.

        Raises:
            LookupError: nothing was said there.
        """
        message = self._said.get(group.id if group is not None else bot.id)
        if message is None:
            raise LookupError(f"{self!r} said nothing to {bot!r}")
        return message

    def send_file(
        self,
        bot: SimBot,
        kind: str,
        content: bytes,
        caption: str = "",
        *,
        filename: str = "file.bin",
        group: SimGroup | None = None,
    ) -> int:
        """Send a `video`, `voice`, `audio`, `animation`, `video_note` or `sticker`; returns the update id."""
        return self._send_file(bot, kind, Upload(filename, "", content), caption, group)

    def send_photo(
        self, bot: SimBot, content: bytes, caption: str = "", *, group: SimGroup | None = None
    ) -> int:
        """Send a photo that the bot can fetch with getFile; returns the update id."""
        return self._send_file(bot, "photo", Upload("photo.jpg", "image/jpeg", content), caption, group)

    def send_document(
        self,
        bot: SimBot,
        content: bytes,
        caption: str = "",
        *,
        filename: str = "file.bin",
        content_type: str = "application/octet-stream",
        group: SimGroup | None = None,
    ) -> int:
        """Send a document that the bot can fetch with getFile; returns the update id."""
        return self._send_file(bot, "document", Upload(filename, content_type, content), caption, group)

    def _send_file(self, bot: SimBot, kind: str, upload: Upload, caption: str, group: SimGroup | None) -> int:
        body = self._world.files.put(bot, kind, upload).in_message()
        return self._post(bot, group, body | ({"caption": caption} if caption else {}))

    def _post(self, bot: SimBot, group: SimGroup | None, body: dict[str, Any]) -> int:
        if group is None:
            chat = self._world.dialog(bot, self.id)
            chat.started, chat.blocked = True, False
            receivers = [bot]
        else:
            chat = group.chat
            receivers = group.hearers(body)
        message = chat.add(self.brief, int(self._world.clock()), body, by_bot=False)
        self._said[chat.id if group is not None else bot.id] = message
        ids = {receiver.id: receiver.queue.push({"message": message}) for receiver in receivers}
        return ids.get(bot.id, 0)

    def edit(self, bot: SimBot, text: str, *, group: SimGroup | None = None) -> int:
        """Edit the text or caption of the last message that was said there; returns the update id.

        Raises:
            LookupError: nothing was said there.
        """
        message = self.last_said(bot, group=group)
        field = "text" if "text" in message else "caption"
        for stale in ("entities", "caption_entities"):
            message.pop(stale, None)
        found = _command_in(text) if field == "text" else {}
        message.update({field: text, **found, "edit_date": int(self._world.clock())})
        receivers = [bot] if group is None else group.hearers(message)
        ids = {receiver.id: receiver.queue.push({"edited_message": message}) for receiver in receivers}
        return ids.get(bot.id, 0)

    # -- listening ------------------------------------------------------------------------------

    async def expect(
        self,
        bot: SimBot,
        timeout: float = 5.0,  # noqa: ASYNC109 - a test reads better with it; it is a plain fail-after
        *,
        group: SimGroup | None = None,
    ) -> Message:
        """Return the next message of the bot that this user has not seen, in order.

        Cancelled, it has seen nothing.

        Raises:
            NothingSaid: none came within `timeout` seconds.
        """
        chat = self._world.dialog(bot, self.id) if group is None else group.chat
        with trio.move_on_after(timeout):
            while True:
                message = self.next_message(bot, chat)
                if message is not None:
                    return message
                await chat.changed.wait()
        raise NothingSaid(
            f"expected a message of {bot!r} to {self!r} within {timeout:g} s, got none; "
            f"{self._world.pending(bot)} updates are pending"
        )

    def next_message(self, bot: SimBot, chat: Chat) -> Message | None:
        """The next message of the bot that this user has not seen, now seen; None if there is none."""
        key = (bot.id, chat.id)
        position = max(self._read.get(key, 0), chat.trimmed)
        while position < chat.trimmed + len(chat.sent):
            message = chat.sent[position - chat.trimmed]
            position += 1
            self._read[key] = position
            if message["from"]["id"] == bot.id:
                return message
        return None

    # -- pressing, asking, blocking -------------------------------------------------------------

    def press(self, bot: SimBot, message: Message, button: str) -> int:
        """Press the inline button with that text or callback data; returns the update id.

        Raises:
            LookupError: the message has no such button.
        """
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        for pressed in (button_ for row in rows for button_ in row):
            if button in (pressed.get("text"), pressed.get("callback_data")):
                return bot.queue.push({"callback_query": self._callback(bot, message, pressed)})
        raise LookupError(f"message {message.get('message_id')} has no button that reads {button!r}")

    def _callback(self, bot: SimBot, message: Message, pressed: dict[str, Any]) -> dict[str, Any]:
        query: dict[str, Any] = {"id": self._world.ask(bot), "from": self.brief}
        if "chat" in message:
            query |= {"message": message, "chat_instance": str(message["chat"]["id"])}
        else:
            query |= {"inline_message_id": self._inline_id(message), "chat_instance": str(self.id)}
        if "callback_game" in pressed:
            return query | {"game_short_name": message["game"]["title"]}
        return query | {"data": pressed.get("callback_data", "")}

    def _inline_id(self, message: Message) -> str:
        found = (one for one, (_, kept) in self._world.inline_messages.items() if kept is message)
        return next(found, "")

    def inline_query(self, bot: SimBot, query: str, offset: str = "") -> int:
        """Type `@bot query` somewhere; returns the update id."""
        content = {"id": self._world.ask(bot), "from": self.brief, "query": query, "offset": offset}
        return bot.queue.push({"inline_query": content})

    def choose_inline_result(self, bot: SimBot, result_id: str, query: str) -> int:
        """Send one of the bot's inline results; returns the update id.

        The message is in :attr:`inline_messages` if the bot answered a query with such a result; the bot can
        edit it if it has a keyboard.
        """
        chosen = {"result_id": result_id, "from": self.brief, "query": query}
        for owner, contents in reversed(self._world.inline_results.values()):
            if owner == bot.id and result_id in contents:
                inline_id = self._world.add_inline_message(bot, contents[result_id])
                self.inline_messages[bot.id] = self._world.inline_messages[inline_id][1]
                if "reply_markup" in contents[result_id]:
                    chosen["inline_message_id"] = inline_id
                break
        return bot.queue.push({"chosen_inline_result": chosen})

    def start(self, bot: SimBot) -> int:
        """Press Start: say `/start`."""
        return self.send(bot, "/start")

    def block(self, bot: SimBot) -> int:
        """Stop the bot: it can write no more. Returns the id of the my_chat_member update."""
        return self._set_blocked(bot, True)

    def unblock(self, bot: SimBot) -> int:
        """Let the bot write again. Returns the id of the my_chat_member update."""
        return self._set_blocked(bot, False)

    def _set_blocked(self, bot: SimBot, blocked: bool) -> int:
        chat = self._world.dialog(bot, self.id)
        chat.blocked = blocked
        return tell_blocked(self._world, bot, chat, self.brief, blocked)


class SimGroup:
    """A group, supergroup or forum; made by :meth:`Telegram.add_group`."""

    def __init__(self, world: World, chat: Chat) -> None:
        self.chat = chat
        self._world = world

    @property
    def id(self) -> int:
        """The chat id; another one after :meth:`upgrade`."""
        return self.chat.id

    def promote(self, who: SimBot | Account, rights: frozenset[str] | set[str] = ADMIN_RIGHTS) -> None:
        """Make somebody an administrator with these rights."""
        self.chat.members[who.id] = Member("administrator", frozenset(rights))

    def own(self, who: Account) -> None:
        """Make somebody the owner."""
        self.chat.members[who.id] = Member("creator")

    def demote(self, who: SimBot | Account) -> None:
        """Make somebody a plain member."""
        self.chat.members[who.id] = Member()

    def add(self, who: SimBot | Account, by: SimUser) -> None:
        """Bring somebody in; a bot is told with my_chat_member."""
        self._set(who, Member(), by)

    def kick(self, who: SimBot | Account, by: SimUser) -> None:
        """Throw somebody out; a bot is told with my_chat_member."""
        self._set(who, Member("kicked"), by)

    def _set(self, who: SimBot | Account, new: Member, by: SimUser) -> None:
        change_member(self._world, self.chat, who.id, new, by.brief)

    def add_topic(self, name: str) -> int:
        """Open a forum topic by hand; returns its message_thread_id."""
        self.chat.last_message_id += 1
        topic = Topic(self.chat.last_message_id, name)
        self.chat.topics[topic.thread_id] = topic
        return topic.thread_id

    def delete_topic(self, thread_id: int) -> None:
        """Delete a forum topic by hand, with all its messages; bots are not told."""
        self.chat.delete_topic(self.chat.topics[thread_id])

    def hearers(self, message: Message) -> list[SimBot]:
        """The bots that get a message said here: members, and with privacy on only when meant."""
        answered = message.get("reply_to_message", {}).get("from", {}).get("id")
        command = str(message.get("text", "")).startswith("/")
        return [
            bot
            for user_id, member in self.chat.members.items()
            if member.present
            and (bot := self._world.bots.get(user_id)) is not None
            and (not bot.privacy or member.status != "member" or command or answered == bot.id)
        ]

    def upgrade(self, by: SimUser, *, forum: bool = False) -> int:
        """Turn a basic group into a supergroup and return its new id.

        The bots get both service messages; calls with the old id are refused with the new one.
        """
        old = self.chat
        new = self._world.open_group(old.title, supergroup=True, forum=forum)
        new.members = old.members
        date = int(self._world.clock())
        last = old.add(by.brief, date, {"migrate_to_chat_id": new.id}, by_bot=False)
        first = new.add(by.brief, date, {"migrate_from_chat_id": old.id}, by_bot=False)
        for bot in self.hearers({"text": "/"}):
            bot.queue.push({"message": last})
            bot.queue.push({"message": first})
        old.migrated_to = new.id
        self.chat = new
        return new.id
