"""Dialogs of bots that come and leave, as in a cluster: they are read, held and given away with these."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from handoff_scene import MemoryStore  # type: ignore[import-not-found] # it lies beside
from trioworkers_plugins.handoff.actions import RefusedError
from trioworkers_plugins.handoff.bulletin import Bulletin
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.outbox import Outbox
from trioworkers_plugins.handoff.pieces import Piece, Place
from trioworkers_plugins.handoff.reader import MOST_SINGLE, Reader
from trioworkers_plugins.handoff.state import Close

from trioworkers.inbox.store import StoreError
from trioworkers.testing import faults


async def test_a_dialog_leaves_with_its_bot_and_is_gone_on_with_where_that_comes(desk, autojump_clock):
    """Meanwhile nothing of it is known here, and what the user says is held."""
    await desk.asks()
    await desk.operator("hello")
    await desk.leave("support")
    with pytest.raises(RefusedError) as refused:
        await desk.actions.note(Place(desk.support.id, desk.alice.id), "Olga", "?")
    assert (refused.value.status, desk.actions.rows()) == (503, [])
    desk.alice.send(desk.support, "are you there?")
    await trio.sleep(100)
    assert desk.given["support"] == []
    await desk.enter("support")
    await trio.sleep(31)
    assert desk.in_topic()[-1] == "are you there?"
    await desk.operator("yes")
    assert desk.to_alice() == ["hello", "yes"]
    assert [row["unanswered"] for row in desk.actions.rows()] == [0]
    await desk.operator("/close")
    assert desk.given["support"] == ["handoff_ended"]


async def test_what_is_being_sent_is_noted_before_the_bot_leaves(desk, autojump_clock):
    """So that nobody sends it again, and nothing is in doubt."""
    await desk.asks()
    await desk.operator("hello")
    call, release = held_call(desk, "copyMessage")
    await desk.operator("slow words")
    assert call.count == 1
    async with trio.open_nursery() as leaving:
        leaving.start_soon(desk.leave, "support")
        await trio.sleep(1)
        assert desk.home("support") is not None
        release.set()
    call.restore()
    await desk.enter("support")
    await desk.settle()
    assert desk.to_alice() == ["hello", "slow words"]
    assert "repeated" not in [line[1] for line in desk.lines("support", desk.alice.id)]


async def test_what_is_about_to_be_sent_is_waited_for_too(autojump_clock):
    """Its mark is being written when the bot is to leave: it is sent after that, and not cut off."""
    store, place = MemoryStore(), Place(1, 2)
    outbox, sent = Outbox("user", store, lambda: None), []
    await outbox.add(place, 1, Piece("text", "one", 1))
    store.slow = 1.0

    async def send():
        async with outbox.sending(place, outbox.waiting(place)):
            await trio.sleep(1)
            sent.append("one")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(0.5)
        await outbox.stop()
        assert sent == ["one"]


async def test_the_dialogs_of_a_bot_that_cannot_be_gone_on_with_yet_end_no_others(desk, autojump_clock):
    """The disk is full, perhaps: its updates are held, and the service goes on."""
    await desk.asks()
    await desk.leave("support")
    desk.store.values = {key: value for key, value in desk.store.values.items() if "requested" not in key}
    put, fails = desk.store.put, True

    def full(*given):
        if fails:
            raise StoreError
        put(*given)

    desk.store.put = full
    actions = desk.actions
    await desk.enter("support")
    await trio.sleep(100)
    assert (desk.home("support"), desk.failures) == (None, [])
    fails = False
    await trio.sleep(31)
    assert desk.home("support") is not None
    assert desk.actions is actions


@pytest.mark.parametrize("group", [True, False], ids=["group", "no group"])
async def test_that_somebody_was_asked_for_is_one_line_wherever_the_bot_goes(
    make_desk, group, autojump_clock
):
    desk = await make_desk(**({} if group else {"group": None}))
    desk.alice.start(desk.support)
    desk.world.faults.add(respond=faults.error(500, "later"), method="createForumTopic", times=None)
    await desk.asks()
    for _ in range(3):
        await desk.leave("support")
        await desk.enter("support")
    lines = [line for _, line in await desk.core.transcripts.read(Place(desk.support.id, desk.alice.id))]
    assert [line.kind for line in lines].count("requested") == 1


async def test_what_was_cut_off_amid_its_sending_is_sent_again_and_marked(desk, autojump_clock):
    """Telegram may have had it: operators are told, once, and the transcript names the words."""
    await desk.asks()
    await desk.operator("hello")
    call, _ = held_call(desk, "copyMessage")
    await desk.operator("words")
    await desk.user("a question")
    await desk.leave("support", at_once=True)
    call.restore()
    await desk.enter("support")
    await desk.settle()
    assert desk.to_alice() == ["hello", "words"]
    # the question waited behind the words, and was not begun
    assert desk.in_topic()[-2:] == ["a question", "☝️ The user may read this twice: words"]
    place = Place(desk.support.id, desk.alice.id)
    lines = [line for _, line in await desk.core.transcripts.read(place)]
    (mark,) = [line for line in lines if line.kind == "repeated"]
    assert mark.source == next(line.source for line in lines if line.text == "words")
    assert desk.plugin.logged == [("something may reach a user twice", {"bot": "support"})]


async def test_words_that_telegram_refused_for_a_while_are_not_in_doubt(desk, autojump_clock):
    """They were certainly not sent."""
    await desk.asks()
    await desk.operator("hello")
    desk.world.faults.add(respond=faults.error(409, "Conflict: later"), method="copyMessage", times=2)
    await desk.operator("words")
    await trio.sleep(60)
    assert desk.to_alice()[:1] == ["hello"]
    assert not any("twice" in text for text in desk.in_topic())


async def test_nothing_is_written_about_a_bot_that_has_left(desk, autojump_clock):
    """By whoever still holds its dialogs, even if it has come again: it has been read anew."""
    await desk.asks()
    await desk.operator("hello")
    place, former = Place(desk.support.id, desk.alice.id), desk.core
    await desk.leave("support", at_once=True)
    before = dict(desk.store.values)
    with pytest.raises(UnknownBotError):
        await former.happen(place, Close("closed"))
    await desk.enter("support")
    with pytest.raises(UnknownBotError):
        await former.happen(place, Close("closed"))
    with pytest.raises(UnknownBotError):
        await former.to_users.remove(place, [1])
    assert {key: desk.store.values[key] for key in before} == before
    assert desk.core.dialog(place).state == "assigned"


async def test_whoever_waits_for_a_delivery_is_answered_when_the_bot_leaves(make_desk, autojump_clock):
    """It is not known then, and the words go out where the bot runs next."""
    desk = await make_desk(group=None)
    await desk.user("/operator")
    desk.world.faults.add(respond=faults.server_error(), method="sendMessage", times=None)
    place, answers = Place(desk.support.id, desk.alice.id), []

    async def say() -> None:
        answers.append(await desk.actions.say(place, "Olga", "words", key="k"))

    async with trio.open_nursery() as saying:
        saying.start_soon(say)
        await trio.sleep(1)
        began = trio.current_time()
        await desk.leave("support", at_once=True)
    assert (answers, trio.current_time() - began) == ([{"delivered": None, "reason": None}], 0)


async def test_dialogs_are_read_until_that_succeeds(make_desk, autojump_clock):
    """The bot's updates are held meanwhile; the service goes on."""
    desk = await make_desk(serve=False)
    desk.store.broken = OSError("away")
    await desk.serve()
    desk.alice.send(desk.support, "hi")
    await trio.sleep(10)
    assert (desk.home("support"), desk.given["support"]) == (None, [])
    desk.store.broken = None
    await trio.sleep(2)
    assert desk.given["support"] == ["hi"]


async def test_stamps_rise_whatever_the_clock_of_the_next_node_says(desk, autojump_clock):
    """Else its words would be sent before those that wait already."""
    await desk.asks()
    await desk.operator("hello")
    desk.world.faults.add(respond=faults.server_error(), method="copyMessage", times=4)
    await desk.operator("one")
    await desk.leave("support", at_once=True)
    clock, desk.world.clock = desk.world.clock, lambda: clock() - 3600
    await desk.kill()
    await desk.serve()
    await desk.enter("support")
    await desk.operator("two")
    await trio.sleep(120)
    assert desk.to_alice()[-2:] == ["one", "two"]


async def test_what_the_groups_bot_hears_elsewhere_is_done_where_the_dialogs_bot_runs(
    make_desk, autojump_clock
):
    """It goes through the inbox of that bot; passed on twice, it is done once."""
    desk = await make_desk(desk="front", bots=["support"])
    front = desk.add_bot("front")
    desk.group.add(front, desk.anna)
    desk.group.promote(front)
    await desk.asks()
    await desk.leave("support")
    thread = desk.topic()
    offered: list[Any] = []
    real = desk.offer

    async def offer(bot: str, kind: str, chat_id: int, content: Any) -> None:
        offered.append((bot, kind, chat_id, content))
        await real(bot, kind, chat_id, content)

    desk.offer = offer
    for text in ("hello", "/note polite", "/who"):
        desk.anna.send(front, text, group=desk.group, thread_id=thread)
    await desk.settle()
    assert {(bot, kind) for bot, kind, *_ in offered} == {("support", "handoff_said")}
    await real(*offered[1])
    assert desk.to_alice() == []
    await desk.enter("support")
    await trio.sleep(31)
    assert desk.to_alice() == ["hello"]
    said = [(line[0], line[2]) for line in desk.lines("support", desk.alice.id) if line[0] != "desk"]
    assert said == [("user", "/operator"), ("operator", "hello"), ("note", "polite")]
    assert desk.failures == []


async def test_dialogs_of_bots_that_run_nowhere_are_listed_from_the_storage(desk, autojump_clock):
    """With what waits and what nobody has answered."""
    await desk.asks()
    await desk.user("please")
    await desk.leave("support")
    (row,) = await desk.actions.rows_from_storage(["support", "unknown"])
    told = row["id"], row["state"], row["unanswered"], row["waiting"], row["active"]
    assert told == (f"support:{desk.alice.id}", "queued", 2, 0, None)
    assert await desk.actions.rows_from_storage(["unknown"]) == []


@pytest.mark.parametrize("bots", [1, MOST_SINGLE, MOST_SINGLE + 1, 40])
async def test_each_bot_gets_its_own_records_however_many_come_together(bots, autojump_clock):
    """A bot whose id begins with another one's, too; many are read in a few looks."""
    values = {
        f"{prefix}/{bot}/{chat}{rest}": bot * chat
        for bot, chat in itertools.product([*range(1, bots + 1), 999], (5, 6))
        for prefix, rest in (("dialog", ""), ("desk", "/7"), ("user", "/7"), ("said", "/7"))
    }
    looks = []

    async def items(prefix: str, *, after: str, limit: int) -> list[tuple[str, int]]:
        await trio.sleep(0.1)
        looks.append(prefix)
        found = sorted(key for key in values if key.startswith(prefix) and key > after)
        return [(key, values[key]) for key in found[:limit]]

    reader, read = Reader(SimpleNamespace(items=items)), {}

    async def get(bot: int) -> None:
        read[bot] = await reader.read(bot)

    async with trio.open_nursery() as nursery:
        for bot in range(1, bots + 1):
            nursery.start_soon(get, bot)
    for bot, records in read.items():
        assert records["dialog"] == [(f"dialog/{bot}/5", bot * 5), (f"dialog/{bot}/6", bot * 6)]
        assert [len(records[prefix]) for prefix in ("desk", "user")] == [2, 2]
    assert len(looks) <= 6 if bots > MOST_SINGLE else len(looks) <= 3 * bots + 3


async def test_a_bot_that_left_while_it_was_read_is_read_anew_when_it_comes_again(autojump_clock):
    """Another node has had its dialogs meanwhile."""
    state = "before"

    async def items(prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        await trio.sleep(1)
        return [(f"{prefix}5", state)] if prefix == "dialog/2/" and not after else []

    reader = Reader(SimpleNamespace(items=items))
    async with trio.open_nursery() as nursery:
        for bot in (3, 1):  # those that come while the first is read are read together
            nursery.start_soon(reader.read, bot)
            await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(4) as left:
            await reader.read(2)
        assert left.cancelled_caught
    state = "after"
    assert (await reader.read(2))["dialog"] == [("dialog/2/5", "after")]


async def test_a_change_that_could_not_be_told_is_told_later(autojump_clock):
    """The database was away: whoever serves it calls it again."""
    told: list[str] = []
    fails = True

    async def tell(text: str) -> None:
        await trio.lowlevel.checkpoint()
        if fails:
            raise OSError
        told.append(text)

    bulletin = Bulletin(lambda: 1.0)
    bulletin.note(Place(1, 2))
    with pytest.raises(OSError):  # noqa: PT011 - the test's own
        await bulletin.tell(tell)
    fails = False
    with trio.move_on_after(5):
        await bulletin.tell(tell)
    assert told == [str(bulletin.number)]


async def test_nodes_tell_each_other_of_changes(nursery, autojump_clock):
    """Of a burst once; numbers rise beyond those of others, so that a page which waits is answered."""
    told: list[str] = []

    async def tell(text: str) -> None:
        await trio.lowlevel.checkpoint()
        told.append(text)

    ahead, behind = Bulletin(lambda: 2.0), Bulletin(lambda: 1.0)
    nursery.start_soon(ahead.tell, tell)
    for _ in range(3):
        ahead.note(Place(1, 2))
    await trio.sleep(1)
    assert told == [str(ahead.number)]
    number = behind.number
    with trio.fail_after(1):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(behind.wait, number, 20.0)
            await trio.testing.wait_all_tasks_blocked()
            behind.hear(told[0])
    assert behind.number == ahead.number > number
    behind.hear("")
    behind.note(Place(3, 4))
    assert behind.of(Place(3, 4)) == ahead.number + 2


def held_call(desk: Any, method: str) -> tuple[Any, trio.Event]:
    """Let calls of this method be held on their way out until the event is set."""
    release = trio.Event()
    held: Any = SimpleNamespace(count=0)
    bot_of = desk.bot

    def bot(name: str) -> Any:
        made = bot_of(name)
        call = made.call

        async def slow(called: str, /, **params: Any) -> Any:
            if called == method:
                held.count += 1
                await release.wait()
            return await call(called, **params)

        made.call = slow
        return made

    desk.bot = bot
    held.restore = lambda: setattr(desk, "bot", bot_of)
    return held, release


async def test_words_that_were_cut_off_by_a_move_are_said_once(desk, autojump_clock, monkeypatch):
    """They went out from what is stored, before they were sent again under their key; their line is there."""
    await desk.asks()
    place = Place(desk.support.id, desk.alice.id)
    await desk.actions.take(place, "Olga")
    core = desk.home("support").core

    async def left(*_: Any) -> None:
        raise UnknownBotError("support does not run here any more")

    with monkeypatch.context() as patch:
        patch.setattr(core, "said_by_operator", left)
        with pytest.raises(UnknownBotError):
            await desk.actions.say(place, "Olga", "hello", key="one")
    await desk.leave("support")
    await desk.enter("support")
    await desk.settle()
    assert desk.to_alice() == ["hello"]
    for _ in range(2):
        assert (await desk.actions.say(place, "Olga", "hello", key="one"))["repeated"]
    await desk.settle()
    assert desk.to_alice() == ["hello"]
    lines = desk.lines("support", desk.alice.id)
    assert [line for line in lines if line[0] == "operator"] == [("operator", "text", "hello")], lines
