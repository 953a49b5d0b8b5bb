"""Chats, their members, topics and messages; and what a bot may do in each.

A private chat exists once for each pair of a bot and a user. Messages are the dicts that clients
read, kept by id; editing one edits the dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request, forbidden
from trioworkers.testing.signal import Signal

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.memberships import Member

Message = dict[str, Any]


@dataclass(slots=True, eq=False)
class Topic:
    """A forum topic; a deleted one stays known as such."""

    thread_id: int
    name: str
    icon_color: int = 0x6FB9F0
    icon_custom_emoji_id: str = ""
    closed: bool = False
    deleted: bool = False
    hidden: bool = False


@dataclass(slots=True, eq=False)
class Chat:
    """One chat and all that was said in it.

    Attributes:
        kind: private, group, supergroup or channel.
        history: at most so many messages are kept, None for all.
        sent: what bots said, in order, as it stands now; deleted messages stay in this list.
        trimmed: how many of them were left out at the front, for `history`.
        changed: fires when a bot says or edits something.
        permissions: what members without further rights may do; empty for everything.
        pinned: ids of the pinned messages, the newest last.
        invites: the ChatInviteLink of each link.
        requests: the link of each user who asks to be let in.
        settings: further fields of a ChatFullInfo.
        reactions: of each message and each user or bot.
    """

    id: int
    kind: str
    title: str = ""
    forum: bool = False
    username: str = ""
    user: dict[str, Any] | None = None
    history: int | None = None
    started: bool = False
    blocked: bool = False
    migrated_to: int | None = None
    members: dict[int, Member] = field(default_factory=dict)
    topics: dict[int, Topic] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    trimmed: int = 0
    changed: Signal = field(default_factory=Signal)
    permissions: dict[str, bool] = field(default_factory=dict)
    pinned: list[int] = field(default_factory=list)
    invites: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: dict[int, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    reactions: dict[tuple[int, int], list[dict[str, Any]]] = field(default_factory=dict)
    brief: dict[str, Any] = field(init=False)
    last_message_id: int = 0

    def __post_init__(self) -> None:
        self.brief = self._brief()

    def _brief(self) -> dict[str, Any]:
        chat: dict[str, Any] = {"id": self.id, "type": self.kind}
        if self.user is not None:
            names = ("first_name", "last_name", "username")
            return chat | {name: self.user[name] for name in names if self.user.get(name)}
        chat["title"] = self.title
        if self.username:
            chat["username"] = self.username
        if self.forum:
            chat["is_forum"] = True
        return chat

    def add(self, sender: dict[str, Any], date: int, content: dict[str, Any], *, by_bot: bool) -> Message:
        """Say something here and return the message, with the next id of this chat."""
        self.last_message_id += 1
        message: Message = {
            "message_id": self.last_message_id,
            "from": sender,
            "chat": self.brief,
            "date": date,
            **content,
        }
        self.messages[self.last_message_id] = message
        if by_bot:
            self.sent.append(message)
            self.changed.fire()
        if self.history is not None and len(self.messages) > self.history:
            del self.messages[next(iter(self.messages))]
            if len(self.sent) > 2 * self.history:
                del self.sent[: self.history]
                self.trimmed += self.history
        return message

    def check_member(self, bot: SimBot) -> None:
        """Refuse a bot that may not see this chat, in Telegram's words."""
        if self.kind == "private":
            return
        if self.migrated_to is not None:
            raise bad_request(
                "group chat was upgraded to a supergroup chat", migrate_to_chat_id=self.migrated_to
            )
        member = self.members.get(bot.id)
        if member is not None and member.status == "kicked":
            raise forbidden(f"bot was kicked from the {self.kind} chat")
        if member is None or not member.present:
            raise forbidden(f"bot is not a member of the {self.kind} chat")

    def check_write(self, bot: SimBot) -> None:
        """Refuse a bot that may not write here, in Telegram's words."""
        if self.kind == "private":
            if self.blocked:
                raise forbidden("bot was blocked by the user")
            if not self.started:
                raise forbidden("bot can't initiate conversation with a user")
        else:
            self.check_member(bot)

    def restricts(self, bot: SimBot) -> bool:
        """Whether a bot may not send everything here; administrators always may."""
        if self.kind == "private":
            return False
        member = self.members[bot.id]
        return member.status == "restricted" or (bool(self.permissions) and not member.leads)

    def allows(self, bot: SimBot, permission: str) -> bool:
        """Whether a bot that is no administrator has a permission (`can_send_polls`, …)."""
        member = self.members[bot.id]
        if member.status == "restricted" and not member.permissions.get(permission, False):
            return False
        return self.permissions.get(permission, True)

    def rename(self, title: str) -> None:
        """Give it another title; messages that were sent before show it too."""
        self.title = self.brief["title"] = title

    def delete(self, message_id: int) -> Message:
        """Take a message away, also from those that are pinned."""
        if message_id in self.pinned:
            self.pinned.remove(message_id)
        return self.messages.pop(message_id)

    def delete_topic(self, topic: Topic) -> None:
        """Delete a topic and all its messages; its id stays known as one that is gone."""
        topic.deleted = True
        inside = [i for i, m in self.messages.items() if m.get("message_thread_id") == topic.thread_id]
        for message_id in inside:
            del self.messages[message_id]

    def thread(self, bot: SimBot, thread_id: int) -> dict[str, Any]:
        """The fields that place a message in a topic; empty for none and for the general topic.

        Raises:
            Refused: the topic is unknown, deleted, or closed to this bot.
        """
        if thread_id == 0 or (self.forum and thread_id == 1):
            general = self.topics.get(1) if self.forum else None
            if general is not None and general.closed and not self.members[bot.id].may("can_manage_topics"):
                raise bad_request("TOPIC_CLOSED")
            return {}
        if thread_id < 0:
            raise bad_request("invalid message thread identifier specified")
        topic = self.topics.get(thread_id)
        if topic is None or topic.deleted:
            raise bad_request("message thread not found")
        if topic.closed and not self.members[bot.id].may("can_manage_topics"):
            raise bad_request("TOPIC_CLOSED")
        return {"message_thread_id": thread_id, "is_topic_message": True}
