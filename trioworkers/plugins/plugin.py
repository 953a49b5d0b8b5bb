"""One plugin: its hooks, settings and breaker, and an account of its calls."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from pydantic import BaseModel

from trioworkers.config import FleetFileError
from trioworkers.plugins.apart import call_apart
from trioworkers.plugins.breaker import Breaker
from trioworkers.plugins.errors import RAISED, PluginError, kind_and_place
from trioworkers.shortage import in_thread, shortage_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.config import Fleet
    from trioworkers.events import Events
    from trioworkers.plugin_store import InboxPluginStore

SLOW = 0.05  # seconds that a call on the loop may take until it is logged as slow


@dataclass(frozen=True, slots=True)
class Hook:
    """A plugin's implementation of one hook.

    Attributes:
        function: the function.
        takes: the arguments that it names.
        rank: 0 with `tryfirst`, 2 with `trylast`, else 1.
    """

    function: Callable[..., Any]
    takes: tuple[str, ...]
    rank: int

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def bound(self, **arguments: Any) -> dict[str, Any]:
        """Those of these arguments that the function takes."""
        return {name: arguments[name] for name in self.takes}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin was found.

    Attributes:
        place: a distribution, a module or a file.
        version: the distribution's.
        file: the file, if it was loaded from one by its path.
    """

    place: str
    version: str | None = None
    file: str | None = None


class Account:
    """What one plugin's calls came to. `seconds`: the time they took, waits of async ones included."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.seconds = 0.0
        self.slowest = 0.0
        self.missed = 0  # events that its queue had no room for

    def add(self, seconds: float) -> None:
        self.calls += 1
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds)


class Plugin:
    """A plugin of one run of the daemon, loaded or not. It is the argument `plugin` of its hooks.

    Args:
        name: what it is called in `disabled_plugins` and `[plugins.NAME]`.
        origin: where it was found.
        module: what was loaded; None when it could not be.
        hooks: what it implements.
        error: why it was not loaded.

    Attributes:
        settings: what `Settings` made of its table.
        memory: what the plugin itself keeps for this run of the daemon.
    """

    def __init__(
        self,
        name: str,
        origin: Origin,
        module: object = None,
        hooks: dict[str, Hook] | None = None,
        error: str | None = None,
    ) -> None:
        self.name = name
        self.origin = origin
        self.hooks = hooks or {}
        self.error = error
        self.model: type[BaseModel] | None = getattr(module, "Settings", None)
        self.needs_table: bool = getattr(module, "REQUIRES_TABLE", False)
        self.worker: str | None = getattr(module, "WORKER", None)
        self._in_workers: Callable[[Any], bool] = getattr(module, "in_workers", lambda settings: True)
        self._module_name: str | None = getattr(module, "__name__", None)
        self.settings: Any = {}
        self.memory: dict[str, Any] = {}
        self.breaker = Breaker()
        self.account = Account()
        self.log = _PluginLog(self)
        self._thread = trio.CapacityLimiter(1)
        self._table: object = None
        self._is_asked_for = not self.needs_table
        self._changed = trio.Event()
        self._activity_changed = trio.Event()
        self._events: Events | None = None
        self._store: InboxPluginStore | None = None

    @property
    def is_active(self) -> bool:
        """Whether its hooks are called: it is loaded, has the table that it needs, and is not off."""
        return self.error is None and self._is_asked_for and not self.breaker.is_open

    @property
    def state(self) -> str:
        """`active`, `inactive` (its table is absent), `off` (its breaker is open) or `not loaded`."""
        if self.error is not None:
            return "not loaded"
        if not self._is_asked_for:
            return "inactive"
        return "off" if self.breaker.is_open else "active"

    @property
    def worker_module(self) -> tuple[str | None, str | None]:
        """Where its worker-side hooks are: the name of a module, or the path of a file."""
        if self.worker is not None:
            return self.worker, None
        return (None, self.origin.file) if self.origin.file else (self._module_name, None)

    @property
    def is_in_workers(self) -> bool:
        """Whether its hooks of workers are wanted with the settings in force.

        A module may say so by a function `in_workers(settings)`: what does nothing costs no memory then.
        """
        return self._in_workers(self.settings)

    @property
    def worker_settings(self) -> dict[str, Any]:
        """Its settings as its worker side gets them: JSON, without secrets."""
        if isinstance(self.settings, BaseModel):
            return self.settings.model_dump(mode="json")
        return dict(self.settings)

    @property
    def store(self) -> InboxPluginStore:
        """Its storage.

        Raises:
            RuntimeError: the inbox is not open.
        """
        if self._store is None:
            message = "the plugin's storage cannot be used yet: the inbox is not open"
            raise RuntimeError(message)
        return self._store

    def emit(self, event: str, bot: str | None = None, *, trace_id: str | None = None, **fields: Any) -> None:
        """As :meth:`~trioworkers.plugin_types.PluginHandle.emit`."""
        if self._events is not None:
            self._events.emit(event, bot, trace_id=trace_id, **fields)

    async def wait_settings_changed(self) -> None:
        """As :meth:`~trioworkers.plugin_types.PluginHandle.wait_settings_changed`."""
        await self._changed.wait()

    async def wait_activity_changed(self) -> None:
        """Return when it may have become active, or not active any more."""
        await self._activity_changed.wait()

    def connect(self, events: Events, store: InboxPluginStore | None) -> None:
        """Give it what it works with in a daemon (the composition root's call)."""
        self._events, self._store = events, store

    def validated(self, fleet: Fleet) -> Any:
        """What its `Settings` makes of its table.

        Raises:
            FleetFileError: the table is wrong, or `Settings` raised something else than that.
        """
        table = fleet.plugins.get(self.name)
        if self.model is None or (table is None and self.needs_table):
            return table or {}
        try:
            return fleet.plugin_settings(self.name, self.model)
        except FleetFileError:
            raise
        except RAISED as error:  # a validator of the plugin's own
            problem = f"its Settings raised {kind_and_place(error)}"
            raise FleetFileError([fleet.problem_at(("plugins", self.name), problem)], fleet.watched) from None

    def retune(self, fleet: Fleet, settings: Any) -> bool:
        """Work with the settings of this fleet, as `validated` made them; return whether anything changed.

        The breaker closes when the table differs.
        """
        table = fleet.plugins.get(self.name)
        self._is_asked_for = not self.needs_table or table is not None
        if table == self._table and settings == self.settings:
            return False
        self.settings, self._table = settings, table
        self.breaker.reset()
        if self._is_asked_for:
            self._changed.set()
            self._changed = trio.Event()
        self._note_activity()
        return True

    def arguments(self, hook: Hook, **arguments: Any) -> dict[str, Any]:
        """What to call a hook with."""
        return hook.bound(plugin=self, **arguments)

    async def call(self, name: str, seconds: float, **arguments: Any) -> Any:
        """Call a hook and return what it returns; a plain function runs in a thread.

        Cancelling ends an async function; a plain one is left behind, and so it is when it is late. Until a
        plain one that was left behind has returned, the next call waits, and is late in its turn: a plugin
        has one thread, however often it hangs.

        Raises:
            PluginError: it raised, or took longer than `seconds`; the failure is counted and reported.
        """
        hook = self.hooks[name]
        given = self.arguments(hook, **arguments)
        began = trio.current_time()
        try:
            if hook.is_async:
                return await call_apart(hook.function, given, seconds)
            with trio.fail_after(seconds):
                return await in_thread(
                    lambda: hook.function(**given),
                    abandon_on_cancel=True,
                    limiter=self._thread,
                )
        except trio.TooSlowError:
            message = f"{self.name}: {name} took longer than {seconds:g} s"
        except RAISED as error:
            shortage = shortage_of(error)
            message = f"{self.name}: {name} raised {kind_and_place(error)}"
            message += "" if shortage is None else f": {shortage}"
        finally:
            self.account.add(trio.current_time() - began)
        raise PluginError(message)

    def held_loop(self, name: str, took: float, hold: float) -> None:
        """It held the loop for so long: report what is slow, and switch it off for a hold. Seconds."""
        if took >= hold:
            self.switch_off(f"{name} held the loop for {took:.1f} s")
        elif took >= SLOW:
            self.emit("plugin.slow", plugin=self.name, hook=name, took=round(took, 3))

    def raised(self, hook: str, error: BaseException) -> None:
        """Count and report what a hook raised; it may switch the plugin off.

        That the system has no room, for a thread or a file, is not the plugin's fault: it is reported, and
        counts for nothing.
        """
        what = f"{hook} raised {kind_and_place(error)}"
        shortage = shortage_of(error)
        if shortage is None:
            self.failed(what)
        else:
            self.has_no_room(f"{what}: {shortage}")

    def has_no_room(self, reason: str) -> None:
        """Report what the system has no room for; it says nothing of the plugin."""
        self.account.failures += 1
        self.emit("plugin.failed", plugin=self.name, reason=reason)

    def failed(self, reason: str) -> None:
        """Count and report a failure, which may switch the plugin off. `reason`: without texts."""
        self.account.failures += 1
        self.emit("plugin.failed", plugin=self.name, reason=reason)
        if self.breaker.fail(time.monotonic()):
            self.emit("plugin.disabled", plugin=self.name, reason=self.breaker.reason)
            self._note_activity()

    def switch_off(self, reason: str) -> None:
        """Call none of its hooks any more, from now on."""
        self.account.failures += 1
        if self.breaker.open(reason):
            self.emit("plugin.disabled", plugin=self.name, reason=reason)
            self._note_activity()

    def switch_on(self) -> bool:
        """Call its hooks again, with its failures forgotten; return whether it was switched off."""
        if not self.breaker.is_open:
            return False
        self.breaker.reset()
        self._note_activity()
        return True

    def row(self) -> dict[str, Any]:
        """What `trioworkers plugins` shows of it."""
        account = self.account
        return {
            "name": self.name,
            "version": self.origin.version,
            "origin": self.origin.place,
            "state": self.state,
            "hooks": sorted(self.hooks),
            "calls": account.calls,
            "failures": account.failures,
            "seconds": round(account.seconds, 6),
            "slowest_ms": round(1000 * account.slowest, 3),
            "missed_events": account.missed,
            "reason": self.error or self.breaker.reason,
        }

    def _note_activity(self) -> None:
        self._activity_changed.set()
        self._activity_changed = trio.Event()


class _PluginLog:
    """As :class:`~trioworkers.plugin_types.PluginLog`."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def debug(self, says: str, /, **fields: Any) -> None:
        self._write("debug", says, fields)

    def info(self, says: str, /, **fields: Any) -> None:
        self._write("info", says, fields)

    def warning(self, says: str, /, **fields: Any) -> None:
        self._write("warn", says, fields)

    def error(self, says: str, /, **fields: Any) -> None:
        self._write("error", says, fields)

    def _write(self, level: str, says: str, fields: dict[str, Any]) -> None:
        bot = fields.pop("bot", None)
        given = {name: value for name, value in fields.items() if name not in ("plugin", "says")}
        self._plugin.emit("plugin.log", bot, **given | {"level": level}, plugin=self._plugin.name, says=says)
