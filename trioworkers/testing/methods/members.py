"""The Bot API methods of the members of a chat: who they are, what they may do, who has to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request
from trioworkers.testing.changes import change_member
from trioworkers.testing.memberships import ALL_RIGHTS, RIGHTS_OF_CHANNELS, Member, read_permissions
from trioworkers.testing.methods.reading import check_right

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

NO_RIGHT = "not enough rights to restrict/unrestrict chat member"
SUPERGROUPS = "method is available only for supergroups"
TITLE_LIMIT = 16  # characters, Bot API: setChatAdministratorCustomTitle
FOREVER = (30, 366 * 86_400)  # seconds; a ban for less or more is for ever


def get_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """getChatMember."""
    chat = world.find_chat(bot, params)
    user_id = params.integer("user_id")
    if user_id <= 0:
        raise bad_request("invalid user_id specified")
    user = world.account(user_id)
    if user is None:
        raise bad_request("member not found")
    if chat.kind == "private":
        return Member("member" if user_id in {bot.id, chat.id} else "left").describe(user)
    return (chat.members.get(user_id) or Member("left")).describe(user)


def get_chat_administrators(world: World, bot: SimBot, params: Params) -> object:
    """getChatAdministrators: other bots only with `return_bots`."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("there are no administrators in the private chat")
    everybody = params.flag("return_bots")
    return [
        member.describe(user)
        for user_id, member in chat.members.items()
        if member.leads
        and (user := world.account(user_id)) is not None
        and (everybody or not user["is_bot"] or user_id == bot.id)
    ]


def get_chat_member_count(world: World, bot: SimBot, params: Params) -> object:
    """getChatMemberCount."""
    chat = world.find_chat(bot, params)
    return 2 if chat.kind == "private" else sum(member.present for member in chat.members.values())


def _until(world: World, params: Params) -> int:
    until = params.integer("until_date")
    return until if FOREVER[0] <= until - world.clock() <= FOREVER[1] else 0


def _other(world: World, bot: SimBot, params: Params, right: str, words: str) -> tuple[Chat, int, Member]:
    """The chat of a call, and the member whom it is about, who is not an administrator."""
    chat = world.find_chat(bot, params)
    user_id = params.integer("user_id")
    if chat.kind == "private":
        raise bad_request("can't ban members in private chats" if words == NO_RIGHT else words)
    check_right(chat, bot, right, words)
    if world.account(user_id) is None:
        raise bad_request("invalid user_id specified" if user_id <= 0 else "PARTICIPANT_ID_INVALID")
    member = chat.members.get(user_id) or Member("left")
    if user_id == bot.id:
        raise bad_request("can't restrict self")
    if member.status == "creator":
        raise bad_request("can't remove chat owner")
    return chat, user_id, member


def _check_below(member: Member) -> None:
    if member.status == "administrator":
        raise bad_request("user is an administrator of the chat")


def ban_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """banChatMember: out, and not back in; with `revoke_messages` what was said goes too."""
    chat, user_id, member = _other(world, bot, params, "can_restrict_members", NO_RIGHT)
    _check_below(member)
    change_member(world, chat, user_id, Member("kicked", until=_until(world, params)), bot.brief)
    if params.flag("revoke_messages"):
        for message_id in [one for one, message in chat.messages.items() if message["from"]["id"] == user_id]:
            chat.delete(message_id)
    return True


def unban_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """unbanChatMember: somebody who is still in is thrown out, unless `only_if_banned` is set."""
    chat, user_id, member = _other(world, bot, params, "can_restrict_members", NO_RIGHT)
    if chat.kind == "group":
        raise bad_request("method is available for supergroup and channel chats only")
    _check_below(member)
    if member.status == "kicked" or (member.present and not params.flag("only_if_banned")):
        change_member(world, chat, user_id, Member("left"), bot.brief)
    return True


def restrict_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """restrictChatMember: with all permissions somebody is a plain member again."""
    chat, user_id, member = _other(world, bot, params, "can_restrict_members", NO_RIGHT)
    if chat.kind != "supergroup":
        raise bad_request(SUPERGROUPS)
    _check_below(member)
    given = params.json("permissions", "permissions")
    permissions = read_permissions(given, independent=params.flag("use_independent_chat_permissions"))
    inside = member.present
    new = Member("restricted", permissions=permissions, until=_until(world, params), inside=inside)
    if all(permissions[name] for name in permissions if name.startswith("can_send")):
        new = Member("member" if inside else "left")
    change_member(world, chat, user_id, new, bot.brief)
    return True


def promote_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """promoteChatMember: a bot gives rights that it has; without any, somebody is a plain member again."""
    no_right = "not enough rights"
    chat, user_id, member = _other(world, bot, params, "can_promote_members", no_right)
    if chat.kind == "group":
        raise bad_request("method is available for supergroup and channel chats only")
    if not member.present:
        raise bad_request("USER_NOT_PARTICIPANT")
    rights = {right for right in (*ALL_RIGHTS, *RIGHTS_OF_CHANNELS) if params.flag(right)}
    mine = chat.members[bot.id]
    if not all(mine.may(right) for right in rights):
        raise bad_request("RIGHT_FORBIDDEN")
    if not rights:
        change_member(world, chat, user_id, Member(), bot.brief)
        return True
    anonymous = params.flag("is_anonymous")
    new = Member("administrator", frozenset(rights | {"can_manage_chat"}), anonymous=anonymous)
    change_member(world, chat, user_id, new, bot.brief)
    return True


def set_chat_administrator_custom_title(world: World, bot: SimBot, params: Params) -> object:
    """setChatAdministratorCustomTitle: of an administrator of a supergroup."""
    chat = world.find_chat(bot, params)
    if chat.kind != "supergroup":
        raise bad_request(SUPERGROUPS)
    check_right(chat, bot, "can_promote_members", "not enough rights to change custom title of the user")
    member = chat.members.get(params.integer("user_id"))
    if member is None or not member.present:
        raise bad_request("user not found" if member is None else "USER_NOT_PARTICIPANT")
    if member.status != "administrator":
        raise bad_request("user is not an administrator")
    title = params.text("custom_title")
    if len(title) > TITLE_LIMIT:
        raise bad_request("ADMIN_RANK_INVALID")
    member.title = title
    return True


def set_chat_member_tag(world: World, bot: SimBot, params: Params) -> object:
    """setChatMemberTag: without one it is taken away."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("member not found")
    check_right(chat, bot, "can_manage_tags", "not enough rights to change the tag of the user")
    member = chat.members.get(params.integer("user_id"))
    if member is None or not member.present:
        raise bad_request("member not found")
    if len(params.text("tag")) > TITLE_LIMIT:
        raise bad_request("TAG_INVALID")
    member.tag = params.text("tag")
    return True


def set_chat_permissions(world: World, bot: SimBot, params: Params) -> object:
    """setChatPermissions: what members may do who have no rights of their own."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("can't change private chat permissions")
    check_right(chat, bot, "can_restrict_members", "not enough rights to change chat permissions")
    given = params.json("permissions", "permissions")
    chat.permissions = read_permissions(given, independent=params.flag("use_independent_chat_permissions"))
    return True


def leave_chat(world: World, bot: SimBot, params: Params) -> object:
    """leaveChat; a private chat cannot be left."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("chat member status can't be changed in private chats")
    change_member(world, chat, bot.id, Member("left"), bot.brief)
    return True
