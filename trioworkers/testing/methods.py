"""Which Bot API methods there are, and those that are neither messages, topics, files nor webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.testing import files, messages, polling, topics, webhook
from trioworkers.testing.answers import bad_request, too_many_requests
from trioworkers.testing.chats import Member
from trioworkers.testing.webhook import Described

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import Telegram

    Run = Callable[[Telegram, SimBot, Params], object]

__all__ = ["METHODS", "Described", "Method"]

LOCK = 600.0  # seconds, Bot API: close and logOut
QUERY_LIFETIME = 150.0  # seconds; as long as the update itself is kept
QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"
ACTIONS = frozenset(
    [
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ]
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method under the name that the documentation gives it."""

    name: str
    run: Run


def get_me(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getMe."""
    return bot.me


def get_updates(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getUpdates without waiting; the server uses :func:`polling.wait_poll`."""
    poll = polling.open_poll(telegram, bot, params)
    return [msgspec.Raw(update.body) for update in bot.queue.fetch(poll.offset, poll.limit)]


def close(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """close: 429 in the first ten minutes after the bot's first call."""
    since = telegram.clock() - (bot.seen_at if bot.seen_at is not None else telegram.clock())
    if since < LOCK:
        raise too_many_requests(int(LOCK - since))
    bot.seen_at = None
    return True


def log_out(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """logOut: every further call is refused for ten minutes."""
    bot.locked_until = telegram.clock() + LOCK
    return True


def answer_callback_query(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """answerCallbackQuery: once, and in time."""
    _answer_query(telegram, bot, params, params.text("callback_query_id"))
    return True


def answer_inline_query(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """answerInlineQuery: once, and in time."""
    if not isinstance(params.json("results", "inline query results"), list):
        raise bad_request("expected an Array of InlineQueryResult")
    _answer_query(telegram, bot, params, params.text("inline_query_id"))
    return True


def _answer_query(telegram: Telegram, bot: SimBot, params: Params, query_id: str) -> None:
    owner, asked_at = telegram.queries.get(query_id, (0, 0.0))
    if owner != bot.id or telegram.clock() > asked_at + QUERY_LIFETIME:
        raise bad_request(QUERY_TOO_OLD)
    del telegram.queries[query_id]
    telegram.query_answers[query_id] = dict(params.values)


def send_chat_action(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """sendChatAction."""
    if params.text("action").lower() not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = telegram.find_chat(bot, params)
    chat.check_write(bot)
    chat.thread(bot, params.integer("message_thread_id"))
    return True


def get_chat(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getChat; a user who never wrote to the bot is no chat of its."""
    chat = telegram.find_chat(bot, params)
    if chat.kind == "private" and not chat.started:
        raise bad_request("chat not found")
    return {**chat.brief, "accent_color_id": 0, "max_reaction_count": 11}


def _describe_member(telegram: Telegram, chat: Chat, user_id: int) -> dict[str, Any]:
    member = chat.members.get(user_id) or Member("left")
    account: SimBot | None = telegram.bots.get(user_id)
    user = account.brief if account is not None else telegram.users[user_id].brief
    body: dict[str, Any] = {"user": user, "status": member.status}
    return body | dict.fromkeys(sorted(member.rights), True)


def get_chat_member(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getChatMember."""
    chat = telegram.find_chat(bot, params)
    user_id = params.integer("user_id")
    if user_id <= 0:
        raise bad_request("invalid user_id specified")
    if user_id not in telegram.users and user_id not in telegram.bots:
        raise bad_request("member not found")
    return _describe_member(telegram, chat, user_id)


def ban_chat_member(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """banChatMember."""
    chat = telegram.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("can't ban members in private chats")
    if not chat.members[bot.id].may("can_restrict_members"):
        raise bad_request("not enough rights to restrict/unrestrict chat member")
    user_id = params.integer("user_id")
    if user_id not in telegram.users and user_id not in telegram.bots:
        raise bad_request("invalid user_id specified")
    if chat.members.get(user_id, Member()).status in {"creator", "administrator"}:
        raise bad_request("user is an administrator of the chat")
    chat.members[user_id] = Member("kicked")
    return True


def _scope(params: Params) -> str:
    scope = params.json("scope", "BotCommandScope")
    return f"{params.text('language_code')}/{msgspec.json.encode(scope, order='sorted').decode()}"


def set_my_commands(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """setMyCommands, kept for each scope and language."""
    commands = params.json("commands", "commands")
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    for command in commands:
        name = str(command.get("command", "")).removeprefix("/") if isinstance(command, dict) else ""
        if not 1 <= len(name) <= 32 or not name.isascii() or not name.replace("_", "a").isalnum():
            raise bad_request("BOT_COMMAND_INVALID")
        if not name.islower() or not str(command.get("description", "")):
            raise bad_request("BOT_COMMAND_INVALID" if not name.islower() else "command description is empty")
    bot.commands[_scope(params)] = commands
    return True


def get_my_commands(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getMyCommands."""
    return bot.commands.get(_scope(params), [])


_TABLE: dict[str, Run] = {
    "getMe": get_me,
    "getUpdates": get_updates,
    "setWebhook": webhook.set_webhook,
    "deleteWebhook": webhook.delete_webhook,
    "getWebhookInfo": webhook.get_webhook_info,
    "logOut": log_out,
    "close": close,
    "sendMessage": messages.send_message,
    "sendPhoto": messages.send_photo,
    "sendDocument": messages.send_document,
    "sendMediaGroup": messages.send_media_group,
    "copyMessage": messages.copy_message,
    "forwardMessage": messages.forward_message,
    "editMessageText": messages.edit_message_text,
    "editMessageReplyMarkup": messages.edit_message_reply_markup,
    "deleteMessage": messages.delete_message,
    "getFile": files.get_file,
    "answerCallbackQuery": answer_callback_query,
    "answerInlineQuery": answer_inline_query,
    "sendChatAction": send_chat_action,
    "getChat": get_chat,
    "getChatMember": get_chat_member,
    "banChatMember": ban_chat_member,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "createForumTopic": topics.create_forum_topic,
    "editForumTopic": topics.edit_forum_topic,
    "closeForumTopic": topics.close_forum_topic,
    "reopenForumTopic": topics.reopen_forum_topic,
    "deleteForumTopic": topics.delete_forum_topic,
}
METHODS = {name.lower(): Method(name, run) for name, run in _TABLE.items()}
