"""Copies, edits of captions, albums and deleted topics, as Telegram has them."""

from __future__ import annotations

import pytest

from trioworkers.testing import Refused, Telegram

BOLD = [{"type": "bold", "offset": 0, "length": 2}]


@pytest.fixture
def forum(world, bot, alice):
    return world.add_group("Ops", [alice], admins=[bot], forum=True)


def photo(name):
    return {"photo": [{"file_id": name, "file_unique_id": name, "file_size": 1}]}


def said(world, bot, alice):
    return alice.last_said(bot)["message_id"]


def refused(words, function, /, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    assert (caught.value.error_code, caught.value.description) == (400, f"Bad Request: {words}")


@pytest.mark.parametrize(
    "content",
    [
        {"voice": {"file_id": "v"}},
        {"sticker": {"file_id": "s"}},
        {"location": {"latitude": 1.0, "longitude": 2.0}},
        {"contact": {"phone_number": "1"}},
        {"dice": {"value": 6}},
        {"video": {"file_id": "v"}, "caption": "see", "caption_entities": BOLD},
        {"text": "bold", "entities": BOLD},
    ],
)
def test_a_message_of_any_kind_is_copied_with_all_it_holds(world, bot, alice, forum, content):
    """The copy is the bot's own, in the topic that was named."""
    alice.send(bot, **{"text": "", **content})
    thread = forum.add_topic("Alice")
    source = {"from_chat_id": alice.id, "message_id": said(world, bot, alice)}
    made = world.call(bot, "copyMessage", chat_id=forum.id, message_thread_id=thread, **source)
    copy = forum.chat.messages[made["message_id"]]
    assert {name: copy[name] for name in content} == content
    assert (copy["from"]["id"], copy["message_thread_id"]) == (bot.id, thread)


@pytest.mark.parametrize(
    "content", [{"pinned_message": {}}, {"invoice": {}}, {"giveaway": {}}, {"paid_media": {}}]
)
def test_service_messages_and_the_like_are_not_copied(world, bot, alice, content):
    """Alone they are refused, among others they are skipped."""
    alice.send(bot, "", **content)
    uncopied = said(world, bot, alice)
    target = {"chat_id": alice.id, "from_chat_id": alice.id}
    refused("message can't be copied", world.call, bot, "copyMessage", **target, message_id=uncopied)
    refused(
        "there are no messages to forward", world.call, bot, "copyMessages", **target, message_ids=[uncopied]
    )
    alice.send(bot, "hi")
    ids = [uncopied, said(world, bot, alice)]
    assert len(world.call(bot, "copyMessages", **target, message_ids=ids)) == 1


def test_an_album_stays_one(world, bot, alice, forum):
    """Its parts come as updates of their own with one media_group_id, and are copied with another one."""
    updates = alice.send_album(bot, [photo("a") | {"caption": "both"}, photo("b")])
    assert len(updates) == 2
    last = said(world, bot, alice)
    ids = [last - 1, last]
    made = world.call(bot, "copyMessages", chat_id=forum.id, from_chat_id=alice.id, message_ids=ids)
    copies = [forum.chat.messages[one["message_id"]] for one in made]
    assert [copy.get("caption") for copy in copies] == ["both", None]
    (album,) = {copy["media_group_id"] for copy in copies}
    assert album != alice.last_said(bot)["media_group_id"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], "message identifiers are not specified"),
        ([2, 1], "message identifiers must be in a strictly increasing order"),
        ([1, 1], "message identifiers must be in a strictly increasing order"),
        (list(range(1, 102)), "too many message identifiers specified"),
    ],
)
def test_message_ids_have_to_ascend(world, bot, alice, ids, words):
    """Telegram refuses the call as a whole."""
    alice.start(bot)
    target = {"chat_id": alice.id, "from_chat_id": alice.id}
    refused(words, world.call, bot, "copyMessages", **target, message_ids=ids)


def test_an_album_counts_as_its_messages(bot, alice, clock):
    """Twenty messages a minute to a group, however few calls they are."""
    world = Telegram(seed=1, clock=clock, rate_limits=True)
    bot, alice = world.add_bot("b"), world.add_user("Alice")
    group = world.add_group("Ops", [alice], admins=[bot], forum=True)
    alice.send_album(bot, [photo(str(number)) for number in range(10)])
    last = alice.last_said(bot)["message_id"]
    album = {"from_chat_id": alice.id, "message_ids": list(range(last - 9, last + 1))}
    for _ in range(2):
        world.call(bot, "copyMessages", chat_id=group.id, **album)
    with pytest.raises(Refused, match="429"):
        world.call(bot, "sendMessage", chat_id=group.id, text="one more")


def test_a_caption_is_edited_and_taken_away(world, bot, alice):
    """Of a photo; a text has none, and the same again changes nothing."""
    alice.send(bot, "", **photo("a"))
    source = {"from_chat_id": alice.id, "message_id": said(world, bot, alice)}
    copy = world.call(bot, "copyMessage", chat_id=alice.id, **source)["message_id"]
    where = {"chat_id": alice.id, "message_id": copy}
    edited = world.call(bot, "editMessageCaption", **where, caption="new", caption_entities=BOLD)
    assert (edited["caption"], edited["caption_entities"]) == ("new", BOLD)
    with pytest.raises(Refused, match="message is not modified"):
        world.call(bot, "editMessageCaption", **where, caption="new", caption_entities=BOLD)
    assert "caption" not in world.call(bot, "editMessageCaption", **where)
    text = world.call(bot, "sendMessage", chat_id=alice.id, text="hi")["message_id"]
    refused(
        "there is no caption in the message to edit",
        world.call,
        bot,
        "editMessageCaption",
        chat_id=alice.id,
        message_id=text,
        caption="x",
    )


def test_a_user_edits_a_caption(world, bot, alice):
    """The bot gets the message as it is now."""
    alice.send(bot, "", **photo("a"), caption="old")
    assert alice.edit(bot, "new")
    assert alice.last_said(bot)["caption"] == "new"
    assert "text" not in alice.last_said(bot)


def test_a_topic_that_was_deleted_by_hand_is_gone(world, bot, alice, forum):
    """With its messages; what is sent there is refused, and no bot is told."""
    thread = forum.add_topic("Alice")
    kept = world.call(bot, "sendMessage", chat_id=forum.id, text="general")["message_id"]
    gone = world.call(bot, "sendMessage", chat_id=forum.id, message_thread_id=thread, text="hi")["message_id"]
    pending = len(bot.queue)
    forum.delete_topic(thread)
    assert (kept in forum.chat.messages, gone in forum.chat.messages) == (True, False)
    assert len(bot.queue) == pending
    refused(
        "message thread not found",
        world.call,
        bot,
        "sendMessage",
        chat_id=forum.id,
        message_thread_id=thread,
        text="x",
    )


def test_nothing_was_said_yet(world, bot, alice):
    """There is no last message to look at."""
    with pytest.raises(LookupError):
        alice.last_said(bot)
