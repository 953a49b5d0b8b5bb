"""All methods of the Bot API, as a bot has them. Made by docs/stubs.py from the table of facts.

Only type checkers and editors read this; at run time, `Bot` makes each call by its name.
"""

from collections.abc import Sequence
from typing import Protocol, overload

from trioworkers.botapi.files import InputFile
from trioworkers.types import (
    AcceptedGiftTypes,
    BotAccessSettings,
    BotCommand,
    BotCommandScope,
    BotDescription,
    BotName,
    BotShortDescription,
    BusinessConnection,
    ChatAdministratorRights,
    ChatFullInfo,
    ChatInviteLink,
    ChatMember,
    ChatPermissions,
    File,
    ForceReply,
    ForumTopic,
    GameHighScore,
    Gifts,
    InlineKeyboardMarkup,
    InlineQueryResult,
    InlineQueryResultsButton,
    InputChecklist,
    InputMedia,
    InputMediaAudio,
    InputMediaDocument,
    InputMediaLivePhoto,
    InputMediaPhoto,
    InputMediaVideo,
    InputPaidMedia,
    InputPollMedia,
    InputPollOption,
    InputProfilePhoto,
    InputRichMessage,
    InputSticker,
    InputStoryContent,
    KeyboardButton,
    LabeledPrice,
    LinkPreviewOptions,
    MaskPosition,
    MenuButton,
    Message,
    MessageEntity,
    MessageId,
    Moment,
    Number,
    Object,
    OwnedGifts,
    PassportElementError,
    Poll,
    PreparedInlineMessage,
    PreparedKeyboardButton,
    ReactionType,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    ReplyParameters,
    SentGuestMessage,
    SentWebAppMessage,
    ShippingOption,
    Span,
    StarAmount,
    StarTransactions,
    Sticker,
    StickerSet,
    Story,
    StoryArea,
    SuggestedPostParameters,
    Text,
    Update,
    User,
    UserChatBoosts,
    UserProfileAudios,
    UserProfilePhotos,
    WebhookInfo,
    Whole,
)

class Methods(Protocol):
    """The methods of the Bot API. Each is a call as :meth:`trioworkers.Bot.call` makes it.

    `once` names the call for replay: it is made once for an update, whatever its parameters are the second
    time.
    """

    async def get_updates(
        self,
        *,
        offset: Whole | None = None,
        limit: Whole | None = None,
        timeout: Span | None = None,
        allowed_updates: list[str] | tuple[str, ...] | None = None,
        once: str | None = None,
    ) -> list[Update]:
        """https://core.telegram.org/bots/api#getupdates"""

    async def set_webhook(
        self,
        *,
        url: Text,
        certificate: InputFile | None = None,
        ip_address: Text | None = None,
        max_connections: Whole | None = None,
        allowed_updates: list[str] | tuple[str, ...] | None = None,
        drop_pending_updates: bool | None = None,
        secret_token: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setwebhook"""

    async def delete_webhook(
        self,
        *,
        drop_pending_updates: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletewebhook"""

    async def get_webhook_info(
        self,
        *,
        once: str | None = None,
    ) -> WebhookInfo:
        """https://core.telegram.org/bots/api#getwebhookinfo"""

    async def get_me(
        self,
        *,
        once: str | None = None,
    ) -> User:
        """https://core.telegram.org/bots/api#getme"""

    async def log_out(
        self,
        *,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#logout"""

    async def close(
        self,
        *,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#close"""

    async def send_message(
        self,
        *,
        chat_id: Whole | Text,
        text: Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        parse_mode: Text | None = None,
        entities: Sequence[MessageEntity | Object] | None = None,
        link_preview_options: LinkPreviewOptions | Object | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendmessage"""

    async def forward_message(
        self,
        *,
        chat_id: Whole | Text,
        from_chat_id: Whole | Text,
        message_id: Whole,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        video_start_timestamp: Span | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#forwardmessage"""

    async def forward_messages(
        self,
        *,
        chat_id: Whole | Text,
        from_chat_id: Whole | Text,
        message_ids: Sequence[Whole],
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        once: str | None = None,
    ) -> list[MessageId]:
        """https://core.telegram.org/bots/api#forwardmessages"""

    async def copy_message(
        self,
        *,
        chat_id: Whole | Text,
        from_chat_id: Whole | Text,
        message_id: Whole,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        video_start_timestamp: Span | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> MessageId:
        """https://core.telegram.org/bots/api#copymessage"""

    async def copy_messages(
        self,
        *,
        chat_id: Whole | Text,
        from_chat_id: Whole | Text,
        message_ids: Sequence[Whole],
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        remove_caption: bool | None = None,
        once: str | None = None,
    ) -> list[MessageId]:
        """https://core.telegram.org/bots/api#copymessages"""

    async def send_photo(
        self,
        *,
        chat_id: Whole | Text,
        photo: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        has_spoiler: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendphoto"""

    async def send_live_photo(
        self,
        *,
        chat_id: Whole | Text,
        live_photo: InputFile | Text,
        photo: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        has_spoiler: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendlivephoto"""

    async def send_audio(
        self,
        *,
        chat_id: Whole | Text,
        audio: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        duration: Span | None = None,
        performer: Text | None = None,
        title: Text | None = None,
        thumbnail: InputFile | Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendaudio"""

    async def send_document(
        self,
        *,
        chat_id: Whole | Text,
        document: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        thumbnail: InputFile | Text | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        disable_content_type_detection: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#senddocument"""

    async def send_video(
        self,
        *,
        chat_id: Whole | Text,
        video: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        duration: Span | None = None,
        width: Whole | None = None,
        height: Whole | None = None,
        thumbnail: InputFile | Text | None = None,
        cover: InputFile | Text | None = None,
        start_timestamp: Span | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        has_spoiler: bool | None = None,
        supports_streaming: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendvideo"""

    async def send_animation(
        self,
        *,
        chat_id: Whole | Text,
        animation: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        duration: Span | None = None,
        width: Whole | None = None,
        height: Whole | None = None,
        thumbnail: InputFile | Text | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        has_spoiler: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendanimation"""

    async def send_voice(
        self,
        *,
        chat_id: Whole | Text,
        voice: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        duration: Span | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendvoice"""

    async def send_video_note(
        self,
        *,
        chat_id: Whole | Text,
        video_note: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        duration: Span | None = None,
        length: Whole | None = None,
        thumbnail: InputFile | Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendvideonote"""

    async def send_paid_media(
        self,
        *,
        chat_id: Whole | Text,
        star_count: Whole,
        media: Sequence[InputPaidMedia | Object],
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        payload: Text | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendpaidmedia"""

    async def send_media_group(
        self,
        *,
        chat_id: Whole | Text,
        media: Sequence[InputMediaAudio | InputMediaDocument | InputMediaLivePhoto | InputMediaPhoto | InputMediaVideo | Object],
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        once: str | None = None,
    ) -> list[Message]:
        """https://core.telegram.org/bots/api#sendmediagroup"""

    async def send_location(
        self,
        *,
        chat_id: Whole | Text,
        latitude: Number,
        longitude: Number,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        horizontal_accuracy: Number | None = None,
        live_period: Span | None = None,
        heading: Whole | None = None,
        proximity_alert_radius: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendlocation"""

    async def send_venue(
        self,
        *,
        chat_id: Whole | Text,
        latitude: Number,
        longitude: Number,
        title: Text,
        address: Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        foursquare_id: Text | None = None,
        foursquare_type: Text | None = None,
        google_place_id: Text | None = None,
        google_place_type: Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendvenue"""

    async def send_contact(
        self,
        *,
        chat_id: Whole | Text,
        phone_number: Text,
        first_name: Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        last_name: Text | None = None,
        vcard: Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendcontact"""

    async def send_poll(
        self,
        *,
        chat_id: Whole | Text,
        question: Text,
        options: Sequence[InputPollOption | Object],
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        question_parse_mode: Text | None = None,
        question_entities: Sequence[MessageEntity | Object] | None = None,
        is_anonymous: bool | None = None,
        type: Text | None = None,
        allows_multiple_answers: bool | None = None,
        allows_revoting: bool | None = None,
        shuffle_options: bool | None = None,
        allow_adding_options: bool | None = None,
        hide_results_until_closes: bool | None = None,
        members_only: bool | None = None,
        country_codes: list[str] | tuple[str, ...] | None = None,
        correct_option_ids: Sequence[Whole] | None = None,
        explanation: Text | None = None,
        explanation_parse_mode: Text | None = None,
        explanation_entities: Sequence[MessageEntity | Object] | None = None,
        explanation_media: InputPollMedia | Object | None = None,
        open_period: Span | None = None,
        close_date: Moment | None = None,
        is_closed: bool | None = None,
        description: Text | None = None,
        description_parse_mode: Text | None = None,
        description_entities: Sequence[MessageEntity | Object] | None = None,
        media: InputPollMedia | Object | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendpoll"""

    async def send_checklist(
        self,
        *,
        business_connection_id: Text,
        chat_id: Whole | Text,
        checklist: InputChecklist | Object,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        message_effect_id: Text | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendchecklist"""

    async def send_dice(
        self,
        *,
        chat_id: Whole | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        emoji: Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#senddice"""

    async def send_message_draft(
        self,
        *,
        chat_id: Whole,
        draft_id: Whole,
        message_thread_id: Whole | None = None,
        text: Text | None = None,
        parse_mode: Text | None = None,
        entities: Sequence[MessageEntity | Object] | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#sendmessagedraft"""

    async def send_chat_action(
        self,
        *,
        chat_id: Whole | Text,
        action: Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#sendchataction"""

    async def set_message_reaction(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        reaction: Sequence[ReactionType | Object] | None = None,
        is_big: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmessagereaction"""

    async def get_user_profile_photos(
        self,
        *,
        user_id: Whole,
        offset: Whole | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> UserProfilePhotos:
        """https://core.telegram.org/bots/api#getuserprofilephotos"""

    async def get_user_profile_audios(
        self,
        *,
        user_id: Whole,
        offset: Whole | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> UserProfileAudios:
        """https://core.telegram.org/bots/api#getuserprofileaudios"""

    async def set_user_emoji_status(
        self,
        *,
        user_id: Whole,
        emoji_status_custom_emoji_id: Text | None = None,
        emoji_status_expiration_date: Moment | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setuseremojistatus"""

    async def get_file(
        self,
        *,
        file_id: Text,
        once: str | None = None,
    ) -> File:
        """https://core.telegram.org/bots/api#getfile"""

    async def ban_chat_member(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        until_date: Moment | None = None,
        revoke_messages: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#banchatmember"""

    async def unban_chat_member(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        only_if_banned: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unbanchatmember"""

    async def restrict_chat_member(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        permissions: ChatPermissions | Object,
        use_independent_chat_permissions: bool | None = None,
        until_date: Moment | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#restrictchatmember"""

    async def promote_chat_member(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        is_anonymous: bool | None = None,
        can_manage_chat: bool | None = None,
        can_delete_messages: bool | None = None,
        can_manage_video_chats: bool | None = None,
        can_restrict_members: bool | None = None,
        can_promote_members: bool | None = None,
        can_change_info: bool | None = None,
        can_invite_users: bool | None = None,
        can_post_stories: bool | None = None,
        can_edit_stories: bool | None = None,
        can_delete_stories: bool | None = None,
        can_post_messages: bool | None = None,
        can_edit_messages: bool | None = None,
        can_pin_messages: bool | None = None,
        can_manage_topics: bool | None = None,
        can_manage_direct_messages: bool | None = None,
        can_manage_tags: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#promotechatmember"""

    async def set_chat_administrator_custom_title(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        custom_title: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatadministratorcustomtitle"""

    async def set_chat_member_tag(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        tag: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatmembertag"""

    async def ban_chat_sender_chat(
        self,
        *,
        chat_id: Whole | Text,
        sender_chat_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#banchatsenderchat"""

    async def unban_chat_sender_chat(
        self,
        *,
        chat_id: Whole | Text,
        sender_chat_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unbanchatsenderchat"""

    async def set_chat_permissions(
        self,
        *,
        chat_id: Whole | Text,
        permissions: ChatPermissions | Object,
        use_independent_chat_permissions: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatpermissions"""

    async def export_chat_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> str:
        """https://core.telegram.org/bots/api#exportchatinvitelink"""

    async def create_chat_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        name: Text | None = None,
        expire_date: Moment | None = None,
        member_limit: Whole | None = None,
        creates_join_request: bool | None = None,
        once: str | None = None,
    ) -> ChatInviteLink:
        """https://core.telegram.org/bots/api#createchatinvitelink"""

    async def edit_chat_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        invite_link: Text,
        name: Text | None = None,
        expire_date: Moment | None = None,
        member_limit: Whole | None = None,
        creates_join_request: bool | None = None,
        once: str | None = None,
    ) -> ChatInviteLink:
        """https://core.telegram.org/bots/api#editchatinvitelink"""

    async def create_chat_subscription_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        subscription_period: Span,
        subscription_price: Whole,
        name: Text | None = None,
        once: str | None = None,
    ) -> ChatInviteLink:
        """https://core.telegram.org/bots/api#createchatsubscriptioninvitelink"""

    async def edit_chat_subscription_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        invite_link: Text,
        name: Text | None = None,
        once: str | None = None,
    ) -> ChatInviteLink:
        """https://core.telegram.org/bots/api#editchatsubscriptioninvitelink"""

    async def revoke_chat_invite_link(
        self,
        *,
        chat_id: Whole | Text,
        invite_link: Text,
        once: str | None = None,
    ) -> ChatInviteLink:
        """https://core.telegram.org/bots/api#revokechatinvitelink"""

    async def approve_chat_join_request(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#approvechatjoinrequest"""

    async def decline_chat_join_request(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#declinechatjoinrequest"""

    async def answer_chat_join_request_query(
        self,
        *,
        chat_join_request_query_id: Text,
        result: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#answerchatjoinrequestquery"""

    async def send_chat_join_request_web_app(
        self,
        *,
        chat_join_request_query_id: Text,
        web_app_url: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#sendchatjoinrequestwebapp"""

    async def set_chat_photo(
        self,
        *,
        chat_id: Whole | Text,
        photo: InputFile,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatphoto"""

    async def delete_chat_photo(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletechatphoto"""

    async def set_chat_title(
        self,
        *,
        chat_id: Whole | Text,
        title: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchattitle"""

    async def set_chat_description(
        self,
        *,
        chat_id: Whole | Text,
        description: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatdescription"""

    async def pin_chat_message(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        disable_notification: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#pinchatmessage"""

    async def unpin_chat_message(
        self,
        *,
        chat_id: Whole | Text,
        business_connection_id: Text | None = None,
        message_id: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unpinchatmessage"""

    async def unpin_all_chat_messages(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unpinallchatmessages"""

    async def leave_chat(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#leavechat"""

    async def get_chat(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> ChatFullInfo:
        """https://core.telegram.org/bots/api#getchat"""

    async def get_chat_administrators(
        self,
        *,
        chat_id: Whole | Text,
        return_bots: bool | None = None,
        once: str | None = None,
    ) -> list[ChatMember]:
        """https://core.telegram.org/bots/api#getchatadministrators"""

    async def get_chat_member_count(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> int:
        """https://core.telegram.org/bots/api#getchatmembercount"""

    async def get_chat_member(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        once: str | None = None,
    ) -> ChatMember:
        """https://core.telegram.org/bots/api#getchatmember"""

    async def get_user_personal_chat_messages(
        self,
        *,
        user_id: Whole,
        limit: Whole,
        once: str | None = None,
    ) -> list[Message]:
        """https://core.telegram.org/bots/api#getuserpersonalchatmessages"""

    async def set_chat_sticker_set(
        self,
        *,
        chat_id: Whole | Text,
        sticker_set_name: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatstickerset"""

    async def delete_chat_sticker_set(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletechatstickerset"""

    async def get_forum_topic_icon_stickers(
        self,
        *,
        once: str | None = None,
    ) -> list[Sticker]:
        """https://core.telegram.org/bots/api#getforumtopiciconstickers"""

    async def create_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        name: Text,
        icon_color: Whole | None = None,
        icon_custom_emoji_id: Text | None = None,
        once: str | None = None,
    ) -> ForumTopic:
        """https://core.telegram.org/bots/api#createforumtopic"""

    async def edit_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        message_thread_id: Whole,
        name: Text | None = None,
        icon_custom_emoji_id: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editforumtopic"""

    async def close_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        message_thread_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#closeforumtopic"""

    async def reopen_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        message_thread_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#reopenforumtopic"""

    async def delete_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        message_thread_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deleteforumtopic"""

    async def unpin_all_forum_topic_messages(
        self,
        *,
        chat_id: Whole | Text,
        message_thread_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unpinallforumtopicmessages"""

    async def edit_general_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        name: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editgeneralforumtopic"""

    async def close_general_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#closegeneralforumtopic"""

    async def reopen_general_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#reopengeneralforumtopic"""

    async def hide_general_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#hidegeneralforumtopic"""

    async def unhide_general_forum_topic(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unhidegeneralforumtopic"""

    async def unpin_all_general_forum_topic_messages(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#unpinallgeneralforumtopicmessages"""

    async def answer_callback_query(
        self,
        *,
        callback_query_id: Text,
        text: Text | None = None,
        show_alert: bool | None = None,
        url: Text | None = None,
        cache_time: Span | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#answercallbackquery"""

    async def answer_guest_query(
        self,
        *,
        guest_query_id: Text,
        result: InlineQueryResult | Object,
        once: str | None = None,
    ) -> SentGuestMessage:
        """https://core.telegram.org/bots/api#answerguestquery"""

    async def get_user_chat_boosts(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole,
        once: str | None = None,
    ) -> UserChatBoosts:
        """https://core.telegram.org/bots/api#getuserchatboosts"""

    async def get_business_connection(
        self,
        *,
        business_connection_id: Text,
        once: str | None = None,
    ) -> BusinessConnection:
        """https://core.telegram.org/bots/api#getbusinessconnection"""

    async def get_managed_bot_token(
        self,
        *,
        user_id: Whole,
        once: str | None = None,
    ) -> str:
        """https://core.telegram.org/bots/api#getmanagedbottoken"""

    async def replace_managed_bot_token(
        self,
        *,
        user_id: Whole,
        once: str | None = None,
    ) -> str:
        """https://core.telegram.org/bots/api#replacemanagedbottoken"""

    async def get_managed_bot_access_settings(
        self,
        *,
        user_id: Whole,
        once: str | None = None,
    ) -> BotAccessSettings:
        """https://core.telegram.org/bots/api#getmanagedbotaccesssettings"""

    async def set_managed_bot_access_settings(
        self,
        *,
        user_id: Whole,
        is_access_restricted: bool,
        added_user_ids: Sequence[Whole] | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmanagedbotaccesssettings"""

    async def set_my_commands(
        self,
        *,
        commands: Sequence[BotCommand | Object],
        scope: BotCommandScope | Object | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmycommands"""

    async def delete_my_commands(
        self,
        *,
        scope: BotCommandScope | Object | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletemycommands"""

    async def get_my_commands(
        self,
        *,
        scope: BotCommandScope | Object | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> list[BotCommand]:
        """https://core.telegram.org/bots/api#getmycommands"""

    async def set_my_name(
        self,
        *,
        name: Text | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmyname"""

    async def get_my_name(
        self,
        *,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> BotName:
        """https://core.telegram.org/bots/api#getmyname"""

    async def set_my_description(
        self,
        *,
        description: Text | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmydescription"""

    async def get_my_description(
        self,
        *,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> BotDescription:
        """https://core.telegram.org/bots/api#getmydescription"""

    async def set_my_short_description(
        self,
        *,
        short_description: Text | None = None,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmyshortdescription"""

    async def get_my_short_description(
        self,
        *,
        language_code: Text | None = None,
        once: str | None = None,
    ) -> BotShortDescription:
        """https://core.telegram.org/bots/api#getmyshortdescription"""

    async def set_my_profile_photo(
        self,
        *,
        photo: InputProfilePhoto | Object,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmyprofilephoto"""

    async def remove_my_profile_photo(
        self,
        *,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#removemyprofilephoto"""

    async def set_chat_menu_button(
        self,
        *,
        chat_id: Whole | None = None,
        menu_button: MenuButton | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setchatmenubutton"""

    async def get_chat_menu_button(
        self,
        *,
        chat_id: Whole | None = None,
        once: str | None = None,
    ) -> MenuButton:
        """https://core.telegram.org/bots/api#getchatmenubutton"""

    async def set_my_default_administrator_rights(
        self,
        *,
        rights: ChatAdministratorRights | Object | None = None,
        for_channels: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setmydefaultadministratorrights"""

    async def get_my_default_administrator_rights(
        self,
        *,
        for_channels: bool | None = None,
        once: str | None = None,
    ) -> ChatAdministratorRights:
        """https://core.telegram.org/bots/api#getmydefaultadministratorrights"""

    async def get_available_gifts(
        self,
        *,
        once: str | None = None,
    ) -> Gifts:
        """https://core.telegram.org/bots/api#getavailablegifts"""

    async def send_gift(
        self,
        *,
        gift_id: Text,
        user_id: Whole | None = None,
        chat_id: Whole | Text | None = None,
        pay_for_upgrade: bool | None = None,
        text: Text | None = None,
        text_parse_mode: Text | None = None,
        text_entities: Sequence[MessageEntity | Object] | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#sendgift"""

    async def gift_premium_subscription(
        self,
        *,
        user_id: Whole,
        month_count: Whole,
        star_count: Whole,
        text: Text | None = None,
        text_parse_mode: Text | None = None,
        text_entities: Sequence[MessageEntity | Object] | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#giftpremiumsubscription"""

    async def verify_user(
        self,
        *,
        user_id: Whole,
        custom_description: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#verifyuser"""

    async def verify_chat(
        self,
        *,
        chat_id: Whole | Text,
        custom_description: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#verifychat"""

    async def remove_user_verification(
        self,
        *,
        user_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#removeuserverification"""

    async def remove_chat_verification(
        self,
        *,
        chat_id: Whole | Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#removechatverification"""

    async def read_business_message(
        self,
        *,
        business_connection_id: Text,
        chat_id: Whole,
        message_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#readbusinessmessage"""

    async def delete_business_messages(
        self,
        *,
        business_connection_id: Text,
        message_ids: Sequence[Whole],
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletebusinessmessages"""

    async def set_business_account_name(
        self,
        *,
        business_connection_id: Text,
        first_name: Text,
        last_name: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setbusinessaccountname"""

    async def set_business_account_username(
        self,
        *,
        business_connection_id: Text,
        username: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setbusinessaccountusername"""

    async def set_business_account_bio(
        self,
        *,
        business_connection_id: Text,
        bio: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setbusinessaccountbio"""

    async def set_business_account_profile_photo(
        self,
        *,
        business_connection_id: Text,
        photo: InputProfilePhoto | Object,
        is_public: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setbusinessaccountprofilephoto"""

    async def remove_business_account_profile_photo(
        self,
        *,
        business_connection_id: Text,
        is_public: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#removebusinessaccountprofilephoto"""

    async def set_business_account_gift_settings(
        self,
        *,
        business_connection_id: Text,
        show_gift_button: bool,
        accepted_gift_types: AcceptedGiftTypes | Object,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setbusinessaccountgiftsettings"""

    async def get_business_account_star_balance(
        self,
        *,
        business_connection_id: Text,
        once: str | None = None,
    ) -> StarAmount:
        """https://core.telegram.org/bots/api#getbusinessaccountstarbalance"""

    async def transfer_business_account_stars(
        self,
        *,
        business_connection_id: Text,
        star_count: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#transferbusinessaccountstars"""

    async def get_business_account_gifts(
        self,
        *,
        business_connection_id: Text,
        exclude_unsaved: bool | None = None,
        exclude_saved: bool | None = None,
        exclude_unlimited: bool | None = None,
        exclude_limited_upgradable: bool | None = None,
        exclude_limited_non_upgradable: bool | None = None,
        exclude_unique: bool | None = None,
        exclude_from_blockchain: bool | None = None,
        sort_by_price: bool | None = None,
        offset: Text | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> OwnedGifts:
        """https://core.telegram.org/bots/api#getbusinessaccountgifts"""

    async def get_user_gifts(
        self,
        *,
        user_id: Whole,
        exclude_unlimited: bool | None = None,
        exclude_limited_upgradable: bool | None = None,
        exclude_limited_non_upgradable: bool | None = None,
        exclude_from_blockchain: bool | None = None,
        exclude_unique: bool | None = None,
        sort_by_price: bool | None = None,
        offset: Text | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> OwnedGifts:
        """https://core.telegram.org/bots/api#getusergifts"""

    async def get_chat_gifts(
        self,
        *,
        chat_id: Whole | Text,
        exclude_unsaved: bool | None = None,
        exclude_saved: bool | None = None,
        exclude_unlimited: bool | None = None,
        exclude_limited_upgradable: bool | None = None,
        exclude_limited_non_upgradable: bool | None = None,
        exclude_from_blockchain: bool | None = None,
        exclude_unique: bool | None = None,
        sort_by_price: bool | None = None,
        offset: Text | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> OwnedGifts:
        """https://core.telegram.org/bots/api#getchatgifts"""

    async def convert_gift_to_stars(
        self,
        *,
        business_connection_id: Text,
        owned_gift_id: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#convertgifttostars"""

    async def upgrade_gift(
        self,
        *,
        business_connection_id: Text,
        owned_gift_id: Text,
        keep_original_details: bool | None = None,
        star_count: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#upgradegift"""

    async def transfer_gift(
        self,
        *,
        business_connection_id: Text,
        owned_gift_id: Text,
        new_owner_chat_id: Whole,
        star_count: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#transfergift"""

    async def post_story(
        self,
        *,
        business_connection_id: Text,
        content: InputStoryContent | Object,
        active_period: Span,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        areas: Sequence[StoryArea | Object] | None = None,
        post_to_chat_page: bool | None = None,
        protect_content: bool | None = None,
        once: str | None = None,
    ) -> Story:
        """https://core.telegram.org/bots/api#poststory"""

    async def repost_story(
        self,
        *,
        business_connection_id: Text,
        from_chat_id: Whole,
        from_story_id: Whole,
        active_period: Span,
        post_to_chat_page: bool | None = None,
        protect_content: bool | None = None,
        once: str | None = None,
    ) -> Story:
        """https://core.telegram.org/bots/api#repoststory"""

    async def edit_story(
        self,
        *,
        business_connection_id: Text,
        story_id: Whole,
        content: InputStoryContent | Object,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        areas: Sequence[StoryArea | Object] | None = None,
        once: str | None = None,
    ) -> Story:
        """https://core.telegram.org/bots/api#editstory"""

    async def delete_story(
        self,
        *,
        business_connection_id: Text,
        story_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletestory"""

    async def answer_web_app_query(
        self,
        *,
        web_app_query_id: Text,
        result: InlineQueryResult | Object,
        once: str | None = None,
    ) -> SentWebAppMessage:
        """https://core.telegram.org/bots/api#answerwebappquery"""

    async def save_prepared_inline_message(
        self,
        *,
        user_id: Whole,
        result: InlineQueryResult | Object,
        allow_user_chats: bool | None = None,
        allow_bot_chats: bool | None = None,
        allow_group_chats: bool | None = None,
        allow_channel_chats: bool | None = None,
        once: str | None = None,
    ) -> PreparedInlineMessage:
        """https://core.telegram.org/bots/api#savepreparedinlinemessage"""

    async def save_prepared_keyboard_button(
        self,
        *,
        user_id: Whole,
        button: KeyboardButton | Object,
        once: str | None = None,
    ) -> PreparedKeyboardButton:
        """https://core.telegram.org/bots/api#savepreparedkeyboardbutton"""

    @overload
    async def edit_message_text(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        text: Text | None = None,
        parse_mode: Text | None = None,
        entities: Sequence[MessageEntity | Object] | None = None,
        link_preview_options: LinkPreviewOptions | Object | None = None,
        rich_message: InputRichMessage | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagetext"""

    @overload
    async def edit_message_text(
        self,
        *,
        inline_message_id: Text,
        business_connection_id: Text | None = None,
        text: Text | None = None,
        parse_mode: Text | None = None,
        entities: Sequence[MessageEntity | Object] | None = None,
        link_preview_options: LinkPreviewOptions | Object | None = None,
        rich_message: InputRichMessage | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editmessagetext"""

    @overload
    async def edit_message_caption(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagecaption"""

    @overload
    async def edit_message_caption(
        self,
        *,
        inline_message_id: Text,
        business_connection_id: Text | None = None,
        caption: Text | None = None,
        parse_mode: Text | None = None,
        caption_entities: Sequence[MessageEntity | Object] | None = None,
        show_caption_above_media: bool | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editmessagecaption"""

    @overload
    async def edit_message_media(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        media: InputMedia | Object,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagemedia"""

    @overload
    async def edit_message_media(
        self,
        *,
        inline_message_id: Text,
        media: InputMedia | Object,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editmessagemedia"""

    @overload
    async def edit_message_live_location(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        latitude: Number,
        longitude: Number,
        business_connection_id: Text | None = None,
        live_period: Span | None = None,
        horizontal_accuracy: Number | None = None,
        heading: Whole | None = None,
        proximity_alert_radius: Whole | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagelivelocation"""

    @overload
    async def edit_message_live_location(
        self,
        *,
        inline_message_id: Text,
        latitude: Number,
        longitude: Number,
        business_connection_id: Text | None = None,
        live_period: Span | None = None,
        horizontal_accuracy: Number | None = None,
        heading: Whole | None = None,
        proximity_alert_radius: Whole | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editmessagelivelocation"""

    @overload
    async def stop_message_live_location(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#stopmessagelivelocation"""

    @overload
    async def stop_message_live_location(
        self,
        *,
        inline_message_id: Text,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#stopmessagelivelocation"""

    async def edit_message_checklist(
        self,
        *,
        business_connection_id: Text,
        chat_id: Whole | Text,
        message_id: Whole,
        checklist: InputChecklist | Object,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagechecklist"""

    @overload
    async def edit_message_reply_markup(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#editmessagereplymarkup"""

    @overload
    async def edit_message_reply_markup(
        self,
        *,
        inline_message_id: Text,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#editmessagereplymarkup"""

    async def stop_poll(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        business_connection_id: Text | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Poll:
        """https://core.telegram.org/bots/api#stoppoll"""

    async def approve_suggested_post(
        self,
        *,
        chat_id: Whole,
        message_id: Whole,
        send_date: Moment | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#approvesuggestedpost"""

    async def decline_suggested_post(
        self,
        *,
        chat_id: Whole,
        message_id: Whole,
        comment: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#declinesuggestedpost"""

    async def delete_message(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletemessage"""

    async def delete_messages(
        self,
        *,
        chat_id: Whole | Text,
        message_ids: Sequence[Whole],
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletemessages"""

    async def delete_message_reaction(
        self,
        *,
        chat_id: Whole | Text,
        message_id: Whole,
        user_id: Whole | None = None,
        actor_chat_id: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletemessagereaction"""

    async def delete_all_message_reactions(
        self,
        *,
        chat_id: Whole | Text,
        user_id: Whole | None = None,
        actor_chat_id: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deleteallmessagereactions"""

    async def send_sticker(
        self,
        *,
        chat_id: Whole | Text,
        sticker: InputFile | Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        emoji: Text | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendsticker"""

    async def get_sticker_set(
        self,
        *,
        name: Text,
        once: str | None = None,
    ) -> StickerSet:
        """https://core.telegram.org/bots/api#getstickerset"""

    async def get_custom_emoji_stickers(
        self,
        *,
        custom_emoji_ids: list[str] | tuple[str, ...],
        once: str | None = None,
    ) -> list[Sticker]:
        """https://core.telegram.org/bots/api#getcustomemojistickers"""

    async def upload_sticker_file(
        self,
        *,
        user_id: Whole,
        sticker: InputFile,
        sticker_format: Text,
        once: str | None = None,
    ) -> File:
        """https://core.telegram.org/bots/api#uploadstickerfile"""

    async def create_new_sticker_set(
        self,
        *,
        user_id: Whole,
        name: Text,
        title: Text,
        stickers: Sequence[InputSticker | Object],
        sticker_type: Text | None = None,
        needs_repainting: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#createnewstickerset"""

    async def add_sticker_to_set(
        self,
        *,
        user_id: Whole,
        name: Text,
        sticker: InputSticker | Object,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#addstickertoset"""

    async def set_sticker_position_in_set(
        self,
        *,
        sticker: Text,
        position: Whole,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickerpositioninset"""

    async def delete_sticker_from_set(
        self,
        *,
        sticker: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletestickerfromset"""

    async def replace_sticker_in_set(
        self,
        *,
        user_id: Whole,
        name: Text,
        old_sticker: Text,
        sticker: InputSticker | Object,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#replacestickerinset"""

    async def set_sticker_emoji_list(
        self,
        *,
        sticker: Text,
        emoji_list: list[str] | tuple[str, ...],
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickeremojilist"""

    async def set_sticker_keywords(
        self,
        *,
        sticker: Text,
        keywords: list[str] | tuple[str, ...] | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickerkeywords"""

    async def set_sticker_mask_position(
        self,
        *,
        sticker: Text,
        mask_position: MaskPosition | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickermaskposition"""

    async def set_sticker_set_title(
        self,
        *,
        name: Text,
        title: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickersettitle"""

    async def set_sticker_set_thumbnail(
        self,
        *,
        name: Text,
        user_id: Whole,
        format: Text,
        thumbnail: InputFile | Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setstickersetthumbnail"""

    async def set_custom_emoji_sticker_set_thumbnail(
        self,
        *,
        name: Text,
        custom_emoji_id: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setcustomemojistickersetthumbnail"""

    async def delete_sticker_set(
        self,
        *,
        name: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#deletestickerset"""

    async def send_rich_message(
        self,
        *,
        chat_id: Whole | Text,
        rich_message: InputRichMessage | Object,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | ReplyKeyboardMarkup | ReplyKeyboardRemove | ForceReply | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendrichmessage"""

    async def send_rich_message_draft(
        self,
        *,
        chat_id: Whole,
        draft_id: Whole,
        rich_message: InputRichMessage | Object,
        message_thread_id: Whole | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#sendrichmessagedraft"""

    async def answer_inline_query(
        self,
        *,
        inline_query_id: Text,
        results: Sequence[InlineQueryResult | Object],
        cache_time: Span | None = None,
        is_personal: bool | None = None,
        next_offset: Text | None = None,
        button: InlineQueryResultsButton | Object | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#answerinlinequery"""

    async def send_invoice(
        self,
        *,
        chat_id: Whole | Text,
        title: Text,
        description: Text,
        payload: Text,
        currency: Text,
        prices: Sequence[LabeledPrice | Object],
        message_thread_id: Whole | None = None,
        direct_messages_topic_id: Whole | None = None,
        provider_token: Text | None = None,
        max_tip_amount: Whole | None = None,
        suggested_tip_amounts: Sequence[Whole] | None = None,
        start_parameter: Text | None = None,
        provider_data: Text | None = None,
        photo_url: Text | None = None,
        photo_size: Whole | None = None,
        photo_width: Whole | None = None,
        photo_height: Whole | None = None,
        need_name: bool | None = None,
        need_phone_number: bool | None = None,
        need_email: bool | None = None,
        need_shipping_address: bool | None = None,
        send_phone_number_to_provider: bool | None = None,
        send_email_to_provider: bool | None = None,
        is_flexible: bool | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        suggested_post_parameters: SuggestedPostParameters | Object | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendinvoice"""

    async def create_invoice_link(
        self,
        *,
        title: Text,
        description: Text,
        payload: Text,
        currency: Text,
        prices: Sequence[LabeledPrice | Object],
        business_connection_id: Text | None = None,
        provider_token: Text | None = None,
        subscription_period: Span | None = None,
        max_tip_amount: Whole | None = None,
        suggested_tip_amounts: Sequence[Whole] | None = None,
        provider_data: Text | None = None,
        photo_url: Text | None = None,
        photo_size: Whole | None = None,
        photo_width: Whole | None = None,
        photo_height: Whole | None = None,
        need_name: bool | None = None,
        need_phone_number: bool | None = None,
        need_email: bool | None = None,
        need_shipping_address: bool | None = None,
        send_phone_number_to_provider: bool | None = None,
        send_email_to_provider: bool | None = None,
        is_flexible: bool | None = None,
        once: str | None = None,
    ) -> str:
        """https://core.telegram.org/bots/api#createinvoicelink"""

    async def answer_shipping_query(
        self,
        *,
        shipping_query_id: Text,
        ok: bool,
        shipping_options: Sequence[ShippingOption | Object] | None = None,
        error_message: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#answershippingquery"""

    async def answer_pre_checkout_query(
        self,
        *,
        pre_checkout_query_id: Text,
        ok: bool,
        error_message: Text | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#answerprecheckoutquery"""

    async def get_my_star_balance(
        self,
        *,
        once: str | None = None,
    ) -> StarAmount:
        """https://core.telegram.org/bots/api#getmystarbalance"""

    async def get_star_transactions(
        self,
        *,
        offset: Whole | None = None,
        limit: Whole | None = None,
        once: str | None = None,
    ) -> StarTransactions:
        """https://core.telegram.org/bots/api#getstartransactions"""

    async def refund_star_payment(
        self,
        *,
        user_id: Whole,
        telegram_payment_charge_id: Text,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#refundstarpayment"""

    async def edit_user_star_subscription(
        self,
        *,
        user_id: Whole,
        telegram_payment_charge_id: Text,
        is_canceled: bool,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#edituserstarsubscription"""

    async def set_passport_data_errors(
        self,
        *,
        user_id: Whole,
        errors: Sequence[PassportElementError | Object],
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setpassportdataerrors"""

    async def send_game(
        self,
        *,
        chat_id: Whole | Text,
        game_short_name: Text,
        business_connection_id: Text | None = None,
        message_thread_id: Whole | None = None,
        disable_notification: bool | None = None,
        protect_content: bool | None = None,
        allow_paid_broadcast: bool | None = None,
        message_effect_id: Text | None = None,
        reply_parameters: ReplyParameters | Object | None = None,
        reply_markup: InlineKeyboardMarkup | Object | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#sendgame"""

    @overload
    async def set_game_score(
        self,
        *,
        user_id: Whole,
        score: Whole,
        chat_id: Whole,
        message_id: Whole,
        force: bool | None = None,
        disable_edit_message: bool | None = None,
        once: str | None = None,
    ) -> Message:
        """https://core.telegram.org/bots/api#setgamescore"""

    @overload
    async def set_game_score(
        self,
        *,
        user_id: Whole,
        score: Whole,
        inline_message_id: Text,
        force: bool | None = None,
        disable_edit_message: bool | None = None,
        once: str | None = None,
    ) -> bool:
        """https://core.telegram.org/bots/api#setgamescore"""

    async def get_game_high_scores(
        self,
        *,
        user_id: Whole,
        chat_id: Whole | None = None,
        message_id: Whole | None = None,
        inline_message_id: Text | None = None,
        once: str | None = None,
    ) -> list[GameHighScore]:
        """https://core.telegram.org/bots/api#getgamehighscores"""
