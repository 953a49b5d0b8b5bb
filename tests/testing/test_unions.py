"""Which of its members a value of a "one of" type is."""

from __future__ import annotations

import pytest

from trioworkers.testing.unions import member_of, tag_of


@pytest.mark.parametrize(
    ("union", "member", "tag"),
    [
        ("ChatMember", "ChatMemberOwner", "creator"),
        ("ChatMember", "ChatMemberBanned", "kicked"),
        ("ChatMember", "ChatMemberAdministrator", "administrator"),
        ("MessageOrigin", "MessageOriginHiddenUser", "hidden_user"),
        ("ReactionType", "ReactionTypeCustomEmoji", "custom_emoji"),
        ("BotCommandScope", "BotCommandScopeAllPrivateChats", "all_private_chats"),
        ("InputMedia", "InputMediaLivePhoto", "live_photo"),
        ("InlineQueryResult", "InlineQueryResultMpeg4Gif", "mpeg4_gif"),
        ("PassportElementError", "PassportElementErrorDataField", "data"),
        ("PassportElementError", "PassportElementErrorFrontSide", "front_side"),
        ("RichBlock", "RichBlockSectionHeading", "heading"),
        ("RichBlock", "RichBlockPreformatted", "pre"),
        ("RichBlock", "RichBlockBlockQuotation", "blockquote"),
        ("RichBlock", "RichBlockPullQuotation", "pullquote"),
        ("RichText", "RichTextEmailAddress", "email_address"),
    ],
)
def test_the_tag_is_the_name_of_the_member_but_where_it_is_another(union, member, tag):
    """As the Bot API's page has it: Type of the block, always "heading"."""
    assert tag_of(union, member) == tag


@pytest.mark.parametrize(
    ("union", "value", "member"),
    [
        ("ChatMember", {"status": "left"}, "ChatMemberLeft"),
        ("ChatMember", {"status": "gone"}, None),
        ("InlineQueryResult", {"type": "photo", "photo_file_id": "1"}, "InlineQueryResultCachedPhoto"),
        ("InlineQueryResult", {"type": "photo", "photo_url": "1"}, "InlineQueryResultPhoto"),
        ("InputMessageContent", {"message_text": "x"}, "InputTextMessageContent"),
    ],
)
def test_a_value_is_known_by_its_tag_or_its_fields(union, value, member):
    """None for one that is nothing of it."""
    assert member_of(union, value) == member
