"""Refusals of Telegram: their classes, which of them heal, and what of their words is shown."""

from __future__ import annotations

import pytest

import trioworkers
from trioworkers.botapi import refusals
from trioworkers.botapi.errors import BotApiError
from trioworkers.botapi.healing import RULES, can_heal
from trioworkers.botapi.quoted import MOST, READ, without_quotes
from trioworkers.botapi.refusals import refusal

BLOCKED = "Forbidden: bot was blocked by the user"
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
    "same as a current content and reply markup of the message"
)
TOO_OLD = "Bad Request: query is too old and response timeout expired or query ID is invalid"
TAG = 'Bad Request: can\'t parse entities: Unsupported start tag "secret" at byte offset 7'


@pytest.mark.parametrize(
    ("code", "description", "heals"),
    [
        (400, NOT_MODIFIED, False),
        (400, TAG, False),
        (400, TOO_OLD, False),
        (400, "Bad Request: chat not found", False),
        (400, "Bad Request: message thread not found", False),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", False),
        (400, "Bad Request: not enough rights to send text messages to the chat", False),
        (400, "", False),
        (400, "Bad Request: failed to get HTTP URL content", True),
        (400, "Bad Request: wrong file_id or the file is temporarily unavailable", True),
        (400, "Bad Request: Logged out", True),
        (400, 'Bad Request: can\'t parse entities: Unsupported start tag "logged out" at 1', False),
        (401, "Unauthorized", True),
        (403, BLOCKED, False),
        (404, "Not Found: chat not found", False),
        (404, "Not Found: method not found", False),
        (404, "Not Found", False),
        (406, "x", False),
        (408, "", True),
        (409, "Conflict: terminated by other getUpdates request", True),
        (413, "Request Entity Too Large", False),
        (420, "FLOOD_WAIT_5", True),
        (429, "Too Many Requests: retry after 5", True),
        (499, "", False),
        (500, "Internal Server Error", True),
        (502, "Bad Gateway", True),
        (200, "", True),
        (0, "", True),
    ],
)
def test_what_another_try_may_heal(code, description, heals):
    """By code and description; a word that a user wrote decides nothing."""
    assert can_heal(code, description) is heals
    assert BotApiError("sendMessage", code, description).heals is heals
    assert refusal("sendMessage", code, description).heals is heals


def test_each_rule_is_reached_and_has_its_source():
    """A rule behind one that fits all that it fits would say nothing."""
    for rule in RULES:
        fitting = [
            other
            for other in RULES
            if other.first <= rule.first and rule.last <= other.last and other.words in rule.words
        ]
        assert fitting[0] is rule, rule
        assert rule.words == rule.words.lower()
        assert rule.why
        assert rule.source.startswith("https://")


@pytest.mark.parametrize(
    ("code", "description", "name"),
    [
        (400, NOT_MODIFIED, "NotModified"),
        (400, "Bad Request: MESSAGE_NOT_MODIFIED", "NotModified"),
        (400, TOO_OLD, "QueryTooOld"),
        (400, "Bad Request: chat not found", "ChatNotFound"),
        (400, "Bad Request: user not found", "UserNotFound"),
        (400, "Bad Request: message to edit not found", "MessageNotFound"),
        (400, "Bad Request: message to be replied not found", "MessageNotFound"),
        (400, "Bad Request: message can't be deleted for everyone", "MessageLocked"),
        (400, "Bad Request: message text is empty", "MessageEmpty"),
        (400, "Bad Request: message is too long", "MessageTooLong"),
        (400, TAG, "CannotParse"),
        (400, "Bad Request: failed to get HTTP URL content", "CannotFetch"),
        (400, "Bad Request: not enough rights to create a topic", "NotEnoughRights"),
        (400, "Bad Request: CHAT_ADMIN_REQUIRED", "NotEnoughRights"),
        (400, "Bad Request: message thread not found", "TopicNotFound"),
        (400, "Bad Request: TOPIC_CLOSED", "TopicClosed"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "GroupUpgraded"),
        (400, 'Bad Request: no "message is not modified" in it', "BadRequest"),
        (400, "", "BadRequest"),
        (401, "Unauthorized", "Unauthorized"),
        (403, BLOCKED, "BotBlocked"),
        (403, "Forbidden: user is deactivated", "UserDeactivated"),
        (403, "Forbidden: bot was kicked from the supergroup chat", "BotKicked"),
        (403, "Forbidden: bot can't send messages to bots", "Forbidden"),
        (403, "chat not found", "Forbidden"),
        (404, "Not Found: method not found", "NotFound"),
        (409, "Conflict", "Conflict"),
        (413, "Request Entity Too Large", "TooLarge"),
        (429, "Too Many Requests: retry after 5", "TooManyRequests"),
        (500, "Internal Server Error", "ServerError"),
        (504, "", "ServerError"),
        (406, "", "BotApiError"),
    ],
)
def test_a_refusal_has_the_class_that_people_catch(code, description, name):
    """It is exported, is a BotApiError, and has all that Telegram said."""
    error = refusal("sendMessage", code, description, {"x": 1})
    assert type(error) is getattr(trioworkers, name)
    assert isinstance(error, BotApiError)
    assert (error.method, error.error_code, error.description) == ("sendMessage", code, description)
    assert error.parameters == {"x": 1}


def test_an_upgraded_group_is_known_by_its_parameter():
    """Whatever the server says of it."""
    error = refusal("sendMessage", 400, "Bad Request: upgraded", {"migrate_to_chat_id": -1001})
    assert type(error) is trioworkers.GroupUpgraded


def test_every_class_is_exported_and_belongs_to_a_code():
    """A class that no answer has would never be caught."""
    classes = {
        kind
        for kind in vars(refusals).values()
        if isinstance(kind, type) and issubclass(kind, BotApiError) and kind is not BotApiError
    }
    assert {kind.__name__ for kind in classes} <= set(trioworkers.__all__)
    reached = {type(refusal("m", code, "")) for code in (400, 401, 403, 404, 409, 413, 429, 500)}
    reached |= {
        type(refusal("m", code, words[0])) for code, rows in refusals._BY_CODE.items() for _, words in rows
    }
    assert classes == reached


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        (NOT_MODIFIED, NOT_MODIFIED),
        (TOO_OLD, TOO_OLD),
        (BLOCKED, BLOCKED),
        (TAG, "Bad Request: can't parse entities: Unsupported start tag … at byte offset 7"),
        (
            'Bad Request: can\'t parse entities: Unsupported start tag "sec"ret"" at byte offset 7',
            "Bad Request: can't parse entities: Unsupported start tag … at byte offset 7",
        ),
        ('Bad Request: unsupported "secret', "Bad Request: unsupported …"),
        ("Bad Request: unsupported 'secret', isn't it", "Bad Request: unsupported …, isn't it"),
        ("Bad Request: 'it can't be secret' they said", "Bad Request: … they said"),
        ("Bad Request: “secret” and «secret» or `secret`", "Bad Request: …"),
        ("Bad Request: ‘secret’!", "Bad Request: …!"),
        ("Bad Request: wrong URL https://secret.example/?a=b here", "Bad Request: wrong URL … here"),
        ("Forbidden: @secret has no rights", "Forbidden: … has no rights"),
        ("Forbidden: a\nsecret", "Forbidden: a"),
        ("Forbidden: a\rsecret", "Forbidden: a"),
        (
            "Bad Request: can't parse entities: Character '-' is reserved and must be escaped with the "
            "preceding '\\'",
            None,
        ),
        ('Bad Request: can\'t parse inline keyboard button: Field "text" must be of type String', None),
        ("", ""),
        ("x" * 10_000, "x" * MOST + "…"),
        ('"' + "secret" * READ + '" and more', "…"),
    ],
)
def test_what_a_description_quotes_is_cut_out(description, shown):
    """From the first mark to the last, with addresses and names; Telegram's own words stay."""
    assert without_quotes(description) == (description if shown is None else shown)


def test_a_description_shows_no_token():
    """A proxy in between, or another server, may name the address that was asked, or the token alone."""
    token = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawA"
    for said in (
        f"Bad Request: {token} is odd",
        f"Bad Request: /bot{token}/sendMessage",
        f"Bad Request: character '!' {token}",
    ):
        assert token.partition(":")[2] not in without_quotes(said)
