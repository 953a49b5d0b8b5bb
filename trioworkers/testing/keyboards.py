"""Keyboards under messages: which buttons Telegram takes. Pure: JSON in, the keyboard that is kept out."""

from __future__ import annotations

from typing import Any

from trioworkers.testing.markup.links import BadLink, check_link, user_id_of
from trioworkers.testing.typed import Malformed, check_object

DATA_LIMIT = 64  # bytes, InlineKeyboardButton.callback_data
ROW_LIMIT = 12  # buttons; what is beyond is cut off, ReplyMarkup.cpp
KEYBOARD_LIMIT = 300  # buttons
SIZE_LIMIT = 10_000  # bytes of an inline keyboard as Telegram packs it; the server's REPLY_MARKUP_TOO_LONG
COPY_LIMIT = 256  # characters, CopyTextButton.text
PLACEHOLDER_LIMIT = 64  # characters

INLINE_KINDS = (
    "url",
    "callback_data",
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
)
REPLY_KINDS = (
    "request_contact",
    "request_location",
    "request_poll",
    "web_app",
    "request_users",
    "request_chat",
    "request_managed_bot",
)
_PRIVATE_ONLY = {
    "request_contact": "phone number can be requested in private chats only",
    "request_location": "location can be requested in private chats only",
    "request_poll": "poll can be requested in private chats only",
    "web_app": "web App buttons can be used in private chats only",
    "request_users": "users can be requested in private chats only",
    "request_chat": "chats can be requested in private chats only",
    "request_managed_bot": "bots can be requested in private chats only",
}
MAY_BE_EMPTY = frozenset({"switch_inline_query", "switch_inline_query_current_chat"})


class BadKeyboard(Exception):
    """Telegram refuses a keyboard; the words are what follows `Bad Request: `."""


def read_markup(markup: object, *, private: bool, invoice: bool = False) -> dict[str, Any] | None:
    """The inline keyboard of a `reply_markup`; None for the others, which are only checked.

    Args:
        markup: the decoded parameter.
        private: whether the chat is private; requests and web apps are for such chats only.
        invoice: whether the message is one; only those have a pay button.

    Raises:
        BadKeyboard: it, or a button, is not what Telegram takes.
    """
    if not isinstance(markup, dict):
        raise BadKeyboard("object expected as reply markup")
    inline = _rows(markup, "inline_keyboard", 'field "inline_keyboard" of the InlineKeyboardMarkup')
    rows = _rows(markup, "keyboard", 'field "keyboard"')
    for name in (
        "remove_keyboard",
        "force_reply",
        "selective",
        "resize_keyboard",
        "one_time_keyboard",
        "is_persistent",
    ):
        if name in markup and not isinstance(markup[name], bool):
            raise BadKeyboard(f'field "{name}" must be of type Boolean')
    placeholder = markup.get("input_field_placeholder", "")
    if not isinstance(placeholder, str):
        raise BadKeyboard('field "input_field_placeholder" must be of type String')
    if len(placeholder) > PLACEHOLDER_LIMIT:
        raise BadKeyboard("PLACEHOLDER_TOO_LONG")
    for row in rows:
        for button in row:
            _check_reply_button(button, private)
    if any(rows):
        return None
    kept = _cut([[_read_inline_button(button) for button in row] for row in inline])
    if not kept:
        return None
    for number, button in enumerate(button for row in kept for button in row):
        if "pay" in button and (number or not invoice):
            raise BadKeyboard("BUTTON_TYPE_INVALID" if not invoice else "BUTTON_POS_INVALID")
        if "web_app" in button and not private:
            raise BadKeyboard("BUTTON_TYPE_INVALID")
    if len(repr(kept).encode()) > SIZE_LIMIT:
        raise BadKeyboard("reply markup is too long")
    return {"inline_keyboard": kept}


def _rows(markup: dict[str, Any], name: str, words: str) -> list[list[Any]]:
    rows = markup.get(name)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise BadKeyboard(f'field "{name}" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise BadKeyboard(f"{words} must be an Array of Arrays")
    return rows


def _cut(rows: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Cut off what is too much, without a word, as Telegram does; empty rows and buttons go too."""
    room = KEYBOARD_LIMIT
    kept: list[list[dict[str, Any]]] = []
    for row in rows:
        shown = [button for button in row if button["text"]][: min(ROW_LIMIT, room)]
        room -= len(shown)
        if shown:
            kept.append(shown)
    return kept


def _read_inline_button(button: object) -> dict[str, Any]:
    broken = "can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise BadKeyboard(f"{broken}InlineKeyboardButton must be an Object")
    try:
        check_object("InlineKeyboardButton", button)
    except Malformed as error:
        raise BadKeyboard(broken + error.words) from None
    kinds = [kind for kind in INLINE_KINDS if button.get(kind) or (kind in MAY_BE_EMPTY and kind in button)]
    if "callback_game" in button and "callback_game" not in kinds:
        kinds.append("callback_game")
    if not kinds:
        raise BadKeyboard(f"{broken}Text buttons are unallowed in the inline keyboard")
    if len(kinds) > 1:
        raise BadKeyboard(f"{broken}exactly one of {' and '.join(kinds)} must be used")
    if len(str(button.get("callback_data", "")).encode()) > DATA_LIMIT:
        raise BadKeyboard("BUTTON_DATA_INVALID")
    if kinds == ["copy_text"] and not 1 <= len(str(button["copy_text"]["text"])) <= COPY_LIMIT:
        raise BadKeyboard("BUTTON_COPY_TEXT_INVALID")
    return {**button, "text": str(button["text"]), **_read_link(button, kinds[0])}


def _read_link(button: dict[str, Any], kind: str) -> dict[str, Any]:
    """The button's link as Telegram keeps it; empty for buttons without one."""
    if kind not in {"url", "login_url", "web_app"}:
        return {}
    url = str(button["url"] if kind == "url" else button[kind]["url"])
    names = {"url": "", "login_url": "login ", "web_app": "Web App "}
    if user_id_of(url):
        if kind == "url":
            return {}
        where = "login URL" if kind == "login_url" else "Web App URL"
        raise BadKeyboard(f"link to a user can't be used in {where} buttons")
    try:
        link = check_link(url, https_only=kind != "url")
    except BadLink as error:
        raise BadKeyboard(f"inline keyboard button {names[kind]}{error}") from None
    return {"url": link} if kind == "url" else {kind: {**button[kind], "url": link}}


def _check_reply_button(button: object, private: bool) -> None:
    if isinstance(button, str):
        return
    broken = "can't parse keyboard button: "
    if not isinstance(button, dict):
        raise BadKeyboard(f"{broken}KeyboardButton must be a String or an Object")
    try:
        check_object("KeyboardButton", button)
    except Malformed as error:
        raise BadKeyboard(broken + error.words) from None
    kinds = [kind for kind in REPLY_KINDS if button.get(kind) or (kind == "request_poll" and kind in button)]
    if len(kinds) > 1:
        raise BadKeyboard(f"{broken}at most one of {' and '.join(kinds)} may be used")
    if kinds and not private:
        raise BadKeyboard(_PRIVATE_ONLY[kinds[0]])
    if kinds == ["web_app"]:
        try:
            check_link(str(button["web_app"]["url"]), https_only=True)
        except BadLink as error:
            raise BadKeyboard(f"keyboard button Web App {error}") from None
