"""What operators read: messages described in words, cards of users, the answers to commands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers_plugins.handoff.state import Dialog

COPIED = (
    "text",
    "photo",
    "video",
    "animation",
    "audio",
    "voice",
    "video_note",
    "document",
    "sticker",
    "contact",
    "location",
    "venue",
    "dice",
    "poll",
    "story",
    "game",
    "checklist",
)
"""Kinds of messages that copyMessage takes; a venue has a location, an animation a document, too."""

NOT_COPIED = {
    "invoice": "an invoice",
    "successful_payment": "a payment",
    "refunded_payment": "a refund",
    "giveaway": "a giveaway",
    "giveaway_winners": "the winners of a giveaway",
    "paid_media": "paid media",
    "users_shared": "shared users",
    "chat_shared": "a shared chat",
    "write_access_allowed": "the permission to write",
    "web_app_data": "data of a mini app",
    "passport_data": "passport data",
    "pinned_message": "a pinned message",
    "gift": "a gift",
    "unique_gift": "a gift",
}
TOPIC_NAME = 128  # characters
TEXT_LIMIT = 4096  # UTF-16 units
HELP = "/take, /close, /note TEXT, /ban, /unban, /who; anything else is sent to the user"
REASONS = {
    "handler": "the bot asked for an operator",
    "command": "the user asked for an operator",
    "operator": "an operator took the dialog",
    "api": "asked for over the API",
    "failure": "the bot failed on a message",
}


def kind_of(message: Mapping[str, Any]) -> str:
    """The kind of a message: `text`, `photo`, …, or the first of the kinds that cannot be copied."""
    if "venue" in message:
        return "venue"
    if "animation" in message:
        return "animation"
    for kind in (*COPIED, *NOT_COPIED):
        if kind in message:
            return kind
    return "service"


def in_words(message: Mapping[str, Any]) -> str:
    """Describe a message that cannot be copied."""
    kind = kind_of(message)
    if kind in NOT_COPIED:
        return f"[{NOT_COPIED[kind]}]"
    return "[a service message]" if kind == "service" else f"[{kind.replace('_', ' ')}]"


def text_of(message: Mapping[str, Any]) -> str | None:
    """The text or caption of a message."""
    text = message.get("text", message.get("caption"))
    return text if isinstance(text, str) else None


def pressed(query: Mapping[str, Any]) -> str:
    """The label of the button that a callback query is about; without one its data."""
    data = query.get("data", "")
    message = query.get("message")
    markup = message.get("reply_markup", {}) if isinstance(message, dict) else {}
    for row in markup.get("inline_keyboard", ()):
        for button in row:
            if data and button.get("callback_data") == data:
                return str(button.get("text", data))
    return str(data or query.get("game_short_name", ""))


def happened(kind: str, content: Mapping[str, Any]) -> str:
    """Describe an update of a chat that is not a message."""
    if kind == "callback_query":
        return f"[pressed the button “{pressed(content)}”]"
    if kind == "my_chat_member":
        status = content.get("new_chat_member", {}).get("status")
        return "[blocked the bot]" if status == "kicked" else "[unblocked the bot]"
    if kind == "message_reaction":
        reactions = content.get("new_reaction", ())
        shown = " ".join(str(one.get("emoji", "…")) for one in reactions if isinstance(one, dict))
        return f"[reacted {shown}]" if shown else "[took a reaction back]"
    return f"[{kind.replace('_', ' ')}]"


def full_name(chat: Mapping[str, Any]) -> str:
    """The name of a user or a private chat."""
    names = (chat.get("first_name"), chat.get("last_name"))
    return " ".join(str(name) for name in names if name) or "User"


def topic_name(bot: str, chat: Mapping[str, Any]) -> str:
    """The name of a user's topic."""
    return f"{full_name(chat)} · {bot}"[:TOPIC_NAME]


def card(bot: str, chat: Mapping[str, Any]) -> str:
    """What opens a user's topic."""
    lines = [full_name(chat)]
    if chat.get("username"):
        lines.append(f"@{chat['username']}")
    lines.append(f"id {chat.get('id')}")
    lines.append(f"bot {bot}")
    return "\n".join([*lines, "", HELP])


def change(what: str, dialog: Dialog, operator: str) -> str:
    """Describe to operators what has become of a dialog. `operator`: a name."""
    if what == "requested":
        return f"🔔 Waiting for an operator: {REASONS.get(dialog.reason, dialog.reason)}. /take it or answer."
    if what == "assigned":
        return f"👤 Taken by {operator}."
    if what == "closing":
        return f"↩️ Going back to the bot ({dialog.ends})."
    if what == "returned":
        return "🤖 The bot has the dialog again."
    return f"⛔️ Banned by {operator}. /unban lifts it."


def who(dialog: Dialog, operator: str, waiting: int) -> str:
    """The answer to `/who`."""
    states = {
        "bot": "The bot has this dialog.",
        "queued": "This dialog waits for an operator.",
        "assigned": f"{operator} has this dialog.",
        "closing": "This dialog is going back to the bot.",
        "banned": f"The user is banned by {operator}.",
    }
    held = f" {waiting} messages wait to be sent to the user." if waiting else ""
    return states[dialog.state] + held


def cut(text: str) -> str:
    """A text that fits into a message."""
    while len(text.encode("utf-16-le", "surrogatepass")) // 2 > TEXT_LIMIT:
        text = text[: min(len(text) - 1, TEXT_LIMIT) - 1] + "…"
    return text
