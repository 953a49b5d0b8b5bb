"""All methods of the Bot API: what each takes and refuses, and that its result is what the table says."""

from __future__ import annotations

import json

import pytest
from documents import code, rows

from trioworkers.testing import Refused, SimUser, Telegram, Upload
from trioworkers.testing.facts import bot_api
from trioworkers.testing.methods.table import all_methods, find_method
from trioworkers.testing.params import Params
from trioworkers.testing.shapes import example, find_faults
from trioworkers.testing.typed import is_structured

NAMES = sorted(bot_api().methods)
SCALARS = {"Integer": 7, "Float": 1.5, "String": "x", "Boolean": True, "InputFile": "attach://file"}
LEFT_TO_METHODS = {
    "reply_markup",
    "reply_parameters",
    "media",
    "message_ids",
    "allowed_updates",
    "suggested_tip_amounts",
}


def value_of(types):
    return example(types) if is_structured(types) else SCALARS[types[0]]


def full(name):
    """A value of its type for each parameter of a method."""
    return {one: value_of(value.types) for one, value in bot_api().methods[name].parameters.items()}


def test_the_whole_table_is_known():
    """No method is missing, and none is there that Telegram has not."""
    assert {method.name for method in all_methods().values()} == set(NAMES)
    assert find_method("SENDMESSAGE") is all_methods()["sendmessage"]
    assert find_method("sendMesage") is None


def test_the_page_lists_what_does_something():
    """Each method with an effect is in docs/testing.md, and no other."""
    listed = [name for row in rows("testing.md", "simulated") for name in code(row[1])]
    assert sorted(listed) == sorted(method.name for method in all_methods().values() if method.behaves)


def test_the_page_lists_what_people_do():
    """Each public method of a simulated user is in docs/testing.md, and no other."""
    listed = {name.partition("(")[0] for row in rows("testing.md", "people") for name in code(row[0])}
    assert listed == {
        name for name in dir(SimUser) if not name.startswith("_") and callable(getattr(SimUser, name))
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_passes_with_a_value_of_its_type(name):
    """As JSON, and as the strings of a form, with objects as JSON inside of them."""
    form, values = all_methods()[name.lower()].form, full(name)
    assert form.check(Params(values)) == []
    strings = {one: value if isinstance(value, str) else json.dumps(value) for one, value in values.items()}
    assert form.check(Params(strings)) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_required_parameter_is_missed(name):
    """Telegram has words for it; those of most are `parameter "…" is required`."""
    form, values = all_methods()[name.lower()].form, full(name)
    for required in form.required:
        rest = {one: value for one, value in values.items() if one != required}
        for params in (rest, {**rest, required: ""}):
            with pytest.raises(Refused, match=r"400 Bad Request: [a-zQ]"):
                form.check(Params(params))


@pytest.mark.parametrize("name", NAMES)
def test_each_nested_parameter_of_a_wrong_type_is_refused(name):
    """A number where an object or a list is due, and JSON that is none."""
    form, values = all_methods()[name.lower()].form, full(name)
    for one, value in bot_api().methods[name].parameters.items():
        if is_structured(value.types) and one not in LEFT_TO_METHODS:
            for wrong in (7, "7", "{", "[[1]"):
                with pytest.raises(Refused, match="400 Bad Request: "):
                    form.check(Params({**values, one: wrong}))


def test_unknown_parameters_are_noted_or_refused(world, bot, alice):
    """Telegram ignores them; those of older versions are known."""
    alice.start(bot)
    params = {"chat_id": alice.id, "text": "hi", "parsemode": "HTML", "reply_to_message_id": 1}
    assert world.call(bot, "sendMessage", **params)["text"] == "hi"
    assert world.unknown_parameters == {"sendMessage": {"parsemode"}}
    world.refuse_unknown = True
    with pytest.raises(Refused, match="400 Bad Request: sendMessage has no parameter parsemode"):
        world.call(bot, "sendMessage", **params)


# -- results -------------------------------------------------------------------------------------

PRICES = [{"label": "Pizza", "amount": 900}]
INVOICE = {"title": "T", "description": "D", "payload": "p", "currency": "XTR", "prices": PRICES}
ARTICLE = {"type": "article", "id": "1", "title": "t", "input_message_content": {"message_text": "m"}}
STICKER = {"sticker": "attach://sticker", "format": "static", "emoji_list": ["🙂"]}
FILE = Upload("file.bin", "application/octet-stream", b"content")
CHECKLIST = {"title": "t", "tasks": [{"id": 1, "text": "a"}]}


class Stage:
    """A world in which every call can be made, and what the calls need."""

    def __init__(self):
        self.world = Telegram(seed=1, clock=lambda: 1_700_000_000.0)
        self.bot = self.world.add_bot("echo")
        self.alice = self.world.add_user("Alice", username="alice")
        self.bob = self.world.add_user("Bob")
        self.alice.start(self.bot)
        self.group = self.world.add_group("G", [self.alice], admins=[self.bot], forum=True)
        rights = self.group.chat.members[self.bot.id].rights
        self.group.promote(self.bot, rights | {"can_manage_tags"})
        self.world.authenticate(self.bot.token)
        self.bot.seen_at = self.world.clock() - 1000

    def call(self, method, **params):
        return self.world.call(self.bot, method, **params)

    def sent(self, method="sendMessage", **params):
        """A message of the bot's in the private chat, as the parameters that name it."""
        message = self.call(method, **{"chat_id": self.alice.id, **params})
        return {"chat_id": self.alice.id, "message_id": message["message_id"]}

    def arguments(self, method):
        """Parameters with which a method succeeds."""
        given = {
            name: self.plain(name, value.types)
            for name, value in bot_api().methods[method].parameters.items()
            if value.required
        }
        return given | self.special(method)

    def plain(self, name, types):
        known = {
            "chat_id": self.group.id,
            "from_chat_id": self.alice.id,
            "user_id": self.alice.id,
            "message_id": 1,
            "message_ids": [1],
            "message_thread_id": self.group.add_topic("T"),
            "callback_query_id": self.world.ask(self.bot),
            "inline_query_id": self.world.ask(self.bot),
            "shipping_query_id": self.world.ask(self.bot),
            "pre_checkout_query_id": self.world.ask(self.bot),
            "web_app_query_id": self.world.ask(self.bot),
            "guest_query_id": self.world.ask(self.bot),
            "result": ARTICLE,
            "results": [ARTICLE],
            "action": "typing",
            "media": [{"type": "photo", "media": "attach://photo"}] * 2,
            "options": ["a", "b"],
            "star_count": 5,
            "draft_id": 1,
            "checklist": CHECKLIST,
            "rich_message": {"html": "<b>x</b>"},
            "permissions": {"can_send_messages": True},
            "commands": [{"command": "go", "description": "Go"}],
            "sticker": STICKER,
            "stickers": [STICKER],
            **(INVOICE if name != "title" else {}),
        }
        return known[name] if name in known else value_of(types)

    def special(self, method):
        """What a method needs beyond its required parameters."""
        where = {"chat_id": self.alice.id}
        live = {"latitude": 1.0, "longitude": 2.0}
        if method.startswith(("edit", "stop", "setGameScore", "getGameHighScores")):
            make = {
                "editMessageText": lambda: self.sent(text="old") | {"text": "new"},
                "editMessageReplyMarkup": lambda: (
                    self.sent(text="x")
                    | {"reply_markup": {"inline_keyboard": [[{"text": "b", "callback_data": "b"}]]}}
                ),
                "editMessageCaption": lambda: (
                    self.sent("sendPhoto", photo=self.file("photo"), caption="old") | {"caption": "new"}
                ),
                "editMessageMedia": lambda: (
                    self.sent("sendPhoto", photo=self.file("photo"))
                    | {"media": {"type": "video", "media": "attach://video"}}
                ),
                "editMessageLiveLocation": lambda: (
                    self.sent("sendLocation", **live, live_period=60) | live | {"latitude": 3.0}
                ),
                "stopMessageLiveLocation": lambda: self.sent("sendLocation", **live, live_period=60),
                "editMessageChecklist": lambda: (
                    self.sent("sendChecklist", business_connection_id="b", checklist=CHECKLIST)
                    | {"checklist": {**CHECKLIST, "title": "new"}}
                ),
                "stopPoll": lambda: self.sent("sendPoll", question="q", options=["a", "b"]),
                "setGameScore": lambda: self.sent("sendGame", game_short_name="g") | {"score": 3},
                "getGameHighScores": self.scored,
                "editChatInviteLink": lambda: self.link(),
                "editChatSubscriptionInviteLink": lambda: self.link(paid=True),
                "editUserStarSubscription": lambda: self.paid(subscription_period=2_592_000),
                "editForumTopic": lambda: {"name": "new"},
                "editGeneralForumTopic": lambda: {"name": "new"},
            }
            return make[method]() if method in make else {}
        more = {
            "setChatDescription": {"description": "new"},
            "setWebhook": {"url": "https://example.org/hook"},
            "copyMessage": self.sent(text="x") | {"from_chat_id": self.alice.id},
            "forwardMessage": self.sent(text="x") | {"from_chat_id": self.alice.id},
            "copyMessages": {"message_ids": [self.sent(text="x")["message_id"]], **where},
            "forwardMessages": {"message_ids": [self.sent(text="x")["message_id"]], **where},
            "deleteMessage": self.sent(text="x"),
            "deleteMessages": {**where, "message_ids": [self.sent(text="x")["message_id"]]},
            "pinChatMessage": self.sent(text="x"),
            "setMessageReaction": self.sent(text="x"),
            "sendMessageDraft": where,
            "sendRichMessageDraft": where,
            "answerShippingQuery": {
                "shipping_options": [{"id": "1", "title": "Post", "prices": PRICES}],
            },
            "getFile": {"file_id": self.file("document")},
            "sendPaidMedia": {**where, "media": [{"type": "photo", "media": "attach://photo"}]},
            "sendPoll": {**where, "question": "q"},
            "sendLocation": live,
            "setChatAdministratorCustomTitle": {"user_id": self.promoted()},
            "createChatSubscriptionInviteLink": {"subscription_period": 2_592_000, "subscription_price": 5},
            "approveChatJoinRequest": self.asking(),
            "setChatPhoto": {"photo": "attach://photo"},
            "getUserProfilePhotos": {},
        }
        later = {
            "revokeChatInviteLink": self.link,
            "declineChatJoinRequest": self.asking,
            "refundStarPayment": self.paid,
            "deleteChatPhoto": lambda: self.call_with_files("setChatPhoto", chat_id=self.group.id) and {},
            "reopenForumTopic": lambda: self.closed(),
            "reopenGeneralForumTopic": lambda: (
                self.call("closeGeneralForumTopic", chat_id=self.group.id) and {}
            ),
            "unhideGeneralForumTopic": lambda: (
                self.call("hideGeneralForumTopic", chat_id=self.group.id) and {}
            ),
            "unpinChatMessage": lambda: self.pinned(),
            "deleteMessageReaction": lambda: self.in_group(),
            "setPassportDataErrors": lambda: {"errors": []},
        }
        return later[method]() if method in later else more.get(method, {})

    def file(self, kind):
        return self.world.files.put(self.bot, kind, FILE).file_id

    def scored(self):
        game = self.sent("sendGame", game_short_name="g")
        self.call("setGameScore", **game, user_id=self.alice.id, score=3)
        return game

    def link(self, paid=False):
        if not paid:
            made = self.call("createChatInviteLink", chat_id=self.group.id)
        else:
            price = {"subscription_period": 2_592_000, "subscription_price": 5}
            made = self.call("createChatSubscriptionInviteLink", chat_id=self.group.id, **price)
        return {"invite_link": made["invite_link"]}

    def asking(self):
        made = self.call("createChatInviteLink", chat_id=self.group.id, creates_join_request=True)
        assert self.bob.join(made["invite_link"]) is False
        return {"user_id": self.bob.id}

    def promoted(self):
        carol = self.world.add_user("Carol")
        self.group.promote(carol)
        return carol.id

    def paid(self, **more):
        link = self.call("createInvoiceLink", **{**INVOICE, **more})
        query, _ = self.alice.check_out(self.bot, link)
        self.call("answerPreCheckoutQuery", pre_checkout_query_id=query, ok=True)
        self.alice.complete_payment(self.bot, query, link)
        charge = next(reversed(self.world.payments))
        return {"user_id": self.alice.id, "telegram_payment_charge_id": charge, "is_canceled": True}

    def closed(self):
        topic = {"chat_id": self.group.id, "message_thread_id": self.group.add_topic("closed")}
        self.call("closeForumTopic", **topic)
        return topic

    def in_group(self):
        message = self.call("sendMessage", chat_id=self.group.id, text="x")
        return {"message_id": message["message_id"]}

    def pinned(self):
        message = self.in_group()
        self.call("pinChatMessage", chat_id=self.group.id, **message)
        return message

    def call_with_files(self, method, **params):
        kinds = ("photo", "video", "file", "sticker", "document", "audio", "voice", "animation", "video_note")
        files = dict.fromkeys((*kinds, "live_photo", "png"), FILE)
        result = self.world.run(self.bot, method, Params(params, files))
        return getattr(result, "result", result)


@pytest.mark.parametrize("name", NAMES)
def test_each_result_is_what_the_table_says(name):
    """Of those that do something, and of those that are made up."""
    stage = Stage()
    arguments = stage.arguments(name)
    result = stage.call_with_files(name, **arguments)
    if name == "getUpdates":
        result = [json.loads(bytes(raw)) for raw in result]
    assert find_faults(bot_api().methods[name].returns, result) == []


def test_a_result_that_is_none_is_found():
    """Of a wrong type, with a field too few or too many, deep inside."""
    chat = {"id": 1, "type": "private"}
    message = {"message_id": 1, "date": 2, "chat": chat}
    assert find_faults(("Message",), message) == []
    assert find_faults(("Message", "Boolean"), True) == []
    assert find_faults(("Message",), True) == ["result: expected Message, got True"]
    assert find_faults(("Message",), {**message, "chat": {"id": 1}}) == [
        "result.chat: Chat needs the field type"
    ]
    assert find_faults(("Message",), {**message, "txet": "x"}) == ["result: Message has no field txet"]
    entity = {"type": "bold", "offset": "0", "length": 1}
    faults = find_faults(("Message",), {**message, "entities": [entity]})
    assert faults == ["result.entities[0].offset: expected Integer, got '0'"]


@pytest.mark.parametrize(
    "kind", ["ChatMember", "MenuButton", "ReactionType", "InlineQueryResult", "BotCommandScope"]
)
def test_examples_agree_with_the_table(kind):
    """One of the members, with its tag."""
    assert find_faults((kind,), example((kind,))) == []
