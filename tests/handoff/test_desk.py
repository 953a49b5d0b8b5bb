"""A dialog between a user and operators in a group with topics."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from trioworkers.testing import faults

REQUESTED = "🔔 Waiting for an operator: the user asked for an operator. /take it or answer."
TAKEN = "👤 Taken by Anna."


async def test_a_dialog_goes_to_an_operator_and_back(desk, autojump_clock):
    """The bot has it before and after; while the operator has it the bot gets nothing."""
    await desk.user("hi")
    await desk.asks("/operator my order is lost")
    await desk.user("hello?")
    assert desk.in_topic() == [REQUESTED, "/operator my order is lost", "hello?"]
    await desk.operator("I am looking")
    await desk.user("thanks")
    await desk.operator("/close")
    await desk.user("bye")
    assert desk.to_alice() == ["bot: hi", "I am looking", "bot: bye"]
    assert desk.given["support"] == ["hi", "handoff_ended", "bye"]
    assert desk.in_topic()[3:] == [
        TAKEN, "thanks", "↩️ Going back to the bot (closed).", "🤖 The bot has the dialog again."
    ]  # fmt: skip
    assert desk.fences == [("support", desk.alice.id, 1)]
    assert not desk.failures


async def test_what_happens_is_reported_without_what_was_said(desk, autojump_clock):
    """Events hold dialog keys, epochs and ids; no text, no name."""
    await desk.asks("/operator secret words")
    await desk.operator("secret answer")
    await desk.operator("/close")
    dialog = {"dialog": f"support/{desk.alice.id}", "epoch": 1}
    operator = {"operator": f"tg:{desk.anna.id}"}
    assert [(one.event, one.bot, one.fields) for one in desk.plugin.events] == [
        ("handoff.requested", "support", {**dialog, "reason": "command"}),
        ("handoff.assigned", "support", {**dialog, **operator}),
        ("handoff.released", "support", {**dialog, **operator, "reason": "closed"}),
    ]
    assert "secret" not in repr(desk.plugin.events) + repr(desk.plugin.logged)


async def test_the_transcript_holds_all_that_was_said_in_order(desk, autojump_clock):
    """With notes, which the user does not see."""
    await desk.asks("/operator help")
    await desk.operator("hello")
    await desk.operator("/note a good customer")
    await desk.user("thanks")
    await desk.operator("/close")
    said = [line for line in desk.lines("support", desk.alice.id) if line[0] != "desk"]
    assert said == [
        ("user", "text", "/operator help"),
        ("operator", "text", "hello"),
        ("note", "text", "a good customer"),
        ("user", "text", "thanks"),
    ]
    assert desk.to_alice() == ["hello"]


async def test_an_operator_may_speak_only_once_the_bot_is_fenced(desk, autojump_clock):
    """Words wait for the acknowledgement."""
    desk.fence_time = 3
    await desk.asks()
    await desk.operator("hello")
    assert desk.to_alice() == []
    await trio.sleep(3)
    await desk.settle()
    assert desk.to_alice() == ["hello"]


async def test_an_operator_takes_a_dialog_from_the_bot(desk, autojump_clock):
    """In the topic of an earlier handoff, or by the chat's id where there is none."""
    desk.alice.start(desk.support)
    await desk.settle()
    desk.anna.send(desk.support, f"/take {desk.alice.id}", group=desk.group)
    await desk.settle()
    await desk.user("are you there?")
    await desk.operator("yes")
    await desk.operator("/close")
    await desk.operator("still here?")
    assert desk.in_topic()[-1] == "Not sent. The bot has this dialog. /take it first."
    await desk.operator("/take")
    await desk.operator("now")
    assert desk.to_alice() == ["bot: /start", "yes", "now"]
    assert [epoch for _, _, epoch in desk.fences] == [1, 2]
    assert "are you there?" not in desk.given["support"]


async def test_there_is_one_topic_for_each_user(desk, autojump_clock):
    """However many ask at once, and however often; it opens with a card."""
    people = [desk.world.add_user(f"User{number}") for number in range(5)]
    for _ in range(3):
        for person in people:
            person.send(desk.support, "/operator")
    await desk.settle()
    made = desk.world.calls_of("createForumTopic")
    assert sorted(call.params["name"] for call in made) == [f"User{number} · support" for number in range(5)]
    cards = [
        message["text"]
        for message in desk.world.sent(desk.support, desk.group.id)
        if "id " in message["text"]
    ]
    assert len(cards) == 5


async def test_the_card_says_who_the_user_is(desk, autojump_clock):
    """Name, username, id, bot, and what operators may do."""
    await desk.asks()
    card = next(m["text"] for m in desk.world.sent(desk.support, desk.group.id) if "text" in m)
    assert card.startswith(f"Alice\n@alice_w\nid {desk.alice.id}\nbot support\n\n/take")


@pytest.mark.parametrize("words", [None, "TOPIC_DELETED"])
async def test_a_deleted_topic_is_made_anew_and_nothing_is_lost(desk, words, autojump_clock):
    """What was to be shown there is sent again."""
    await desk.asks()
    first = desk.topic()
    if words is None:
        desk.group.delete_topic(first)
    else:
        desk.world.faults.add(respond=faults.error(400, f"Bad Request: {words}"), method="copyMessage")
    await desk.user("important")
    await desk.user("more")
    assert desk.topic() != first
    assert desk.in_topic() == ["important", "more"]
    await desk.operator("I see it")
    assert desk.to_alice() == ["I see it"]


async def test_a_user_who_has_blocked_the_bot_is_told_of_in_words(desk, autojump_clock):
    """To the operator, who waits for an answer otherwise; and it is in the transcript."""
    await desk.asks()
    await desk.operator("hello")
    desk.alice.block(desk.support)
    await desk.settle()
    await desk.operator("are you there?")
    assert desk.in_topic()[-2:] == ["[blocked the bot]", "⚠️ Not delivered: the user has blocked the bot."]
    assert desk.lines("support", desk.alice.id)[-1] == ("desk", "undelivered", "the user has blocked the bot")
    assert len(desk.core.to_users.places()) == 0


async def test_missing_rights_are_told_in_the_group_and_in_the_log(desk, autojump_clock):
    """Once, not with each message; once they are there, all is shown."""
    desk.group.demote(desk.support)
    await desk.asks()
    await desk.user("hello?")
    await trio.sleep(60)
    words = "the bot lacks a right in the operators' group: make it an administrator that manages topics"
    assert desk.texts("support", desk.group.id) == [f"⚠️ {words}"]
    assert desk.plugin.logged == [(words, {"bot": "support"})]
    desk.group.promote(desk.support)
    await trio.sleep(20)
    assert desk.in_topic() == [REQUESTED, "/operator", "hello?"]


async def test_a_group_without_topics_is_told_of(make_desk, autojump_clock):
    """In words that say what to do."""
    desk = await make_desk()
    desk.group.chat.forum = False
    await desk.asks()
    assert desk.texts("support", desk.group.id) == [
        "⚠️ the operators' group has no topics: switch them on in its settings"
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"photo": [{"file_id": "p"}], "caption": "look"},
        {"voice": {"file_id": "v"}},
        {"sticker": {"file_id": "s"}},
        {"location": {"latitude": 1.0, "longitude": 2.0}},
        {"contact": {"phone_number": "1", "first_name": "B"}},
    ],
)
async def test_media_of_every_kind_are_copied_both_ways(desk, content, autojump_clock):
    """Not forwarded: a copy does not show who has written it."""
    await desk.asks()
    await desk.user("", **content)
    await desk.operator("", **content)
    in_group = [m for m in desk.world.sent(desk.support, desk.group.id) if next(iter(content)) in m]
    to_user = desk.world.sent(desk.support, desk.alice.id)
    assert (len(in_group), len(to_user)) == (1, 1)
    for message in (*in_group, *to_user):
        assert {name: message[name] for name in content} == content
        assert "forward_origin" not in message
    kind = next(iter(content))
    assert desk.lines("support", desk.alice.id)[-1] == ("operator", kind, content.get("caption"))


async def test_what_cannot_be_copied_is_described(desk, autojump_clock):
    """An invoice, a service message, and what Telegram refuses for its own reasons."""
    await desk.asks()
    await desk.user("", successful_payment={"total_amount": 1})
    await desk.user("", new_chat_photo=[])
    desk.world.faults.add(
        respond=faults.error(400, "Bad Request: message can't be copied"), method="copyMessage"
    )
    await desk.user("", poll={"id": "1", "question": "?"})
    assert desk.in_topic()[-3:] == ["[a payment]", "[a service message]", "[poll]"]
    await desk.operator("", invoice={"title": "x"})
    assert desk.in_topic()[-1] == "Not sent. Telegram does not copy [an invoice]."


async def test_albums_stay_together_both_ways(desk, autojump_clock):
    """Their parts come as updates of their own; they are gathered, and copied in one call."""
    await desk.asks()
    parts: list[Any] = [{"photo": [{"file_id": str(number)}]} for number in range(3)]
    parts[0]["caption"] = "three"
    desk.alice.send_album(desk.support, parts)
    desk.alice.send(desk.support, "that was all")
    await desk.settle()
    assert desk.in_topic()[-4:] == ["<photo>three", "<photo>", "<photo>", "that was all"]
    desk.anna.send_album(desk.support, parts, group=desk.group, thread_id=desk.topic())
    await trio.sleep(2)
    assert desk.to_alice() == ["<photo>three", "<photo>", "<photo>"]
    assert len(desk.world.calls_of("copyMessages")) == 2
    for chat in (desk.group.id, desk.alice.id):
        albums = [m["media_group_id"] for m in desk.world.sent(desk.support, chat) if "photo" in m]
        assert len(albums) == 3
        assert len(set(albums)) == 1


async def test_edits_are_mirrored_both_ways(desk, autojump_clock):
    """Of texts and of captions: the copy is edited, not sent again."""
    await desk.asks()
    await desk.user("helo")
    desk.alice.edit(desk.support, "hello")
    await desk.user("", photo=[{"file_id": "p"}], caption="lok")
    desk.alice.edit(desk.support, "look")
    await desk.settle()
    assert desk.in_topic()[-2:] == ["hello", "<photo>look"]
    await desk.operator("god day")
    desk.anna.edit(desk.support, "good day", group=desk.group)
    await desk.settle()
    assert desk.to_alice() == ["good day"]
    assert [line for line in desk.lines("support", desk.alice.id) if line[1] == "edit"] == [
        ("user", "edit", "hello"),
        ("user", "edit", "look"),
        ("operator", "edit", "good day"),
    ]


async def test_an_edit_of_what_was_not_shown_is_shown(desk, autojump_clock):
    """The user edits what the bot had answered: operators see the new words."""
    await desk.user("helo")
    desk.bot_answers = False
    desk.alice.send(desk.support, "/operator")
    await desk.settle()
    message = dict(desk.alice.last_said(desk.support), message_id=1, text="hello", edit_date=1)
    desk.support.queue.push({"edited_message": message})
    await desk.settle()
    assert desk.in_topic()[-1] == "✏️ hello"


async def test_answers_to_a_message_stay_answers(desk, autojump_clock):
    """A reply to a copy is a reply to its original, both ways."""
    await desk.asks()
    await desk.user("first")
    copy = desk.world.sent(desk.support, desk.group.id)[-1]
    original = desk.alice.last_said(desk.support)
    await desk.operator("about that", reply_to_message=copy)
    answer = desk.world.sent(desk.support, desk.alice.id)[-1]
    assert answer["reply_to_message"]["message_id"] == original["message_id"]
    said = desk.anna.last_said(desk.support, group=desk.group)
    await desk.user("thanks", reply_to_message=answer)
    shown = desk.world.sent(desk.support, desk.group.id)[-1]
    assert shown["reply_to_message"]["message_id"] == said["message_id"]


async def test_a_pressed_button_is_shown_and_stops_spinning(desk, autojump_clock):
    """The bot does not get it; its label is shown."""
    keyboard = {"inline_keyboard": [[{"text": "Buy", "callback_data": "b:1"}]]}
    desk.alice.start(desk.support)
    await desk.settle()
    message = desk.world.call(
        desk.support, "sendMessage", chat_id=desk.alice.id, text="?", reply_markup=keyboard
    )
    await desk.asks()
    desk.alice.press(desk.support, message, "Buy")
    await desk.settle()
    assert desk.in_topic()[-1] == "[pressed the button “Buy”]"
    assert len(desk.world.query_answers) == 1
    assert "callback_query" not in desk.given["support"]


async def test_a_flood_is_in_the_transcript_alone(make_desk, autojump_clock):
    """The group would show nothing else; the operators are told once a minute."""
    desk = await make_desk(flood=3)
    await desk.asks()
    for number in range(10):
        await desk.user(f"flood {number}")
    shown = [text for text in desk.in_topic() if text.startswith("flood")]
    assert shown == ["flood 0", "flood 1"]
    assert len([text for text in desk.in_topic() if text.startswith("⚠️ Many")]) == 1
    assert len([line for line in desk.lines("support", desk.alice.id) if line[0] == "user"]) == 11
    await trio.sleep(61)
    await desk.user("calm")
    assert desk.in_topic()[-1] == "calm"


async def test_the_group_gets_twenty_messages_a_minute_and_replies_do_not_wait(make_desk, autojump_clock):
    """Telegram's limits are on: no call is refused, and the operator's words overtake the copies."""
    desk = await make_desk(limits=True, group_per_minute=20, flood=100)
    await desk.asks()
    for number in range(40):
        desk.alice.send(desk.support, f"line {number}")
    await desk.settle()
    began = trio.current_time()
    await desk.operator("hello")
    assert desk.to_alice() == ["hello"]
    assert trio.current_time() - began < 5
    await trio.sleep(200)
    assert [text for text in desk.in_topic() if text.startswith("line")] == [f"line {n}" for n in range(40)]
    assert [call for call in desk.world.calls if call.error_code == 429] == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("/who", "This dialog waits for an operator."),
        (
            "/help",
            "Known are /take, /close, /note TEXT, /ban, /unban, /who; anything else is sent to the user.",
        ),
        (
            "/note",
            "Known are /take, /close, /note TEXT, /ban, /unban, /who; anything else is sent to the user.",
        ),
    ],
)
async def test_commands_are_answered_in_the_topic(desk, text, answer, autojump_clock):
    """And go to no user."""
    await desk.asks()
    await desk.operator(text)
    assert desk.in_topic()[-1] == answer
    assert desk.to_alice() == []


async def test_a_banned_user_gets_nothing_until_the_ban_is_lifted(desk, autojump_clock):
    """Neither from operators nor from the bot; what is said meanwhile is dropped."""
    await desk.asks()
    await desk.operator("hello")
    await desk.operator("/ban")
    await desk.user("please")
    await desk.operator("no")
    assert desk.in_topic()[-2:] == [
        "⛔️ Banned by Anna. /unban lifts it.",
        "Not sent. The user is banned by Anna.",
    ]
    await desk.operator("/unban")
    await desk.user("thanks")
    assert desk.to_alice() == ["hello", "bot: thanks"]
    assert desk.given["support"] == ["handoff_ended", "thanks"]


async def test_only_operators_may_act(make_desk, autojump_clock):
    """Others in the group are not heard, nor are bots."""
    desk = await make_desk(operators=[99])
    await desk.asks()
    await desk.operator("hello")
    assert desk.to_alice() == []
    other = await make_desk()
    await other.asks()
    await other.operator("hello", **{"from": {"id": 5, "is_bot": True, "first_name": "spam"}})
    assert other.to_alice() == []


async def test_an_administrator_who_hides_is_an_operator(desk, autojump_clock):
    """Telegram sends what they say as the group's."""
    await desk.asks()
    await desk.operator(
        "hello",
        **{
            "from": {"id": 1087968824, "is_bot": True, "first_name": "Group"},
            "sender_chat": {"id": desk.group.id},
        },
    )
    assert desk.to_alice() == ["hello"]
    assert "👤 Taken by an administrator." in desk.in_topic()


async def test_the_group_is_never_given_to_the_bot(desk, autojump_clock):
    """What operators say among themselves concerns no handler."""
    desk.anna.send(desk.support, "lunch?", group=desk.group)
    desk.anna.send(desk.support, "/start", group=desk.group)
    await desk.settle()
    assert desk.given["support"] == []
    assert desk.texts("support", desk.group.id) == []


async def test_notices_say_what_becomes_of_the_dialog(make_desk, autojump_clock):
    """With the operator's name where the fleet wants it."""
    notices = {
        "queued_text": "wait",
        "assigned_text": "{operator} is here",
        "released_text": "over",
        "timed_out_text": "nobody",
    }
    desk = await make_desk(**notices, anonymous=False)
    await desk.asks()
    await desk.operator("hello")
    await desk.operator("/close")
    await desk.user("hi")
    assert desk.to_alice() == ["wait", "Anna is here", "hello", "over", "bot: hi"]
    hidden = await make_desk(**notices)
    await hidden.asks()
    await hidden.operator("/take")
    assert hidden.to_alice() == ["wait", "an operator is here"]


async def test_an_album_that_is_refused_for_good_is_told_of_and_holds_nothing_up(desk, autojump_clock):
    """In words, with Telegram's reason; it is not tried again."""
    await desk.asks()
    desk.world.faults.add(
        respond=faults.error(400, "Bad Request: nobody knows why"), method="copyMessages", times=None
    )
    desk.alice.send_album(desk.support, [{"photo": [{"file_id": str(number)}]} for number in range(2)])
    await desk.user("after it")
    await trio.sleep(100)
    told = "⚠️ A message could not be shown here: Telegram refused it (Bad Request: nobody knows why)."
    assert sorted(desk.in_topic()[-2:]) == sorted(["after it", told])
    assert len([says for says, _ in desk.plugin.logged if says == "a copy was refused by Telegram"]) == 1
    assert desk.core.to_desk.places() == []


async def test_a_topic_that_is_refused_for_good_is_told_of_in_the_group(desk, autojump_clock):
    """Once; what was to be shown there is in the transcript, and a later topic shows what comes then."""
    refused = desk.world.faults.add(
        respond=faults.error(400, "Bad Request: nobody knows why"), method="createForumTopic", times=None
    )
    await desk.asks()
    await desk.user("lost in the group")
    await trio.sleep(100)
    reason = "Telegram refused a topic (Bad Request: nobody knows why)"
    told = f"⚠️ A message to support could not be shown: {reason}."
    assert desk.texts("support", desk.group.id) == [told]
    assert desk.core.to_desk.places() == []
    assert ("user", "text", "lost in the group") in desk.lines("support", desk.alice.id)
    desk.world.faults.remove(refused)
    await desk.user("shown")
    assert desk.in_topic() == ["shown"]


async def test_what_says_that_something_was_refused_is_not_said_of_itself(desk, autojump_clock):
    """A topic that takes nothing more does not make notices of notices."""
    await desk.asks()
    desk.world.faults.add(respond=faults.error(400, "Bad Request: nobody knows why"), times=None)
    await desk.user("lost")
    await trio.sleep(100)
    assert desk.core.to_desk.places() == []
    refused = [fields for says, fields in desk.plugin.logged if says == "a copy was refused by Telegram"]
    assert len(refused) == 2


async def test_another_bot_may_sit_in_the_group(make_desk, autojump_clock):
    """It cannot copy from the user's chat: texts are sent again, files are fetched and sent."""
    desk = await make_desk(desk="reception", bots=["support"])
    reception = desk.add_bot("reception")
    desk.group.promote(reception)
    desk.group.demote(desk.support)
    desk.alice.send(desk.support, "/operator")
    await desk.settle()
    desk.alice.send_photo(desk.support, b"picture", "look")
    desk.alice.send(desk.support, "", location={"latitude": 1.0, "longitude": 2.0})
    wanted = [REQUESTED, "/operator", "<photo>look", "[location]"]
    give_up = time.monotonic() + 30
    while desk.texts("reception", desk.group.id)[1:] != wanted and time.monotonic() < give_up:
        await desk.settle()  # the file is written in a thread, which the test's clock does not wait for
    assert desk.texts("reception", desk.group.id)[1:] == wanted
    desk.anna.send(reception, "seen", group=desk.group, thread_id=desk.topic())
    await desk.settle()
    assert desk.to_alice() == ["seen"]
    assert desk.given["support"] == []


@pytest.mark.parametrize(
    ("earlier", "is_marked"),
    [
        ((), False),
        (("sendMessage 1000002",), True),
        (("sendPhoto",), True),
        (("sendMessage 5",), False),
        (("sendChatAction 1000002", "answerCallbackQuery -", "handoff"), False),
    ],
)
async def test_what_the_bot_may_have_answered_is_marked(desk, autojump_clock, earlier, is_marked):
    """Its handler was cut off, or died, after it had called Telegram; the copy follows."""
    assert desk.alice.id == 1000002
    await desk.asks()
    desk.earlier = earlier
    await desk.user("hello?")
    mark = ["☝️ The bot has answered the next message already, or may have."] if is_marked else []
    assert desk.in_topic()[2:] == [*mark, "hello?"]
