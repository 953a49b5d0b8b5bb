"""A person's account, as the bots see it."""

from __future__ import annotations

from typing import Any


class Account:
    """Somebody who may talk to bots.

    Attributes:
        brief: the User object inside updates.
    """

    def __init__(self, user_id: int, first_name: str, username: str, language_code: str) -> None:
        self.id = user_id
        self.first_name = first_name
        self.username = username
        self.brief: dict[str, Any] = {"id": user_id, "is_bot": False, "first_name": first_name}
        if username:
            self.brief["username"] = username
        self.brief["language_code"] = language_code
