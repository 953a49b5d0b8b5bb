"""Scripted users: what they do becomes updates, what bots say reaches them."""

from __future__ import annotations

import msgspec
import pytest

from trioworkers.testing import NothingSaid


@pytest.fixture
def updates(world, bot):
    world.repeat_guard = False

    def updates(who=bot):
        got = [msgspec.json.decode(bytes(raw)) for raw in world.call(who, "getUpdates")]
        if got:
            world.call(who, "getUpdates", offset=got[-1]["update_id"] + 1)
        return got

    return updates


def test_a_text_becomes_a_message(bot, alice, updates):
    """A command carries its entity; extra fields go into the message."""
    update_id = alice.send(bot, "/start now", via="x")
    (update,) = updates()
    assert update["update_id"] == update_id
    assert update["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]
    assert update["message"]["chat"]["type"] == "private"
    assert update["message"]["via"] == "x"


@pytest.mark.parametrize(
    ("text", "length"),
    [("/start", 6), ("/start@a_bot x", 12), ("/start,", 6), ("/", None), ("/ä", None), ("a /b", None)],
)
def test_a_command_is_found_where_a_text_begins_with_it(bot, alice, updates, text, length):
    """Also after an edit, which takes away the entities that were there."""
    entities = [{"type": "bot_command", "offset": 0, "length": length}] if length else None
    alice.send(bot, text)
    assert updates()[-1]["message"].get("entities") == entities
    for before in ("/another_command", "none"):
        alice.edit(bot, before)
        alice.edit(bot, text)
        assert updates()[-1]["edited_message"].get("entities") == entities


def test_an_edit_becomes_an_edited_message(bot, alice, updates):
    """It has the id of the message, the new text and an edit_date; with nothing said it is a mistake."""
    with pytest.raises(LookupError):
        alice.edit(bot, "x")
    alice.send(bot, "one")
    alice.edit(bot, "two")
    first, second = updates()
    assert (first["message"]["text"], second["edited_message"]["text"]) == ("one", "two")
    assert first["message"]["message_id"] == second["edited_message"]["message_id"]
    assert "edit_date" in second["edited_message"]


async def test_expect_returns_each_message_once_in_order(world, bot, alice, autojump_clock):
    """It waits for the next message that was not seen; a silence is a clear failure."""
    await alice.say(bot, "hi")
    for text in ("one", "two"):
        world.call(bot, "sendMessage", chat_id=alice.id, text=text)
    assert [(await alice.expect(bot))["text"] for _ in range(2)] == ["one", "two"]
    with pytest.raises(NothingSaid, match=r"expected a message of .* within 3 s, got none; 1 updates"):
        await alice.expect(bot, 3)


async def test_expect_wakes_up(world, bot, alice, nursery, autojump_clock):
    """A message that comes while it waits ends the wait."""
    import trio

    alice.start(bot)

    async def later():
        await trio.sleep(1)
        world.call(bot, "sendMessage", chat_id=alice.id, text="late")

    nursery.start_soon(later)
    assert (await alice.expect(bot, timeout=2))["text"] == "late"
    assert trio.current_time() == 1


def test_pressing_a_button(world, bot, alice, updates):
    """By its text or its data; a button that is not there is a mistake."""
    alice.start(bot)
    markup = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
    message = world.call(bot, "sendMessage", chat_id=alice.id, text="?", reply_markup=markup)
    alice.press(bot, message, "Yes")
    alice.press(bot, message, "y")
    assert [u["callback_query"]["data"] for u in updates()[1:]] == ["y", "y"]
    with pytest.raises(LookupError):
        alice.press(bot, message, "No")


def test_blocking_tells_the_bot(bot, alice, updates):
    """my_chat_member goes from member to kicked and back; speaking again unblocks."""
    alice.block(bot)
    alice.unblock(bot)
    states = [u["my_chat_member"]["new_chat_member"]["status"] for u in updates()]
    assert states == ["kicked", "member"]


def test_inline_queries_and_results(bot, alice, updates):
    """They arrive as such."""
    alice.inline_query(bot, "cats")
    alice.choose_inline_result(bot, "7", "cats")
    first, second = updates()
    assert first["inline_query"]["query"] == "cats"
    assert second["chosen_inline_result"]["result_id"] == "7"


def test_files_of_users(world, bot, alice, updates):
    """A photo or document carries a file_id that the bot can resolve."""
    alice.send_photo(bot, b"jpeg", "look")
    alice.send_document(bot, b"text", filename="a.txt", content_type="text/plain")
    photo, document = (update["message"] for update in updates())
    assert photo["caption"] == "look"
    assert document["document"]["file_name"] == "a.txt"
    path = world.call(bot, "getFile", file_id=photo["photo"][0]["file_id"])["file_path"]
    assert world.files.by_path(bot, path).content == b"jpeg"


def test_a_group_is_heard_by_its_bots(world, bot, alice, updates):
    """Every bot there gets the message; with privacy on, commands, replies and administrators only."""
    shy = world.add_bot("shy", privacy=True)
    group = world.add_group("G", [bot, shy, alice])
    assert alice.send(bot, "hi", group=group) > 0
    assert alice.send(shy, "hi", group=group) == 0
    assert alice.send(shy, "/go", group=group) > 0
    said = world.call(shy, "sendMessage", chat_id=group.id, text="what?")
    assert alice.send(shy, "that", group=group, reply_to=said) > 0
    group.promote(shy)
    assert alice.send(shy, "all", group=group) > 0
    assert len(updates()) == 5
    assert len(updates(shy)) == 3


def test_a_forum_has_topics(world, bot, alice, updates):
    """A message in a topic names its thread; the bot can answer there."""
    forum = world.add_group("Ops", [alice], admins=[bot], forum=True)
    thread = forum.add_topic("Bob")
    alice.send(bot, "x", group=forum, thread_id=thread)
    (update,) = updates()
    assert update["message"]["message_thread_id"] == thread
    assert update["message"]["chat"]["is_forum"] is True
    where = {"chat_id": forum.id, "message_thread_id": thread}
    assert world.call(bot, "sendMessage", **where, text="y")["is_topic_message"] is True


def test_joining_and_leaving_a_group(world, bot, alice, updates):
    """A bot is told when it is added and when it is thrown out."""
    group = world.add_group("G", [alice])
    group.add(bot, alice)
    group.kick(bot, alice)
    states = [u["my_chat_member"]["new_chat_member"]["status"] for u in updates()]
    assert states == ["member", "kicked"]


def test_enqueue_opens_the_chat(world, bot):
    """A raw update gets an id, and its private chat can be answered."""
    chat = {"id": 5, "type": "private", "first_name": "Load"}
    update_id = world.enqueue(bot, {"message": {"message_id": 1, "chat": chat, "text": "x"}})
    assert update_id > 0
    assert world.call(bot, "sendMessage", chat_id=5, text="y")["chat"]["first_name"] == "Load"
