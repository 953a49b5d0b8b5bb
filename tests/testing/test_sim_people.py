"""Payments, polls, reactions and pins: what users do, and what bots are told and may answer."""

from __future__ import annotations

import msgspec
import pytest
import trio

from trioworkers.testing import PaymentFailed, Refused

PRICES = [{"label": "Pizza", "amount": 900}]
STARS = {"title": "T", "description": "D", "payload": "p", "currency": "XTR", "prices": PRICES}
EUROS = {**STARS, "currency": "EUR", "provider_token": "x"}


@pytest.fixture
def updates(world, bot):
    world.repeat_guard = False
    world.call(
        bot,
        "getUpdates",
        allowed_updates=[
            "message",
            "message_reaction",
            "poll",
            "poll_answer",
            "pre_checkout_query",
            "shipping_query",
        ],
    )

    def updates():
        got = [msgspec.json.decode(bytes(raw)) for raw in world.call(bot, "getUpdates")]
        if got:
            world.call(bot, "getUpdates", offset=got[-1]["update_id"] + 1)
        return got

    return updates


def refused(words, function, /, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    assert (caught.value.error_code, caught.value.description) == (400, f"Bad Request: {words}")


def of(message):
    return {"chat_id": message["chat"]["id"], "message_id": message["message_id"]}


# -- payments ------------------------------------------------------------------------------------


def test_stars_are_paid_and_refunded(world, bot, alice, updates):
    """The bot agrees, gets successful_payment, and may give the stars back once."""
    alice.start(bot)
    invoice = world.call(bot, "sendInvoice", chat_id=alice.id, **STARS)
    query, _ = alice.check_out(bot, invoice)
    asked = updates()[-1]["pre_checkout_query"]
    assert (asked["id"], asked["total_amount"], asked["invoice_payload"]) == (query, 900, "p")
    with pytest.raises(PaymentFailed):
        alice.complete_payment(bot, query, invoice)
    world.call(bot, "answerPreCheckoutQuery", pre_checkout_query_id=query, ok="true")
    alice.complete_payment(bot, query, invoice)
    paid = updates()[-1]["message"]["successful_payment"]
    assert world.call(bot, "getMyStarBalance") == {"amount": 900}
    charge = {"user_id": alice.id, "telegram_payment_charge_id": paid["telegram_payment_charge_id"]}
    assert world.call(bot, "refundStarPayment", **charge) is True
    assert updates()[-1]["message"]["refunded_payment"]["total_amount"] == 900
    refused("CHARGE_ALREADY_REFUNDED", world.call, bot, "refundStarPayment", **charge)
    assert world.call(bot, "getMyStarBalance") == {"amount": 0}
    transactions = world.call(bot, "getStarTransactions")["transactions"]
    assert [("source" in one, "receiver" in one) for one in transactions] == [(True, False), (False, True)]
    refused("CHARGE_ID_INVALID", world.call, bot, "editUserStarSubscription", **charge, is_canceled=True)


def test_a_checkout_is_answered_within_ten_seconds(world, bot, alice, clock):
    """A late answer is refused, and nothing is paid."""
    alice.start(bot)
    link = world.call(bot, "createInvoiceLink", **STARS)
    query, _ = alice.check_out(bot, link)
    clock.go(11)
    words = "query is too old and response timeout expired or query ID is invalid"
    refused(words, world.call, bot, "answerPreCheckoutQuery", pre_checkout_query_id=query, ok=True)
    with pytest.raises(PaymentFailed, match="no answer"):
        alice.complete_payment(bot, query, link)


async def test_a_flexible_invoice_is_shipped_and_paid(world, bot, alice, nursery, updates):
    """The whole way in one step, the bot answering meanwhile."""
    alice.start(bot)
    flexible = {"is_flexible": True, "need_shipping_address": True, "need_email": True}
    invoice = world.call(bot, "sendInvoice", chat_id=alice.id, **EUROS, **flexible)
    post = {"id": "post", "title": "Post", "prices": [{"label": "Stamp", "amount": 100}]}

    async def answer():
        while True:
            for update in updates():
                if "shipping_query" in update:
                    assert update["shipping_query"]["shipping_address"]["city"] == "Berlin"
                    ids = {"shipping_query_id": update["shipping_query"]["id"]}
                    world.call(bot, "answerShippingQuery", **ids, ok=True, shipping_options=[post])
                elif "pre_checkout_query" in update:
                    assert set(update["pre_checkout_query"]["order_info"]) == {"email", "shipping_address"}
                    ids = {"pre_checkout_query_id": update["pre_checkout_query"]["id"]}
                    world.call(bot, "answerPreCheckoutQuery", **ids, ok=True)
                elif "successful_payment" in update["message"]:
                    return update["message"]["successful_payment"]
            await trio.sleep(0.01)

    nursery.start_soon(alice.pay, bot, invoice)
    with trio.fail_after(30):
        paid = await answer()
    assert (paid["total_amount"], paid["shipping_option_id"], paid["currency"]) == (1000, "post", "EUR")


async def test_a_bot_that_does_not_agree(world, bot, alice, autojump_clock, nursery):
    """Its reason is in the failure; one that is silent fails after the time limit."""
    alice.start(bot)
    link = world.call(bot, "createInvoiceLink", **STARS)
    with pytest.raises(PaymentFailed, match="did not answer"):
        await alice.pay(bot, link, timeout=1)

    async def refuse():
        await trio.sleep(1)
        query = next(reversed(world.queries))
        world.call(
            bot, "answerPreCheckoutQuery", pre_checkout_query_id=query, ok=False, error_message="sold out"
        )

    nursery.start_soon(refuse)
    with pytest.raises(PaymentFailed, match="sold out"):
        await alice.pay(bot, link)


def test_a_pay_button_comes_first(world, bot, alice):
    """An invoice's keyboard begins with it."""
    alice.start(bot)
    pay, other = {"text": "Pay", "pay": True}, {"text": "b", "callback_data": "b"}
    send = {"chat_id": alice.id, **STARS}
    message = world.call(bot, "sendInvoice", **send, reply_markup={"inline_keyboard": [[pay], [other]]})
    assert message["reply_markup"]["inline_keyboard"][0] == [pay]
    keyboard = {"inline_keyboard": [[other]]}
    refused("BUTTON_TYPE_INVALID", world.call, bot, "sendInvoice", **send, reply_markup=keyboard)


def test_a_subscription_is_paid(world, bot, alice):
    """createInvoiceLink with a month; editUserStarSubscription knows it."""
    alice.start(bot)
    link = world.call(bot, "createInvoiceLink", **STARS, subscription_period=2_592_000)
    query, _ = alice.check_out(bot, link)
    world.call(bot, "answerPreCheckoutQuery", pre_checkout_query_id=query, ok=True)
    alice.complete_payment(bot, query, link)
    (charge,) = world.payments
    params = {"user_id": alice.id, "telegram_payment_charge_id": charge, "is_canceled": True}
    assert world.call(bot, "editUserStarSubscription", **params) is True


# -- polls ---------------------------------------------------------------------------------------


def test_a_poll_is_voted_in_and_stopped(world, bot, alice, updates):
    """The bot gets each vote's numbers, and of a public poll who voted; a stopped one takes no votes."""
    alice.start(bot)
    bob = world.add_user("Bob")
    message = world.call(
        bot, "sendPoll", chat_id=alice.id, question="q", options=["a", {"text": "b"}], is_anonymous=False
    )
    updates()
    alice.vote(message, 1)
    bob.vote(message, 0)
    alice.vote(message, 0)
    alice.vote(message)
    got = updates()
    answers = [update["poll_answer"] for update in got if "poll_answer" in update]
    assert [answer["option_ids"] for answer in answers] == [[1], [0], [0], []]
    poll = got[-1]["poll"]
    assert [option["voter_count"] for option in poll["options"]] == [1, 0]
    with pytest.raises(LookupError):
        alice.vote(message, 0, 1)
    final = world.call(bot, "stopPoll", **of(message))
    assert (final["is_closed"], final["total_voter_count"]) == (True, 1)
    refused("poll has already been closed", world.call, bot, "stopPoll", **of(message))
    with pytest.raises(LookupError):
        alice.vote(message, 0)


def test_a_quiz_knows_the_answer_and_closes_in_time(world, bot, alice, clock, updates):
    """correct_option_ids and an explanation; nobody votes twice, or after open_period."""
    alice.start(bot)
    quiz = {"question": "*q*", "question_parse_mode": "Markdown", "options": '["a","b"]', "type": "quiz"}
    message = world.call(
        bot,
        "sendPoll",
        chat_id=alice.id,
        **quiz,
        correct_option_ids=[1],
        open_period=60,
        explanation="<i>e</i>",
        explanation_parse_mode="HTML",
    )
    poll = message["poll"]
    assert (poll["question"], poll["correct_option_ids"], poll["explanation"]) == ("q", [1], "e")
    assert poll["explanation_entities"][0]["type"] == "italic"
    alice.vote(message, 1)
    with pytest.raises(LookupError):
        alice.vote(message, 0)
    clock.go(61)
    with pytest.raises(LookupError):
        world.add_user("Bob").vote(message, 0)


# -- reactions and pins --------------------------------------------------------------------------


def test_reactions(world, bot, alice, updates):
    """setMessageReaction sets one, and a user's reaction reaches a bot that asked for it."""
    alice.start(bot)
    message = world.call(bot, "sendMessage", chat_id=alice.id, text="x")
    thumb = [{"type": "emoji", "emoji": "👍"}]
    assert world.call(bot, "setMessageReaction", **of(message), reaction=thumb) is True
    refused("REACTIONS_TOO_MANY", world.call, bot, "setMessageReaction", **of(message), reaction=thumb * 2)
    updates()
    alice.react(message, "🔥")
    alice.react(message)
    first, second = (update["message_reaction"] for update in updates())
    assert (first["old_reaction"], first["new_reaction"][0]["emoji"]) == ([], "🔥")
    assert (second["old_reaction"][0]["emoji"], second["new_reaction"]) == ("🔥", [])


def test_reactions_are_deleted(world, bot, alice):
    """deleteMessageReaction of one user, deleteAllMessageReactions of all; both need a right."""
    group = world.add_group("G", [bot, alice], supergroup=True)
    message = world.call(bot, "sendMessage", chat_id=group.id, text="x")
    words = "not enough rights to delete reactions"
    refused(words, world.call, bot, "deleteMessageReaction", **of(message), user_id=alice.id)
    group.promote(bot)
    alice.react(message, "🔥")
    world.call(bot, "setMessageReaction", **of(message), reaction=[{"type": "emoji", "emoji": "👍"}])
    world.call(bot, "deleteMessageReaction", **of(message), user_id=alice.id)
    assert set(group.chat.reactions) == {(message["message_id"], bot.id)}
    world.call(bot, "deleteAllMessageReactions", chat_id=group.id)
    assert group.chat.reactions == {}


def test_pins(world, bot, alice):
    """pinChatMessage, unpinChatMessage, unpinAllChatMessages; getChat shows the newest."""
    alice.start(bot)
    first, second = (world.call(bot, "sendMessage", chat_id=alice.id, text=text) for text in "ab")

    def pinned():
        return world.call(bot, "getChat", chat_id=alice.id).get("pinned_message", {}).get("text")

    for message in (first, second):
        world.call(bot, "pinChatMessage", **of(message))
    assert pinned() == "b"
    world.call(bot, "unpinChatMessage", **of(second))
    assert pinned() == "a"
    world.call(bot, "unpinChatMessage", chat_id=alice.id)
    refused("message to unpin not found", world.call, bot, "unpinChatMessage", chat_id=alice.id)
    world.call(bot, "pinChatMessage", **of(first))
    world.call(bot, "deleteMessage", **of(first))
    assert pinned() is None
    assert world.call(bot, "unpinAllChatMessages", chat_id=alice.id) is True


def test_pins_of_topics(world, bot):
    """unpinAllForumTopicMessages and unpinAllGeneralForumTopicMessages keep those of the others."""
    forum = world.add_group("F", admins=[bot], forum=True)
    thread = forum.add_topic("T")
    inside = world.call(bot, "sendMessage", chat_id=forum.id, message_thread_id=thread, text="in")
    outside = world.call(bot, "sendMessage", chat_id=forum.id, text="out")
    for message in (inside, outside):
        world.call(bot, "pinChatMessage", **of(message))
    world.call(bot, "unpinAllForumTopicMessages", chat_id=forum.id, message_thread_id=thread)
    assert forum.chat.pinned == [outside["message_id"]]
    world.call(bot, "unpinAllGeneralForumTopicMessages", chat_id=forum.id)
    assert forum.chat.pinned == []
