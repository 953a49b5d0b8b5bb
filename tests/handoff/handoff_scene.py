"""A small daemon for the handoff plugin, with lanes, a store and bots that echo, and a simulated Telegram."""

from __future__ import annotations

import math
from collections import deque
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import trio
import trio.testing
from trioworkers_plugins import handoff
from trioworkers_plugins.handoff import Settings, trioworkers_event
from trioworkers_plugins.handoff.route import running
from trioworkers_plugins.handoff.service import serve_handoff

from trioworkers import BotApiError, Drop, Event, Reroute, TransportError, Update
from trioworkers.nursery.residents import Resident, Residents
from trioworkers.plugin_types import BotFacts
from trioworkers.plugins.no_nodes import NoNodes
from trioworkers.testing import Refused, Telegram, Upload
from trioworkers.testing.params import Params

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers_plugins.handoff.actions import Actions

    from trioworkers.testing import SimBot

START = 1_700_000_000.0


class MemoryStore:
    """A plugin's storage; `broken` makes it fail, `slow` late. Values go through JSON as in the real one."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, float]] = {}
        self.broken: Exception | None = None
        self.slow = 0.0

    async def _ready(self) -> None:
        await trio.sleep(self.slow)
        if self.broken is not None:
            raise self.broken

    def put(self, key: str, value: Any, ttl: float | None = None) -> None:
        assert 0 < len(key) <= 256
        assert value is not None
        until = math.inf if ttl is None else trio.current_time() + ttl
        self.values[key] = msgspec.json.encode(value), until

    def look(self, key: str) -> Any:
        value, until = self.values.get(key, (b"null", 0.0))
        return msgspec.json.decode(value) if until > trio.current_time() else None

    async def get(self, key: str) -> Any:
        await self._ready()
        return self.look(key)

    async def set(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        await self._ready()
        self.put(key, value, ttl)

    async def delete(self, key: str) -> bool:
        await self._ready()
        return self.values.pop(key, None) is not None

    async def items(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[tuple[str, Any]]:
        await self._ready()
        keys = sorted(key for key in self.values if key.startswith(prefix) and key > after)
        return [(key, self.look(key)) for key in keys if self.look(key) is not None][:limit]


class HandlingStore(MemoryStore):
    """The storage within a handling: what is set is kept back until the handling is done."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store
        self.gathered: list[tuple[str, Any, float | None]] = []

    def look(self, key: str) -> Any:
        return self.store.look(key)

    async def set(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self.gathered.append((key, value, ttl))

    def commit(self) -> None:
        for key, value, ttl in self.gathered:
            self.store.put(key, value, ttl)


class Handle:
    """The argument `plugin`."""

    name = "handoff"

    def __init__(self, store: Any, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.memory: dict[str, Any] = {}
        self.events: list[Event] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.log: Any = SimpleNamespace(debug=self._log, info=self._log, warning=self._log, error=self._log)

    def emit(self, event: str, bot: str | None = None, *, trace_id: str | None = None, **fields: Any) -> None:
        given = {key: value for key, value in fields.items() if value is not None}
        self.events.append(Event(event, 0.0, 0, "info", bot, trace_id, given))

    async def wait_settings_changed(self) -> None:
        await trio.sleep_forever()

    def _log(self, says: str, /, **fields: Any) -> None:
        self.logged.append((says, fields))


class CallingBot:
    """A bot whose calls go to the simulated Telegram without HTTP; 429 is waited out, as by the real one."""

    def __init__(self, world: Telegram, bot: SimBot, store: Any) -> None:
        self.name, self.id = bot.username, bot.id
        self.settings: dict[str, Any] = {}
        self.earlier: tuple[str, ...] = ()
        self.store: Any = store
        self._world, self._bot = world, bot

    async def call(self, method: str, /, *, once: str | None = None, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        files = {name: given.pop(name) for name in list(given) if hasattr(given[name], "read")}
        while True:
            await trio.sleep(0.001)
            try:
                return self._make(method, given, files)
            except Refused as refused:
                if refused.error_code != 429:
                    raise BotApiError(
                        method, refused.error_code, refused.description, refused.parameters
                    ) from None
                await trio.sleep(refused.parameters["retry_after"])

    def _make(self, method: str, given: dict[str, Any], files: dict[str, Any]) -> Any:
        uploads = {
            name: Upload(file.filename, file.content_type, file.read()) for name, file in files.items()
        }
        fault = self._world.faults.match(method, self._bot, given.get("chat_id"))
        if fault is not None and fault.body is not None:
            answer = msgspec.json.decode(fault.body)
            raise Refused(answer["error_code"], answer["description"], answer.get("parameters"))
        result = self._world.run(self._bot, method, Params(given, uploads))
        return msgspec.json.decode(msgspec.json.encode(getattr(result, "result", result)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    async def download(self, file_path: str) -> bytes:
        stored = self._world.files.by_path(self._bot, file_path)
        assert stored is not None
        return stored.content

    async def download_to(self, file_path: str, sink: Any, *, most: int, total: float) -> None:
        content = await self.download(file_path)
        if self._world.faults.match("download", self._bot, None) is not None:
            raise TransportError("download", "HTTP 502")
        assert len(content) <= most
        for start in range(0, len(content), 50):  # the test client holds but a few parts
            await sink(content[start : start + 50])


class Scene:
    """The daemon: bots echo what they are handed; what the plugin takes, the plugin handles.

    Attributes:
        given: the texts and kinds that bots were given, in order, by bot name.
        fences: the fences that were asked for.
        fence_time: seconds that a fence takes.
        bot_answers: whether bots echo.
        earlier: the calls that the bot made for what the plugin takes now.
    """

    def __init__(self, nursery: trio.Nursery, world: Telegram, settings: dict[str, Any]) -> None:
        self.nursery = nursery
        self.world = world
        self.store = MemoryStore()
        self.plugin = Handle(self.store, Settings(**settings))
        self.sims: dict[str, SimBot] = {}
        self.given: dict[str, list[Any]] = {}
        self.fences: list[tuple[str, int, int]] = []
        self.fence_time = 0.0
        self.bot_answers = True
        self.earlier: tuple[str, ...] = ()
        self.events_queue: list[Any] = []
        self.actions_done: list[tuple[str, dict[str, Any]]] = []
        self.answering: dict[str, Any] = {}
        self.failures: list[Exception] = []
        self.residents = Residents()
        self._here: dict[str, Resident] = {}
        self.others: Any = NoNodes()
        self._lanes: dict[tuple[str, str], deque[Update]] = {}
        self._own_ids = -1
        self._serving: trio.CancelScope | None = None

    # -- the daemon as the plugin sees it

    @property
    def fleet(self) -> Any:
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        raise NotImplementedError

    def plugins(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return "fleet"

    def bot_names(self) -> list[str]:
        return list(self.sims)

    def fleet_bots(self) -> dict[str, int]:
        return {name: bot.id for name, bot in self.sims.items()}

    async def serve_bots(self, serve: Any) -> None:
        await self.residents.serve_each(serve)

    @property
    def nodes(self) -> Any:
        return self.others

    def bot(self, name: str) -> CallingBot:
        return CallingBot(self.world, self.sims[name], self.store)

    def reroute(self, bot: str) -> None:
        assert bot in self.sims

    async def fence(self, bot: str, chat_id: int, epoch: int) -> None:
        self.fences.append((bot, chat_id, epoch))
        await trio.sleep(self.fence_time)

    async def offer(self, bot: str, kind: str, chat_id: int, content: Any) -> None:
        made = {"update_id": self._own_ids, kind: {"chat": {"id": chat_id}, **content}}
        self._own_ids -= 1
        await trio.lowlevel.checkpoint()
        self.accept(bot, msgspec.json.encode(made))

    @contextmanager
    def answers(self, name: str, function: Any) -> Iterator[None]:
        self.answering[name] = function
        yield
        del self.answering[name]

    async def dies(self, bot: str, chat_id: int) -> None:
        """An update of this chat becomes a dead letter."""
        event = Event("update.dead", 0.0, 0, "error", bot, None, {"dialog": f"{bot}/{chat_id}"})
        await trioworkers_event(event, self.plugin)

    def action(self, action: str, *, bot: str | None = None, by: str, **fields: Any) -> None:
        self.actions_done.append((action, {"bot": bot, "by": by, **fields}))

    # -- running

    async def serve(self) -> None:
        """Start the plugin's service."""
        self._serving = await self.nursery.start(self._serve)
        await trio.testing.wait_all_tasks_blocked()  # the dialogs are read

    async def _serve(self, task_status: Any) -> None:
        daemon: Any = self
        serve = partial(serve_handoff, self.plugin, daemon, running(self.plugin), clock=self.world.clock)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                await inner.start(serve)
                task_status.started(scope)

    async def kill(self) -> None:
        """End the service at once, as a crash of the daemon does; what is durable stays."""
        assert self._serving is not None
        self._serving.cancel()
        await self.settle()

    def home(self, bot: str) -> Any:
        """A bot's dialogs."""
        return running(self.plugin).home(self.sims[bot].id)

    @property
    def core(self) -> Any:
        """The dialogs of the first bot."""
        return self.home(next(iter(self.sims))).core

    @property
    def actions(self) -> Actions:
        actions = running(self.plugin).actions
        assert actions is not None
        return actions

    def add_bot(self, name: str) -> SimBot:
        """A bot of the fleet, which polls."""
        bot = self.sims[name] = self.world.add_bot(name)
        self.given[name] = []
        self._here[name] = self.residents.begin(name, bot.id)
        self.nursery.start_soon(self._poll, name, bot)
        return bot

    async def leave(self, name: str, *, at_once: bool = False) -> None:
        """A bot ends here, as one does that goes to another node: drained, or `at_once`."""
        resident = self._here.pop(name)
        if not at_once:
            await self.residents.end(resident)
        await self.residents.cut(resident)

    async def enter(self, name: str) -> None:
        """It comes again."""
        self._here[name] = self.residents.begin(name, self.sims[name].id)
        await trio.testing.wait_all_tasks_blocked()

    async def _poll(self, name: str, bot: SimBot) -> None:
        offset = 0
        while True:
            for update in bot.queue.fetch(offset, 100):
                offset = update.update_id + 1
                self.accept(name, update.body)
            bot.queue.fetch(offset, 1)
            await bot.queue.changed.wait()

    def accept(self, bot: str, body: bytes) -> None:
        """An update has become durable."""
        update = Update(body, bot_id=self.sims[bot].id)
        lane = self._lanes.setdefault((bot, update.key), deque())
        lane.append(update)
        if len(lane) == 1:
            self.nursery.start_soon(self._serve_lane, bot, lane)

    async def _serve_lane(self, bot: str, lane: deque[Update]) -> None:
        while lane:
            try:
                await self._handle(bot, lane[0])
            except Reroute:
                await trio.lowlevel.checkpoint()
                continue
            except Drop:
                pass
            except Exception as error:
                self.failures.append(error)
                await trio.sleep(1)
                continue
            lane.popleft()

    async def _handle(self, name: str, update: Update) -> None:
        sim = self.sims[name]
        facts = BotFacts(name, sim.id, {})
        take = handoff.trioworkers_route(bot=facts, update=update, plugin=self.plugin)
        if take is None:
            self.given[name].append(update.text if update.text is not None else update.kind)
            if self.bot_answers and update.text is not None:
                await self.bot(name).call("sendMessage", chat_id=update.chat_id, text=f"bot: {update.text}")
            return
        bot = self.bot(name)
        bot.store = store = HandlingStore(self.store)
        bot.earlier = self.earlier
        await take.run(update, bot)
        store.commit()

    async def settle(self) -> None:
        """Wait until nothing happens without time, and then a moment for what waits a little."""
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.1)
        await trio.testing.wait_all_tasks_blocked()

    # -- looking

    def texts(self, bot: str, chat_id: int) -> list[str]:
        """What a bot said in a chat: its texts, else the kinds."""
        return [shown(message) for message in self.world.sent(self.sims[bot], chat_id)]

    def lines(self, bot: str, chat_id: int) -> list[tuple[str, str, str | None]]:
        """The transcript of a dialog: who, what kind, what."""
        prefix = f"said/{self.sims[bot].id}/{chat_id}/"
        found = [self.store.look(key) for key in sorted(self.store.values) if key.startswith(prefix)]
        return [(line["who"], line["kind"], line.get("text")) for line in found]


def shown(message: dict[str, Any]) -> str:
    """A message as a test reads it."""
    kinds = ("photo", "document", "video", "voice", "sticker", "location", "contact")
    kind = next((f"<{kind}>" for kind in kinds if kind in message), "")
    text = str(message.get("text", message.get("caption", "")))
    return f"{kind}{text}" or "service"
