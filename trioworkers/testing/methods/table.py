"""Which Bot API methods there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.testing.methods import account, copies, members, messages, queries, topics, updates, uploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

    Run = Callable[[World, SimBot, Params], object]


@dataclass(frozen=True, slots=True)
class Method:
    """A method under the name that the documentation gives it."""

    name: str
    run: Run


_TABLE: dict[str, Run] = {
    "getMe": account.get_me,
    "getUpdates": updates.get_updates,
    "setWebhook": updates.set_webhook,
    "deleteWebhook": updates.delete_webhook,
    "getWebhookInfo": updates.get_webhook_info,
    "logOut": account.log_out,
    "close": account.close,
    "sendMessage": messages.send_message,
    "sendPhoto": messages.send_photo,
    "sendDocument": messages.send_document,
    "sendMediaGroup": messages.send_media_group,
    "copyMessage": copies.copy_message,
    "copyMessages": copies.copy_messages,
    "forwardMessage": copies.forward_message,
    "editMessageText": messages.edit_message_text,
    "editMessageCaption": messages.edit_message_caption,
    "editMessageReplyMarkup": messages.edit_message_reply_markup,
    "deleteMessage": messages.delete_message,
    "getFile": uploads.get_file,
    "answerCallbackQuery": queries.answer_callback_query,
    "answerInlineQuery": queries.answer_inline_query,
    "sendChatAction": members.send_chat_action,
    "getChat": members.get_chat,
    "getChatMember": members.get_chat_member,
    "banChatMember": members.ban_chat_member,
    "setMyCommands": account.set_my_commands,
    "getMyCommands": account.get_my_commands,
    "createForumTopic": topics.create_forum_topic,
    "editForumTopic": topics.edit_forum_topic,
    "closeForumTopic": topics.close_forum_topic,
    "reopenForumTopic": topics.reopen_forum_topic,
    "deleteForumTopic": topics.delete_forum_topic,
}
METHODS = {name.lower(): Method(name, run) for name, run in _TABLE.items()}
