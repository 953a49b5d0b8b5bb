"""The Bot API methods of invite links and of those who ask to be let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.changes import let_in
from trioworkers.testing.methods.reading import check_right

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

NO_RIGHT = "not enough rights to manage chat invite link"
NAME_LIMIT = 32  # characters
MEMBER_LIMIT = 99_999
MONTH = 2_592_000  # seconds; the only subscription_period
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"


def _chat(world: World, bot: SimBot, params: Params) -> Chat:
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("can't invite members to a private chat")
    check_right(chat, bot, "can_invite_users", NO_RIGHT)
    return chat


def _settings(world: World, params: Params) -> dict[str, Any]:
    if len(params.text("name")) > NAME_LIMIT:
        raise bad_request("INVITE_NAME_TOO_LONG")
    expires, limit = params.integer("expire_date"), params.integer("member_limit")
    if expires and expires <= world.clock():
        raise bad_request("EXPIRE_DATE_INVALID")
    if not 0 <= limit <= MEMBER_LIMIT:
        raise bad_request("USAGE_LIMIT_INVALID")
    asks = params.flag("creates_join_request")
    if asks and limit:
        raise bad_request("member limit can't be specified for links requiring administrator approval")
    link: dict[str, Any] = {"creates_join_request": asks}
    link |= {"name": params.text("name")} if params.text("name") else {}
    link |= {"expire_date": expires} if expires else {}
    return link | ({"member_limit": limit} if limit else {})


def _make(
    world: World, bot: SimBot, chat: Chat, settings: dict[str, Any], *, primary: bool = False
) -> dict[str, Any]:
    url = f"https://t.me/+{''.join(world.dice.choices(_ALPHABET, k=16))}"
    link = {"invite_link": url, "creator": bot.brief, "is_primary": primary, "is_revoked": False, **settings}
    chat.invites[url] = link
    return link


def export_chat_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """exportChatInviteLink: a new primary link; the old one is revoked."""
    chat = _chat(world, bot, params)
    for link in chat.invites.values():
        if link["is_primary"] and link["creator"]["id"] == bot.id:
            link["is_revoked"] = True
    url: str = _make(world, bot, chat, {"creates_join_request": False}, primary=True)["invite_link"]
    chat.settings["invite_link"] = url
    return url


def create_chat_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """createChatInviteLink; a user follows it by `SimUser.join`."""
    chat = _chat(world, bot, params)
    return _make(world, bot, chat, _settings(world, params))


def create_chat_subscription_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """createChatSubscriptionInviteLink."""
    chat = _chat(world, bot, params)
    period, price = params.integer("subscription_period"), params.integer("subscription_price")
    if period != MONTH or not 1 <= price <= 10_000:
        raise bad_request("PRICING_CHAT_INVALID")
    paid = {"subscription_period": period, "subscription_price": price}
    return _make(world, bot, chat, {**_settings(world, params), **paid})


def _own(world: World, bot: SimBot, params: Params) -> tuple[Chat, dict[str, Any]]:
    chat = _chat(world, bot, params)
    link = chat.invites.get(params.text("invite_link"))
    if link is None or link["creator"]["id"] != bot.id:
        raise bad_request("INVITE_HASH_EXPIRED")
    return chat, link


def edit_chat_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """editChatInviteLink: what is left out is taken away."""
    _, link = _own(world, bot, params)
    if link["is_primary"] or link["is_revoked"]:
        raise bad_request("INVITE_HASH_EXPIRED" if link["is_revoked"] else "CHAT_INVITE_PERMANENT")
    settings = _settings(world, params)
    for name in ("name", "expire_date", "member_limit"):
        link.pop(name, None)
    link.update(settings)
    return link


def edit_chat_subscription_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """editChatSubscriptionInviteLink: its name."""
    _, link = _own(world, bot, params)
    if "subscription_price" not in link:
        raise bad_request("PRICING_CHAT_INVALID")
    link["name"] = params.text("name")
    return link


def revoke_chat_invite_link(world: World, bot: SimBot, params: Params) -> object:
    """revokeChatInviteLink; nobody can join by it any more. A revoked primary link has a successor."""
    chat, link = _own(world, bot, params)
    if link["is_revoked"]:
        raise bad_request("INVITE_HASH_EXPIRED")
    link["is_revoked"] = True
    if link["is_primary"]:
        chat.settings["invite_link"] = _make(world, bot, chat, {"creates_join_request": False}, primary=True)[
            "invite_link"
        ]
    return link


def _request(world: World, bot: SimBot, params: Params) -> tuple[Chat, int, str]:
    chat = _chat(world, bot, params)
    user_id = params.integer("user_id")
    member = chat.members.get(user_id)
    if member is not None and member.present:
        raise bad_request("USER_ALREADY_PARTICIPANT")
    link = chat.requests.pop(user_id, None)
    if link is None:
        raise bad_request("HIDE_REQUESTER_MISSING")
    return chat, user_id, link


def approve_chat_join_request(world: World, bot: SimBot, params: Params) -> object:
    """approveChatJoinRequest: the user is let in."""
    chat, user_id, link = _request(world, bot, params)
    let_in(world, chat, user_id, bot.brief, invite_link=chat.invites[link], via_join_request=True)
    return True


def decline_chat_join_request(world: World, bot: SimBot, params: Params) -> object:
    """declineChatJoinRequest: the request is gone."""
    _request(world, bot, params)
    return True
