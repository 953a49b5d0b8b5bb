"""`[plugins.handoff]`: which bots hand dialogs to people, where these people sit, and what users are told."""

import re
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StrictInt
from trioworkers_plugins.handoff.state import Limits

from trioworkers.plugin_settings import PluginSettings, Seconds, Text, expected, live

NOTICE = "; empty: nothing is said"


def _group(chat_id: int) -> int:
    if chat_id >= 0:
        raise expected("the id of a supergroup, which begins with -100")
    return chat_id


class Settings(PluginSettings):
    """`[plugins.handoff]`."""

    group: Annotated[StrictInt, AfterValidator(_group)] | None = live(
        None,
        "the operators' group with topics; without it operators work over the HTTP API alone",
    )
    desk: Text | None = live(
        None,
        "the bot that sits in the group for all; without it each bot sits there itself",
    )
    bots: tuple[Text, ...] = live((), "the bots whose dialogs are handed to operators; empty: all")
    operators: tuple[StrictInt, ...] = live(
        (), "the user ids of those who may act in the group; empty: all its members"
    )
    keywords: tuple[Text, ...] = live(
        ("/operator",), "a message that is one of these asks for an operator; case does not matter"
    )
    cancel_keywords: tuple[Text, ...] = live(
        ("/cancel",), "a message that is one of these gives the dialog back to the bot"
    )
    on_failure: StrictBool = live(False, "a message that becomes a dead letter asks for an operator")
    queue_timeout: Seconds = live("10m", "a dialog that nobody takes goes back to the bot after this", gt=0)
    idle_timeout: Seconds = live(
        "30m", "a dialog in which nobody speaks goes back to the bot after this", gt=0
    )
    anonymous: StrictBool = live(True, "`{operator}` in notices is not the operator's name")
    keep: Seconds = live("30d", "how long transcripts are kept", ge=3600)
    group_per_minute: Annotated[StrictInt, Field(ge=1)] = live(
        20, "messages a minute that a bot sends to the group; Telegram allows about 20", ge=1
    )
    flood: Annotated[StrictInt, Field(ge=1)] = live(
        30,
        "messages a minute of one user that are copied to the group; more are in the transcript alone",
        ge=1,
    )
    album_gather: Seconds = live("1s", "how long the parts of an album are waited for", gt=0, le=10)
    queued_text: Text = live(
        "An operator will answer here. Send /cancel to go back to the bot.",
        f"said when a dialog begins to wait{NOTICE}",
    )
    assigned_text: Text = live(
        "You are talking to {operator} now.", f"said when an operator has taken a dialog{NOTICE}"
    )
    released_text: Text = live(
        "The conversation with the operator is over.",
        f"said when a dialog goes back to the bot{NOTICE}",
    )
    timed_out_text: Text = live(
        "No operator is free. The bot will answer you again.",
        f"said when nobody has taken a dialog in time{NOTICE}",
    )
    operator_word: Text = live("an operator", "what `{operator}` stands for when anonymous")

    @property
    def limits(self) -> Limits:
        """The times that the machine of dialogs works with."""
        return Limits(queue=self.queue_timeout, idle=self.idle_timeout)

    def hands_off(self, bot: str) -> bool:
        """Whether dialogs of this bot may go to operators."""
        return not self.bots or bot in self.bots

    def desk_of(self, bot: str) -> str | None:
        """The bot that shows a bot's dialogs to operators; None: there is no group."""
        return None if self.group is None else self.desk or bot

    def hears_group(self, bot: str) -> bool:
        """Whether what this bot hears in the group is the plugin's, and no handler's."""
        return self.group is not None and (bot == self.desk or self.hands_off(bot))


def is_keyword(text: str | None, keywords: tuple[str, ...]) -> bool:
    """Whether a message is one of these words; `/word` also with a bot's name or words behind it."""
    if not text or not keywords:
        return False
    said = text.strip().casefold()
    command = said.split(maxsplit=1)[0].partition("@")[0] if said.startswith("/") else said
    return any(command == word.strip().casefold() for word in keywords)


def may_hold(body: bytes, keywords: tuple[str, ...]) -> bool:
    """Whether an update may hold one of these words, by a look at its bytes: reading its JSON takes longer.

    A word is looked for by its letters and digits of ASCII, which JSON leaves as they are; one without any
    may be in every update.
    """
    lower = body.lower()
    for needle in _needles(keywords):  # noqa: SIM110 - a generator takes twice as long
        if needle in lower:
            return True
    return False


@cache
def _needles(keywords: tuple[str, ...]) -> tuple[bytes, ...]:
    runs = [re.findall(r"[a-z0-9]+", word.casefold()) for word in keywords]
    return tuple(max(found, key=len).encode() if found else b"" for found in runs)
