"""What Telegram's rules refuse, in Telegram's words: markup, lengths, buttons, albums, ids, rights and times.

The rules are the Bot API's text; the words are those of tdlib/telegram-bot-api and tdlib/td.
"""

from __future__ import annotations

import pytest

from trioworkers.testing import Refused, Telegram, Upload
from trioworkers.testing.params import Params

ALICE = 1_000_001
PHOTO = Upload("a.jpg", "image/jpeg", b"jpeg")
LINK = {"text": "b", "url": "https://example.org"}
QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


def text(**more):
    return "sendMessage", {"chat_id": ALICE, "text": "x", **more}


def button(**kind):
    return text(reply_markup={"inline_keyboard": [[{"text": "b", **kind}]]})


def key(**kind):
    return text(reply_markup={"keyboard": [[{"text": "b", **kind}]]})


def album(*kinds, **more):
    media = [{"type": kind, "media": "attach://file", **more} for kind in kinds]
    return "sendMediaGroup", {"chat_id": ALICE, "media": media}


def poll(**more):
    return "sendPoll", {"chat_id": ALICE, "question": "q", "options": ["a", "b"], **more}


def invoice(**more):
    prices = [{"label": "l", "amount": 5}]
    given = {"title": "t", "description": "d", "payload": "p", "currency": "XTR", "prices": prices}
    return "sendInvoice", {"chat_id": ALICE, **given, **more}


def in_group(method, **params):
    return method, {"chat_id": "GROUP", **params}


BROKEN = "can't parse entities: "
INLINE = "can't parse inline keyboard button: "

CASES = [
    # texts
    (text(text=""), "message text is empty"),
    (text(text=" \n"), "text must be non-empty"),
    (text(text="<b> </b>", parse_mode="HTML"), "text must be non-empty"),
    (text(text="x" * 4097), "message is too long"),
    (text(text="<b>" + "😀" * 2049 + "</b>", parse_mode="HTML"), "message is too long"),
    (text(text="x" * 32769), "message is too long"),
    (text(text="x" * 32769, parse_mode="HTML"), "text is too long"),
    (text(parse_mode="BBCode"), "unsupported parse_mode"),
    (text(text="ä <x>", parse_mode="HTML"), f'{BROKEN}Unsupported start tag "x" at byte offset 3'),
    (
        text(text="<b>x", parse_mode="HTML"),
        f'{BROKEN}Can\'t find end tag corresponding to start tag "b"',
    ),
    (
        text(text="1.5", parse_mode="MarkdownV2"),
        rf"{BROKEN}Character '.' is reserved and must be escaped with the preceding '\'",
    ),
    (text(text="*x", parse_mode="MarkdownV2"), f"{BROKEN}Can't find end of Bold entity at byte offset 0"),
    (
        text(text="a_b", parse_mode="Markdown"),
        f"{BROKEN}Can't find end of the entity starting at byte offset 1",
    ),
    (
        text(entities=[{"type": "bold", "offset": 0, "length": 2}]),
        "entity beginning at UTF-16 offset 0 ends after the end of the text at UTF-16 offset 2",
    ),
    (
        text(entities=[{"type": "bold", "offset": 0}]),
        "can't parse MessageEntity: Can't find field \"length\"",
    ),
    (text(entities="[{"), "can't parse entities JSON object"),
    (
        ("sendPhoto", {"chat_id": ALICE, "photo": "attach://file", "caption": "x" * 1025}),
        "message caption is too long",
    ),
    (
        ("sendPhoto", {"chat_id": ALICE, "photo": "attach://file", "caption": "😀" * 513}),
        "message caption is too long",
    ),
    (
        (
            "sendPhoto",
            {"chat_id": ALICE, "photo": "attach://file", "caption": "_", "parse_mode": "MarkdownV2"},
        ),
        f"{BROKEN}Can't find end of Italic entity at byte offset 0",
    ),
    # chats and ids
    (text(chat_id=""), "chat_id is empty"),
    (text(chat_id=4711), "chat not found"),
    (text(chat_id="@nobody"), "chat not found"),
    (text(message_thread_id=99), "message thread not found"),
    (text(reply_parameters={"message_id": 99}), "message to be replied not found"),
    (text(reply_parameters={"quote": "x"}), 'can\'t find field "message_id"'),
    (text(reply_parameters={"message_id": 1, "quote": []}), 'field "quote" must be of type String'),
    (text(reply_parameters=[1]), "object expected as reply parameters"),
    (text(reply_parameters={"message_id": 1, "quote": "nonsense"}), "QUOTE_TEXT_INVALID"),
    (text(link_preview_options=[1]), "object expected as link preview options"),
    (("editMessageText", {"text": "x"}), "message identifier is not specified"),
    (("editMessageText", {"chat_id": ALICE, "message_id": 99, "text": "x"}), "message to edit not found"),
    (("editMessageText", {"chat_id": ALICE, "message_id": 1, "text": "x"}), "message can't be edited"),
    (("editMessageText", {"inline_message_id": "x", "text": "x"}), "MESSAGE_ID_INVALID"),
    (("deleteMessage", {"chat_id": ALICE, "message_id": 99}), "message to delete not found"),
    (("deleteMessages", {"chat_id": ALICE, "message_ids": []}), "message identifiers are not specified"),
    (("deleteMessages", {"chat_id": ALICE, "message_ids": "[x]"}), "can't parse message_ids JSON object"),
    (
        ("deleteMessages", {"chat_id": ALICE, "message_ids": list(range(1, 102))}),
        "too many message identifiers specified",
    ),
    (
        ("forwardMessages", {"chat_id": ALICE, "from_chat_id": ALICE, "message_ids": [2, 1]}),
        "message identifiers must be in a strictly increasing order",
    ),
    (("copyMessage", {"chat_id": ALICE, "message_id": 1}), 'parameter "from_chat_id" is required'),
    (("getChatMember", {"chat_id": ALICE, "user_id": 0}), "invalid user_id specified"),
    (("getFile", {"file_id": "x"}), "invalid file_id"),
    # buttons
    (text(reply_markup="{"), "can't parse reply keyboard markup JSON object"),
    (text(reply_markup=[1]), "object expected as reply markup"),
    (
        text(reply_markup={"inline_keyboard": [{"text": "b"}]}),
        'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
    ),
    (button(), f"{INLINE}Text buttons are unallowed in the inline keyboard"),
    (text(reply_markup={"inline_keyboard": [[{"url": "x.org"}]]}), f'{INLINE}Can\'t find field "text"'),
    (button(callback_data="x" * 65), "BUTTON_DATA_INVALID"),
    (button(callback_data="😀" * 17), "BUTTON_DATA_INVALID"),
    (button(callback_data={"a": 1}), f'{INLINE}Field "callback_data" must be of type String'),
    (
        button(url="x.org", callback_data="x"),
        f"{INLINE}exactly one of url and callback_data must be used",
    ),
    (
        button(url="http://localhost"),
        "inline keyboard button URL 'http://localhost' is invalid: Wrong HTTP URL",
    ),
    (
        button(web_app={"url": "http://x.org"}),
        "inline keyboard button Web App URL 'http://x.org' is invalid: Only HTTPS links are allowed",
    ),
    (button(login_url={}), f'{INLINE}Can\'t find field "url"'),
    (button(pay=True), "BUTTON_TYPE_INVALID"),
    (button(copy_text={"text": "x" * 257}), "BUTTON_COPY_TEXT_INVALID"),
    (
        text(reply_markup={"inline_keyboard": [[{"text": "x" * 200, "callback_data": "y"}]] * 60}),
        "reply markup is too long",
    ),
    (text(reply_markup={"keyboard": [["a"], "b"]}), 'field "keyboard" must be an Array of Arrays'),
    (
        key(request_contact="yes"),
        'can\'t parse keyboard button: Field "request_contact" must be of type Boolean',
    ),
    (
        in_group(
            "sendMessage", text="x", reply_markup={"keyboard": [[{"text": "b", "request_location": True}]]}
        ),
        "location can be requested in private chats only",
    ),
    # media
    (("sendPhoto", {"chat_id": ALICE}), "there is no photo in the request"),
    (("sendVideoNote", {"chat_id": ALICE}), "there is no video note in the request"),
    (("sendPhoto", {"chat_id": ALICE, "photo": "AgACnonsense"}), "wrong file identifier/HTTP URL specified"),
    (("sendPhoto", {"chat_id": ALICE, "photo": "DOCUMENT"}), "can't use file of type Document as Photo"),
    (("sendPhoto", {"chat_id": ALICE, "photo": "https://x.org/a.jpg"}), "failed to get HTTP URL content"),
    (("sendPhoto", {"chat_id": ALICE, "photo": "attach://empty"}), "file must be non-empty"),
    (("sendDice", {"chat_id": ALICE, "emoji": "🍕"}), "wrong dice emoji specified"),
    (
        ("sendLocation", {"chat_id": ALICE, "latitude": 91, "longitude": 0}),
        "wrong latitude or longitude specified",
    ),
    (
        ("sendLocation", {"chat_id": ALICE, "latitude": 1, "longitude": 0, "live_period": 5}),
        "wrong live location period specified",
    ),
    # albums
    (album(), "there are no messages to send"),
    (album("photo"), "media group must include 2-10 items"),
    (album(*["photo"] * 11), "too many messages to send as an album"),
    (album("photo", "document"), "can't use the media of the specified type in the album"),
    (
        album("photo", "animation"),
        "can't parse InputMedia: type \"animation\" can't be used in sendMediaGroup",
    ),
    (album("photo", "story"), 'can\'t parse InputMedia: type "story" is unsupported'),
    (album("photo", "photo", caption="x" * 1025), "message caption is too long"),
    (("sendMediaGroup", {"chat_id": ALICE, "media": "[{"}), "can't parse media JSON object"),
    (
        ("sendMediaGroup", {"chat_id": ALICE, "media": [{"type": "photo", "media": "attach://none"}] * 2}),
        "can't parse InputMedia: media not found",
    ),
    # polls, payments, queries
    (poll(options=["a"]), "poll must have at least 2 option"),
    (poll(options=["a"] * 13), "poll can't have more than 12 options"),
    (poll(options=["a", "x" * 101]), "poll options length must not exceed 100"),
    (poll(question="x" * 301), "poll question length must not exceed 300"),
    (poll(type="quiz"), "wrong correct option ID specified"),
    (poll(type="vote"), "unsupported poll type specified"),
    (invoice(prices=[]), "there must be at least one price"),
    (invoice(prices=[{"label": "l"}]), "can't parse labeled price: Can't find field \"amount\""),
    (invoice(currency="EUR"), "PAYMENT_PROVIDER_INVALID"),
    (invoice(payload="x" * 129), "INVOICE_PAYLOAD_INVALID"),
    (("answerPreCheckoutQuery", {"pre_checkout_query_id": "1", "ok": True}), QUERY_TOO_OLD),
    (
        ("answerPreCheckoutQuery", {"pre_checkout_query_id": "1", "ok": False}),
        'parameter "error_message" is required',
    ),
    (
        ("answerShippingQuery", {"shipping_query_id": "1", "ok": True}),
        'parameter "shipping_options" is required',
    ),
    (("answerCallbackQuery", {"callback_query_id": "1"}), QUERY_TOO_OLD),
    (
        ("answerInlineQuery", {"inline_query_id": "1", "results": [{"type": "x"}]}),
        'can\'t parse inline query result: type "x" is unsupported for the inline query result',
    ),
    # rights and settings
    (in_group("banChatMember", user_id=ALICE), "not enough rights to restrict/unrestrict chat member"),
    (in_group("setChatTitle", title="x"), "not enough rights to change chat title"),
    (in_group("pinChatMessage", message_id=1), "not enough rights to manage pinned messages in the chat"),
    (in_group("createChatInviteLink"), "not enough rights to manage chat invite link"),
    (in_group("createForumTopic", name="x"), "the chat is not a forum"),
    (
        in_group("setChatPermissions", permissions={"can_send_polls": "x"}),
        'can\'t parse chat permissions: Field "can_send_polls" must be of type Boolean',
    ),
    (
        (
            "setMessageReaction",
            {"chat_id": ALICE, "message_id": 1, "reaction": [{"type": "emoji", "emoji": "🍕"}]},
        ),
        "REACTION_INVALID",
    ),
    (("setMyCommands", {"commands": [{"command": "Go!", "description": "x"}]}), "BOT_COMMAND_INVALID"),
    (("sendChatAction", {"chat_id": ALICE, "action": "dance"}), "wrong parameter action in request"),
]


WITHIN = [
    text(text="x" * 4096),
    text(text="😀" * 2048),
    text(text="<b>" + "x" * 4096 + "</b>", parse_mode="HTML"),
    text(text="\u200bx"),
    ("sendPhoto", {"chat_id": ALICE, "photo": "attach://file", "caption": "x" * 1024}),
    ("sendPhoto", {"chat_id": ALICE, "photo": "attach://file", "caption": "😀" * 512}),
    button(callback_data="x" * 64),
    button(callback_data="😀" * 16),
    button(copy_text={"text": "x" * 256}),
    button(switch_inline_query=""),
    button(url=f"tg://user?id={ALICE}"),
    key(web_app={"url": "https://x.org"}),
    text(reply_markup={"inline_keyboard": [[{"text": "b", "callback_data": "x"}] * 8] * 12}),
    album("photo", "video"),
    album(*["photo"] * 10),
    album("document", "document"),
    album("photo", "photo", caption="x" * 1024),
    poll(options=["a", "b"] * 6),
    poll(options=["a", "x" * 100]),
    poll(question="x" * 300),
    poll(type="quiz", correct_option_ids=[1]),
    invoice(payload="x" * 128),
    invoice(title="x" * 32),
    ("setMyCommands", {"commands": [{"command": "x" * 32, "description": "x" * 256}] * 100}),
    ("deleteMessages", {"chat_id": ALICE, "message_ids": list(range(1, 101))}),
    ("sendLocation", {"chat_id": ALICE, "latitude": 90, "longitude": -180, "live_period": 60}),
]


@pytest.fixture
def stage(clock):
    world = Telegram(seed=1, clock=clock)
    bot, alice = world.add_bot("echo"), world.add_user("Alice", id=ALICE)
    alice.send(bot, "hello")
    return world, bot, alice


@pytest.mark.parametrize(("call", "words"), CASES, ids=range(len(CASES)))
def test_what_telegram_refuses_is_refused_in_its_words(stage, call, words):
    """And nothing is sent."""
    world, bot, alice = stage
    method, params = call
    if params.get("chat_id") == "GROUP":
        params = {**params, "chat_id": world.add_group("G", [bot, alice]).id}
    if params.get("photo") == "DOCUMENT":
        params = {**params, "photo": world.files.put(bot, "document", PHOTO).file_id}
    before = len(world.sent(bot, ALICE))
    with pytest.raises(Refused) as caught:
        world.run(bot, method, Params(params, {"file": PHOTO, "empty": Upload("e", "", b"")}))
    assert (caught.value.error_code, caught.value.description) == (400, f"Bad Request: {words}")
    assert len(world.sent(bot, ALICE)) == before


@pytest.mark.parametrize("call", WITHIN, ids=range(len(WITHIN)))
def test_what_is_just_within_the_limits_is_taken(stage, call):
    """A limit that is too tight makes a bot's test fail that would do well."""
    world, bot, _ = stage
    method, params = call
    world.run(bot, method, Params(params, {"file": PHOTO}))
    assert world.calls[-1].ok


def test_an_unknown_method_is_not_found(stage):
    """404, with the words that tell it from an unreadable token."""
    world, bot, _ = stage
    with pytest.raises(Refused) as caught:
        world.call(bot, "sendMesage", chat_id=ALICE, text="x")
    assert (caught.value.error_code, caught.value.description) == (404, "Not Found: method not found")


def test_the_list_is_long_enough():
    """At least sixty, all different."""
    assert len({repr(call) for call, _ in CASES}) == len(CASES) >= 60
