"""The Bot API methods, decided without sockets."""

from __future__ import annotations

import pytest

from trioworkers.testing import Refused, Telegram
from trioworkers.testing.methods.table import all_methods

KEYBOARD = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}


@pytest.fixture
def say(world, bot, alice):
    alice.start(bot)
    return lambda text="hi", **params: world.call(bot, "sendMessage", chat_id=alice.id, text=text, **params)


@pytest.fixture
def forum(world, bot, alice):
    return world.add_group("Ops", [alice], admins=[bot], forum=True)


def refused(code, words, function, /, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    assert (caught.value.error_code, caught.value.description) == (code, words)
    return caught.value


def test_a_message_is_sent_and_kept(world, bot, alice, say):
    """sendMessage answers with the message; `sent` lists them in order."""
    first, second = say("one"), say("two", reply_markup=KEYBOARD)
    assert first["chat"]["id"] == alice.id
    assert first["from"]["id"] == bot.id
    assert second["message_id"] == first["message_id"] + 1
    assert world.sent(bot, alice.id) == [first, second]
    assert world.sent(bot, 4711) == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"text": "x"}, "chat_id is empty"),
        ({"chat_id": 1_000_001}, "message text is empty"),
        ({"chat_id": 1_000_001, "text": "  \n"}, "text must be non-empty"),
        ({"chat_id": 1_000_001, "text": "x" * 4097}, "message is too long"),
        ({"chat_id": 1_000_001, "text": "😀" * 2049}, "message is too long"),
        ({"chat_id": 4711, "text": "x"}, "chat not found"),
        ({"chat_id": "nonsense", "text": "x"}, "chat not found"),
        ({"chat_id": "@nobody", "text": "x"}, "chat not found"),
        ({"chat_id": 1_000_001, "text": "x", "parse_mode": "BBCode"}, "unsupported parse_mode"),
        (
            {"chat_id": 1_000_001, "text": "x", "reply_markup": "{"},
            "can't parse reply keyboard markup JSON object",
        ),
        ({"chat_id": 1_000_001, "text": "x", "reply_markup": [1]}, "object expected as reply markup"),
        (
            {"chat_id": 1_000_001, "text": "x", "reply_parameters": {"message_id": 99}},
            "message to be replied not found",
        ),
        ({"chat_id": 1_000_001, "text": "x", "message_thread_id": 99}, "message thread not found"),
        (
            {
                "chat_id": 1_000_001,
                "text": "x",
                "reply_markup": {"inline_keyboard": [[{"text": "b", "callback_data": "x" * 65}]]},
            },
            "BUTTON_DATA_INVALID",
        ),
    ],
)
def test_a_wrong_message_is_refused_in_telegrams_words(world, bot, alice, params, words):
    """Each missing, wrong or impossible parameter has its description."""
    alice.start(bot)
    refused(400, f"Bad Request: {words}", world.call, bot, "sendMessage", **params)


def test_the_longest_text_is_accepted(say):
    """4096 UTF-16 units are not too long, however many bytes they are."""
    assert len(say("😀" * 2048)["text"]) == 2048
    assert say(123)["text"] == "123"


def test_a_user_who_never_wrote_cannot_be_addressed(world, bot, alice):
    """403 until the user starts the bot, and again after blocking it."""
    words = "Forbidden: bot can't initiate conversation with a user"
    refused(403, words, world.call, bot, "sendMessage", chat_id=alice.id, text="x")
    refused(400, "Bad Request: chat not found", world.call, bot, "getChat", chat_id=alice.id)
    alice.start(bot)
    assert world.call(bot, "getChat", chat_id=alice.id)["username"] == "alice"
    alice.block(bot)
    words = "Forbidden: bot was blocked by the user"
    refused(403, words, world.call, bot, "sendMessage", chat_id=alice.id, text="x")
    refused(403, words, world.call, bot, "sendChatAction", chat_id=alice.id, action="typing")
    alice.unblock(bot)
    assert world.call(bot, "sendChatAction", chat_id=alice.id, action="typing") is True


def test_a_bot_cannot_write_to_a_bot(world, bot):
    """403 with Telegram's reason."""
    other = world.add_bot("other")
    words = "Forbidden: bots can't send messages to bots"
    refused(403, words, world.call, bot, "sendMessage", chat_id=other.id, text="x")


def test_a_message_is_edited_and_its_keyboard_goes(world, bot, alice, say):
    """editMessageText drops the keyboard unless it is sent again; the same again is refused."""
    message = say("one", reply_markup=KEYBOARD)
    where = {"chat_id": alice.id, "message_id": message["message_id"]}
    edited = world.call(bot, "editMessageText", **where, text="two")
    assert edited["text"] == "two"
    assert "reply_markup" not in edited
    assert edited["edit_date"] == 1_700_000_000
    assert (
        world.call(bot, "editMessageReplyMarkup", **where, reply_markup=KEYBOARD)["reply_markup"] == KEYBOARD
    )
    with pytest.raises(Refused, match="message is not modified"):
        world.call(bot, "editMessageReplyMarkup", **where, reply_markup=KEYBOARD)


@pytest.mark.parametrize(
    ("message_id", "words"),
    [
        (None, "message identifier is not specified"),
        ("x", "message identifier is not specified"),
        (99, "message to edit not found"),
        (1, "message can't be edited"),
    ],
)
def test_a_wrong_edit_is_refused(world, bot, alice, say, message_id, words):
    """Unknown messages and those of others cannot be edited."""
    params = {"chat_id": alice.id, "message_id": message_id, "text": "x"}
    refused(400, f"Bad Request: {words}", world.call, bot, "editMessageText", **params)


def test_a_deleted_message_is_gone(world, bot, alice, say):
    """A second deletion finds nothing; `sent` still tells that it was sent."""
    message = say()
    where = {"chat_id": alice.id, "message_id": message["message_id"]}
    assert world.call(bot, "deleteMessage", **where) is True
    refused(400, "Bad Request: message to delete not found", world.call, bot, "deleteMessage", **where)
    assert world.sent(bot, alice.id) == [message]


def test_deleting_for_others_needs_the_right(world, bot, alice):
    """In a group a plain member deletes its own messages only."""
    group = world.add_group("G", [bot, alice])
    alice.send(bot, "hi", group=group)
    where = {"chat_id": group.id, "message_id": 1}
    refused(400, "Bad Request: message can't be deleted", world.call, bot, "deleteMessage", **where)
    group.promote(bot)
    assert world.call(bot, "deleteMessage", **where) is True


def test_copy_and_forward(world, bot, alice, say):
    """A copy answers with its id and hides the origin; a forward names it."""
    group = world.add_group("G", [bot, alice])
    alice.send(bot, "secret", group=group)
    source = {"chat_id": alice.id, "from_chat_id": group.id, "message_id": 1}
    copy = world.call(bot, "copyMessage", **source)
    assert list(copy) == ["message_id"]
    assert world.sent(bot, alice.id)[-1]["text"] == "secret"
    forward = world.call(bot, "forwardMessage", **source)
    assert forward["forward_origin"]["sender_user"]["id"] == alice.id
    source["message_id"] = 99
    refused(400, "Bad Request: message to copy not found", world.call, bot, "copyMessage", **source)
    refused(400, "Bad Request: message to forward not found", world.call, bot, "forwardMessage", **source)


def test_protected_content_cannot_be_copied(world, bot, alice, say):
    """protect_content forbids copy and forward."""
    message_id = say(protect_content=True)["message_id"]
    source = {"chat_id": alice.id, "from_chat_id": alice.id, "message_id": message_id}
    refused(400, "Bad Request: message can't be copied", world.call, bot, "copyMessage", **source)


def test_a_reply_carries_what_it_answers(say):
    """reply_parameters and the older reply_to_message_id both work; optional ones may miss."""
    first = say("one")
    second = say("two", reply_parameters={"message_id": first["message_id"]})
    assert second["reply_to_message"]["text"] == "one"
    assert say("x", reply_to_message_id=first["message_id"])["reply_to_message"]["text"] == "one"
    absent = {"message_id": 99, "allow_sending_without_reply": True}
    assert "reply_to_message" not in say("three", reply_parameters=absent)


def test_a_callback_query_is_answered_once_and_in_time(world, bot, alice, say, clock):
    """The second answer, a late one and an invented id earn 400 query is too old."""
    words = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    message = say(reply_markup=KEYBOARD)

    def press():
        alice.press(bot, message, "Yes")
        return next(reversed(world.queries))

    query = press()
    assert world.call(bot, "answerCallbackQuery", callback_query_id=query, text="ok") is True
    assert world.query_answers[query]["text"] == "ok"
    refused(400, words, world.call, bot, "answerCallbackQuery", callback_query_id=query)
    refused(400, words, world.call, bot, "answerCallbackQuery", callback_query_id="1")
    query = press()
    clock.go(151)
    refused(400, words, world.call, bot, "answerCallbackQuery", callback_query_id=query)


def test_an_inline_query_is_answered(world, bot, alice):
    """answerInlineQuery takes a list of results, once."""
    alice.inline_query(bot, "cats")
    query = next(reversed(world.queries))
    refused(
        400,
        "Bad Request: expected an Array of InlineQueryResult",
        world.call,
        bot,
        "answerInlineQuery",
        inline_query_id=query,
    )
    assert world.call(bot, "answerInlineQuery", inline_query_id=query, results="[]") is True


def test_commands_are_kept_by_scope(world, bot):
    """What was set is what is got; bad names are refused."""
    commands = [{"command": "start", "description": "go"}]
    world.call(bot, "setMyCommands", commands=commands)
    scope = {"type": "all_private_chats"}
    assert world.call(bot, "getMyCommands") == commands
    assert world.call(bot, "getMyCommands", scope=scope) == []
    bad = [{"command": "Not Good", "description": "x"}]
    refused(400, "Bad Request: BOT_COMMAND_INVALID", world.call, bot, "setMyCommands", commands=bad)


def test_topics_are_opened_written_to_closed_and_deleted(world, bot, alice, forum):
    """A topic's life; after it ended, messages earn `message thread not found`."""
    topic = world.call(bot, "createForumTopic", chat_id=forum.id, name="Alice")
    where = {"chat_id": forum.id, "message_thread_id": topic["message_thread_id"]}
    message = world.call(bot, "sendMessage", **where, text="x")
    assert message["message_thread_id"] == topic["message_thread_id"]
    assert message["is_topic_message"] is True
    assert world.call(bot, "editForumTopic", **where, name="Bob") is True
    assert world.call(bot, "closeForumTopic", **where) is True
    refused(400, "Bad Request: TOPIC_NOT_MODIFIED", world.call, bot, "closeForumTopic", **where)
    forum.demote(bot)
    refused(400, "Bad Request: TOPIC_CLOSED", world.call, bot, "sendMessage", **where, text="x")
    forum.promote(bot)
    assert world.call(bot, "reopenForumTopic", **where) is True
    assert world.call(bot, "deleteForumTopic", **where) is True
    words = "Bad Request: message thread not found"
    refused(400, words, world.call, bot, "sendMessage", **where, text="x")
    refused(400, "Bad Request: TOPIC_ID_INVALID", world.call, bot, "closeForumTopic", **where)


def test_topics_need_the_right_and_a_forum(world, bot, alice, forum):
    """Without can_manage_topics, or outside a forum, nothing is created."""
    group = world.add_group("G", admins=[bot])
    create = {"name": "x"}
    words = "Bad Request: the chat is not a forum"
    refused(400, words, world.call, bot, "createForumTopic", chat_id=group.id, **create)
    forum.promote(bot, {"can_delete_messages"})
    words = "Bad Request: not enough rights to create a topic"
    refused(400, words, world.call, bot, "createForumTopic", chat_id=forum.id, **create)


def test_an_upgraded_group_names_its_successor(world, bot, alice):
    """400 with migrate_to_chat_id for the old id; the new one works and both are announced."""
    group = world.add_group("G", [bot, alice])
    old = group.id
    new = group.upgrade(alice)
    error = refused(
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        world.call,
        bot,
        "sendMessage",
        chat_id=old,
        text="x",
    )
    assert error.parameters == {"migrate_to_chat_id": new}
    assert world.call(bot, "sendMessage", chat_id=new, text="x")["chat"]["type"] == "supergroup"
    assert world.pending(bot) == 2


def test_members_and_bans(world, bot, alice, forum):
    """getChatMember tells status and rights; banChatMember needs its right; a kicked bot is refused."""
    member = world.call(bot, "getChatMember", chat_id=forum.id, user_id=bot.id)
    assert (member["status"], member["can_manage_topics"]) == ("administrator", True)
    assert world.call(bot, "banChatMember", chat_id=forum.id, user_id=alice.id) is True
    status = world.call(bot, "getChatMember", chat_id=forum.id, user_id=alice.id)["status"]
    assert status == "kicked"
    forum.kick(bot, alice)
    words = "Forbidden: bot was kicked from the supergroup chat"
    refused(403, words, world.call, bot, "sendMessage", chat_id=forum.id, text="x")


def test_close_and_logout_behave_as_described(world, bot, clock):
    """close is refused for ten minutes after the first call; logOut locks the bot for ten."""
    world.authenticate(bot.token)
    clock.go(100)
    refused(429, "Too Many Requests: retry after 500", world.call, bot, "close")
    clock.go(500)
    assert world.call(bot, "close") is True
    assert world.call(bot, "logOut") is True
    refused(400, "Logged out", world.authenticate, bot.token)
    clock.go(601)
    assert world.authenticate(bot.token) is bot


def test_tokens(world, bot):
    """What is no token earns 404; an unknown, revoked or replaced one 401."""
    for nonsense in ("abc", "0:abc", "12:", ":abc", "12:a/b"):
        refused(404, "Not Found", world.authenticate, nonsense)
    refused(401, "Unauthorized", world.authenticate, "12:abc")
    refused(401, "Unauthorized", world.authenticate, bot.token, test=True)
    old = bot.token
    new = world.renew(bot)
    refused(401, "Unauthorized", world.authenticate, old)
    assert world.authenticate(new) is bot
    world.revoke(bot)
    refused(401, "Unauthorized", world.authenticate, new)


def test_a_call_tells_what_happened(world, bot, alice, say):
    """A record has parameters and result, or the error."""
    say("x")
    with pytest.raises(Refused):
        say("")
    good, bad = world.calls_of("SENDMESSAGE", bot)
    assert (good.ok, good.result["text"], good.error_code, good.params["text"]) == (True, "x", None, "x")
    assert (bad.ok, bad.result, bad.error_code) == (False, None, 400)


def test_telegrams_limits_when_turned_on(clock):
    """1/s in a chat, 30/s in all, 20/min in a group; 429 tells how long to wait."""
    telegram = Telegram(clock=clock, rate_limits=True)
    bot = telegram.add_bot("b")
    users = [telegram.add_user(str(i)) for i in range(32)]
    for user in users:
        user.start(bot)

    def send(chat_id):
        telegram.call(bot, "sendMessage", chat_id=chat_id, text="x")

    send(users[0].id)
    error = refused(429, "Too Many Requests: retry after 1", send, users[0].id)
    assert error.parameters == {"retry_after": 1}
    for user in users[1:30]:
        send(user.id)
    refused(429, "Too Many Requests: retry after 1", send, users[30].id)
    telegram.call(bot, "sendMessage", chat_id=users[31].id, text="x", allow_paid_broadcast=True)
    group = telegram.add_group("G", [bot])
    for _ in range(20):
        clock.go(1)
        send(group.id)
    refused(429, "Too Many Requests: retry after 41", send, group.id)


def test_new_tokens_are_limited_when_asked(clock):
    """More first calls than the limit earn 429 within the minute; known tokens do not count."""
    telegram = Telegram(clock=clock, new_tokens_per_minute=2)
    bots = [telegram.add_bot(str(i)) for i in range(3)]
    for _ in range(2):
        telegram.authenticate(bots[0].token)
        telegram.authenticate(bots[1].token)
    refused(429, "Too Many Requests: retry after 60", telegram.authenticate, bots[2].token)
    clock.go(60)
    assert telegram.authenticate(bots[2].token) is bots[2]


def test_every_method_has_a_test():
    """No method that does something is without a test that names it."""
    from pathlib import Path

    folder = Path(__file__).parent
    text = "".join(path.read_text() for path in folder.glob("test_sim_*.py"))
    assert [one.name for one in all_methods().values() if one.behaves and one.name not in text] == []
