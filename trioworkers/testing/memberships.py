"""What somebody is in a chat: a ChatMember's status, rights and permissions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ADMIN_RIGHTS = frozenset(
    [
        "can_manage_chat",
        "can_delete_messages",
        "can_manage_video_chats",
        "can_restrict_members",
        "can_promote_members",
        "can_change_info",
        "can_invite_users",
        "can_pin_messages",
        "can_manage_topics",
    ]
)
"""The rights of an administrator of a supergroup."""

ALL_RIGHTS = (
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
    "can_pin_messages",
    "can_manage_topics",
)
RIGHTS_OF_CHANNELS = (
    "can_post_messages",
    "can_edit_messages",
    "can_manage_direct_messages",
    "can_manage_tags",
)
PERMISSIONS = (
    "can_send_messages",
    "can_send_audios",
    "can_send_documents",
    "can_send_photos",
    "can_send_videos",
    "can_send_video_notes",
    "can_send_voice_notes",
    "can_send_polls",
    "can_send_other_messages",
    "can_add_web_page_previews",
    "can_react_to_messages",
    "can_edit_tag",
    "can_change_info",
    "can_invite_users",
    "can_pin_messages",
    "can_manage_topics",
)
MEDIA = PERMISSIONS[1:7]


@dataclass(slots=True, eq=False)
class Member:
    """What somebody is in a chat.

    Attributes:
        status: as in a ChatMember.
        rights: of an administrator.
        permissions: of somebody who is restricted, by name; what is not in it is forbidden.
        until: when a restriction or a ban ends, seconds since the epoch; 0 for never.
    """

    status: str = "member"
    rights: frozenset[str] = frozenset()
    permissions: dict[str, bool] = field(default_factory=dict)
    until: int = 0
    title: str = ""
    tag: str = ""
    anonymous: bool = False
    inside: bool = True

    @property
    def present(self) -> bool:
        """Whether this member is in the chat now."""
        return self.status not in {"left", "kicked"} and (self.status != "restricted" or self.inside)

    @property
    def leads(self) -> bool:
        """Whether this member is an administrator or the owner."""
        return self.status in {"administrator", "creator"}

    def may(self, right: str) -> bool:
        """Whether this member has an administrator's right (`can_manage_topics`, …)."""
        return self.status == "creator" or right in self.rights

    def describe(self, user: dict[str, Any]) -> dict[str, Any]:
        """The ChatMember object of this member, who is that User."""
        body: dict[str, Any] = {"user": user, "status": self.status}
        if self.leads:
            body["is_anonymous"] = self.anonymous
            if self.title:
                body["custom_title"] = self.title
        if self.status == "administrator":
            body["can_be_edited"] = False
            body |= {right: right in self.rights for right in ALL_RIGHTS}
            body |= {right: True for right in RIGHTS_OF_CHANNELS if right in self.rights}
        elif self.status == "restricted":
            body |= {"is_member": self.inside, "until_date": self.until}
            body |= {name: self.permissions.get(name, False) for name in PERMISSIONS}
        elif self.status == "kicked":
            body["until_date"] = self.until
        elif self.status == "member" and self.tag:
            body["tag"] = self.tag
        return body


def read_permissions(given: dict[str, Any], *, independent: bool) -> dict[str, bool]:
    """All permissions of a ChatPermissions; those that imply others bring them along unless `independent`."""
    read = {name: bool(given.get(name)) for name in PERMISSIONS}
    if "can_manage_topics" not in given:
        read["can_manage_topics"] = read["can_pin_messages"]
    if not independent:
        if read["can_send_other_messages"] or read["can_add_web_page_previews"]:
            read |= dict.fromkeys((*MEDIA, "can_send_messages"), True)
        if read["can_send_polls"]:
            read["can_send_messages"] = True
    return read
