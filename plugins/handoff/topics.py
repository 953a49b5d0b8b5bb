"""A topic of the operators' group for each user: made once, and made anew when somebody deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.pieces import Place, Topic, from_json, to_json
from trioworkers_plugins.handoff.words import card, topic_name

from trioworkers import BotApiError

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.pace import GroupPace

    from trioworkers.plugin_types import DaemonBot, PluginStore

GONE = ("message thread not found", "topic_deleted", "topic_id_invalid", "topic_not_found")


class DeskError(Exception):
    """The operators' group cannot be used as it is; the message says in words what has to be changed."""


def is_topic_gone(error: BotApiError) -> bool:
    """Whether a call was refused because its topic does not exist any more."""
    return error.error_code == 400 and any(words in error.description.lower() for words in GONE)


def trouble(error: BotApiError) -> str | None:
    """What has to be changed in the group, in words; None: the group is not the reason."""
    says = error.description.lower()
    if error.error_code == 403:
        return "the bot is not a member of the operators' group: add it"
    if "not a forum" in says:
        return "the operators' group has no topics: switch them on in its settings"
    if "chat not found" in says:
        return "the operators' group does not exist: `group` must be its id, and the bot a member"
    if "not enough rights" in says or "have no rights" in says or "chat_admin_required" in says:
        return "the bot lacks a right in the operators' group: make it an administrator that manages topics"
    if "upgraded to a supergroup" in says:
        return "the operators' group has become a supergroup: `group` must be its new id"
    return None


class Topics:
    """The topics of the users of one bot.

    Args:
        store: the storage of the bot's dialogs.
    """

    def __init__(self, store: PluginStore) -> None:
        self._store = store
        self._topics: dict[Place, Topic] = {}
        self._locks: dict[Place, trio.Lock] = {}

    async def find(self, place: Place) -> Topic | None:
        """The topic of a user, if there is one."""
        if place not in self._topics:
            stored = await self._store.get(place.key("topic"))
            if stored is None:
                return None
            self._topics[place] = from_json(Topic, stored)
        return self._topics[place]

    async def ensure(
        self, place: Place, group: int, bot: DaemonBot, desk: DaemonBot, pace: GroupPace
    ) -> Topic:
        """Return the topic of a user in this group; make it if there is none. For one user it is made once.

        Args:
            place: the dialog.
            group: the operators' group.
            bot: the user's bot.
            desk: the bot that sits in the group.
            pace: how fast it may speak there.

        Raises:
            DeskError: the group does not allow it.
            BotApiError, TransportError: it failed for another reason.
        """
        async with self._locks.setdefault(place, trio.Lock()):
            topic = await self.find(place)
            if topic is not None and (topic.group, topic.desk) == (group, desk.name):
                return topic
            user = await self._user(place, bot)
            try:
                await pace.wait()
                made = await desk.call("createForumTopic", chat_id=group, name=topic_name(bot.name, user))
            except BotApiError as error:
                words = trouble(error)
                if words is None:
                    raise
                raise DeskError(words) from None
            topic = Topic(group, made["message_thread_id"], desk.name)
            # the way back first: a topic that is known must lead to its dialog
            await self._store.set(f"thread/{group}/{topic.thread}", list(place))
            await self._store.set(place.key("topic"), to_json(topic))
            self._topics[place] = topic
            await pace.wait()
            thread: dict[str, Any] = {"chat_id": group, "message_thread_id": topic.thread}
            try:
                await desk.call("sendMessage", **thread, text=card(bot.name, user))
            except BotApiError as error:
                if error.heals:
                    raise
            return topic

    async def forget(self, place: Place, topic: Topic) -> None:
        """Forget a topic that is gone, unless another one was made meanwhile."""
        async with self._locks.setdefault(place, trio.Lock()):
            if self._topics.get(place) == topic:
                await self._store.delete(place.key("topic"))
                await self._store.delete(f"thread/{topic.group}/{topic.thread}")
                del self._topics[place]

    async def _user(self, place: Place, bot: DaemonBot) -> dict[str, object]:
        try:
            found: dict[str, object] = await bot.call("getChat", chat_id=place.chat_id)
        except BotApiError:
            return {"id": place.chat_id}
        return found


async def place_of(store: PluginStore, group: int, thread: int) -> tuple[Place, Topic] | None:
    """The dialog of a topic, of any bot of the fleet."""
    stored = await store.get(f"thread/{group}/{thread}")
    if stored is None:
        return None
    place = Place(*stored)
    found = await store.get(place.key("topic"))
    topic = None if found is None else from_json(Topic, found)
    return None if topic is None or (topic.group, topic.thread) != (group, thread) else (place, topic)
