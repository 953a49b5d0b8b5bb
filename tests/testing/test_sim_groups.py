"""Groups: who comes in, who has to go, what each may do, their settings; and a bot's own settings."""

from __future__ import annotations

import msgspec
import pytest

from trioworkers.testing import Refused, Upload
from trioworkers.testing.params import Params


@pytest.fixture
def group(world, bot, alice):
    return world.add_group("G", [alice], admins=[bot], supergroup=True)


@pytest.fixture
def call(world, bot, group):
    return lambda method, **params: world.call(bot, method, **{"chat_id": group.id, **params})


@pytest.fixture
def updates(world, bot):
    world.repeat_guard = False
    kinds = ["message", "chat_member", "my_chat_member", "chat_join_request"]
    world.call(bot, "getUpdates", allowed_updates=kinds)

    def updates(who=bot):
        got = [msgspec.json.decode(bytes(raw)) for raw in world.call(who, "getUpdates")]
        if got:
            world.call(who, "getUpdates", offset=got[-1]["update_id"] + 1)
        return got

    return updates


def refused(words, function, /, *args, code=400, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    prefix = {400: "Bad Request: ", 403: "Forbidden: "}[code]
    assert (caught.value.error_code, caught.value.description) == (code, prefix + words)


def status(call, user):
    return call("getChatMember", user_id=user.id)["status"]


# -- invites -------------------------------------------------------------------------------------


def test_a_link_lets_in_as_many_as_it_says(world, call, bot, group, updates):
    """createChatInviteLink; the bot gets chat_member with the link, and the message of who came."""
    link = call("createChatInviteLink", member_limit=1, name="one")
    bob, carol = world.add_user("Bob"), world.add_user("Carol")
    assert bob.join(link["invite_link"]) is True
    member, message = updates()
    assert member["chat_member"]["invite_link"]["name"] == "one"
    assert message["message"]["new_chat_members"][0]["id"] == bob.id
    with pytest.raises(LookupError):
        carol.join(link["invite_link"])
    edited = call("editChatInviteLink", invite_link=link["invite_link"], member_limit=2)
    assert "name" not in edited
    assert carol.join(link["invite_link"]) is True
    assert call("getChatMemberCount") == 4
    carol.leave(group.chat)
    assert call("getChatMemberCount") == 3


def test_links_end(world, call, clock):
    """revokeChatInviteLink, an expire_date, and a new primary link by exportChatInviteLink."""
    bob = world.add_user("Bob")
    link = call("createChatInviteLink", expire_date=int(clock()) + 60)["invite_link"]
    clock.go(61)
    with pytest.raises(LookupError):
        bob.join(link)
    first = call("exportChatInviteLink")
    second = call("exportChatInviteLink")
    assert call("getChat")["invite_link"] == second
    with pytest.raises(LookupError):
        bob.join(first)
    assert call("revokeChatInviteLink", invite_link=second)["is_revoked"] is True
    refused("INVITE_HASH_EXPIRED", call, "revokeChatInviteLink", invite_link="https://t.me/+x")
    both = {"creates_join_request": True, "member_limit": 1}
    words = "member limit can't be specified for links requiring administrator approval"
    refused(words, call, "createChatInviteLink", **both)


def test_who_asks_is_let_in_or_not(world, call, bot, updates):
    """approveChatJoinRequest, declineChatJoinRequest; the bot may write to who asks."""
    link = call("createChatInviteLink", creates_join_request=True)["invite_link"]
    bob, carol = world.add_user("Bob"), world.add_user("Carol")
    assert bob.join(link) is False
    assert carol.join(link) is False
    request = updates()[0]["chat_join_request"]
    assert (request["from"]["id"], request["user_chat_id"]) == (bob.id, bob.id)
    world.call(bot, "sendMessage", chat_id=bob.id, text="why?")
    assert call("approveChatJoinRequest", user_id=bob.id) is True
    assert call("declineChatJoinRequest", user_id=carol.id) is True
    assert (status(call, bob), status(call, carol)) == ("member", "left")
    refused("USER_ALREADY_PARTICIPANT", call, "approveChatJoinRequest", user_id=bob.id)
    refused("HIDE_REQUESTER_MISSING", call, "approveChatJoinRequest", user_id=carol.id)


def test_subscriptions_have_links_of_their_own(call):
    """createChatSubscriptionInviteLink and editChatSubscriptionInviteLink."""
    price = {"subscription_period": 2_592_000, "subscription_price": 5}
    link = call("createChatSubscriptionInviteLink", **price)
    edited = call("editChatSubscriptionInviteLink", invite_link=link["invite_link"], name="gold")
    assert edited["name"] == "gold"
    refused(
        "PRICING_CHAT_INVALID",
        call,
        "createChatSubscriptionInviteLink",
        **{**price, "subscription_period": 1},
    )


# -- members -------------------------------------------------------------------------------------


def test_bans_end_when_they_are_lifted(world, call, alice, bot, group, updates):
    """banChatMember with revoke_messages, unbanChatMember; the group's bots get chat_member."""
    alice.send(bot, "spam", group=group)
    call("banChatMember", user_id=alice.id, revoke_messages=True)
    assert status(call, alice) == "kicked"
    assert group.chat.messages == {}
    link = call("createChatInviteLink")["invite_link"]
    with pytest.raises(LookupError, match="banned"):
        alice.join(link)
    call("unbanChatMember", user_id=alice.id, only_if_banned=True)
    assert status(call, alice) == "left"
    assert alice.join(link) is True
    call("unbanChatMember", user_id=alice.id, only_if_banned=True)
    assert status(call, alice) == "member"
    statuses = [one["chat_member"]["new_chat_member"]["status"] for one in updates() if "chat_member" in one]
    assert statuses == ["kicked", "left", "member"]


def test_who_cannot_be_banned(world, call, bot, group):
    """Oneself, an administrator, the owner, nobody."""
    boss, owner = world.add_user("Boss"), world.add_user("Owner")
    group.promote(boss)
    group.own(owner)
    refused("can't restrict self", call, "banChatMember", user_id=bot.id)
    refused("user is an administrator of the chat", call, "banChatMember", user_id=boss.id)
    refused("can't remove chat owner", call, "banChatMember", user_id=owner.id)
    refused("PARTICIPANT_ID_INVALID", call, "banChatMember", user_id=4711)
    basic = world.add_group("B", [boss], admins=[bot])
    words = "method is available only for supergroups"
    refused(words, call, "restrictChatMember", chat_id=basic.id, user_id=owner.id, permissions={})


def test_who_is_restricted_may_not_send_everything(world, call, bot, group):
    """restrictChatMember and setChatPermissions, seen by another bot."""
    other = world.add_bot("other")
    group.add(other, world.add_user("Boss"))

    def send(method, **params):
        files = {"file": Upload("a", "", b"x")}
        return world.run(other, method, Params({"chat_id": group.id, **params}, files))

    call("restrictChatMember", user_id=other.id, permissions={"can_send_messages": True})
    send("sendMessage", text="x")
    words = "not enough rights to send photos to the chat"
    refused(words, send, "sendPhoto", photo="attach://file")
    call("restrictChatMember", user_id=other.id, permissions={"can_send_other_messages": True})
    send("sendPhoto", photo="attach://file")
    refused("not enough rights to send polls to the chat", send, "sendPoll", question="q", options=["a", "b"])
    every = {f"can_send_{kind}": True for kind in ("polls", "other_messages")}
    call("restrictChatMember", user_id=other.id, permissions=every)
    assert call("getChatMember", user_id=other.id)["status"] == "member"
    call("setChatPermissions", permissions={"can_send_photos": True}, use_independent_chat_permissions=True)
    words = "not enough rights to send text messages to the chat"
    refused(words, send, "sendMessage", text="x")
    send("sendPhoto", photo="attach://file")
    assert call("getChat")["permissions"]["can_send_messages"] is False
    call("sendMessage", text="an administrator may")


def test_administrators_are_made(world, call, bot, alice, group):
    """promoteChatMember, setChatAdministratorCustomTitle, getChatAdministrators."""
    call("promoteChatMember", user_id=alice.id, can_delete_messages=True, is_anonymous=True)
    call("setChatAdministratorCustomTitle", user_id=alice.id, custom_title="boss")
    admins = {one["user"]["id"]: one for one in call("getChatAdministrators")}
    assert admins.keys() == {alice.id, bot.id}
    alices = admins[alice.id]
    assert (alices["can_delete_messages"], alices["can_pin_messages"]) == (True, False)
    assert (alices["custom_title"], alices["is_anonymous"]) == ("boss", True)
    refused(
        "ADMIN_RANK_INVALID", call, "setChatAdministratorCustomTitle", user_id=alice.id, custom_title="x" * 17
    )
    group.promote(bot, {"can_promote_members"})
    refused("RIGHT_FORBIDDEN", call, "promoteChatMember", user_id=alice.id, can_pin_messages=True)
    call("promoteChatMember", user_id=alice.id)
    assert status(call, alice) == "member"
    words = "user is not an administrator"
    refused(words, call, "setChatAdministratorCustomTitle", user_id=alice.id, custom_title="x")
    group.promote(bot, {"can_manage_tags"})
    call("setChatMemberTag", user_id=alice.id, tag="regular")
    assert call("getChatMember", user_id=alice.id)["tag"] == "regular"


def test_a_bot_leaves(world, call, bot, group):
    """leaveChat; it is not a member afterwards, and a private chat cannot be left."""
    assert call("leaveChat") is True
    words = "bot is not a member of the supergroup chat"
    refused(words, call, "sendMessage", text="x", code=403)


# -- the group itself ----------------------------------------------------------------------------


def test_a_group_is_described(world, call, bot, group):
    """Title, description, photo and sticker set: setChatTitle and the others; getChat shows them."""
    call("setChatTitle", title="New")
    call("setChatDescription", description="about")
    refused("chat description is not modified", call, "setChatDescription", description="about")
    refused("photo must be uploaded as an InputFile", call, "setChatPhoto", photo="AgAC")
    photo = {"photo": Upload("a.jpg", "image/jpeg", b"x")}
    assert world.run(bot, "setChatPhoto", Params({"chat_id": group.id}, photo)) is True
    call("setChatStickerSet", sticker_set_name="cats")
    chat = call("getChat")
    assert (chat["title"], chat["description"], chat["sticker_set_name"]) == ("New", "about", "cats")
    assert "small_file_id" in chat["photo"]
    assert call("deleteChatPhoto") is True
    refused("CHAT_NOT_MODIFIED", call, "deleteChatPhoto")
    assert call("deleteChatStickerSet") is True
    assert {"photo", "sticker_set_name"}.isdisjoint(call("getChat"))


def test_the_general_topic(world, bot):
    """It is renamed, closed, reopened, hidden and shown; nothing happens twice."""
    forum = world.add_group("F", admins=[bot], forum=True)
    other = world.add_bot("other")
    forum.add(other, world.add_user("Boss"))

    def call(method, **params):
        return world.call(bot, method, chat_id=forum.id, **params)

    assert call("editGeneralForumTopic", name="Lobby") is True
    refused("TOPIC_NOT_MODIFIED", call, "editGeneralForumTopic", name="Lobby")
    assert call("closeGeneralForumTopic") is True
    refused("TOPIC_NOT_MODIFIED", call, "closeGeneralForumTopic")
    refused("TOPIC_CLOSED", world.call, other, "sendMessage", chat_id=forum.id, text="x")
    assert call("reopenGeneralForumTopic") is True
    assert call("hideGeneralForumTopic") is True
    refused("TOPIC_CLOSED", world.call, other, "sendMessage", chat_id=forum.id, text="x")
    assert call("unhideGeneralForumTopic") is True
    refused("TOPIC_NOT_MODIFIED", call, "unhideGeneralForumTopic")


# -- a bot's own account -------------------------------------------------------------------------


def test_names_and_descriptions(world, bot):
    """setMyName, setMyDescription and setMyShortDescription, by language; an empty one takes it away."""
    for setter, getter, name, limit in (
        ("setMyName", "getMyName", "name", 64),
        ("setMyDescription", "getMyDescription", "description", 512),
        ("setMyShortDescription", "getMyShortDescription", "short_description", 120),
    ):
        world.call(bot, setter, **{name: "plain"})
        world.call(bot, setter, **{name: "deutsch"}, language_code="de")
        assert world.call(bot, getter, language_code="de") == {name: "deutsch"}
        assert world.call(bot, getter, language_code="fr") == {name: "plain"}
        world.call(bot, setter, **{name: ""}, language_code="de")
        assert world.call(bot, getter, language_code="de") == {name: "plain"}
        refused(f"BOT_{name.upper()}_TOO_LONG", world.call, bot, setter, **{name: "x" * (limit + 1)})


def test_commands_are_deleted(world, bot):
    """deleteMyCommands, of one scope; an unknown scope is refused."""
    scope = {"type": "chat_member", "chat_id": -1, "user_id": 1}
    commands = [{"command": "go", "description": "Go"}]
    world.call(bot, "setMyCommands", commands=commands)
    world.call(bot, "deleteMyCommands")
    assert world.call(bot, "getMyCommands") == []
    refused("chat not found", world.call, bot, "getMyCommands", scope=scope)
    words = "can't parse BotCommandScope: Unsupported type specified"
    refused(words, world.call, bot, "getMyCommands", scope={"type": "x"})


def test_menu_buttons_and_rights(world, bot, alice):
    """setChatMenuButton for one chat or all, setMyDefaultAdministratorRights, getUserProfilePhotos."""
    alice.start(bot)
    assert world.call(bot, "getChatMenuButton") == {"type": "commands"}
    app = {"type": "web_app", "text": "Open", "web_app": {"url": "https://x.org/"}}
    world.call(bot, "setChatMenuButton", menu_button=app, chat_id=alice.id)
    assert world.call(bot, "getChatMenuButton", chat_id=alice.id) == app
    assert world.call(bot, "getChatMenuButton") == {"type": "commands"}
    world.call(
        bot, "setMyDefaultAdministratorRights", rights={name: name == "can_pin_messages" for name in RIGHTS}
    )
    rights = world.call(bot, "getMyDefaultAdministratorRights")
    assert [name for name, value in rights.items() if value] == ["can_pin_messages"]
    assert world.call(bot, "getUserProfilePhotos", user_id=alice.id) == {"total_count": 0, "photos": []}


RIGHTS = (
    "is_anonymous",
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
    "can_pin_messages",
)
