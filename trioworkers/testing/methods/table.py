"""Which Bot API methods there are: all of the table, and the functions of those that do something."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from trioworkers.testing.facts import bot_api
from trioworkers.testing.forms import Form
from trioworkers.testing.methods import (
    account,
    chats,
    contents,
    copies,
    edits,
    generic,
    invites,
    media,
    members,
    messages,
    payments,
    pins,
    polls,
    queries,
    reactions,
    rich,
    topics,
    updates,
    uploads,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

    Run = Callable[[World, SimBot, Params], object]


@dataclass(frozen=True, slots=True)
class Method:
    """A method under the name that the documentation gives it.

    Attributes:
        form: what its parameters have to be.
        behaves: whether it does something; if not, its calls are checked and its answers are made up.
    """

    name: str
    run: Run
    form: Form
    behaves: bool = True


_RUNS: dict[str, Run] = {
    "getMe": account.get_me,
    "getUpdates": updates.get_updates,
    "setWebhook": updates.set_webhook,
    "deleteWebhook": updates.delete_webhook,
    "getWebhookInfo": updates.get_webhook_info,
    "logOut": account.log_out,
    "close": account.close,
    "sendMessage": messages.send_message,
    "sendMessageDraft": messages.send_message_draft,
    "sendRichMessage": rich.send_rich_message,
    "sendRichMessageDraft": rich.send_rich_message_draft,
    "sendPhoto": media.sender("photo"),
    "sendDocument": media.sender("document"),
    "sendVideo": media.sender("video"),
    "sendAnimation": media.sender("animation"),
    "sendAudio": media.sender("audio"),
    "sendVoice": media.sender("voice"),
    "sendVideoNote": media.sender("video_note"),
    "sendSticker": media.sender("sticker"),
    "sendLivePhoto": media.sender("live_photo"),
    "sendMediaGroup": media.send_media_group,
    "sendPaidMedia": media.send_paid_media,
    "sendLocation": contents.send_location,
    "sendVenue": contents.send_venue,
    "sendContact": contents.send_contact,
    "sendDice": contents.send_dice,
    "sendGame": contents.send_game,
    "sendChecklist": contents.send_checklist,
    "sendPoll": polls.send_poll,
    "stopPoll": polls.stop_poll,
    "copyMessage": copies.copy_message,
    "copyMessages": copies.copy_messages,
    "forwardMessage": copies.forward_message,
    "forwardMessages": copies.forward_messages,
    "editMessageText": edits.edit_message_text,
    "editMessageCaption": edits.edit_message_caption,
    "editMessageMedia": edits.edit_message_media,
    "editMessageReplyMarkup": edits.edit_message_reply_markup,
    "editMessageLiveLocation": edits.edit_message_live_location,
    "stopMessageLiveLocation": edits.stop_message_live_location,
    "editMessageChecklist": edits.edit_message_checklist,
    "setGameScore": edits.set_game_score,
    "getGameHighScores": edits.get_game_high_scores,
    "deleteMessage": messages.delete_message,
    "deleteMessages": messages.delete_messages,
    "setMessageReaction": reactions.set_message_reaction,
    "deleteMessageReaction": reactions.delete_message_reaction,
    "deleteAllMessageReactions": reactions.delete_all_message_reactions,
    "pinChatMessage": pins.pin_chat_message,
    "unpinChatMessage": pins.unpin_chat_message,
    "unpinAllChatMessages": pins.unpin_all_chat_messages,
    "unpinAllForumTopicMessages": pins.unpin_all_forum_topic_messages,
    "unpinAllGeneralForumTopicMessages": pins.unpin_all_general_forum_topic_messages,
    "getFile": uploads.get_file,
    "answerCallbackQuery": queries.answer_callback_query,
    "answerInlineQuery": queries.answer_inline_query,
    "answerWebAppQuery": queries.answer_web_app_query,
    "answerGuestQuery": queries.answer_guest_query,
    "savePreparedInlineMessage": queries.save_prepared_inline_message,
    "sendInvoice": payments.send_invoice,
    "createInvoiceLink": payments.create_invoice_link,
    "answerShippingQuery": payments.answer_shipping_query,
    "answerPreCheckoutQuery": payments.answer_pre_checkout_query,
    "getMyStarBalance": payments.get_my_star_balance,
    "getStarTransactions": payments.get_star_transactions,
    "refundStarPayment": payments.refund_star_payment,
    "editUserStarSubscription": payments.edit_user_star_subscription,
    "sendChatAction": chats.send_chat_action,
    "getChat": chats.get_chat,
    "setChatTitle": chats.set_chat_title,
    "setChatDescription": chats.set_chat_description,
    "setChatPhoto": chats.set_chat_photo,
    "deleteChatPhoto": chats.delete_chat_photo,
    "setChatStickerSet": chats.set_chat_sticker_set,
    "deleteChatStickerSet": chats.delete_chat_sticker_set,
    "getChatMember": members.get_chat_member,
    "getChatAdministrators": members.get_chat_administrators,
    "getChatMemberCount": members.get_chat_member_count,
    "banChatMember": members.ban_chat_member,
    "unbanChatMember": members.unban_chat_member,
    "restrictChatMember": members.restrict_chat_member,
    "promoteChatMember": members.promote_chat_member,
    "setChatAdministratorCustomTitle": members.set_chat_administrator_custom_title,
    "setChatMemberTag": members.set_chat_member_tag,
    "setChatPermissions": members.set_chat_permissions,
    "leaveChat": members.leave_chat,
    "exportChatInviteLink": invites.export_chat_invite_link,
    "createChatInviteLink": invites.create_chat_invite_link,
    "editChatInviteLink": invites.edit_chat_invite_link,
    "createChatSubscriptionInviteLink": invites.create_chat_subscription_invite_link,
    "editChatSubscriptionInviteLink": invites.edit_chat_subscription_invite_link,
    "revokeChatInviteLink": invites.revoke_chat_invite_link,
    "approveChatJoinRequest": invites.approve_chat_join_request,
    "declineChatJoinRequest": invites.decline_chat_join_request,
    "setMyCommands": account.set_my_commands,
    "deleteMyCommands": account.delete_my_commands,
    "getMyCommands": account.get_my_commands,
    "setMyName": account.profile_setter("name", 64),
    "getMyName": account.profile_getter("name"),
    "setMyDescription": account.profile_setter("description", 512),
    "getMyDescription": account.profile_getter("description"),
    "setMyShortDescription": account.profile_setter("short_description", 120),
    "getMyShortDescription": account.profile_getter("short_description"),
    "setChatMenuButton": account.set_chat_menu_button,
    "getChatMenuButton": account.get_chat_menu_button,
    "setMyDefaultAdministratorRights": account.set_my_default_administrator_rights,
    "getMyDefaultAdministratorRights": account.get_my_default_administrator_rights,
    "getUserProfilePhotos": account.get_user_profile_photos,
    "createForumTopic": topics.create_forum_topic,
    "editForumTopic": topics.edit_forum_topic,
    "closeForumTopic": topics.close_forum_topic,
    "reopenForumTopic": topics.reopen_forum_topic,
    "deleteForumTopic": topics.delete_forum_topic,
    "editGeneralForumTopic": topics.edit_general_forum_topic,
    "closeGeneralForumTopic": topics.close_general_forum_topic,
    "reopenGeneralForumTopic": topics.reopen_general_forum_topic,
    "hideGeneralForumTopic": topics.hide_general_forum_topic,
    "unhideGeneralForumTopic": topics.unhide_general_forum_topic,
}


def _generic(name: str) -> Run:
    def run(world: World, bot: SimBot, params: Params) -> object:
        return generic.answer(world, bot, name, params)

    return run


@cache
def all_methods() -> dict[str, Method]:
    """The methods of the table, by their names in lower case."""
    return {
        name.lower(): Method(name, _RUNS.get(name) or _generic(name), Form(name, facts), name in _RUNS)
        for name, facts in bot_api().methods.items()
    }


def find_method(name: str) -> Method | None:
    """The method of a name in any case."""
    return all_methods().get(name.lower())
