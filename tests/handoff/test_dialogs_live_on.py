"""Dialogs through kills, restarts, broken storage and time."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio
from trioworkers_plugins import handoff
from trioworkers_plugins.handoff.pieces import Place

from trioworkers import AskRefusedError, Update
from trioworkers.plugin_types import BotFacts
from trioworkers.testing import faults


async def test_a_dialog_survives_a_restart_in_each_state(make_desk, autojump_clock):
    """Who has it, its epoch, and the acknowledged fence."""
    desk = await make_desk()
    await desk.asks()
    await desk.kill()
    await desk.serve()
    await desk.user("still there?")
    await desk.operator("yes")
    await desk.kill()
    await desk.serve()
    await desk.user("good")
    await desk.operator("bye")
    assert desk.to_alice() == ["yes", "bye"]
    assert len(desk.fences) == 1
    assert (
        desk.in_topic().count(
            "🔔 Waiting for an operator: the user asked for an operator. /take it or answer."
        )
        == 1
    )
    await desk.operator("/ban")
    await desk.kill()
    await desk.serve()
    await desk.user("hello?")
    assert desk.given["support"] == []
    assert len(desk.world.calls_of("createForumTopic")) == 1


async def test_what_was_not_sent_is_sent_by_the_next_run(desk, autojump_clock):
    """In its order, to both sides; it is said of what may have been sent before."""
    await desk.asks()
    await desk.operator("hello")
    down = desk.world.faults.add(respond=faults.server_error(), times=None)
    for number in range(3):
        desk.alice.send(desk.support, f"u{number}")
        desk.anna.send(desk.support, f"o{number}", group=desk.group, thread_id=desk.topic())
        await desk.settle()
    await desk.kill()
    desk.world.faults.remove(down)
    assert desk.to_alice() == ["hello"]
    await desk.serve()
    await desk.settle()
    assert desk.to_alice() == ["hello", "o0", "o1", "o2"]
    marks = ["☝️ The next message may stand here twice.", "☝️ The user may read this twice: o0"]
    assert desk.in_topic()[-5:] == [marks[0], "u0", "u1", "u2", marks[1]]


async def test_a_dialog_that_was_going_back_goes_back_after_a_kill(desk, autojump_clock):
    """The bot is told, and has the dialog then."""
    await desk.asks()
    await desk.operator("hello")
    down = desk.world.faults.add(respond=faults.server_error(), method="copyMessage", times=None)
    desk.anna.send(desk.support, "last words", group=desk.group, thread_id=desk.topic())
    desk.anna.send(desk.support, "/close", group=desk.group, thread_id=desk.topic())
    await desk.settle()
    desk.alice.send(desk.support, "and now?")
    await desk.settle()
    assert desk.given["support"] == [], "nobody answers it before it is known who does"
    await desk.kill()
    desk.world.faults.remove(down)
    await desk.serve()
    await trio.sleep(31)  # what is held by the run that was killed
    assert desk.to_alice() == ["hello", "last words", "bot: and now?"]
    assert sorted(desk.given["support"]) == ["and now?", "handoff_ended"]


async def test_words_that_cannot_be_sent_do_not_keep_a_dialog(desk, autojump_clock):
    """After half a minute it goes back; the operator is told that the words were not delivered."""
    await desk.asks()
    await desk.operator("hello")
    desk.world.faults.add(
        respond=faults.server_error(), method="copyMessage", chat_id=desk.alice.id, times=None
    )
    await desk.operator("lost words")
    await desk.operator("/close")
    await trio.sleep(31)
    await desk.user("hi")
    assert desk.given["support"][0] == "handoff_ended"
    await trio.sleep(60)
    assert "⚠️ Not delivered: the bot has the dialog again." in desk.in_topic()
    assert desk.core.to_users.places() == []


async def test_updates_are_held_until_the_states_are_read(make_desk, autojump_clock):
    """Else the bot would answer a dialog that an operator has."""
    desk = await make_desk()
    await desk.asks()
    await desk.operator("hello")
    await desk.kill()
    desk.alice.send(desk.support, "to the operator")
    bob = desk.world.add_user("Bob")
    bob.send(desk.support, "to the bot")
    await trio.sleep(100)
    assert desk.given["support"] == []
    await desk.serve()
    await desk.settle()
    assert desk.given["support"] == ["to the bot"]
    assert desk.in_topic()[-1] == "to the operator"
    assert not desk.failures


async def test_bots_that_do_not_hand_off_are_not_held(make_desk, autojump_clock):
    """Nor does their keyword do anything."""
    desk = await make_desk(bots=["other"], serve=False)
    await desk.user("/operator")
    assert desk.given["support"] == ["/operator"]


async def test_a_message_whose_transcript_cannot_be_written_is_tried_again(desk, autojump_clock):
    """It is shown once, and noted once."""
    await desk.asks()
    desk.store.broken = OSError("disk full")
    desk.alice.send(desk.support, "important")
    await trio.sleep(5)
    assert desk.failures
    desk.store.broken = None
    await trio.sleep(5)
    assert desk.in_topic().count("important") == 1
    assert [line[2] for line in desk.lines("support", desk.alice.id)].count("important") == 1


async def test_a_state_counts_only_when_it_is_durable(desk, autojump_clock):
    """A take-over that could not be stored leaves the dialog with the bot."""
    await desk.user("hi")
    desk.store.broken = OSError("disk full")
    desk.alice.send(desk.support, "/operator")
    await desk.settle()
    assert desk.core.dialogs == {}
    assert desk.plugin.events == []
    desk.store.broken = None
    await trio.sleep(5)
    assert desk.core.dialog(Place(desk.support.id, desk.alice.id)).state == "queued"


async def test_a_message_that_was_shown_before_a_kill_is_not_shown_again(desk, autojump_clock):
    """Its update was not finished, so it comes again; its copy is known."""
    await desk.asks()
    await desk.user("once")
    body = {"update_id": 5, "message": desk.alice.last_said(desk.support)}
    desk.accept("support", msgspec.json.encode(body))
    await desk.settle()
    assert desk.in_topic().count("once") == 1


async def test_a_dialog_that_nobody_takes_goes_back_to_the_bot(make_desk, autojump_clock):
    """With what the user has said, so that the bot can answer it."""
    desk = await make_desk(queue_timeout=60, timed_out_text="sorry")
    ended = []
    real = desk.accept

    def accept(bot, body):
        ended.append(msgspec.json.decode(body))
        real(bot, body)

    desk.accept = accept
    await desk.asks("/operator help me")
    await desk.user("please")
    await trio.sleep(61)
    await desk.settle()
    content = next(update["handoff_ended"] for update in ended if "handoff_ended" in update)
    assert content["ended_by"] == "queue timeout"
    assert content["chat"] == {"id": desk.alice.id}
    assert [said["text"] for said in content["unanswered"]] == ["/operator help me", "please"]
    assert desk.to_alice() == ["sorry"]
    await desk.user("hi")
    assert desk.to_alice() == ["sorry", "bot: hi"]


async def test_what_an_operator_has_answered_is_not_given_to_the_bot(make_desk, autojump_clock):
    """Also after a restart: it is read from the transcript."""
    desk = await make_desk()
    await desk.asks("/operator help me")
    await desk.operator("how?")
    await desk.user("like so")
    place = Place(desk.support.id, desk.alice.id)
    assert [said["text"] for said in desk.core.unanswered(place)] == ["like so"]
    await desk.kill()
    await desk.serve()
    assert [said["text"] for said in desk.core.unanswered(place)] == ["like so"]


async def test_words_answer_what_was_shown_before_them(desk, autojump_clock):
    """A message that was not in the topic yet goes to the bot when the dialog ends, also after a restart."""
    await desk.asks()
    await desk.user("one")
    desk.world.faults.add(respond=faults.server_error(), method="copyMessage", chat_id=desk.group.id)
    await desk.user("two")
    await desk.operator("to one")
    place = Place(desk.support.id, desk.alice.id)
    assert [said["text"] for said in desk.core.unanswered(place)] == ["two"]
    await trio.sleep(5)
    assert "two" in desk.in_topic()
    await desk.kill()
    await desk.serve()
    assert [said["text"] for said in desk.core.unanswered(place)] == ["two"]
    await desk.operator("to two")
    assert desk.core.unanswered(place) == []


async def test_words_answer_a_copy_of_which_a_killed_run_has_noted_nothing(desk, autojump_clock):
    """It is shown again after the words, which were about the first copy: the bot does not answer it, too."""
    await desk.asks()
    await desk.operator("hello")
    held = trio.Event()

    async def killed(*args, **kwargs):
        await held.wait()

    desk.core.transcripts.pair = killed
    await desk.user("one")
    assert desk.in_topic()[-1] == "one"
    await desk.kill()
    desk.anna.send(desk.support, "to one", group=desk.group, thread_id=desk.topic())
    await desk.settle()
    await desk.serve()
    await trio.sleep(31)  # what was held while nothing ran
    assert desk.in_topic().count("one") == 2
    assert desk.to_alice() == ["hello", "to one"]
    assert desk.core.unanswered(Place(desk.support.id, desk.alice.id)) == []


async def test_a_dialog_in_which_nobody_speaks_goes_back_to_the_bot(make_desk, autojump_clock):
    """Each word, of either side, begins the time anew."""
    desk = await make_desk(idle_timeout=60)
    await desk.asks()
    await desk.operator("hello")
    for _ in range(2):
        await trio.sleep(50)
        await desk.user("hm")
        await trio.sleep(50)
        await desk.operator("yes")
    assert desk.given["support"] == []
    await trio.sleep(62)
    await desk.user("hi")
    assert desk.given["support"] == ["handoff_ended", "hi"]


async def test_a_user_may_go_back_to_the_bot(desk, autojump_clock):
    """By a word, while waiting and later."""
    for wait in (True, False):
        await desk.asks()
        if not wait:
            await desk.operator("hello")
        await desk.user("/cancel")
        await desk.user("hi")
    assert desk.given["support"] == ["handoff_ended", "hi", "handoff_ended", "hi"]
    assert desk.in_topic().count("↩️ Going back to the bot (cancelled).") == 2


@pytest.mark.parametrize("on_failure", [True, False])
async def test_a_failure_of_the_bot_asks_for_an_operator(make_desk, autojump_clock, on_failure):
    """Where the fleet wants it."""
    desk = await make_desk(on_failure=on_failure)
    desk.alice.start(desk.support)
    await desk.settle()
    await desk.dies("support", desk.alice.id)
    await desk.dies("support", -100)
    await desk.settle()
    assert [one.fields["reason"] for one in desk.plugin.events] == ["failure"] * on_failure


async def test_the_status_of_a_bot_counts_its_dialogs(make_desk, autojump_clock):
    """By state, and none of another bot's."""
    desk = await make_desk()
    facts = BotFacts("support", desk.support.id, {})
    assert handoff.trioworkers_status(facts, desk.plugin) == {}
    await desk.asks()
    assert handoff.trioworkers_status(facts, desk.plugin) == {"queued": 1}
    assert handoff.trioworkers_status(BotFacts("other", 12345, {}), desk.plugin) == {}


async def test_a_handler_asks_for_an_operator(desk, autojump_clock):
    """Its reason is for operators to read; it learns the state."""
    desk.alice.start(desk.support)
    await desk.settle()
    ask = desk.answering["handoff"]
    answer = await ask(desk.bot("support"), {"chat_id": desk.alice.id, "reason": "I do not understand"})
    assert answer == {"state": "queued", "epoch": 1}
    again = await ask(desk.bot("support"), {"chat_id": desk.alice.id, "reason": "again"})
    assert again == answer
    await desk.settle()
    assert desk.in_topic() == [
        "🔔 Waiting for an operator: the bot asked for an operator. /take it or answer.",
        "Reason: I do not understand",
    ]
    assert "understand" not in repr(desk.plugin.events)


@pytest.mark.parametrize("params", [{"chat_id": -5}, {"chat_id": "x"}, {}, {"chat_id": 5, "reason": 5}])
async def test_a_question_of_a_handler_that_makes_no_sense_is_refused(desk, autojump_clock, params):
    """In words."""
    with pytest.raises(AskRefusedError, match="expected"):
        await desk.answering["handoff"](desk.bot("support"), params)


async def test_two_of_one_name_are_one_take_over(desk, autojump_clock):
    """Many askers at once: one epoch, one event, one notice."""
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(desk.actions.start, "support", desk.alice.id, "api")
    assert len(desk.plugin.events) == 1
    assert desk.core.dialog(Place(desk.support.id, desk.alice.id)).epoch == 1


async def test_only_what_may_be_an_operators_is_looked_into(desk, autojump_clock):
    """Updates without a chat and those of other groups are the bot's; a text is read only for keywords."""

    class Closed:
        kind = "edited_message"
        text = property(lambda self: pytest.fail("it was read"))

        def __init__(self, chat_id):
            self.chat_id = chat_id

    facts = BotFacts("support", desk.support.id, {})
    for chat_id in (None, -100, 5):
        update: Any = Closed(chat_id)
        assert handoff.trioworkers_route(facts, update, desk.plugin) is None


BUSINESS = {"business_connection_id": "bc"}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("business_message", BUSINESS),
        ("edited_business_message", BUSINESS),
        ("deleted_business_messages", BUSINESS),
        ("business_connection", {}),
        ("guest_message", {"guest_query_id": "g"}),
        ("message", {}),
        ("my_chat_member", {}),
    ],
)
async def test_other_chats_with_the_same_person_are_the_bots(desk, autojump_clock, kind, more):
    """A business account's chat with a person has the id of the bot's own chat with that person."""
    await desk.actions.start("support", desk.alice.id, "api")
    content = {
        "chat": {"id": desk.alice.id},
        "user_chat_id": desk.alice.id,
        "from": {"id": desk.alice.id},
        **more,
    }
    update = Update(json.dumps({"update_id": 1, kind: content}).encode(), bot_id=desk.support.id)
    assert update.chat_id == desk.alice.id
    taken = handoff.trioworkers_route(BotFacts("support", desk.support.id, {}), update, desk.plugin)
    assert (taken is None) == (kind not in ("message", "my_chat_member"))
