"""Files, albums, places and the like: sent, forwarded, copied, edited and deleted."""

from __future__ import annotations

import pytest

from trioworkers.testing import Refused, Upload
from trioworkers.testing.params import Params

FILE = Upload("a.bin", "application/octet-stream", b"content")
KEYBOARD = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
KINDS = {
    "sendPhoto": "photo",
    "sendDocument": "document",
    "sendVideo": "video",
    "sendAnimation": "animation",
    "sendAudio": "audio",
    "sendVoice": "voice",
    "sendVideoNote": "video_note",
    "sendSticker": "sticker",
    "sendLivePhoto": "live_photo",
}


@pytest.fixture
def send(world, bot, alice):
    alice.start(bot)

    def send(method, **params):
        files = {"file": FILE, "thumb": FILE}
        return world.run(bot, method, Params({"chat_id": alice.id, **params}, files))

    return send


def of(message):
    return {"chat_id": message["chat"]["id"], "message_id": message["message_id"]}


def refused(words, function, /, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        function(*args, **kwargs)
    assert (caught.value.error_code, caught.value.description) == (400, f"Bad Request: {words}")


@pytest.mark.parametrize(("method", "kind"), KINDS.items())
def test_a_file_of_each_kind_is_sent_fetched_and_sent_again(world, bot, send, method, kind):
    """By upload first, then by its file_id, which fits no other kind."""
    params = {kind: "attach://file", "photo": "attach://file"}
    message = send(method, **params)
    body = message[kind][0] if kind == "photo" else message[kind]
    assert world.call(bot, "getFile", file_id=body["file_id"])["file_size"] == len(FILE.content)
    again = send(method, **{**params, kind: body["file_id"]})
    assert again[kind] == message[kind]
    other = "sendVoice" if kind != "voice" else "sendAudio"
    with pytest.raises(Refused, match="can't use file of type"):
        send(other, **{KINDS[other]: body["file_id"]})


def test_what_a_bot_tells_of_a_file_is_shown(send):
    """Duration, size, titles and a thumbnail; an animation is a document, too."""
    audio = send(
        "sendAudio", audio="attach://file", duration="7", performer="P", title="T", thumbnail="attach://thumb"
    )
    assert {"duration": 7, "performer": "P", "title": "T"}.items() <= audio["audio"].items()
    assert audio["audio"]["thumbnail"]["file_size"] == len(FILE.content)
    video = send("sendVideo", video="attach://file", width=640, height=480, has_spoiler=True, caption="c")
    assert (video["video"]["width"], video["has_media_spoiler"], video["caption"]) == (640, True, "c")
    assert "document" in send("sendAnimation", animation="attach://file")


def test_a_caption_is_formatted(send):
    """1024 count after parsing."""
    text = "<b>" + "x" * 1024 + "</b>"
    message = send("sendPhoto", photo="attach://file", caption=text, parse_mode="HTML")
    assert message["caption"] == "x" * 1024
    assert message["caption_entities"] == [{"type": "bold", "offset": 0, "length": 1024}]


def test_a_file_by_url_is_one_of_the_worlds_web(world, send):
    """What is not in it is not found."""
    world.web["https://x.org/cat.jpg"] = b"cat"
    assert send("sendPhoto", photo="https://x.org/cat.jpg")["photo"][0]["file_size"] == 3
    refused("failed to get HTTP URL content", send, "sendPhoto", photo="https://x.org/dog.jpg")


def test_an_album_mixes_photos_and_videos(send):
    """sendMediaGroup: documents and audio stay among themselves; each part has its caption."""
    media = [
        {"type": kind, "media": "attach://file", "caption": f"*{kind}*", "parse_mode": "MarkdownV2"}
        for kind in ("photo", "video")
    ]
    first, second = send("sendMediaGroup", media=media)
    assert first["media_group_id"] == second["media_group_id"]
    assert (first["caption"], second["caption_entities"][0]["type"]) == ("photo", "bold")
    documents = [{"type": "document", "media": "attach://file"}] * 10
    assert len(send("sendMediaGroup", media=documents)) == 10


def test_paid_media(world, send):
    """sendPaidMedia: stars, and at most ten parts; it cannot be copied."""
    part = {"type": "photo", "media": "attach://file"}
    message = send("sendPaidMedia", star_count=5, media=[part], payload="p", caption="c")
    assert message["paid_media"]["star_count"] == 5
    assert world.paid_media[message["chat"]["id"], message["message_id"]] == "p"
    refused("STARS_AMOUNT_INVALID", send, "sendPaidMedia", star_count=0, media=[part])
    refused("wrong number of paid media specified", send, "sendPaidMedia", star_count=1, media=[])
    source = {"from_chat_id": message["chat"]["id"], "message_id": message["message_id"]}
    refused("message can't be copied", send, "copyMessage", **source)


def test_places_contacts_dice_and_games(send):
    """sendVenue, sendContact, sendDice, sendGame, sendRichMessage, sendChecklist."""
    venue = send("sendVenue", latitude="1.5", longitude=2, title="T", address="A", foursquare_id="f")
    assert venue["venue"]["location"] == venue["location"] == {"latitude": 1.5, "longitude": 2.0}
    contact = send("sendContact", phone_number="1", first_name="F", vcard="v")["contact"]
    assert contact == {"phone_number": "1", "first_name": "F", "vcard": "v"}
    assert 1 <= send("sendDice", emoji="🎰")["dice"]["value"] <= 64
    assert send("sendDice")["dice"]["emoji"] == "🎲"
    assert send("sendGame", game_short_name="chess")["game"]["title"] == "chess"
    rich = send("sendRichMessage", rich_message={"markdown": "# hi"})["rich_message"]
    assert rich["blocks"] == [{"type": "paragraph", "text": "# hi"}]
    both = {"markdown": "x", "html": "y"}
    words = "exactly one of html and markdown must be used in a rich message"
    refused(words, send, "sendRichMessage", rich_message=both)
    tasks = [{"id": 1, "text": "<b>milk</b>", "parse_mode": "HTML"}]
    checklist = {"title": "shop", "tasks": tasks, "others_can_add_tasks": True}
    sent = send("sendChecklist", business_connection_id="b", checklist=checklist)
    assert sent["checklist"]["tasks"][0]["text_entities"] == [{"type": "bold", "offset": 0, "length": 4}]
    assert sent["business_connection_id"] == "b"


def test_drafts(world, bot, alice, send):
    """sendMessageDraft and sendRichMessageDraft show a text in a private chat; nothing is sent."""
    assert send("sendMessageDraft", draft_id=1, text="thin<b>king</b>", parse_mode="HTML") is True
    assert world.drafts[bot.id, alice.id] == "thinking"
    assert send("sendRichMessageDraft", draft_id=1, rich_message={"html": "x"}) is True
    assert world.drafts[bot.id, alice.id] == "x"
    assert world.sent(bot, alice.id) == []
    refused("draft identifier must be non-zero", send, "sendMessageDraft", draft_id=0, text="x")
    group = world.add_group("G", [bot])
    words = "drafts can be sent to private chats only"
    refused(words, send, "sendMessageDraft", chat_id=group.id, draft_id=1, text="x")


def test_messages_are_forwarded_and_deleted_in_bulk(world, bot, alice, send):
    """forwardMessages names the origin, copyMessages does not; deleteMessages skips gaps."""
    media = [{"type": "photo", "media": "attach://file", "caption": "c"}] * 2
    ids = [message["message_id"] for message in send("sendMediaGroup", media=media)]
    group = world.add_group("G", [bot])
    source = {"chat_id": group.id, "from_chat_id": alice.id, "message_ids": [*ids, 4711]}
    forwarded = [group.chat.messages[one["message_id"]] for one in send("forwardMessages", **source)]
    assert [message["forward_origin"]["type"] for message in forwarded] == ["user", "user"]
    copied = [
        group.chat.messages[one["message_id"]] for one in send("copyMessages", **source, remove_caption=True)
    ]
    assert [message.get("caption") for message in copied] == [None, None]
    again = send(
        "forwardMessage", chat_id=alice.id, from_chat_id=group.id, message_id=forwarded[0]["message_id"]
    )
    assert again["forward_origin"] == forwarded[0]["forward_origin"]
    assert send("deleteMessages", message_ids=[*ids, 4711]) is True
    assert not {*ids} & world.dialog(bot, alice.id).messages.keys()


def test_old_messages_are_not_deleted(send, clock):
    """After 48 hours."""
    message = send("sendMessage", text="x")
    clock.go(48 * 3600 + 1)
    refused("message can't be deleted", send, "deleteMessage", **of(message))
    refused("message can't be deleted", send, "deleteMessages", message_ids=[message["message_id"]])


def test_a_copy_may_have_another_caption(world, bot, alice, send):
    """A caption for a file, and a new keyboard."""
    photo = send("sendPhoto", photo="attach://file", caption="old")
    source = {"from_chat_id": alice.id, "message_id": photo["message_id"]}
    made = send("copyMessage", **source, caption="<i>new</i>", parse_mode="HTML", reply_markup=KEYBOARD)
    copy = world.dialog(bot, alice.id).messages[made["message_id"]]
    assert (copy["caption"], copy["caption_entities"][0]["type"]) == ("new", "italic")
    assert copy["reply_markup"] == KEYBOARD


# -- edits ---------------------------------------------------------------------------------------


def test_media_is_edited(send):
    """editMessageMedia: another kind, and the old caption goes; a text can become media."""
    photo = send("sendPhoto", photo="attach://file", caption="old")
    edited = send("editMessageMedia", **of(photo), media={"type": "video", "media": "attach://file"})
    assert "photo" not in edited
    assert "caption" not in edited
    text = send("sendMessage", text="x")
    edited = send(
        "editMessageMedia", **of(text), media={"type": "photo", "media": "attach://file", "caption": "c"}
    )
    assert (edited["caption"], "text" in edited) == ("c", False)
    refused(
        "can't parse InputMedia: media not found",
        send,
        "editMessageMedia",
        **of(photo),
        media={"type": "photo", "media": "attach://none"},
    )


def test_an_edit_is_formatted_too(send):
    """editMessageText and editMessageCaption parse; the same again is not an edit."""
    message = send("sendMessage", text="<b>a</b>", parse_mode="HTML")
    words = "message is not modified"
    with pytest.raises(Refused, match=words):
        send("editMessageText", **of(message), text="*a*", parse_mode="MarkdownV2")
    assert "entities" not in send("editMessageText", **of(message), text="a")
    photo = send("sendPhoto", photo="attach://file", caption="a")
    edited = send("editMessageCaption", **of(photo), caption="_a_", parse_mode="Markdown")
    assert edited["caption_entities"] == [{"type": "italic", "offset": 0, "length": 1}]
    rich = send("editMessageText", **of(message), rich_message={"html": "x"})
    assert "text" not in rich


def test_a_live_location_moves_until_it_is_stopped(send, clock):
    """editMessageLiveLocation and stopMessageLiveLocation; after its period neither works."""
    live = send("sendLocation", latitude=1, longitude=2, live_period=60, heading=90)
    moved = send("editMessageLiveLocation", **of(live), latitude=3, longitude=4)
    assert moved["location"] == {"latitude": 3.0, "longitude": 4.0, "live_period": 60}
    assert "live_period" not in send("stopMessageLiveLocation", **of(live))["location"]
    refused("message can't be edited", send, "editMessageLiveLocation", **of(live), latitude=5, longitude=6)
    late = send("sendLocation", latitude=1, longitude=2, live_period=60)
    clock.go(61)
    refused("message can't be edited", send, "stopMessageLiveLocation", **of(late))


def test_a_checklist_is_edited(send):
    """editMessageChecklist."""
    checklist = {"title": "t", "tasks": [{"id": 1, "text": "a"}]}
    message = send("sendChecklist", business_connection_id="b", checklist=checklist)
    new = {**checklist, "tasks": [{"id": 1, "text": "b"}]}
    edited = send("editMessageChecklist", business_connection_id="b", **of(message), checklist=new)
    assert edited["checklist"]["tasks"][0]["text"] == "b"


def test_scores_of_a_game(send, bot, alice):
    """setGameScore takes a higher one, or any with force; getGameHighScores lists them."""
    game = of(send("sendGame", game_short_name="chess"))
    send("setGameScore", **game, user_id=alice.id, score=5)
    refused("BOT_SCORE_NOT_MODIFIED", send, "setGameScore", **game, user_id=alice.id, score=4)
    send("setGameScore", **game, user_id=alice.id, score=4, force=True)
    (score,) = send("getGameHighScores", **game, user_id=alice.id)
    assert (score["position"], score["user"]["id"], score["score"]) == (1, alice.id, 4)


def test_a_message_of_inline_mode_is_edited_and_its_button_pressed(world, bot, alice):
    """Its keyboard gives the bot an inline_message_id; edits of it answer True."""
    article = {"type": "article", "id": "1", "title": "t", "reply_markup": KEYBOARD}
    article["input_message_content"] = {"message_text": "<b>x</b>", "parse_mode": "HTML"}
    alice.inline_query(bot, "cats")
    query = next(reversed(world.queries))
    world.call(bot, "answerInlineQuery", inline_query_id=query, results=[article])
    alice.choose_inline_result(bot, "1", "cats")
    message = alice.inline_messages[bot.id]
    assert (message["text"], message["via_bot"]["id"]) == ("x", bot.id)
    alice.press(bot, message, "Yes")
    (inline_id,) = world.inline_messages
    edit = {"inline_message_id": inline_id, "text": "new"}
    assert world.call(bot, "editMessageText", **edit) is True
    assert message["text"] == "new"
    refused("MESSAGE_ID_INVALID", world.call, world.add_bot("other"), "editMessageText", **edit)


def test_other_ways_of_inline_mode(world, bot, alice):
    """answerWebAppQuery, answerGuestQuery and savePreparedInlineMessage."""
    article = {"type": "article", "id": "1", "title": "t", "input_message_content": {"message_text": "x"}}
    for method, name in (("answerWebAppQuery", "web_app_query_id"), ("answerGuestQuery", "guest_query_id")):
        inline_id = world.call(bot, method, **{name: world.ask(bot)}, result=article)["inline_message_id"]
        assert world.inline_messages[inline_id][1]["text"] == "x"
    prepared = world.call(bot, "savePreparedInlineMessage", user_id=alice.id, result=article)
    assert world.prepared_messages[prepared["id"]] == (bot.id, {"text": "x"})


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([{"type": "article", "id": "1", "title": "t"}], 'Can\'t find field "input_message_content"'),
        ([{"type": "photo", "id": "1", "photo_url": "x"}], 'Can\'t find field "thumbnail_url"'),
    ],
)
def test_inline_results_are_checked(world, bot, alice, results, words):
    """By the table."""
    alice.inline_query(bot, "x")
    query = next(reversed(world.queries))
    words = f"can't parse inline query result: {words}"
    refused(words, world.call, bot, "answerInlineQuery", inline_query_id=query, results=results)


def test_inline_results_have_ids_of_their_own(world, bot, alice):
    """No more than fifty, none twice, none empty."""
    alice.inline_query(bot, "x")
    query = next(reversed(world.queries))

    def answer(*ids):
        content = {"title": "t", "input_message_content": {"message_text": "x"}}
        results = [{"type": "article", "id": one, **content} for one in ids]
        world.call(bot, "answerInlineQuery", inline_query_id=query, results=results)

    refused("RESULT_ID_DUPLICATE", answer, "1", "1")
    refused("RESULT_ID_INVALID", answer, "x" * 65)
    refused("too many inline query results specified", answer, *map(str, range(51)))
    answer("1", "2")
