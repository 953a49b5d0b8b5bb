"""A bot on the simulator in the test's own process: whatever a handler may do works without a daemon."""

from __future__ import annotations

import pytest
import trio

from trioworkers import ChatNotFound, InputFile
from trioworkers.testing import Telegram, faults, make_press, make_update, open_bot


async def handle(update, bot):
    """A bot that does a bit of everything."""
    if update.kind == "callback_query":
        query = update.raw["callback_query"]
        await bot.answer_callback_query(callback_query_id=query["id"])
        message = query["message"]
        await bot.edit_message_text(
            chat_id=update.chat_id, message_id=message["message_id"], text=f"{query['data']}!"
        )
    elif update.album:
        captions = [part.text for part in update.album if part.text]
        await bot.send_message(
            chat_id=update.chat_id, text=f"{len(update.album)} files: {', '.join(captions)}"
        )
    elif document := update.raw.get("message", {}).get("document"):
        file = await bot.get_file(file_id=document["file_id"])
        content = await bot.download(file["file_path"])
        await bot.send_document(
            chat_id=update.chat_id, document=InputFile(content[::-1], filename="back.txt")
        )
    elif update.text == "/ask":
        row = [{"text": "Yes", "callback_data": "yes"}, {"text": "No", "callback_data": "no"}]
        await bot.send_message(chat_id=update.chat_id, text="Sure?", reply_markup={"inline_keyboard": [row]})
    elif update.text == "/human":
        await bot.handoff(update.chat_id, "asked for it")
    elif update.text:
        await bot.send_message(
            chat_id=update.chat_id,
            text=f"{bot.settings['greeting']} {update.text}",
            reply_parameters={"message_id": update.raw["message"]["message_id"]},
        )


async def test_a_text_is_answered_with_the_settings_and_as_a_reply():
    """The bot is a whole one, and the chat of the update exists."""
    async with open_bot("echo", settings={"greeting": "hi"}) as bot:
        update = make_update(bot, "there")
        await handle(update, bot)
        (message,) = bot.sent(update.chat_id)
        assert message["text"] == "hi there"
        assert message["reply_to_message"]["message_id"] == update.raw["message"]["message_id"]
        assert (bot.name, bot.id, update.user_id) == ("echo", bot.sim.id, bot.user("Alice").id)
        assert update.idempotency_key == f"{bot.id}:{update.update_id}"
        assert make_update(bot, "again", attempt=2).attempt == 2


async def test_a_button_is_pressed_by_its_text_or_its_data():
    """The callback can be answered, and what it edits shows."""
    async with open_bot() as bot:
        await handle(make_update(bot, "/ask"), bot)
        await handle(make_press(bot, "Yes"), bot)
        (message,) = bot.sent(bot.user().id)
        assert message["text"] == "yes!"
        with pytest.raises(LookupError, match="no button"):
            make_press(bot, "Perhaps")
        with pytest.raises(LookupError, match="has sent nothing"):
            make_press(bot, "Yes", user=bot.user("Bob"))


async def test_files_go_both_ways():
    """Bytes that somebody sends are fetched by the bot, and what it uploads can be looked at."""
    async with open_bot() as bot:
        update = make_update(bot, "for you", document=b"abc")
        assert update.text == "for you"
        await handle(update, bot)
        sent = bot.sent(update.chat_id)[-1]["document"]
        stored = bot.telegram.files.by_id(bot.sim, sent["file_id"])
        assert stored is not None
        assert stored.content == b"cba"


async def test_an_album_is_handled_at_once():
    """Its parts are those of `update.album`."""
    async with open_bot() as bot:
        update = make_update(bot, [{"photo": b"1", "caption": "one"}, {"photo": b"2"}])
        assert [part.raw["message"]["photo"][0]["file_size"] for part in update.album] == [1, 1]
        await handle(update, bot)
        assert bot.sent(update.chat_id)[-1]["text"] == "2 files: one"


async def test_any_other_update_is_given_as_it_is():
    """What people do in the simulator, and updates that are written by hand."""
    async with open_bot() as bot:
        alice = bot.user("Alice")
        query = make_update(
            bot, {"inline_query": {"id": "1", "from": alice.brief, "query": "tea", "offset": ""}}
        )
        assert (query.kind, query.user_id, query.chat_id) == ("inline_query", alice.id, None)
        alice.block(bot.sim)
        assert bot.next_update().kind == "my_chat_member"
        with pytest.raises(LookupError):
            bot.next_update()


async def test_a_group_is_a_chat_like_any_other():
    """A bot that is in it hears and answers; one that is not gets no update."""
    async with open_bot(settings={"greeting": "hi"}) as bot:
        alice = bot.user("Alice")
        group = bot.telegram.add_group("Friends", [bot.sim, alice])
        update = make_update(bot, "all", user=alice, group=group)
        await handle(update, bot)
        assert [message["text"] for message in bot.sent(group.id)] == ["hi all"]
        with pytest.raises(LookupError, match="gets no update"):
            make_update(bot, "all", group=bot.telegram.add_group("Others", [alice]))


async def remind(bot, seconds):
    """Runs beside the handlings."""
    while True:
        await trio.sleep(seconds)
        await bot.send_message(chat_id=bot.settings["owner"], text=f"still {bot.settings['mood']}")


async def test_background_work_goes_on_by_the_clock_of_the_test(autojump_clock):
    """`start` begins it, hours pass at once, new settings are seen, and `stop` comes after it."""
    told = []

    async def start(bot):
        bot.background(remind, 3600)

    async def settings_changed(bot):
        told.append(bot.settings["mood"])

    async def stop(bot):
        told.append("stop")

    async with open_bot(start=start, stop=stop) as bot:
        owner = make_update(bot, "hello").chat_id
        await bot.change_settings({"owner": owner, "mood": "here"}, settings_changed)
        await trio.sleep(2 * 3600 + 60)
        assert [message["text"] for message in bot.sent(owner)] == ["still here"] * 2
        with pytest.raises(RuntimeError, match="background"):
            bot.background(remind, 1)
    assert told == ["here", "stop"]


async def test_what_a_background_task_raises_ends_the_test():
    """It is not lost."""

    async def broken(bot):
        raise ValueError("broken")

    async def start(bot):
        bot.background(broken)

    with pytest.raises(ValueError, match="broken"):
        async with open_bot(start=start):
            await trio.sleep_forever()


async def test_refusals_and_failures_come_out_as_they_are():
    """In no group: `pytest.raises` around the block finds them, and an assertion is shown as such."""
    with pytest.raises(ChatNotFound):
        async with open_bot() as bot:
            await bot.send_message(chat_id=12345, text="nobody there")
    with pytest.raises(AssertionError, match="ours"):
        async with open_bot() as bot:
            raise AssertionError("ours")


async def test_a_dialog_is_given_to_operators():
    """`bot.handoff` is answered, and noted."""
    async with open_bot() as bot:
        update = make_update(bot, "/human")
        await handle(update, bot)
        assert bot.handoffs == [(update.chat_id, "asked for it")]


async def test_a_simulator_of_its_own_has_faults():
    """Telegram's limits and failures are those of the simulator that a test sets up."""
    telegram = Telegram(seed=7)
    async with open_bot(telegram=telegram) as bot:
        assert bot.telegram is telegram
        update = make_update(bot, "hello")
        telegram.faults.add(respond=faults.server_error(), method="sendMessage")
        await bot.send_message(chat_id=update.chat_id, text="tried again")
        assert len(telegram.calls_of("sendMessage")) == 2


def test_it_needs_no_plugin_of_pytest():
    """A plain test runs it with `trio.run`."""

    async def greets():
        async with open_bot(settings={"greeting": "hi"}) as bot:
            update = make_update(bot, "there")
            await handle(update, bot)
            return bot.sent(update.chat_id)[-1]["text"]

    assert trio.run(greets) == "hi there"
