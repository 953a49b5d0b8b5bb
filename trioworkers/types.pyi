"""The objects of the Bot API as typed dictionaries. Made by docs/stubs.py from the table of facts.

At run time each of these names is `dict`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal, NotRequired, Protocol, TypeAlias, TypedDict
from uuid import UUID

from trioworkers.botapi.files import InputFile as Upload

# what a call takes in the place of a text, a number, a moment, a span of time
Text: TypeAlias = str | Enum | UUID
Whole: TypeAlias = int | Enum | Decimal
Number: TypeAlias = float | Enum | Decimal
Moment: TypeAlias = int | Enum | datetime | timedelta
Span: TypeAlias = int | Enum | timedelta

class Dataclass(Protocol):
    """A dataclass: what a call takes in the place of an object."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

class Attrs(Protocol):
    """An attrs class, likewise."""

    __attrs_attrs__: ClassVar[Any]

class Struct(Protocol):
    """A `msgspec.Struct`, likewise."""

    __struct_fields__: ClassVar[tuple[str, ...]]

Object: TypeAlias = Dataclass | Attrs | Struct

class Update(TypedDict):
    """https://core.telegram.org/bots/api#update"""

    update_id: int
    message: NotRequired[Message]
    edited_message: NotRequired[Message]
    channel_post: NotRequired[Message]
    edited_channel_post: NotRequired[Message]
    business_connection: NotRequired[BusinessConnection]
    business_message: NotRequired[Message]
    edited_business_message: NotRequired[Message]
    deleted_business_messages: NotRequired[BusinessMessagesDeleted]
    guest_message: NotRequired[Message]
    message_reaction: NotRequired[MessageReactionUpdated]
    message_reaction_count: NotRequired[MessageReactionCountUpdated]
    inline_query: NotRequired[InlineQuery]
    chosen_inline_result: NotRequired[ChosenInlineResult]
    callback_query: NotRequired[CallbackQuery]
    shipping_query: NotRequired[ShippingQuery]
    pre_checkout_query: NotRequired[PreCheckoutQuery]
    purchased_paid_media: NotRequired[PaidMediaPurchased]
    poll: NotRequired[Poll]
    poll_answer: NotRequired[PollAnswer]
    my_chat_member: NotRequired[ChatMemberUpdated]
    chat_member: NotRequired[ChatMemberUpdated]
    chat_join_request: NotRequired[ChatJoinRequest]
    chat_boost: NotRequired[ChatBoostUpdated]
    removed_chat_boost: NotRequired[ChatBoostRemoved]
    managed_bot: NotRequired[ManagedBotUpdated]

class WebhookInfo(TypedDict):
    """https://core.telegram.org/bots/api#webhookinfo"""

    url: str
    has_custom_certificate: bool
    pending_update_count: int
    ip_address: NotRequired[str]
    last_error_date: NotRequired[int]
    last_error_message: NotRequired[str]
    last_synchronization_error_date: NotRequired[int]
    max_connections: NotRequired[int]
    allowed_updates: NotRequired[list[str]]

class User(TypedDict):
    """https://core.telegram.org/bots/api#user"""

    id: int
    is_bot: bool
    first_name: str
    last_name: NotRequired[str]
    username: NotRequired[str]
    language_code: NotRequired[str]
    is_premium: NotRequired[bool]
    added_to_attachment_menu: NotRequired[bool]
    can_join_groups: NotRequired[bool]
    can_read_all_group_messages: NotRequired[bool]
    supports_guest_queries: NotRequired[bool]
    supports_inline_queries: NotRequired[bool]
    can_connect_to_business: NotRequired[bool]
    has_main_web_app: NotRequired[bool]
    has_topics_enabled: NotRequired[bool]
    allows_users_to_create_topics: NotRequired[bool]
    can_manage_bots: NotRequired[bool]
    supports_join_request_queries: NotRequired[bool]

class Chat(TypedDict):
    """https://core.telegram.org/bots/api#chat"""

    id: int
    type: str
    title: NotRequired[str]
    username: NotRequired[str]
    first_name: NotRequired[str]
    last_name: NotRequired[str]
    is_forum: NotRequired[bool]
    is_direct_messages: NotRequired[bool]

class ChatFullInfo(TypedDict):
    """https://core.telegram.org/bots/api#chatfullinfo"""

    id: int
    type: str
    title: NotRequired[str]
    username: NotRequired[str]
    first_name: NotRequired[str]
    last_name: NotRequired[str]
    is_forum: NotRequired[bool]
    is_direct_messages: NotRequired[bool]
    accent_color_id: int
    max_reaction_count: int
    photo: NotRequired[ChatPhoto]
    active_usernames: NotRequired[list[str]]
    birthdate: NotRequired[Birthdate]
    business_intro: NotRequired[BusinessIntro]
    business_location: NotRequired[BusinessLocation]
    business_opening_hours: NotRequired[BusinessOpeningHours]
    personal_chat: NotRequired[Chat]
    parent_chat: NotRequired[Chat]
    available_reactions: NotRequired[list[ReactionType]]
    background_custom_emoji_id: NotRequired[str]
    profile_accent_color_id: NotRequired[int]
    profile_background_custom_emoji_id: NotRequired[str]
    emoji_status_custom_emoji_id: NotRequired[str]
    emoji_status_expiration_date: NotRequired[int]
    bio: NotRequired[str]
    has_private_forwards: NotRequired[bool]
    has_restricted_voice_and_video_messages: NotRequired[bool]
    join_to_send_messages: NotRequired[bool]
    join_by_request: NotRequired[bool]
    description: NotRequired[str]
    invite_link: NotRequired[str]
    pinned_message: NotRequired[Message]
    permissions: NotRequired[ChatPermissions]
    accepted_gift_types: AcceptedGiftTypes
    can_send_paid_media: NotRequired[bool]
    slow_mode_delay: NotRequired[int]
    unrestrict_boost_count: NotRequired[int]
    message_auto_delete_time: NotRequired[int]
    has_aggressive_anti_spam_enabled: NotRequired[bool]
    has_hidden_members: NotRequired[bool]
    has_protected_content: NotRequired[bool]
    has_visible_history: NotRequired[bool]
    sticker_set_name: NotRequired[str]
    can_set_sticker_set: NotRequired[bool]
    custom_emoji_sticker_set_name: NotRequired[str]
    linked_chat_id: NotRequired[int]
    location: NotRequired[ChatLocation]
    rating: NotRequired[UserRating]
    first_profile_audio: NotRequired[Audio]
    unique_gift_colors: NotRequired[UniqueGiftColors]
    paid_message_star_count: NotRequired[int]
    guard_bot: NotRequired[User]

_MessageWords = TypedDict("_MessageWords", {"from": NotRequired[User]})

class Message(_MessageWords):
    """https://core.telegram.org/bots/api#message"""

    message_id: int
    message_thread_id: NotRequired[int]
    direct_messages_topic: NotRequired[DirectMessagesTopic]
    sender_chat: NotRequired[Chat]
    sender_boost_count: NotRequired[int]
    sender_business_bot: NotRequired[User]
    sender_tag: NotRequired[str]
    date: int
    guest_query_id: NotRequired[str]
    business_connection_id: NotRequired[str]
    chat: Chat
    forward_origin: NotRequired[MessageOrigin]
    is_topic_message: NotRequired[bool]
    is_automatic_forward: NotRequired[bool]
    reply_to_message: NotRequired[Message]
    external_reply: NotRequired[ExternalReplyInfo]
    quote: NotRequired[TextQuote]
    reply_to_story: NotRequired[Story]
    reply_to_checklist_task_id: NotRequired[int]
    reply_to_poll_option_id: NotRequired[str]
    via_bot: NotRequired[User]
    guest_bot_caller_user: NotRequired[User]
    guest_bot_caller_chat: NotRequired[Chat]
    edit_date: NotRequired[int]
    has_protected_content: NotRequired[bool]
    is_from_offline: NotRequired[bool]
    is_paid_post: NotRequired[bool]
    media_group_id: NotRequired[str]
    author_signature: NotRequired[str]
    paid_star_count: NotRequired[int]
    text: NotRequired[str]
    entities: NotRequired[list[MessageEntity]]
    link_preview_options: NotRequired[LinkPreviewOptions]
    suggested_post_info: NotRequired[SuggestedPostInfo]
    effect_id: NotRequired[str]
    rich_message: NotRequired[RichMessage]
    animation: NotRequired[Animation]
    audio: NotRequired[Audio]
    document: NotRequired[Document]
    live_photo: NotRequired[LivePhoto]
    paid_media: NotRequired[PaidMediaInfo]
    photo: NotRequired[list[PhotoSize]]
    sticker: NotRequired[Sticker]
    story: NotRequired[Story]
    video: NotRequired[Video]
    video_note: NotRequired[VideoNote]
    voice: NotRequired[Voice]
    caption: NotRequired[str]
    caption_entities: NotRequired[list[MessageEntity]]
    show_caption_above_media: NotRequired[bool]
    has_media_spoiler: NotRequired[bool]
    checklist: NotRequired[Checklist]
    contact: NotRequired[Contact]
    dice: NotRequired[Dice]
    game: NotRequired[Game]
    poll: NotRequired[Poll]
    venue: NotRequired[Venue]
    location: NotRequired[Location]
    new_chat_members: NotRequired[list[User]]
    left_chat_member: NotRequired[User]
    chat_owner_left: NotRequired[ChatOwnerLeft]
    chat_owner_changed: NotRequired[ChatOwnerChanged]
    new_chat_title: NotRequired[str]
    new_chat_photo: NotRequired[list[PhotoSize]]
    delete_chat_photo: NotRequired[bool]
    group_chat_created: NotRequired[bool]
    supergroup_chat_created: NotRequired[bool]
    channel_chat_created: NotRequired[bool]
    message_auto_delete_timer_changed: NotRequired[MessageAutoDeleteTimerChanged]
    migrate_to_chat_id: NotRequired[int]
    migrate_from_chat_id: NotRequired[int]
    pinned_message: NotRequired[MaybeInaccessibleMessage]
    invoice: NotRequired[Invoice]
    successful_payment: NotRequired[SuccessfulPayment]
    refunded_payment: NotRequired[RefundedPayment]
    users_shared: NotRequired[UsersShared]
    chat_shared: NotRequired[ChatShared]
    gift: NotRequired[GiftInfo]
    unique_gift: NotRequired[UniqueGiftInfo]
    gift_upgrade_sent: NotRequired[GiftInfo]
    connected_website: NotRequired[str]
    write_access_allowed: NotRequired[WriteAccessAllowed]
    passport_data: NotRequired[PassportData]
    proximity_alert_triggered: NotRequired[ProximityAlertTriggered]
    boost_added: NotRequired[ChatBoostAdded]
    chat_background_set: NotRequired[ChatBackground]
    checklist_tasks_done: NotRequired[ChecklistTasksDone]
    checklist_tasks_added: NotRequired[ChecklistTasksAdded]
    direct_message_price_changed: NotRequired[DirectMessagePriceChanged]
    forum_topic_created: NotRequired[ForumTopicCreated]
    forum_topic_edited: NotRequired[ForumTopicEdited]
    forum_topic_closed: NotRequired[ForumTopicClosed]
    forum_topic_reopened: NotRequired[ForumTopicReopened]
    general_forum_topic_hidden: NotRequired[GeneralForumTopicHidden]
    general_forum_topic_unhidden: NotRequired[GeneralForumTopicUnhidden]
    giveaway_created: NotRequired[GiveawayCreated]
    giveaway: NotRequired[Giveaway]
    giveaway_winners: NotRequired[GiveawayWinners]
    giveaway_completed: NotRequired[GiveawayCompleted]
    managed_bot_created: NotRequired[ManagedBotCreated]
    paid_message_price_changed: NotRequired[PaidMessagePriceChanged]
    poll_option_added: NotRequired[PollOptionAdded]
    poll_option_deleted: NotRequired[PollOptionDeleted]
    suggested_post_approved: NotRequired[SuggestedPostApproved]
    suggested_post_approval_failed: NotRequired[SuggestedPostApprovalFailed]
    suggested_post_declined: NotRequired[SuggestedPostDeclined]
    suggested_post_paid: NotRequired[SuggestedPostPaid]
    suggested_post_refunded: NotRequired[SuggestedPostRefunded]
    video_chat_scheduled: NotRequired[VideoChatScheduled]
    video_chat_started: NotRequired[VideoChatStarted]
    video_chat_ended: NotRequired[VideoChatEnded]
    video_chat_participants_invited: NotRequired[VideoChatParticipantsInvited]
    web_app_data: NotRequired[WebAppData]
    reply_markup: NotRequired[InlineKeyboardMarkup]

class MessageId(TypedDict):
    """https://core.telegram.org/bots/api#messageid"""

    message_id: int

class InaccessibleMessage(TypedDict):
    """https://core.telegram.org/bots/api#inaccessiblemessage"""

    chat: Chat
    message_id: int
    date: int

MaybeInaccessibleMessage: TypeAlias = Message | InaccessibleMessage

class MessageEntity(TypedDict):
    """https://core.telegram.org/bots/api#messageentity"""

    type: str
    offset: int
    length: int
    url: NotRequired[str]
    user: NotRequired[User]
    language: NotRequired[str]
    custom_emoji_id: NotRequired[str]
    unix_time: NotRequired[int]
    date_time_format: NotRequired[str]

class TextQuote(TypedDict):
    """https://core.telegram.org/bots/api#textquote"""

    text: str
    entities: NotRequired[list[MessageEntity]]
    position: int
    is_manual: NotRequired[bool]

class ExternalReplyInfo(TypedDict):
    """https://core.telegram.org/bots/api#externalreplyinfo"""

    origin: MessageOrigin
    chat: NotRequired[Chat]
    message_id: NotRequired[int]
    link_preview_options: NotRequired[LinkPreviewOptions]
    animation: NotRequired[Animation]
    audio: NotRequired[Audio]
    document: NotRequired[Document]
    live_photo: NotRequired[LivePhoto]
    paid_media: NotRequired[PaidMediaInfo]
    photo: NotRequired[list[PhotoSize]]
    sticker: NotRequired[Sticker]
    story: NotRequired[Story]
    video: NotRequired[Video]
    video_note: NotRequired[VideoNote]
    voice: NotRequired[Voice]
    has_media_spoiler: NotRequired[bool]
    checklist: NotRequired[Checklist]
    contact: NotRequired[Contact]
    dice: NotRequired[Dice]
    game: NotRequired[Game]
    giveaway: NotRequired[Giveaway]
    giveaway_winners: NotRequired[GiveawayWinners]
    invoice: NotRequired[Invoice]
    location: NotRequired[Location]
    poll: NotRequired[Poll]
    venue: NotRequired[Venue]

class ReplyParameters(TypedDict):
    """https://core.telegram.org/bots/api#replyparameters"""

    message_id: Whole
    chat_id: NotRequired[Whole | Text]
    allow_sending_without_reply: NotRequired[bool]
    quote: NotRequired[Text]
    quote_parse_mode: NotRequired[Text]
    quote_entities: NotRequired[Sequence[MessageEntity | Object]]
    quote_position: NotRequired[Whole]
    checklist_task_id: NotRequired[Whole]
    poll_option_id: NotRequired[Text]

MessageOrigin: TypeAlias = (
    MessageOriginUser
    | MessageOriginHiddenUser
    | MessageOriginChat
    | MessageOriginChannel
)

class MessageOriginUser(TypedDict):
    """https://core.telegram.org/bots/api#messageoriginuser"""

    type: Literal["user"]
    date: int
    sender_user: User

class MessageOriginHiddenUser(TypedDict):
    """https://core.telegram.org/bots/api#messageoriginhiddenuser"""

    type: Literal["hidden_user"]
    date: int
    sender_user_name: str

class MessageOriginChat(TypedDict):
    """https://core.telegram.org/bots/api#messageoriginchat"""

    type: Literal["chat"]
    date: int
    sender_chat: Chat
    author_signature: NotRequired[str]

class MessageOriginChannel(TypedDict):
    """https://core.telegram.org/bots/api#messageoriginchannel"""

    type: Literal["channel"]
    date: int
    chat: Chat
    message_id: int
    author_signature: NotRequired[str]

class PhotoSize(TypedDict):
    """https://core.telegram.org/bots/api#photosize"""

    file_id: str
    file_unique_id: str
    width: int
    height: int
    file_size: NotRequired[int]

class Animation(TypedDict):
    """https://core.telegram.org/bots/api#animation"""

    file_id: str
    file_unique_id: str
    width: int
    height: int
    duration: int
    thumbnail: NotRequired[PhotoSize]
    file_name: NotRequired[str]
    mime_type: NotRequired[str]
    file_size: NotRequired[int]

class Audio(TypedDict):
    """https://core.telegram.org/bots/api#audio"""

    file_id: str
    file_unique_id: str
    duration: int
    performer: NotRequired[str]
    title: NotRequired[str]
    file_name: NotRequired[str]
    mime_type: NotRequired[str]
    file_size: NotRequired[int]
    thumbnail: NotRequired[PhotoSize]

class Document(TypedDict):
    """https://core.telegram.org/bots/api#document"""

    file_id: str
    file_unique_id: str
    thumbnail: NotRequired[PhotoSize]
    file_name: NotRequired[str]
    mime_type: NotRequired[str]
    file_size: NotRequired[int]

class LivePhoto(TypedDict):
    """https://core.telegram.org/bots/api#livephoto"""

    photo: NotRequired[list[PhotoSize]]
    file_id: str
    file_unique_id: str
    width: int
    height: int
    duration: int
    mime_type: NotRequired[str]
    file_size: NotRequired[int]

class Story(TypedDict):
    """https://core.telegram.org/bots/api#story"""

    chat: Chat
    id: int

class VideoQuality(TypedDict):
    """https://core.telegram.org/bots/api#videoquality"""

    file_id: str
    file_unique_id: str
    width: int
    height: int
    codec: str
    file_size: NotRequired[int]

class Video(TypedDict):
    """https://core.telegram.org/bots/api#video"""

    file_id: str
    file_unique_id: str
    width: int
    height: int
    duration: int
    thumbnail: NotRequired[PhotoSize]
    cover: NotRequired[list[PhotoSize]]
    start_timestamp: NotRequired[int]
    qualities: NotRequired[list[VideoQuality]]
    file_name: NotRequired[str]
    mime_type: NotRequired[str]
    file_size: NotRequired[int]

class VideoNote(TypedDict):
    """https://core.telegram.org/bots/api#videonote"""

    file_id: str
    file_unique_id: str
    length: int
    duration: int
    thumbnail: NotRequired[PhotoSize]
    file_size: NotRequired[int]

class Voice(TypedDict):
    """https://core.telegram.org/bots/api#voice"""

    file_id: str
    file_unique_id: str
    duration: int
    mime_type: NotRequired[str]
    file_size: NotRequired[int]

class PaidMediaInfo(TypedDict):
    """https://core.telegram.org/bots/api#paidmediainfo"""

    star_count: int
    paid_media: list[PaidMedia]

PaidMedia: TypeAlias = PaidMediaLivePhoto | PaidMediaPhoto | PaidMediaPreview | PaidMediaVideo

class PaidMediaLivePhoto(TypedDict):
    """https://core.telegram.org/bots/api#paidmedialivephoto"""

    type: Literal["live_photo"]
    live_photo: LivePhoto

class PaidMediaPhoto(TypedDict):
    """https://core.telegram.org/bots/api#paidmediaphoto"""

    type: Literal["photo"]
    photo: list[PhotoSize]

class PaidMediaPreview(TypedDict):
    """https://core.telegram.org/bots/api#paidmediapreview"""

    type: Literal["preview"]
    width: NotRequired[int]
    height: NotRequired[int]
    duration: NotRequired[int]

class PaidMediaVideo(TypedDict):
    """https://core.telegram.org/bots/api#paidmediavideo"""

    type: Literal["video"]
    video: Video

class Contact(TypedDict):
    """https://core.telegram.org/bots/api#contact"""

    phone_number: str
    first_name: str
    last_name: NotRequired[str]
    user_id: NotRequired[int]
    vcard: NotRequired[str]

class Dice(TypedDict):
    """https://core.telegram.org/bots/api#dice"""

    emoji: str
    value: int

class Link(TypedDict):
    """https://core.telegram.org/bots/api#link"""

    url: str

class PollMedia(TypedDict):
    """https://core.telegram.org/bots/api#pollmedia"""

    animation: NotRequired[Animation]
    audio: NotRequired[Audio]
    document: NotRequired[Document]
    link: NotRequired[Link]
    live_photo: NotRequired[LivePhoto]
    location: NotRequired[Location]
    photo: NotRequired[list[PhotoSize]]
    sticker: NotRequired[Sticker]
    venue: NotRequired[Venue]
    video: NotRequired[Video]

InputPollMedia: TypeAlias = (
    InputMediaAnimation
    | InputMediaAudio
    | InputMediaDocument
    | InputMediaLivePhoto
    | InputMediaLocation
    | InputMediaPhoto
    | InputMediaVenue
    | InputMediaVideo
)

InputPollOptionMedia: TypeAlias = (
    InputMediaAnimation
    | InputMediaLink
    | InputMediaLivePhoto
    | InputMediaLocation
    | InputMediaPhoto
    | InputMediaSticker
    | InputMediaVenue
    | InputMediaVideo
)

class PollOption(TypedDict):
    """https://core.telegram.org/bots/api#polloption"""

    persistent_id: str
    text: str
    text_entities: NotRequired[list[MessageEntity]]
    media: NotRequired[PollMedia]
    voter_count: int
    added_by_user: NotRequired[User]
    added_by_chat: NotRequired[Chat]
    addition_date: NotRequired[int]

class InputPollOption(TypedDict):
    """https://core.telegram.org/bots/api#inputpolloption"""

    text: Text
    text_parse_mode: NotRequired[Text]
    text_entities: NotRequired[Sequence[MessageEntity | Object]]
    media: NotRequired[InputPollOptionMedia]

class PollAnswer(TypedDict):
    """https://core.telegram.org/bots/api#pollanswer"""

    poll_id: str
    voter_chat: NotRequired[Chat]
    user: NotRequired[User]
    option_ids: list[int]
    option_persistent_ids: list[str]

class Poll(TypedDict):
    """https://core.telegram.org/bots/api#poll"""

    id: str
    question: str
    question_entities: NotRequired[list[MessageEntity]]
    options: list[PollOption]
    total_voter_count: int
    is_closed: bool
    is_anonymous: bool
    type: str
    allows_multiple_answers: bool
    allows_revoting: bool
    members_only: bool
    country_codes: NotRequired[list[str]]
    correct_option_ids: NotRequired[list[int]]
    explanation: NotRequired[str]
    explanation_entities: NotRequired[list[MessageEntity]]
    explanation_media: NotRequired[PollMedia]
    open_period: NotRequired[int]
    close_date: NotRequired[int]
    description: NotRequired[str]
    description_entities: NotRequired[list[MessageEntity]]
    media: NotRequired[PollMedia]

class ChecklistTask(TypedDict):
    """https://core.telegram.org/bots/api#checklisttask"""

    id: int
    text: str
    text_entities: NotRequired[list[MessageEntity]]
    completed_by_user: NotRequired[User]
    completed_by_chat: NotRequired[Chat]
    completion_date: NotRequired[int]

class Checklist(TypedDict):
    """https://core.telegram.org/bots/api#checklist"""

    title: str
    title_entities: NotRequired[list[MessageEntity]]
    tasks: list[ChecklistTask]
    others_can_add_tasks: NotRequired[bool]
    others_can_mark_tasks_as_done: NotRequired[bool]

class InputChecklistTask(TypedDict):
    """https://core.telegram.org/bots/api#inputchecklisttask"""

    id: Whole
    text: Text
    parse_mode: NotRequired[Text]
    text_entities: NotRequired[Sequence[MessageEntity | Object]]

class InputChecklist(TypedDict):
    """https://core.telegram.org/bots/api#inputchecklist"""

    title: Text
    parse_mode: NotRequired[Text]
    title_entities: NotRequired[Sequence[MessageEntity | Object]]
    tasks: Sequence[InputChecklistTask | Object]
    others_can_add_tasks: NotRequired[bool]
    others_can_mark_tasks_as_done: NotRequired[bool]

class ChecklistTasksDone(TypedDict):
    """https://core.telegram.org/bots/api#checklisttasksdone"""

    checklist_message: NotRequired[Message]
    marked_as_done_task_ids: NotRequired[list[int]]
    marked_as_not_done_task_ids: NotRequired[list[int]]

class ChecklistTasksAdded(TypedDict):
    """https://core.telegram.org/bots/api#checklisttasksadded"""

    checklist_message: NotRequired[Message]
    tasks: list[ChecklistTask]

class Location(TypedDict):
    """https://core.telegram.org/bots/api#location"""

    latitude: float
    longitude: float
    horizontal_accuracy: NotRequired[float]
    live_period: NotRequired[int]
    heading: NotRequired[int]
    proximity_alert_radius: NotRequired[int]

class Venue(TypedDict):
    """https://core.telegram.org/bots/api#venue"""

    location: Location
    title: str
    address: str
    foursquare_id: NotRequired[str]
    foursquare_type: NotRequired[str]
    google_place_id: NotRequired[str]
    google_place_type: NotRequired[str]

class WebAppData(TypedDict):
    """https://core.telegram.org/bots/api#webappdata"""

    data: str
    button_text: str

class ProximityAlertTriggered(TypedDict):
    """https://core.telegram.org/bots/api#proximityalerttriggered"""

    traveler: User
    watcher: User
    distance: int

class MessageAutoDeleteTimerChanged(TypedDict):
    """https://core.telegram.org/bots/api#messageautodeletetimerchanged"""

    message_auto_delete_time: int

class ManagedBotCreated(TypedDict):
    """https://core.telegram.org/bots/api#managedbotcreated"""

    bot: User

class ManagedBotUpdated(TypedDict):
    """https://core.telegram.org/bots/api#managedbotupdated"""

    user: User
    bot: User

class PollOptionAdded(TypedDict):
    """https://core.telegram.org/bots/api#polloptionadded"""

    poll_message: NotRequired[MaybeInaccessibleMessage]
    option_persistent_id: str
    option_text: str
    option_text_entities: NotRequired[list[MessageEntity]]

class PollOptionDeleted(TypedDict):
    """https://core.telegram.org/bots/api#polloptiondeleted"""

    poll_message: NotRequired[MaybeInaccessibleMessage]
    option_persistent_id: str
    option_text: str
    option_text_entities: NotRequired[list[MessageEntity]]

class ChatBoostAdded(TypedDict):
    """https://core.telegram.org/bots/api#chatboostadded"""

    boost_count: int

BackgroundFill: TypeAlias = BackgroundFillSolid | BackgroundFillGradient | BackgroundFillFreeformGradient

class BackgroundFillSolid(TypedDict):
    """https://core.telegram.org/bots/api#backgroundfillsolid"""

    type: Literal["solid"]
    color: int

class BackgroundFillGradient(TypedDict):
    """https://core.telegram.org/bots/api#backgroundfillgradient"""

    type: Literal["gradient"]
    top_color: int
    bottom_color: int
    rotation_angle: int

class BackgroundFillFreeformGradient(TypedDict):
    """https://core.telegram.org/bots/api#backgroundfillfreeformgradient"""

    type: Literal["freeform_gradient"]
    colors: list[int]

BackgroundType: TypeAlias = (
    BackgroundTypeFill
    | BackgroundTypeWallpaper
    | BackgroundTypePattern
    | BackgroundTypeChatTheme
)

class BackgroundTypeFill(TypedDict):
    """https://core.telegram.org/bots/api#backgroundtypefill"""

    type: Literal["fill"]
    fill: BackgroundFill
    dark_theme_dimming: int

class BackgroundTypeWallpaper(TypedDict):
    """https://core.telegram.org/bots/api#backgroundtypewallpaper"""

    type: Literal["wallpaper"]
    document: Document
    dark_theme_dimming: int
    is_blurred: NotRequired[bool]
    is_moving: NotRequired[bool]

class BackgroundTypePattern(TypedDict):
    """https://core.telegram.org/bots/api#backgroundtypepattern"""

    type: Literal["pattern"]
    document: Document
    fill: BackgroundFill
    intensity: int
    is_inverted: NotRequired[bool]
    is_moving: NotRequired[bool]

class BackgroundTypeChatTheme(TypedDict):
    """https://core.telegram.org/bots/api#backgroundtypechattheme"""

    type: Literal["chat_theme"]
    theme_name: str

class ChatBackground(TypedDict):
    """https://core.telegram.org/bots/api#chatbackground"""

    type: BackgroundType

class ForumTopicCreated(TypedDict):
    """https://core.telegram.org/bots/api#forumtopiccreated"""

    name: str
    icon_color: int
    icon_custom_emoji_id: NotRequired[str]
    is_name_implicit: NotRequired[bool]

class ForumTopicClosed(TypedDict):
    """https://core.telegram.org/bots/api#forumtopicclosed"""

class ForumTopicEdited(TypedDict):
    """https://core.telegram.org/bots/api#forumtopicedited"""

    name: NotRequired[str]
    icon_custom_emoji_id: NotRequired[str]

class ForumTopicReopened(TypedDict):
    """https://core.telegram.org/bots/api#forumtopicreopened"""

class GeneralForumTopicHidden(TypedDict):
    """https://core.telegram.org/bots/api#generalforumtopichidden"""

class GeneralForumTopicUnhidden(TypedDict):
    """https://core.telegram.org/bots/api#generalforumtopicunhidden"""

class SharedUser(TypedDict):
    """https://core.telegram.org/bots/api#shareduser"""

    user_id: int
    first_name: NotRequired[str]
    last_name: NotRequired[str]
    username: NotRequired[str]
    photo: NotRequired[list[PhotoSize]]

class UsersShared(TypedDict):
    """https://core.telegram.org/bots/api#usersshared"""

    request_id: int
    users: list[SharedUser]

class ChatShared(TypedDict):
    """https://core.telegram.org/bots/api#chatshared"""

    request_id: int
    chat_id: int
    title: NotRequired[str]
    username: NotRequired[str]
    photo: NotRequired[list[PhotoSize]]

class WriteAccessAllowed(TypedDict):
    """https://core.telegram.org/bots/api#writeaccessallowed"""

    from_request: NotRequired[bool]
    web_app_name: NotRequired[str]
    from_attachment_menu: NotRequired[bool]

class VideoChatScheduled(TypedDict):
    """https://core.telegram.org/bots/api#videochatscheduled"""

    start_date: int

class VideoChatStarted(TypedDict):
    """https://core.telegram.org/bots/api#videochatstarted"""

class VideoChatEnded(TypedDict):
    """https://core.telegram.org/bots/api#videochatended"""

    duration: int

class VideoChatParticipantsInvited(TypedDict):
    """https://core.telegram.org/bots/api#videochatparticipantsinvited"""

    users: list[User]

class PaidMessagePriceChanged(TypedDict):
    """https://core.telegram.org/bots/api#paidmessagepricechanged"""

    paid_message_star_count: int

class DirectMessagePriceChanged(TypedDict):
    """https://core.telegram.org/bots/api#directmessagepricechanged"""

    are_direct_messages_enabled: bool
    direct_message_star_count: NotRequired[int]

class SuggestedPostApproved(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostapproved"""

    suggested_post_message: NotRequired[Message]
    price: NotRequired[SuggestedPostPrice]
    send_date: int

class SuggestedPostApprovalFailed(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostapprovalfailed"""

    suggested_post_message: NotRequired[Message]
    price: SuggestedPostPrice

class SuggestedPostDeclined(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostdeclined"""

    suggested_post_message: NotRequired[Message]
    comment: NotRequired[str]

class SuggestedPostPaid(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostpaid"""

    suggested_post_message: NotRequired[Message]
    currency: str
    amount: NotRequired[int]
    star_amount: NotRequired[StarAmount]

class SuggestedPostRefunded(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostrefunded"""

    suggested_post_message: NotRequired[Message]
    reason: str

class GiveawayCreated(TypedDict):
    """https://core.telegram.org/bots/api#giveawaycreated"""

    prize_star_count: NotRequired[int]

class Giveaway(TypedDict):
    """https://core.telegram.org/bots/api#giveaway"""

    chats: list[Chat]
    winners_selection_date: int
    winner_count: int
    only_new_members: NotRequired[bool]
    has_public_winners: NotRequired[bool]
    prize_description: NotRequired[str]
    country_codes: NotRequired[list[str]]
    prize_star_count: NotRequired[int]
    premium_subscription_month_count: NotRequired[int]

class GiveawayWinners(TypedDict):
    """https://core.telegram.org/bots/api#giveawaywinners"""

    chat: Chat
    giveaway_message_id: int
    winners_selection_date: int
    winner_count: int
    winners: list[User]
    additional_chat_count: NotRequired[int]
    prize_star_count: NotRequired[int]
    premium_subscription_month_count: NotRequired[int]
    unclaimed_prize_count: NotRequired[int]
    only_new_members: NotRequired[bool]
    was_refunded: NotRequired[bool]
    prize_description: NotRequired[str]

class GiveawayCompleted(TypedDict):
    """https://core.telegram.org/bots/api#giveawaycompleted"""

    winner_count: int
    unclaimed_prize_count: NotRequired[int]
    giveaway_message: NotRequired[Message]
    is_star_giveaway: NotRequired[bool]

class LinkPreviewOptions(TypedDict):
    """https://core.telegram.org/bots/api#linkpreviewoptions"""

    is_disabled: NotRequired[bool]
    url: NotRequired[str]
    prefer_small_media: NotRequired[bool]
    prefer_large_media: NotRequired[bool]
    show_above_text: NotRequired[bool]

class SuggestedPostPrice(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostprice"""

    currency: str
    amount: int

class SuggestedPostInfo(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostinfo"""

    state: str
    price: NotRequired[SuggestedPostPrice]
    send_date: NotRequired[int]

class SuggestedPostParameters(TypedDict):
    """https://core.telegram.org/bots/api#suggestedpostparameters"""

    price: NotRequired[SuggestedPostPrice]
    send_date: NotRequired[Moment]

class DirectMessagesTopic(TypedDict):
    """https://core.telegram.org/bots/api#directmessagestopic"""

    topic_id: int
    user: NotRequired[User]

class UserProfilePhotos(TypedDict):
    """https://core.telegram.org/bots/api#userprofilephotos"""

    total_count: int
    photos: list[list[PhotoSize]]

class UserProfileAudios(TypedDict):
    """https://core.telegram.org/bots/api#userprofileaudios"""

    total_count: int
    audios: list[Audio]

class File(TypedDict):
    """https://core.telegram.org/bots/api#file"""

    file_id: str
    file_unique_id: str
    file_size: NotRequired[int]
    file_path: NotRequired[str]

class WebAppInfo(TypedDict):
    """https://core.telegram.org/bots/api#webappinfo"""

    url: str

class ReplyKeyboardMarkup(TypedDict):
    """https://core.telegram.org/bots/api#replykeyboardmarkup"""

    keyboard: Sequence[Sequence[KeyboardButton | Object]]
    is_persistent: NotRequired[bool]
    resize_keyboard: NotRequired[bool]
    one_time_keyboard: NotRequired[bool]
    input_field_placeholder: NotRequired[Text]
    selective: NotRequired[bool]

class KeyboardButton(TypedDict):
    """https://core.telegram.org/bots/api#keyboardbutton"""

    text: Text
    icon_custom_emoji_id: NotRequired[Text]
    style: NotRequired[Text]
    request_users: NotRequired[KeyboardButtonRequestUsers]
    request_chat: NotRequired[KeyboardButtonRequestChat]
    request_managed_bot: NotRequired[KeyboardButtonRequestManagedBot]
    request_contact: NotRequired[bool]
    request_location: NotRequired[bool]
    request_poll: NotRequired[KeyboardButtonPollType]
    web_app: NotRequired[WebAppInfo]

class KeyboardButtonRequestUsers(TypedDict):
    """https://core.telegram.org/bots/api#keyboardbuttonrequestusers"""

    request_id: Whole
    user_is_bot: NotRequired[bool]
    user_is_premium: NotRequired[bool]
    max_quantity: NotRequired[Whole]
    request_name: NotRequired[bool]
    request_username: NotRequired[bool]
    request_photo: NotRequired[bool]

class KeyboardButtonRequestChat(TypedDict):
    """https://core.telegram.org/bots/api#keyboardbuttonrequestchat"""

    request_id: Whole
    chat_is_channel: bool
    chat_is_forum: NotRequired[bool]
    chat_has_username: NotRequired[bool]
    chat_is_created: NotRequired[bool]
    user_administrator_rights: NotRequired[ChatAdministratorRights]
    bot_administrator_rights: NotRequired[ChatAdministratorRights]
    bot_is_member: NotRequired[bool]
    request_title: NotRequired[bool]
    request_username: NotRequired[bool]
    request_photo: NotRequired[bool]

class KeyboardButtonRequestManagedBot(TypedDict):
    """https://core.telegram.org/bots/api#keyboardbuttonrequestmanagedbot"""

    request_id: Whole
    suggested_name: NotRequired[Text]
    suggested_username: NotRequired[Text]

class KeyboardButtonPollType(TypedDict):
    """https://core.telegram.org/bots/api#keyboardbuttonpolltype"""

    type: NotRequired[Text]

class ReplyKeyboardRemove(TypedDict):
    """https://core.telegram.org/bots/api#replykeyboardremove"""

    remove_keyboard: bool
    selective: NotRequired[bool]

class InlineKeyboardMarkup(TypedDict):
    """https://core.telegram.org/bots/api#inlinekeyboardmarkup"""

    inline_keyboard: list[list[InlineKeyboardButton]]

class InlineKeyboardButton(TypedDict):
    """https://core.telegram.org/bots/api#inlinekeyboardbutton"""

    text: str
    icon_custom_emoji_id: NotRequired[str]
    style: NotRequired[str]
    url: NotRequired[str]
    callback_data: NotRequired[str]
    web_app: NotRequired[WebAppInfo]
    login_url: NotRequired[LoginUrl]
    switch_inline_query: NotRequired[str]
    switch_inline_query_current_chat: NotRequired[str]
    switch_inline_query_chosen_chat: NotRequired[SwitchInlineQueryChosenChat]
    copy_text: NotRequired[CopyTextButton]
    callback_game: NotRequired[CallbackGame]
    pay: NotRequired[bool]

class LoginUrl(TypedDict):
    """https://core.telegram.org/bots/api#loginurl"""

    url: str
    forward_text: NotRequired[str]
    bot_username: NotRequired[str]
    request_write_access: NotRequired[bool]

class SwitchInlineQueryChosenChat(TypedDict):
    """https://core.telegram.org/bots/api#switchinlinequerychosenchat"""

    query: NotRequired[str]
    allow_user_chats: NotRequired[bool]
    allow_bot_chats: NotRequired[bool]
    allow_group_chats: NotRequired[bool]
    allow_channel_chats: NotRequired[bool]

class CopyTextButton(TypedDict):
    """https://core.telegram.org/bots/api#copytextbutton"""

    text: str

_CallbackQueryWords = TypedDict("_CallbackQueryWords", {"from": User})

class CallbackQuery(_CallbackQueryWords):
    """https://core.telegram.org/bots/api#callbackquery"""

    id: str
    message: NotRequired[MaybeInaccessibleMessage]
    inline_message_id: NotRequired[str]
    chat_instance: str
    data: NotRequired[str]
    game_short_name: NotRequired[str]

class ForceReply(TypedDict):
    """https://core.telegram.org/bots/api#forcereply"""

    force_reply: bool
    input_field_placeholder: NotRequired[Text]
    selective: NotRequired[bool]

class ChatPhoto(TypedDict):
    """https://core.telegram.org/bots/api#chatphoto"""

    small_file_id: str
    small_file_unique_id: str
    big_file_id: str
    big_file_unique_id: str

class ChatInviteLink(TypedDict):
    """https://core.telegram.org/bots/api#chatinvitelink"""

    invite_link: str
    creator: User
    creates_join_request: bool
    is_primary: bool
    is_revoked: bool
    name: NotRequired[str]
    expire_date: NotRequired[int]
    member_limit: NotRequired[int]
    pending_join_request_count: NotRequired[int]
    subscription_period: NotRequired[int]
    subscription_price: NotRequired[int]

class ChatAdministratorRights(TypedDict):
    """https://core.telegram.org/bots/api#chatadministratorrights"""

    is_anonymous: bool
    can_manage_chat: bool
    can_delete_messages: bool
    can_manage_video_chats: bool
    can_restrict_members: bool
    can_promote_members: bool
    can_change_info: bool
    can_invite_users: bool
    can_post_stories: bool
    can_edit_stories: bool
    can_delete_stories: bool
    can_post_messages: NotRequired[bool]
    can_edit_messages: NotRequired[bool]
    can_pin_messages: NotRequired[bool]
    can_manage_topics: NotRequired[bool]
    can_manage_direct_messages: NotRequired[bool]
    can_manage_tags: NotRequired[bool]

_ChatMemberUpdatedWords = TypedDict("_ChatMemberUpdatedWords", {"from": User})

class ChatMemberUpdated(_ChatMemberUpdatedWords):
    """https://core.telegram.org/bots/api#chatmemberupdated"""

    chat: Chat
    date: int
    old_chat_member: ChatMember
    new_chat_member: ChatMember
    invite_link: NotRequired[ChatInviteLink]
    via_join_request: NotRequired[bool]
    via_chat_folder_invite_link: NotRequired[bool]

ChatMember: TypeAlias = (
    ChatMemberOwner
    | ChatMemberAdministrator
    | ChatMemberMember
    | ChatMemberRestricted
    | ChatMemberLeft
    | ChatMemberBanned
)

class ChatMemberOwner(TypedDict):
    """https://core.telegram.org/bots/api#chatmemberowner"""

    status: Literal["creator"]
    user: User
    is_anonymous: bool
    custom_title: NotRequired[str]

class ChatMemberAdministrator(TypedDict):
    """https://core.telegram.org/bots/api#chatmemberadministrator"""

    status: Literal["administrator"]
    user: User
    can_be_edited: bool
    is_anonymous: bool
    can_manage_chat: bool
    can_delete_messages: bool
    can_manage_video_chats: bool
    can_restrict_members: bool
    can_promote_members: bool
    can_change_info: bool
    can_invite_users: bool
    can_post_stories: bool
    can_edit_stories: bool
    can_delete_stories: bool
    can_post_messages: NotRequired[bool]
    can_edit_messages: NotRequired[bool]
    can_pin_messages: NotRequired[bool]
    can_manage_topics: NotRequired[bool]
    can_manage_direct_messages: NotRequired[bool]
    can_manage_tags: NotRequired[bool]
    custom_title: NotRequired[str]

class ChatMemberMember(TypedDict):
    """https://core.telegram.org/bots/api#chatmembermember"""

    status: Literal["member"]
    tag: NotRequired[str]
    user: User
    until_date: NotRequired[int]

class ChatMemberRestricted(TypedDict):
    """https://core.telegram.org/bots/api#chatmemberrestricted"""

    status: Literal["restricted"]
    tag: NotRequired[str]
    user: User
    is_member: bool
    can_send_messages: bool
    can_send_audios: bool
    can_send_documents: bool
    can_send_photos: bool
    can_send_videos: bool
    can_send_video_notes: bool
    can_send_voice_notes: bool
    can_send_polls: bool
    can_send_other_messages: bool
    can_add_web_page_previews: bool
    can_react_to_messages: bool
    can_edit_tag: bool
    can_change_info: bool
    can_invite_users: bool
    can_pin_messages: bool
    can_manage_topics: bool
    until_date: int

class ChatMemberLeft(TypedDict):
    """https://core.telegram.org/bots/api#chatmemberleft"""

    status: Literal["left"]
    user: User

class ChatMemberBanned(TypedDict):
    """https://core.telegram.org/bots/api#chatmemberbanned"""

    status: Literal["kicked"]
    user: User
    until_date: int

_ChatJoinRequestWords = TypedDict("_ChatJoinRequestWords", {"from": User})

class ChatJoinRequest(_ChatJoinRequestWords):
    """https://core.telegram.org/bots/api#chatjoinrequest"""

    chat: Chat
    user_chat_id: int
    date: int
    bio: NotRequired[str]
    invite_link: NotRequired[ChatInviteLink]
    query_id: NotRequired[str]

class ChatPermissions(TypedDict):
    """https://core.telegram.org/bots/api#chatpermissions"""

    can_send_messages: NotRequired[bool]
    can_send_audios: NotRequired[bool]
    can_send_documents: NotRequired[bool]
    can_send_photos: NotRequired[bool]
    can_send_videos: NotRequired[bool]
    can_send_video_notes: NotRequired[bool]
    can_send_voice_notes: NotRequired[bool]
    can_send_polls: NotRequired[bool]
    can_send_other_messages: NotRequired[bool]
    can_add_web_page_previews: NotRequired[bool]
    can_react_to_messages: NotRequired[bool]
    can_edit_tag: NotRequired[bool]
    can_change_info: NotRequired[bool]
    can_invite_users: NotRequired[bool]
    can_pin_messages: NotRequired[bool]
    can_manage_topics: NotRequired[bool]

class Birthdate(TypedDict):
    """https://core.telegram.org/bots/api#birthdate"""

    day: int
    month: int
    year: NotRequired[int]

class BusinessIntro(TypedDict):
    """https://core.telegram.org/bots/api#businessintro"""

    title: NotRequired[str]
    message: NotRequired[str]
    sticker: NotRequired[Sticker]

class BusinessLocation(TypedDict):
    """https://core.telegram.org/bots/api#businesslocation"""

    address: str
    location: NotRequired[Location]

class BusinessOpeningHoursInterval(TypedDict):
    """https://core.telegram.org/bots/api#businessopeninghoursinterval"""

    opening_minute: int
    closing_minute: int

class BusinessOpeningHours(TypedDict):
    """https://core.telegram.org/bots/api#businessopeninghours"""

    time_zone_name: str
    opening_hours: list[BusinessOpeningHoursInterval]

class UserRating(TypedDict):
    """https://core.telegram.org/bots/api#userrating"""

    level: int
    rating: int
    current_level_rating: int
    next_level_rating: NotRequired[int]

class StoryAreaPosition(TypedDict):
    """https://core.telegram.org/bots/api#storyareaposition"""

    x_percentage: Number
    y_percentage: Number
    width_percentage: Number
    height_percentage: Number
    rotation_angle: Number
    corner_radius_percentage: Number

class LocationAddress(TypedDict):
    """https://core.telegram.org/bots/api#locationaddress"""

    country_code: Text
    state: NotRequired[Text]
    city: NotRequired[Text]
    street: NotRequired[Text]

StoryAreaType: TypeAlias = (
    StoryAreaTypeLocation
    | StoryAreaTypeSuggestedReaction
    | StoryAreaTypeLink
    | StoryAreaTypeWeather
    | StoryAreaTypeUniqueGift
)

class StoryAreaTypeLocation(TypedDict):
    """https://core.telegram.org/bots/api#storyareatypelocation"""

    type: Literal["location"] | Enum
    latitude: Number
    longitude: Number
    address: NotRequired[LocationAddress]

class StoryAreaTypeSuggestedReaction(TypedDict):
    """https://core.telegram.org/bots/api#storyareatypesuggestedreaction"""

    type: Literal["suggested_reaction"] | Enum
    reaction_type: ReactionType
    is_dark: NotRequired[bool]
    is_flipped: NotRequired[bool]

class StoryAreaTypeLink(TypedDict):
    """https://core.telegram.org/bots/api#storyareatypelink"""

    type: Literal["link"] | Enum
    url: Text

class StoryAreaTypeWeather(TypedDict):
    """https://core.telegram.org/bots/api#storyareatypeweather"""

    type: Literal["weather"] | Enum
    temperature: Number
    emoji: Text
    background_color: Whole

class StoryAreaTypeUniqueGift(TypedDict):
    """https://core.telegram.org/bots/api#storyareatypeuniquegift"""

    type: Literal["unique_gift"] | Enum
    name: Text

class StoryArea(TypedDict):
    """https://core.telegram.org/bots/api#storyarea"""

    position: StoryAreaPosition
    type: StoryAreaType

class ChatLocation(TypedDict):
    """https://core.telegram.org/bots/api#chatlocation"""

    location: Location
    address: str

ReactionType: TypeAlias = ReactionTypeEmoji | ReactionTypeCustomEmoji | ReactionTypePaid

class ReactionTypeEmoji(TypedDict):
    """https://core.telegram.org/bots/api#reactiontypeemoji"""

    type: Literal["emoji"]
    emoji: str

class ReactionTypeCustomEmoji(TypedDict):
    """https://core.telegram.org/bots/api#reactiontypecustomemoji"""

    type: Literal["custom_emoji"]
    custom_emoji_id: str

class ReactionTypePaid(TypedDict):
    """https://core.telegram.org/bots/api#reactiontypepaid"""

    type: Literal["paid"]

class ReactionCount(TypedDict):
    """https://core.telegram.org/bots/api#reactioncount"""

    type: ReactionType
    total_count: int

class MessageReactionUpdated(TypedDict):
    """https://core.telegram.org/bots/api#messagereactionupdated"""

    chat: Chat
    message_id: int
    user: NotRequired[User]
    actor_chat: NotRequired[Chat]
    date: int
    old_reaction: list[ReactionType]
    new_reaction: list[ReactionType]

class MessageReactionCountUpdated(TypedDict):
    """https://core.telegram.org/bots/api#messagereactioncountupdated"""

    chat: Chat
    message_id: int
    date: int
    reactions: list[ReactionCount]

class ForumTopic(TypedDict):
    """https://core.telegram.org/bots/api#forumtopic"""

    message_thread_id: int
    name: str
    icon_color: int
    icon_custom_emoji_id: NotRequired[str]
    is_name_implicit: NotRequired[bool]

class GiftBackground(TypedDict):
    """https://core.telegram.org/bots/api#giftbackground"""

    center_color: int
    edge_color: int
    text_color: int

class Gift(TypedDict):
    """https://core.telegram.org/bots/api#gift"""

    id: str
    sticker: Sticker
    star_count: int
    upgrade_star_count: NotRequired[int]
    is_premium: NotRequired[bool]
    has_colors: NotRequired[bool]
    total_count: NotRequired[int]
    remaining_count: NotRequired[int]
    personal_total_count: NotRequired[int]
    personal_remaining_count: NotRequired[int]
    background: NotRequired[GiftBackground]
    unique_gift_variant_count: NotRequired[int]
    publisher_chat: NotRequired[Chat]

class Gifts(TypedDict):
    """https://core.telegram.org/bots/api#gifts"""

    gifts: list[Gift]

class UniqueGiftModel(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftmodel"""

    name: str
    sticker: Sticker
    rarity_per_mille: int
    rarity: NotRequired[str]

class UniqueGiftSymbol(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftsymbol"""

    name: str
    sticker: Sticker
    rarity_per_mille: int

class UniqueGiftBackdropColors(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftbackdropcolors"""

    center_color: int
    edge_color: int
    symbol_color: int
    text_color: int

class UniqueGiftBackdrop(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftbackdrop"""

    name: str
    colors: UniqueGiftBackdropColors
    rarity_per_mille: int

class UniqueGiftColors(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftcolors"""

    model_custom_emoji_id: str
    symbol_custom_emoji_id: str
    light_theme_main_color: int
    light_theme_other_colors: list[int]
    dark_theme_main_color: int
    dark_theme_other_colors: list[int]

class UniqueGift(TypedDict):
    """https://core.telegram.org/bots/api#uniquegift"""

    gift_id: str
    base_name: str
    name: str
    number: int
    model: UniqueGiftModel
    symbol: UniqueGiftSymbol
    backdrop: UniqueGiftBackdrop
    is_premium: NotRequired[bool]
    is_burned: NotRequired[bool]
    is_from_blockchain: NotRequired[bool]
    colors: NotRequired[UniqueGiftColors]
    publisher_chat: NotRequired[Chat]

class GiftInfo(TypedDict):
    """https://core.telegram.org/bots/api#giftinfo"""

    gift: Gift
    owned_gift_id: NotRequired[str]
    convert_star_count: NotRequired[int]
    prepaid_upgrade_star_count: NotRequired[int]
    is_upgrade_separate: NotRequired[bool]
    can_be_upgraded: NotRequired[bool]
    text: NotRequired[str]
    entities: NotRequired[list[MessageEntity]]
    is_private: NotRequired[bool]
    unique_gift_number: NotRequired[int]

class UniqueGiftInfo(TypedDict):
    """https://core.telegram.org/bots/api#uniquegiftinfo"""

    gift: UniqueGift
    origin: str
    last_resale_currency: NotRequired[str]
    last_resale_amount: NotRequired[int]
    owned_gift_id: NotRequired[str]
    transfer_star_count: NotRequired[int]
    next_transfer_date: NotRequired[int]

OwnedGift: TypeAlias = OwnedGiftRegular | OwnedGiftUnique

class OwnedGiftRegular(TypedDict):
    """https://core.telegram.org/bots/api#ownedgiftregular"""

    type: Literal["regular"]
    gift: Gift
    owned_gift_id: NotRequired[str]
    sender_user: NotRequired[User]
    send_date: int
    text: NotRequired[str]
    entities: NotRequired[list[MessageEntity]]
    is_private: NotRequired[bool]
    is_saved: NotRequired[bool]
    can_be_upgraded: NotRequired[bool]
    was_refunded: NotRequired[bool]
    convert_star_count: NotRequired[int]
    prepaid_upgrade_star_count: NotRequired[int]
    is_upgrade_separate: NotRequired[bool]
    unique_gift_number: NotRequired[int]

class OwnedGiftUnique(TypedDict):
    """https://core.telegram.org/bots/api#ownedgiftunique"""

    type: Literal["unique"]
    gift: UniqueGift
    owned_gift_id: NotRequired[str]
    sender_user: NotRequired[User]
    send_date: int
    is_saved: NotRequired[bool]
    can_be_transferred: NotRequired[bool]
    transfer_star_count: NotRequired[int]
    next_transfer_date: NotRequired[int]

class OwnedGifts(TypedDict):
    """https://core.telegram.org/bots/api#ownedgifts"""

    total_count: int
    gifts: list[OwnedGift]
    next_offset: NotRequired[str]

class BotAccessSettings(TypedDict):
    """https://core.telegram.org/bots/api#botaccesssettings"""

    is_access_restricted: bool
    added_users: NotRequired[list[User]]

class AcceptedGiftTypes(TypedDict):
    """https://core.telegram.org/bots/api#acceptedgifttypes"""

    unlimited_gifts: bool
    limited_gifts: bool
    unique_gifts: bool
    premium_subscription: bool
    gifts_from_channels: bool

class StarAmount(TypedDict):
    """https://core.telegram.org/bots/api#staramount"""

    amount: int
    nanostar_amount: NotRequired[int]

class BotCommand(TypedDict):
    """https://core.telegram.org/bots/api#botcommand"""

    command: str
    description: str

BotCommandScope: TypeAlias = (
    BotCommandScopeDefault
    | BotCommandScopeAllPrivateChats
    | BotCommandScopeAllGroupChats
    | BotCommandScopeAllChatAdministrators
    | BotCommandScopeChat
    | BotCommandScopeChatAdministrators
    | BotCommandScopeChatMember
)

class BotCommandScopeDefault(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopedefault"""

    type: Literal["default"] | Enum

class BotCommandScopeAllPrivateChats(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopeallprivatechats"""

    type: Literal["all_private_chats"] | Enum

class BotCommandScopeAllGroupChats(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopeallgroupchats"""

    type: Literal["all_group_chats"] | Enum

class BotCommandScopeAllChatAdministrators(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopeallchatadministrators"""

    type: Literal["all_chat_administrators"] | Enum

class BotCommandScopeChat(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopechat"""

    type: Literal["chat"] | Enum
    chat_id: Whole | Text

class BotCommandScopeChatAdministrators(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopechatadministrators"""

    type: Literal["chat_administrators"] | Enum
    chat_id: Whole | Text

class BotCommandScopeChatMember(TypedDict):
    """https://core.telegram.org/bots/api#botcommandscopechatmember"""

    type: Literal["chat_member"] | Enum
    chat_id: Whole | Text
    user_id: Whole

class BotName(TypedDict):
    """https://core.telegram.org/bots/api#botname"""

    name: str

class BotDescription(TypedDict):
    """https://core.telegram.org/bots/api#botdescription"""

    description: str

class BotShortDescription(TypedDict):
    """https://core.telegram.org/bots/api#botshortdescription"""

    short_description: str

MenuButton: TypeAlias = MenuButtonCommands | MenuButtonWebApp | MenuButtonDefault

class MenuButtonCommands(TypedDict):
    """https://core.telegram.org/bots/api#menubuttoncommands"""

    type: Literal["commands"]

class MenuButtonWebApp(TypedDict):
    """https://core.telegram.org/bots/api#menubuttonwebapp"""

    type: Literal["web_app"]
    text: str
    web_app: WebAppInfo

class MenuButtonDefault(TypedDict):
    """https://core.telegram.org/bots/api#menubuttondefault"""

    type: Literal["default"]

ChatBoostSource: TypeAlias = ChatBoostSourcePremium | ChatBoostSourceGiftCode | ChatBoostSourceGiveaway

class ChatBoostSourcePremium(TypedDict):
    """https://core.telegram.org/bots/api#chatboostsourcepremium"""

    source: Literal["premium"]
    user: User

class ChatBoostSourceGiftCode(TypedDict):
    """https://core.telegram.org/bots/api#chatboostsourcegiftcode"""

    source: Literal["gift_code"]
    user: User

class ChatBoostSourceGiveaway(TypedDict):
    """https://core.telegram.org/bots/api#chatboostsourcegiveaway"""

    source: Literal["giveaway"]
    giveaway_message_id: int
    user: NotRequired[User]
    prize_star_count: NotRequired[int]
    is_unclaimed: NotRequired[bool]

class ChatBoost(TypedDict):
    """https://core.telegram.org/bots/api#chatboost"""

    boost_id: str
    add_date: int
    expiration_date: int
    source: ChatBoostSource

class ChatBoostUpdated(TypedDict):
    """https://core.telegram.org/bots/api#chatboostupdated"""

    chat: Chat
    boost: ChatBoost

class ChatBoostRemoved(TypedDict):
    """https://core.telegram.org/bots/api#chatboostremoved"""

    chat: Chat
    boost_id: str
    remove_date: int
    source: ChatBoostSource

class ChatOwnerLeft(TypedDict):
    """https://core.telegram.org/bots/api#chatownerleft"""

    new_owner: NotRequired[User]

class ChatOwnerChanged(TypedDict):
    """https://core.telegram.org/bots/api#chatownerchanged"""

    new_owner: User

class UserChatBoosts(TypedDict):
    """https://core.telegram.org/bots/api#userchatboosts"""

    boosts: list[ChatBoost]

class BusinessBotRights(TypedDict):
    """https://core.telegram.org/bots/api#businessbotrights"""

    can_reply: NotRequired[bool]
    can_read_messages: NotRequired[bool]
    can_delete_sent_messages: NotRequired[bool]
    can_delete_all_messages: NotRequired[bool]
    can_edit_name: NotRequired[bool]
    can_edit_bio: NotRequired[bool]
    can_edit_profile_photo: NotRequired[bool]
    can_edit_username: NotRequired[bool]
    can_change_gift_settings: NotRequired[bool]
    can_view_gifts_and_stars: NotRequired[bool]
    can_convert_gifts_to_stars: NotRequired[bool]
    can_transfer_and_upgrade_gifts: NotRequired[bool]
    can_transfer_stars: NotRequired[bool]
    can_manage_stories: NotRequired[bool]

class BusinessConnection(TypedDict):
    """https://core.telegram.org/bots/api#businessconnection"""

    id: str
    user: User
    user_chat_id: int
    date: int
    rights: NotRequired[BusinessBotRights]
    is_enabled: bool

class BusinessMessagesDeleted(TypedDict):
    """https://core.telegram.org/bots/api#businessmessagesdeleted"""

    business_connection_id: str
    chat: Chat
    message_ids: list[int]

class SentWebAppMessage(TypedDict):
    """https://core.telegram.org/bots/api#sentwebappmessage"""

    inline_message_id: NotRequired[str]

class SentGuestMessage(TypedDict):
    """https://core.telegram.org/bots/api#sentguestmessage"""

    inline_message_id: str

class PreparedInlineMessage(TypedDict):
    """https://core.telegram.org/bots/api#preparedinlinemessage"""

    id: str
    expiration_date: int

class PreparedKeyboardButton(TypedDict):
    """https://core.telegram.org/bots/api#preparedkeyboardbutton"""

    id: str

class ResponseParameters(TypedDict):
    """https://core.telegram.org/bots/api#responseparameters"""

    migrate_to_chat_id: NotRequired[Whole]
    retry_after: NotRequired[Whole]

InputMedia: TypeAlias = (
    InputMediaAnimation
    | InputMediaAudio
    | InputMediaDocument
    | InputMediaLivePhoto
    | InputMediaPhoto
    | InputMediaVideo
)

class InputMediaAnimation(TypedDict):
    """https://core.telegram.org/bots/api#inputmediaanimation"""

    type: Literal["animation"] | Enum
    media: Text | Upload
    thumbnail: NotRequired[Text | Upload]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    width: NotRequired[Whole]
    height: NotRequired[Whole]
    duration: NotRequired[Span]
    has_spoiler: NotRequired[bool]

class InputMediaAudio(TypedDict):
    """https://core.telegram.org/bots/api#inputmediaaudio"""

    type: Literal["audio"] | Enum
    media: Text | Upload
    thumbnail: NotRequired[Text | Upload]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    duration: NotRequired[Span]
    performer: NotRequired[Text]
    title: NotRequired[Text]

class InputMediaDocument(TypedDict):
    """https://core.telegram.org/bots/api#inputmediadocument"""

    type: Literal["document"] | Enum
    media: Text | Upload
    thumbnail: NotRequired[Text | Upload]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    disable_content_type_detection: NotRequired[bool]

class InputMediaLink(TypedDict):
    """https://core.telegram.org/bots/api#inputmedialink"""

    type: Literal["link"] | Enum
    url: Text

class InputMediaLivePhoto(TypedDict):
    """https://core.telegram.org/bots/api#inputmedialivephoto"""

    type: Literal["live_photo"] | Enum
    media: Text | Upload
    photo: Text | Upload
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    has_spoiler: NotRequired[bool]

class InputMediaLocation(TypedDict):
    """https://core.telegram.org/bots/api#inputmedialocation"""

    type: Literal["location"] | Enum
    latitude: Number
    longitude: Number
    horizontal_accuracy: NotRequired[Number]

class InputMediaPhoto(TypedDict):
    """https://core.telegram.org/bots/api#inputmediaphoto"""

    type: Literal["photo"] | Enum
    media: Text | Upload
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    has_spoiler: NotRequired[bool]

class InputMediaSticker(TypedDict):
    """https://core.telegram.org/bots/api#inputmediasticker"""

    type: Literal["sticker"] | Enum
    media: Text | Upload
    emoji: NotRequired[Text]

class InputMediaVenue(TypedDict):
    """https://core.telegram.org/bots/api#inputmediavenue"""

    type: Literal["venue"] | Enum
    latitude: Number
    longitude: Number
    title: Text
    address: Text
    foursquare_id: NotRequired[Text]
    foursquare_type: NotRequired[Text]
    google_place_id: NotRequired[Text]
    google_place_type: NotRequired[Text]

class InputMediaVideo(TypedDict):
    """https://core.telegram.org/bots/api#inputmediavideo"""

    type: Literal["video"] | Enum
    media: Text | Upload
    thumbnail: NotRequired[Text | Upload]
    cover: NotRequired[Text | Upload]
    start_timestamp: NotRequired[Span]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    width: NotRequired[Whole]
    height: NotRequired[Whole]
    duration: NotRequired[Span]
    supports_streaming: NotRequired[bool]
    has_spoiler: NotRequired[bool]

InputPaidMedia: TypeAlias = InputPaidMediaLivePhoto | InputPaidMediaPhoto | InputPaidMediaVideo

class InputPaidMediaLivePhoto(TypedDict):
    """https://core.telegram.org/bots/api#inputpaidmedialivephoto"""

    type: Literal["live_photo"] | Enum
    media: Text | Upload
    photo: Text | Upload

class InputPaidMediaPhoto(TypedDict):
    """https://core.telegram.org/bots/api#inputpaidmediaphoto"""

    type: Literal["photo"] | Enum
    media: Text | Upload

class InputPaidMediaVideo(TypedDict):
    """https://core.telegram.org/bots/api#inputpaidmediavideo"""

    type: Literal["video"] | Enum
    media: Text | Upload
    thumbnail: NotRequired[Text | Upload]
    cover: NotRequired[Text | Upload]
    start_timestamp: NotRequired[Span]
    width: NotRequired[Whole]
    height: NotRequired[Whole]
    duration: NotRequired[Span]
    supports_streaming: NotRequired[bool]

InputProfilePhoto: TypeAlias = InputProfilePhotoStatic | InputProfilePhotoAnimated

class InputProfilePhotoStatic(TypedDict):
    """https://core.telegram.org/bots/api#inputprofilephotostatic"""

    type: Literal["static"] | Enum
    photo: Text | Upload

class InputProfilePhotoAnimated(TypedDict):
    """https://core.telegram.org/bots/api#inputprofilephotoanimated"""

    type: Literal["animated"] | Enum
    animation: Text | Upload
    main_frame_timestamp: NotRequired[Number]

InputStoryContent: TypeAlias = InputStoryContentPhoto | InputStoryContentVideo

class InputStoryContentPhoto(TypedDict):
    """https://core.telegram.org/bots/api#inputstorycontentphoto"""

    type: Literal["photo"] | Enum
    photo: Text | Upload

class InputStoryContentVideo(TypedDict):
    """https://core.telegram.org/bots/api#inputstorycontentvideo"""

    type: Literal["video"] | Enum
    video: Text | Upload
    duration: NotRequired[Number]
    cover_frame_timestamp: NotRequired[Number]
    is_animation: NotRequired[bool]

class Sticker(TypedDict):
    """https://core.telegram.org/bots/api#sticker"""

    file_id: str
    file_unique_id: str
    type: str
    width: int
    height: int
    is_animated: bool
    is_video: bool
    thumbnail: NotRequired[PhotoSize]
    emoji: NotRequired[str]
    set_name: NotRequired[str]
    premium_animation: NotRequired[File]
    mask_position: NotRequired[MaskPosition]
    custom_emoji_id: NotRequired[str]
    needs_repainting: NotRequired[bool]
    file_size: NotRequired[int]

class StickerSet(TypedDict):
    """https://core.telegram.org/bots/api#stickerset"""

    name: str
    title: str
    sticker_type: str
    stickers: list[Sticker]
    thumbnail: NotRequired[PhotoSize]

class MaskPosition(TypedDict):
    """https://core.telegram.org/bots/api#maskposition"""

    point: str
    x_shift: float
    y_shift: float
    scale: float

class InputSticker(TypedDict):
    """https://core.telegram.org/bots/api#inputsticker"""

    sticker: Text | Upload
    format: Text
    emoji_list: list[str] | tuple[str, ...]
    mask_position: NotRequired[MaskPosition]
    keywords: NotRequired[list[str] | tuple[str, ...]]

class RichMessage(TypedDict):
    """https://core.telegram.org/bots/api#richmessage"""

    blocks: list[RichBlock]
    is_rtl: NotRequired[bool]

class InputRichMessage(TypedDict):
    """https://core.telegram.org/bots/api#inputrichmessage"""

    html: NotRequired[Text]
    markdown: NotRequired[Text]
    is_rtl: NotRequired[bool]
    skip_entity_detection: NotRequired[bool]

RichText: TypeAlias = (
    str
    | list[RichText]
    | RichTextBold
    | RichTextItalic
    | RichTextUnderline
    | RichTextStrikethrough
    | RichTextSpoiler
    | RichTextDateTime
    | RichTextTextMention
    | RichTextSubscript
    | RichTextSuperscript
    | RichTextMarked
    | RichTextCode
    | RichTextCustomEmoji
    | RichTextMathematicalExpression
    | RichTextUrl
    | RichTextEmailAddress
    | RichTextPhoneNumber
    | RichTextBankCardNumber
    | RichTextMention
    | RichTextHashtag
    | RichTextCashtag
    | RichTextBotCommand
    | RichTextAnchor
    | RichTextAnchorLink
    | RichTextReference
    | RichTextReferenceLink
)

class RichTextBold(TypedDict):
    """https://core.telegram.org/bots/api#richtextbold"""

    type: Literal["bold"]
    text: RichText

class RichTextItalic(TypedDict):
    """https://core.telegram.org/bots/api#richtextitalic"""

    type: Literal["italic"]
    text: RichText

class RichTextUnderline(TypedDict):
    """https://core.telegram.org/bots/api#richtextunderline"""

    type: Literal["underline"]
    text: RichText

class RichTextStrikethrough(TypedDict):
    """https://core.telegram.org/bots/api#richtextstrikethrough"""

    type: Literal["strikethrough"]
    text: RichText

class RichTextSpoiler(TypedDict):
    """https://core.telegram.org/bots/api#richtextspoiler"""

    type: Literal["spoiler"]
    text: RichText

class RichTextDateTime(TypedDict):
    """https://core.telegram.org/bots/api#richtextdatetime"""

    type: Literal["date_time"]
    text: RichText
    unix_time: int
    date_time_format: str

class RichTextTextMention(TypedDict):
    """https://core.telegram.org/bots/api#richtexttextmention"""

    type: Literal["text_mention"]
    text: RichText
    user: User

class RichTextSubscript(TypedDict):
    """https://core.telegram.org/bots/api#richtextsubscript"""

    type: Literal["subscript"]
    text: RichText

class RichTextSuperscript(TypedDict):
    """https://core.telegram.org/bots/api#richtextsuperscript"""

    type: Literal["superscript"]
    text: RichText

class RichTextMarked(TypedDict):
    """https://core.telegram.org/bots/api#richtextmarked"""

    type: Literal["marked"]
    text: RichText

class RichTextCode(TypedDict):
    """https://core.telegram.org/bots/api#richtextcode"""

    type: Literal["code"]
    text: RichText

class RichTextCustomEmoji(TypedDict):
    """https://core.telegram.org/bots/api#richtextcustomemoji"""

    type: Literal["custom_emoji"]
    custom_emoji_id: str
    alternative_text: str

class RichTextMathematicalExpression(TypedDict):
    """https://core.telegram.org/bots/api#richtextmathematicalexpression"""

    type: Literal["mathematical_expression"]
    expression: str

class RichTextUrl(TypedDict):
    """https://core.telegram.org/bots/api#richtexturl"""

    type: Literal["url"]
    text: RichText
    url: str

class RichTextEmailAddress(TypedDict):
    """https://core.telegram.org/bots/api#richtextemailaddress"""

    type: Literal["email_address"]
    text: RichText
    email_address: str

class RichTextPhoneNumber(TypedDict):
    """https://core.telegram.org/bots/api#richtextphonenumber"""

    type: Literal["phone_number"]
    text: RichText
    phone_number: str

class RichTextBankCardNumber(TypedDict):
    """https://core.telegram.org/bots/api#richtextbankcardnumber"""

    type: Literal["bank_card_number"]
    text: RichText
    bank_card_number: str

class RichTextMention(TypedDict):
    """https://core.telegram.org/bots/api#richtextmention"""

    type: Literal["mention"]
    text: RichText
    username: str

class RichTextHashtag(TypedDict):
    """https://core.telegram.org/bots/api#richtexthashtag"""

    type: Literal["hashtag"]
    text: RichText
    hashtag: str

class RichTextCashtag(TypedDict):
    """https://core.telegram.org/bots/api#richtextcashtag"""

    type: Literal["cashtag"]
    text: RichText
    cashtag: str

class RichTextBotCommand(TypedDict):
    """https://core.telegram.org/bots/api#richtextbotcommand"""

    type: Literal["bot_command"]
    text: RichText
    bot_command: str

class RichTextAnchor(TypedDict):
    """https://core.telegram.org/bots/api#richtextanchor"""

    type: Literal["anchor"]
    name: str

class RichTextAnchorLink(TypedDict):
    """https://core.telegram.org/bots/api#richtextanchorlink"""

    type: Literal["anchor_link"]
    text: RichText
    anchor_name: str

class RichTextReference(TypedDict):
    """https://core.telegram.org/bots/api#richtextreference"""

    type: Literal["reference"]
    text: RichText
    name: str

class RichTextReferenceLink(TypedDict):
    """https://core.telegram.org/bots/api#richtextreferencelink"""

    type: Literal["reference_link"]
    text: RichText
    reference_name: str

class RichBlockCaption(TypedDict):
    """https://core.telegram.org/bots/api#richblockcaption"""

    text: RichText
    credit: NotRequired[RichText]

class RichBlockTableCell(TypedDict):
    """https://core.telegram.org/bots/api#richblocktablecell"""

    text: NotRequired[RichText]
    is_header: NotRequired[bool]
    colspan: NotRequired[int]
    rowspan: NotRequired[int]
    align: str
    valign: str

class RichBlockListItem(TypedDict):
    """https://core.telegram.org/bots/api#richblocklistitem"""

    label: str
    blocks: list[RichBlock]
    has_checkbox: NotRequired[bool]
    is_checked: NotRequired[bool]
    value: NotRequired[int]
    type: NotRequired[str]

RichBlock: TypeAlias = (
    RichBlockParagraph
    | RichBlockSectionHeading
    | RichBlockPreformatted
    | RichBlockFooter
    | RichBlockDivider
    | RichBlockMathematicalExpression
    | RichBlockAnchor
    | RichBlockList
    | RichBlockBlockQuotation
    | RichBlockPullQuotation
    | RichBlockCollage
    | RichBlockSlideshow
    | RichBlockTable
    | RichBlockDetails
    | RichBlockMap
    | RichBlockAnimation
    | RichBlockAudio
    | RichBlockPhoto
    | RichBlockVideo
    | RichBlockVoiceNote
    | RichBlockThinking
)

class RichBlockParagraph(TypedDict):
    """https://core.telegram.org/bots/api#richblockparagraph"""

    type: Literal["paragraph"]
    text: RichText

class RichBlockSectionHeading(TypedDict):
    """https://core.telegram.org/bots/api#richblocksectionheading"""

    type: Literal["heading"]
    text: RichText
    size: int

class RichBlockPreformatted(TypedDict):
    """https://core.telegram.org/bots/api#richblockpreformatted"""

    type: Literal["pre"]
    text: RichText
    language: NotRequired[str]

class RichBlockFooter(TypedDict):
    """https://core.telegram.org/bots/api#richblockfooter"""

    type: Literal["footer"]
    text: RichText

class RichBlockDivider(TypedDict):
    """https://core.telegram.org/bots/api#richblockdivider"""

    type: Literal["divider"]

class RichBlockMathematicalExpression(TypedDict):
    """https://core.telegram.org/bots/api#richblockmathematicalexpression"""

    type: Literal["mathematical_expression"]
    expression: str

class RichBlockAnchor(TypedDict):
    """https://core.telegram.org/bots/api#richblockanchor"""

    type: Literal["anchor"]
    name: str

class RichBlockList(TypedDict):
    """https://core.telegram.org/bots/api#richblocklist"""

    type: Literal["list"]
    items: list[RichBlockListItem]

class RichBlockBlockQuotation(TypedDict):
    """https://core.telegram.org/bots/api#richblockblockquotation"""

    type: Literal["blockquote"]
    blocks: list[RichBlock]
    credit: NotRequired[RichText]

class RichBlockPullQuotation(TypedDict):
    """https://core.telegram.org/bots/api#richblockpullquotation"""

    type: Literal["pullquote"]
    text: RichText
    credit: NotRequired[RichText]

class RichBlockCollage(TypedDict):
    """https://core.telegram.org/bots/api#richblockcollage"""

    type: Literal["collage"]
    blocks: list[RichBlock]
    caption: NotRequired[RichBlockCaption]

class RichBlockSlideshow(TypedDict):
    """https://core.telegram.org/bots/api#richblockslideshow"""

    type: Literal["slideshow"]
    blocks: list[RichBlock]
    caption: NotRequired[RichBlockCaption]

class RichBlockTable(TypedDict):
    """https://core.telegram.org/bots/api#richblocktable"""

    type: Literal["table"]
    cells: list[list[RichBlockTableCell]]
    is_bordered: NotRequired[bool]
    is_striped: NotRequired[bool]
    caption: NotRequired[RichText]

class RichBlockDetails(TypedDict):
    """https://core.telegram.org/bots/api#richblockdetails"""

    type: Literal["details"]
    summary: RichText
    blocks: list[RichBlock]
    is_open: NotRequired[bool]

class RichBlockMap(TypedDict):
    """https://core.telegram.org/bots/api#richblockmap"""

    type: Literal["map"]
    location: Location
    zoom: int
    width: int
    height: int
    caption: NotRequired[RichBlockCaption]

class RichBlockAnimation(TypedDict):
    """https://core.telegram.org/bots/api#richblockanimation"""

    type: Literal["animation"]
    animation: Animation
    has_spoiler: NotRequired[bool]
    caption: NotRequired[RichBlockCaption]

class RichBlockAudio(TypedDict):
    """https://core.telegram.org/bots/api#richblockaudio"""

    type: Literal["audio"]
    audio: Audio
    caption: NotRequired[RichBlockCaption]

class RichBlockPhoto(TypedDict):
    """https://core.telegram.org/bots/api#richblockphoto"""

    type: Literal["photo"]
    photo: list[PhotoSize]
    has_spoiler: NotRequired[bool]
    caption: NotRequired[RichBlockCaption]

class RichBlockVideo(TypedDict):
    """https://core.telegram.org/bots/api#richblockvideo"""

    type: Literal["video"]
    video: Video
    has_spoiler: NotRequired[bool]
    caption: NotRequired[RichBlockCaption]

class RichBlockVoiceNote(TypedDict):
    """https://core.telegram.org/bots/api#richblockvoicenote"""

    type: Literal["voice_note"]
    voice_note: Voice
    caption: NotRequired[RichBlockCaption]

class RichBlockThinking(TypedDict):
    """https://core.telegram.org/bots/api#richblockthinking"""

    type: Literal["thinking"]
    text: RichText

_InlineQueryWords = TypedDict("_InlineQueryWords", {"from": User})

class InlineQuery(_InlineQueryWords):
    """https://core.telegram.org/bots/api#inlinequery"""

    id: str
    query: str
    offset: str
    chat_type: NotRequired[str]
    location: NotRequired[Location]

class InlineQueryResultsButton(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultsbutton"""

    text: Text
    web_app: NotRequired[WebAppInfo]
    start_parameter: NotRequired[Text]

InlineQueryResult: TypeAlias = (
    InlineQueryResultCachedAudio
    | InlineQueryResultCachedDocument
    | InlineQueryResultCachedGif
    | InlineQueryResultCachedMpeg4Gif
    | InlineQueryResultCachedPhoto
    | InlineQueryResultCachedSticker
    | InlineQueryResultCachedVideo
    | InlineQueryResultCachedVoice
    | InlineQueryResultArticle
    | InlineQueryResultAudio
    | InlineQueryResultContact
    | InlineQueryResultGame
    | InlineQueryResultDocument
    | InlineQueryResultGif
    | InlineQueryResultLocation
    | InlineQueryResultMpeg4Gif
    | InlineQueryResultPhoto
    | InlineQueryResultVenue
    | InlineQueryResultVideo
    | InlineQueryResultVoice
)

class InlineQueryResultArticle(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultarticle"""

    type: Literal["article"] | Enum
    id: Text
    title: Text
    input_message_content: InputMessageContent
    reply_markup: NotRequired[InlineKeyboardMarkup]
    url: NotRequired[Text]
    description: NotRequired[Text]
    thumbnail_url: NotRequired[Text]
    thumbnail_width: NotRequired[Whole]
    thumbnail_height: NotRequired[Whole]

class InlineQueryResultPhoto(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultphoto"""

    type: Literal["photo"] | Enum
    id: Text
    photo_url: Text
    thumbnail_url: Text
    photo_width: NotRequired[Whole]
    photo_height: NotRequired[Whole]
    title: NotRequired[Text]
    description: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultGif(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultgif"""

    type: Literal["gif"] | Enum
    id: Text
    gif_url: Text
    gif_width: NotRequired[Whole]
    gif_height: NotRequired[Whole]
    gif_duration: NotRequired[Span]
    thumbnail_url: Text
    thumbnail_mime_type: NotRequired[Text]
    title: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultMpeg4Gif(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultmpeg4gif"""

    type: Literal["mpeg4_gif"] | Enum
    id: Text
    mpeg4_url: Text
    mpeg4_width: NotRequired[Whole]
    mpeg4_height: NotRequired[Whole]
    mpeg4_duration: NotRequired[Span]
    thumbnail_url: Text
    thumbnail_mime_type: NotRequired[Text]
    title: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultVideo(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultvideo"""

    type: Literal["video"] | Enum
    id: Text
    video_url: Text
    mime_type: Text
    thumbnail_url: Text
    title: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    video_width: NotRequired[Whole]
    video_height: NotRequired[Whole]
    video_duration: NotRequired[Span]
    description: NotRequired[Text]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultAudio(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultaudio"""

    type: Literal["audio"] | Enum
    id: Text
    audio_url: Text
    title: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    performer: NotRequired[Text]
    audio_duration: NotRequired[Span]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultVoice(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultvoice"""

    type: Literal["voice"] | Enum
    id: Text
    voice_url: Text
    title: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    voice_duration: NotRequired[Span]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultDocument(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultdocument"""

    type: Literal["document"] | Enum
    id: Text
    title: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    document_url: Text
    mime_type: Text
    description: NotRequired[Text]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]
    thumbnail_url: NotRequired[Text]
    thumbnail_width: NotRequired[Whole]
    thumbnail_height: NotRequired[Whole]

class InlineQueryResultLocation(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultlocation"""

    type: Literal["location"] | Enum
    id: Text
    latitude: Number
    longitude: Number
    title: Text
    horizontal_accuracy: NotRequired[Number]
    live_period: NotRequired[Span]
    heading: NotRequired[Whole]
    proximity_alert_radius: NotRequired[Whole]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]
    thumbnail_url: NotRequired[Text]
    thumbnail_width: NotRequired[Whole]
    thumbnail_height: NotRequired[Whole]

class InlineQueryResultVenue(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultvenue"""

    type: Literal["venue"] | Enum
    id: Text
    latitude: Number
    longitude: Number
    title: Text
    address: Text
    foursquare_id: NotRequired[Text]
    foursquare_type: NotRequired[Text]
    google_place_id: NotRequired[Text]
    google_place_type: NotRequired[Text]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]
    thumbnail_url: NotRequired[Text]
    thumbnail_width: NotRequired[Whole]
    thumbnail_height: NotRequired[Whole]

class InlineQueryResultContact(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcontact"""

    type: Literal["contact"] | Enum
    id: Text
    phone_number: Text
    first_name: Text
    last_name: NotRequired[Text]
    vcard: NotRequired[Text]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]
    thumbnail_url: NotRequired[Text]
    thumbnail_width: NotRequired[Whole]
    thumbnail_height: NotRequired[Whole]

class InlineQueryResultGame(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultgame"""

    type: Literal["game"] | Enum
    id: Text
    game_short_name: Text
    reply_markup: NotRequired[InlineKeyboardMarkup]

class InlineQueryResultCachedPhoto(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedphoto"""

    type: Literal["photo"] | Enum
    id: Text
    photo_file_id: Text
    title: NotRequired[Text]
    description: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedGif(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedgif"""

    type: Literal["gif"] | Enum
    id: Text
    gif_file_id: Text
    title: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedMpeg4Gif(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedmpeg4gif"""

    type: Literal["mpeg4_gif"] | Enum
    id: Text
    mpeg4_file_id: Text
    title: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedSticker(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedsticker"""

    type: Literal["sticker"] | Enum
    id: Text
    sticker_file_id: Text
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedDocument(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcacheddocument"""

    type: Literal["document"] | Enum
    id: Text
    title: Text
    document_file_id: Text
    description: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedVideo(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedvideo"""

    type: Literal["video"] | Enum
    id: Text
    video_file_id: Text
    title: Text
    description: NotRequired[Text]
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    show_caption_above_media: NotRequired[bool]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedVoice(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedvoice"""

    type: Literal["voice"] | Enum
    id: Text
    voice_file_id: Text
    title: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

class InlineQueryResultCachedAudio(TypedDict):
    """https://core.telegram.org/bots/api#inlinequeryresultcachedaudio"""

    type: Literal["audio"] | Enum
    id: Text
    audio_file_id: Text
    caption: NotRequired[Text]
    parse_mode: NotRequired[Text]
    caption_entities: NotRequired[Sequence[MessageEntity | Object]]
    reply_markup: NotRequired[InlineKeyboardMarkup]
    input_message_content: NotRequired[InputMessageContent]

InputMessageContent: TypeAlias = (
    InputTextMessageContent
    | InputRichMessageContent
    | InputLocationMessageContent
    | InputVenueMessageContent
    | InputContactMessageContent
    | InputInvoiceMessageContent
)

class InputTextMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputtextmessagecontent"""

    message_text: Text
    parse_mode: NotRequired[Text]
    entities: NotRequired[Sequence[MessageEntity | Object]]
    link_preview_options: NotRequired[LinkPreviewOptions]

class InputRichMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputrichmessagecontent"""

    rich_message: InputRichMessage

class InputLocationMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputlocationmessagecontent"""

    latitude: Number
    longitude: Number
    horizontal_accuracy: NotRequired[Number]
    live_period: NotRequired[Span]
    heading: NotRequired[Whole]
    proximity_alert_radius: NotRequired[Whole]

class InputVenueMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputvenuemessagecontent"""

    latitude: Number
    longitude: Number
    title: Text
    address: Text
    foursquare_id: NotRequired[Text]
    foursquare_type: NotRequired[Text]
    google_place_id: NotRequired[Text]
    google_place_type: NotRequired[Text]

class InputContactMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputcontactmessagecontent"""

    phone_number: Text
    first_name: Text
    last_name: NotRequired[Text]
    vcard: NotRequired[Text]

class InputInvoiceMessageContent(TypedDict):
    """https://core.telegram.org/bots/api#inputinvoicemessagecontent"""

    title: Text
    description: Text
    payload: Text
    provider_token: NotRequired[Text]
    currency: Text
    prices: Sequence[LabeledPrice | Object]
    max_tip_amount: NotRequired[Whole]
    suggested_tip_amounts: NotRequired[Sequence[Whole]]
    provider_data: NotRequired[Text]
    photo_url: NotRequired[Text]
    photo_size: NotRequired[Whole]
    photo_width: NotRequired[Whole]
    photo_height: NotRequired[Whole]
    need_name: NotRequired[bool]
    need_phone_number: NotRequired[bool]
    need_email: NotRequired[bool]
    need_shipping_address: NotRequired[bool]
    send_phone_number_to_provider: NotRequired[bool]
    send_email_to_provider: NotRequired[bool]
    is_flexible: NotRequired[bool]

_ChosenInlineResultWords = TypedDict("_ChosenInlineResultWords", {"from": User})

class ChosenInlineResult(_ChosenInlineResultWords):
    """https://core.telegram.org/bots/api#choseninlineresult"""

    result_id: str
    location: NotRequired[Location]
    inline_message_id: NotRequired[str]
    query: str

class LabeledPrice(TypedDict):
    """https://core.telegram.org/bots/api#labeledprice"""

    label: Text
    amount: Whole

class Invoice(TypedDict):
    """https://core.telegram.org/bots/api#invoice"""

    title: str
    description: str
    start_parameter: str
    currency: str
    total_amount: int

class ShippingAddress(TypedDict):
    """https://core.telegram.org/bots/api#shippingaddress"""

    country_code: str
    state: str
    city: str
    street_line1: str
    street_line2: str
    post_code: str

class OrderInfo(TypedDict):
    """https://core.telegram.org/bots/api#orderinfo"""

    name: NotRequired[str]
    phone_number: NotRequired[str]
    email: NotRequired[str]
    shipping_address: NotRequired[ShippingAddress]

class ShippingOption(TypedDict):
    """https://core.telegram.org/bots/api#shippingoption"""

    id: Text
    title: Text
    prices: Sequence[LabeledPrice | Object]

class SuccessfulPayment(TypedDict):
    """https://core.telegram.org/bots/api#successfulpayment"""

    currency: str
    total_amount: int
    invoice_payload: str
    subscription_expiration_date: NotRequired[int]
    is_recurring: NotRequired[bool]
    is_first_recurring: NotRequired[bool]
    shipping_option_id: NotRequired[str]
    order_info: NotRequired[OrderInfo]
    telegram_payment_charge_id: str
    provider_payment_charge_id: str

class RefundedPayment(TypedDict):
    """https://core.telegram.org/bots/api#refundedpayment"""

    currency: str
    total_amount: int
    invoice_payload: str
    telegram_payment_charge_id: str
    provider_payment_charge_id: NotRequired[str]

_ShippingQueryWords = TypedDict("_ShippingQueryWords", {"from": User})

class ShippingQuery(_ShippingQueryWords):
    """https://core.telegram.org/bots/api#shippingquery"""

    id: str
    invoice_payload: str
    shipping_address: ShippingAddress

_PreCheckoutQueryWords = TypedDict("_PreCheckoutQueryWords", {"from": User})

class PreCheckoutQuery(_PreCheckoutQueryWords):
    """https://core.telegram.org/bots/api#precheckoutquery"""

    id: str
    currency: str
    total_amount: int
    invoice_payload: str
    shipping_option_id: NotRequired[str]
    order_info: NotRequired[OrderInfo]

_PaidMediaPurchasedWords = TypedDict("_PaidMediaPurchasedWords", {"from": User})

class PaidMediaPurchased(_PaidMediaPurchasedWords):
    """https://core.telegram.org/bots/api#paidmediapurchased"""

    paid_media_payload: str

RevenueWithdrawalState: TypeAlias = (
    RevenueWithdrawalStatePending
    | RevenueWithdrawalStateSucceeded
    | RevenueWithdrawalStateFailed
)

class RevenueWithdrawalStatePending(TypedDict):
    """https://core.telegram.org/bots/api#revenuewithdrawalstatepending"""

    type: Literal["pending"]

class RevenueWithdrawalStateSucceeded(TypedDict):
    """https://core.telegram.org/bots/api#revenuewithdrawalstatesucceeded"""

    type: Literal["succeeded"]
    date: int
    url: str

class RevenueWithdrawalStateFailed(TypedDict):
    """https://core.telegram.org/bots/api#revenuewithdrawalstatefailed"""

    type: Literal["failed"]

class AffiliateInfo(TypedDict):
    """https://core.telegram.org/bots/api#affiliateinfo"""

    affiliate_user: NotRequired[User]
    affiliate_chat: NotRequired[Chat]
    commission_per_mille: int
    amount: int
    nanostar_amount: NotRequired[int]

TransactionPartner: TypeAlias = (
    TransactionPartnerUser
    | TransactionPartnerChat
    | TransactionPartnerAffiliateProgram
    | TransactionPartnerFragment
    | TransactionPartnerTelegramAds
    | TransactionPartnerTelegramApi
    | TransactionPartnerOther
)

class TransactionPartnerUser(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartneruser"""

    type: Literal["user"]
    transaction_type: str
    user: User
    affiliate: NotRequired[AffiliateInfo]
    invoice_payload: NotRequired[str]
    subscription_period: NotRequired[int]
    paid_media: NotRequired[list[PaidMedia]]
    paid_media_payload: NotRequired[str]
    gift: NotRequired[Gift]
    premium_subscription_duration: NotRequired[int]

class TransactionPartnerChat(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartnerchat"""

    type: Literal["chat"]
    chat: Chat
    gift: NotRequired[Gift]

class TransactionPartnerAffiliateProgram(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartneraffiliateprogram"""

    type: Literal["affiliate_program"]
    sponsor_user: NotRequired[User]
    commission_per_mille: int

class TransactionPartnerFragment(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartnerfragment"""

    type: Literal["fragment"]
    withdrawal_state: NotRequired[RevenueWithdrawalState]

class TransactionPartnerTelegramAds(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartnertelegramads"""

    type: Literal["telegram_ads"]

class TransactionPartnerTelegramApi(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartnertelegramapi"""

    type: Literal["telegram_api"]
    request_count: int

class TransactionPartnerOther(TypedDict):
    """https://core.telegram.org/bots/api#transactionpartnerother"""

    type: Literal["other"]

class StarTransaction(TypedDict):
    """https://core.telegram.org/bots/api#startransaction"""

    id: str
    amount: int
    nanostar_amount: NotRequired[int]
    date: int
    source: NotRequired[TransactionPartner]
    receiver: NotRequired[TransactionPartner]

class StarTransactions(TypedDict):
    """https://core.telegram.org/bots/api#startransactions"""

    transactions: list[StarTransaction]

class PassportData(TypedDict):
    """https://core.telegram.org/bots/api#passportdata"""

    data: list[EncryptedPassportElement]
    credentials: EncryptedCredentials

class PassportFile(TypedDict):
    """https://core.telegram.org/bots/api#passportfile"""

    file_id: str
    file_unique_id: str
    file_size: int
    file_date: int

class EncryptedPassportElement(TypedDict):
    """https://core.telegram.org/bots/api#encryptedpassportelement"""

    type: str
    data: NotRequired[str]
    phone_number: NotRequired[str]
    email: NotRequired[str]
    files: NotRequired[list[PassportFile]]
    front_side: NotRequired[PassportFile]
    reverse_side: NotRequired[PassportFile]
    selfie: NotRequired[PassportFile]
    translation: NotRequired[list[PassportFile]]
    hash: str

class EncryptedCredentials(TypedDict):
    """https://core.telegram.org/bots/api#encryptedcredentials"""

    data: str
    hash: str
    secret: str

PassportElementError: TypeAlias = (
    PassportElementErrorDataField
    | PassportElementErrorFrontSide
    | PassportElementErrorReverseSide
    | PassportElementErrorSelfie
    | PassportElementErrorFile
    | PassportElementErrorFiles
    | PassportElementErrorTranslationFile
    | PassportElementErrorTranslationFiles
    | PassportElementErrorUnspecified
)

class PassportElementErrorDataField(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrordatafield"""

    source: Literal["data"] | Enum
    type: Text
    field_name: Text
    data_hash: Text
    message: Text

class PassportElementErrorFrontSide(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorfrontside"""

    source: Literal["front_side"] | Enum
    type: Text
    file_hash: Text
    message: Text

class PassportElementErrorReverseSide(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorreverseside"""

    source: Literal["reverse_side"] | Enum
    type: Text
    file_hash: Text
    message: Text

class PassportElementErrorSelfie(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorselfie"""

    source: Literal["selfie"] | Enum
    type: Text
    file_hash: Text
    message: Text

class PassportElementErrorFile(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorfile"""

    source: Literal["file"] | Enum
    type: Text
    file_hash: Text
    message: Text

class PassportElementErrorFiles(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorfiles"""

    source: Literal["files"] | Enum
    type: Text
    file_hashes: list[str] | tuple[str, ...]
    message: Text

class PassportElementErrorTranslationFile(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrortranslationfile"""

    source: Literal["translation_file"] | Enum
    type: Text
    file_hash: Text
    message: Text

class PassportElementErrorTranslationFiles(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrortranslationfiles"""

    source: Literal["translation_files"] | Enum
    type: Text
    file_hashes: list[str] | tuple[str, ...]
    message: Text

class PassportElementErrorUnspecified(TypedDict):
    """https://core.telegram.org/bots/api#passportelementerrorunspecified"""

    source: Literal["unspecified"] | Enum
    type: Text
    element_hash: Text
    message: Text

class Game(TypedDict):
    """https://core.telegram.org/bots/api#game"""

    title: str
    description: str
    photo: list[PhotoSize]
    text: NotRequired[str]
    text_entities: NotRequired[list[MessageEntity]]
    animation: NotRequired[Animation]

class CallbackGame(TypedDict):
    """https://core.telegram.org/bots/api#callbackgame"""

class GameHighScore(TypedDict):
    """https://core.telegram.org/bots/api#gamehighscore"""

    position: int
    user: User
    score: int

UpdateKind: TypeAlias = (
    Literal["message", "edited_message", "channel_post", "edited_channel_post", "business_connection", "business_message", "edited_business_message", "deleted_business_messages", "guest_message", "message_reaction", "message_reaction_count", "inline_query", "chosen_inline_result", "callback_query", "shipping_query", "pre_checkout_query", "purchased_paid_media", "poll", "poll_answer", "my_chat_member", "chat_member", "chat_join_request", "chat_boost", "removed_chat_boost", "managed_bot"]
)
