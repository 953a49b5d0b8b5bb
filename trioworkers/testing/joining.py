"""How simulated users come into groups and leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.accounts import Account
from trioworkers.testing.changes import change_member, let_in, tell_bots
from trioworkers.testing.memberships import Member

if TYPE_CHECKING:
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.world import World


class Joiner(Account):
    """Somebody who joins groups by their links."""

    _world: World

    def join(self, link: str) -> bool:
        """Follow an invite link: True if that let them in, False if they have to be approved first.

        The bots that lead the group get a chat_join_request, or a chat_member; those in it get a message.

        Raises:
            LookupError: there is no such link, it is revoked, expired or used up, or the user is banned.
        """
        chat, invite = self._invite(link)
        old = chat.members.get(self.id) or Member("left")
        if old.present:
            return True
        if old.status == "kicked":
            raise LookupError(f"user {self.id} is banned from {chat.title!r}")
        if invite["creates_join_request"]:
            chat.requests[self.id] = link
            self._ask_leaders(chat, invite)
            return False
        if "member_limit" in invite:
            self._use(invite)
        let_in(self._world, chat, self.id, self.brief, invite_link=invite)
        return True

    def leave(self, chat: Chat) -> None:
        """Leave a group; its bots are told."""
        change_member(self._world, chat, self.id, Member("left"), self.brief)
        content = {"left_chat_member": self.brief}
        message = chat.add(self.brief, int(self._world.clock()), content, by_bot=False)
        tell_bots(self._world, chat, {"message": message})

    def _invite(self, link: str) -> tuple[Chat, dict[str, Any]]:
        for chat in self._world.groups.values():
            invite = chat.invites.get(link)
            if invite is None:
                continue
            over = 0 < invite.get("expire_date", 0) <= self._world.clock()
            if invite["is_revoked"] or over or self._world.uses.get(link, 0) >= invite.get("member_limit", 1):
                break
            return chat, invite
        raise LookupError(f"nobody can join by {link}")

    def _use(self, invite: dict[str, Any]) -> None:
        link = invite["invite_link"]
        self._world.uses[link] = self._world.uses.get(link, 0) + 1

    def _ask_leaders(self, chat: Chat, invite: dict[str, Any]) -> None:
        content = {
            "chat": chat.brief,
            "from": self.brief,
            "user_chat_id": self.id,
            "date": int(self._world.clock()),
            "invite_link": invite,
        }
        for bot_id, member in chat.members.items():
            bot = self._world.bots.get(bot_id)
            if bot is not None and member.leads and member.may("can_invite_users"):
                self._world.dialog(bot, self.id).started = True  # a bot may write to who asks, Bot API
                bot.queue.push({"chat_join_request": content})
