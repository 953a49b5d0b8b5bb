"""Changes of memberships, and who is told: a bot whose own it is, and the bots that lead the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.memberships import Member

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.world import World


def change_member(
    world: World, chat: Chat, user_id: int, new: Member, by: dict[str, Any], **more: Any
) -> int:
    """Make somebody something else in a group, and tell the bots that Telegram tells.

    Args:
        world: whose bots are told.
        chat: the group.
        user_id: whose membership it is.
        new: what it is from now on.
        by: the User who did it.
        more: further fields of the ChatMemberUpdated, as `invite_link`.

    Returns:
        The id of the update that the member itself got; 0 for a person.
    """
    old = chat.members.get(user_id) or Member("left")
    chat.members[user_id] = new
    user = world.account(user_id) or {"id": user_id, "is_bot": False, "first_name": "Somebody"}
    content = {
        "chat": chat.brief,
        "from": by,
        "date": int(world.clock()),
        "old_chat_member": old.describe(user),
        "new_chat_member": new.describe(user),
        **more,
    }
    for bot_id, member in chat.members.items():
        bot = world.bots.get(bot_id)
        if bot is not None and bot_id != user_id and member.leads:
            bot.queue.push({"chat_member": content})
    changed = world.bots.get(user_id)
    return changed.queue.push({"my_chat_member": content}) if changed is not None else 0


def tell_blocked(world: World, bot: SimBot, chat: Chat, by: dict[str, Any], blocked: bool) -> int:
    """Tell a bot that a user blocked it, or does not any more; returns the id of the update."""
    old, new = (
        Member(one).describe(bot.brief) for one in (("member", "kicked") if blocked else ("kicked", "member"))
    )
    content = {"chat": chat.brief, "from": by, "date": int(world.clock())}
    return bot.queue.push({"my_chat_member": {**content, "old_chat_member": old, "new_chat_member": new}})


def let_in(world: World, chat: Chat, user_id: int, by: dict[str, Any], **more: Any) -> None:
    """Let somebody into a group: a new membership, and a service message to the bots there."""
    change_member(world, chat, user_id, Member(), by, **more)
    user = world.account(user_id)
    message = chat.add(by, int(world.clock()), {"new_chat_members": [user]}, by_bot=False)
    tell_bots(world, chat, {"message": message}, but=user_id)


def tell_bots(world: World, chat: Chat, content: dict[str, Any], *, but: int = 0) -> None:
    """Queue an update for the bots of a group, but for one."""
    for bot_id, member in chat.members.items():
        bot = world.bots.get(bot_id)
        if bot is not None and member.present and bot_id != but:
            bot.queue.push(content)
