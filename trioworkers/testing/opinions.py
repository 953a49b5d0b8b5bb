"""What simulated users think: votes in polls, and reactions to messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.accounts import Account

if TYPE_CHECKING:
    from trioworkers.testing.chats import Message
    from trioworkers.testing.world import World


class Voter(Account):
    """Somebody who votes and reacts."""

    _world: World

    def vote(self, message: Message, *options: int) -> None:
        """Vote for options of a poll by their numbers; none takes the vote back.

        The bot gets a poll, and a poll_answer if the poll is not anonymous.

        Raises:
            LookupError: the message has no poll, it is closed, or it has no such options.
        """
        found = self._world.polls.get(message.get("poll", {}).get("id", ""))
        if found is None:
            raise LookupError(f"message {message['message_id']} has no poll")
        poll = found.poll
        if found.closes_at and self._world.clock() >= found.closes_at:
            poll["is_closed"] = True
        several = len(options) > 1 and not poll["allows_multiple_answers"]
        again = self.id in found.votes and not poll["allows_revoting"]
        if (
            poll["is_closed"]
            or several
            or again
            or not all(0 <= one < len(poll["options"]) for one in options)
        ):
            raise LookupError(f"poll {poll['id']} takes no such vote")
        found.votes[self.id] = sorted(options)
        if not options:
            del found.votes[self.id]
        found.count()
        if not poll["is_anonymous"]:
            ids = [poll["options"][one]["persistent_id"] for one in options]
            answer = {"poll_id": poll["id"], "user": self.brief, "option_ids": sorted(options)}
            found.bot.queue.push({"poll_answer": {**answer, "option_persistent_ids": ids}})
        found.bot.queue.push({"poll": poll})

    def react(self, message: Message, *emoji: str) -> int:
        """React to a message with these emoji; none takes the reaction back.

        In a private chat its bot is told, in a group the bots that lead it; and only those that asked for
        message_reaction. Returns the id of the last update.
        """
        chat_id = message["chat"]["id"]
        bots = []
        for bot in self._world.bots.values():
            chat = self._world.groups.get(chat_id) or self._world.dialogs.get((bot.id, chat_id))
            if chat is None or chat.messages.get(message["message_id"]) is not message:
                continue
            member = chat.members.get(bot.id)
            if chat.kind == "private" or (member is not None and member.leads):
                bots.append((bot, chat))
        new: list[dict[str, Any]] = [{"type": "emoji", "emoji": one} for one in emoji]
        old: list[dict[str, Any]] = []
        for _, chat in bots:
            old = chat.reactions.get((message["message_id"], self.id), old)
        content = {
            "chat": message["chat"],
            "message_id": message["message_id"],
            "user": self.brief,
            "date": int(self._world.clock()),
            "old_reaction": old,
            "new_reaction": new,
        }
        update_id = 0
        for bot, chat in bots:
            chat.reactions[message["message_id"], self.id] = new
            update_id = bot.queue.push({"message_reaction": content})
        return update_id
