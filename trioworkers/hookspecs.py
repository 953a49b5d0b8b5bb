"""The hooks that a plugin may implement, and what they are given and answer.

A plugin is a module with functions named like these hooks and marked `@hookimpl`. A function takes the
arguments that it names: all of them, some or none. Each hook but those of the command line may also take
`plugin`, the plugin's own handle. Of one hook, the implementations of all plugins are called one by one:
those with `tryfirst` first, those with `trylast` last, the others in the order in which they were loaded.

The text below each hook is its reference; docs/plugins.md is made from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click
    import trio
    from quart_trio import QuartTrio

    from trioworkers.config import Fleet
    from trioworkers.errors import Drop
    from trioworkers.events import Event
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update
    from trioworkers.plugin_types import BotFacts, Bots, PluginDaemon, PluginHandle, Take, Write
    from trioworkers.records import Once

PROJECT = "trioworkers"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
"""Marks a function of a plugin as a hook: `from trioworkers import hookimpl`."""


class Hooks:
    """The hooks of the daemon and of the command line, as pluggy wants them declared."""

    @hookspec
    def trioworkers_bots(self, fleet: Fleet, plugin: PluginHandle) -> Mapping[str, Any] | Bots:
        """Give further bots, as tables by their names: from an API or a database that knows them.

        When: at the start, at each reload, and as often as the answer asks for.
        Where: in the daemon; an async function on its loop, a plain one in a thread of its own.
        Effect: the bots are validated and run like those of the fleet file. A bot that is wrong is left out
        alone; where a file has one of its name, the file wins.
        Errors: when it raises or takes longer than 30 s, its last answer stays in force.

        Args:
            fleet: the fleet as its files describe it, without bots and secrets; `fleet.plugins` has the
                plugin's own table, `fleet.secret(…)` reads the secrets that it names, `fleet.state_dir` is
                where to keep things.
            plugin: the plugin's handle, without storage: the inbox is not open yet.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_accept(
        self, bot: BotFacts, update: Update, plugin: PluginHandle
    ) -> Drop | Once | Write | tuple[Once | Write, ...] | None:
        """Judge an update before it becomes durable: drop it, let it in once, or store a value with it.

        When: for each update that did not come before, by polling and by webhook. Of updates that come
            together, one plugin judges all, then the next one those that are not dropped.
        Where: in the daemon, on its loop: it must be quick. An async function holds up its bot's intake
            alone.
        Effect: `Drop(reason)` drops the update. `Once(key, window)` drops it if that key was committed
        within the window; the key is committed in the transaction of its update. `Write` stores a value in
        the same transaction. The first `Drop` decides.
        Errors: a function that raises, or takes longer than 1 s, lets the update in, and it is a failure. One
        that holds the loop as long, without waiting, is named in the log by a watchdog; its plugin is
        switched off when it returns or waits.

        Args:
            bot: the bot.
            update: the update. It holds what users wrote.
            plugin: the plugin's handle.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_route(self, bot: BotFacts, update: Update, plugin: PluginHandle) -> Take | None:
        """Decide whether a function of the plugin handles an update in the place of the bot's worker.

        When: before an update is handed out, and again after `daemon.reroute(bot)`. Of updates that come
            together, one plugin is asked about all, then the next one about those that are not taken.
        Where: in the daemon, on its loop: a plain function, which must be quick.
        Effect: the first `Take(run)` decides; `run(update, bot)` is awaited with the order, attempts, time
            limit,
        recorded calls and dead letters of a handler.
        Errors: a function that raises takes nothing, and it is a failure. One that holds the loop for 1 s is
        named in the log by a watchdog and switched off when it returns; so is `run`.

        Args:
            bot: the bot.
            update: the update. It holds what users wrote.
            plugin: the plugin's handle.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_event(self, event: Event, plugin: PluginHandle) -> None:
        """Hear what happens: updates accepted, done, retried, dead; workers started, exited; reloads.

        When: soon after an event, in order: all events of the level debug and above but those of the steps of
        each update: `update.stored`, `update.delivered`, `update.call`. `@hears` says which events instead,
        these three included.
        Where: in the daemon, beside its loop: a plain function in the plugin's own thread, an async one in a
            task of its own. A slow one delays nobody; what its queue has no room for is lost and counted.
        Effect: none.
        Errors: one that raises, or takes longer than 5 s for an event, has failed; the next event follows. A
        plain function that does not return is left behind and switched off. An async one that holds the loop
        for 1 s is named in the log by a watchdog and switched off.

        Args:
            event: `event`, `at`, `seq`, `level`, `bot`, `trace_id` and `fields`; no texts, no tokens.
            plugin: the plugin's handle.
        """
        raise NotImplementedError

    @hookspec
    async def trioworkers_serve(
        self, daemon: PluginDaemon, plugin: PluginHandle, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run in the background for as long as the daemon runs: a service.

        When: from when the daemon's bots begin, or the plugin's table appears, until either ends.
        Where: in the daemon, on its loop, in a nursery of its own; an async function.
        Effect: none; one that returns is done.
        Errors: one that raises is started again after 1 s, then after doubled pauses up to a minute; after 5
        failures within 10 minutes the plugin is switched off. So is one that holds the loop for 1 s without
        waiting. The end of the daemon cancels it.

        Args:
            daemon: the daemon.
            plugin: the plugin's handle.
            task_status: `task_status.started()` may be called once the service can be used.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_web(self, app: QuartTrio, daemon: PluginDaemon, plugin: PluginHandle) -> None:
        """Add routes to the daemon's HTTP API, as Quart blueprints.

        When: once, when the daemon starts; also for a plugin whose table is absent, which may appear.
        Where: in the daemon; a plain function. The routes serve the `[api]` address and the control socket.
        Effect: the routes ask for the API token like all others; `/metrics` alone may be open.
        Errors: the plugin's routes are left out, and it is a failure. A route that holds the loop for a
            second switches the plugin off.

        Args:
            app: the application.
            daemon: the daemon.
            plugin: the plugin's handle.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_status(self, bot: BotFacts, plugin: PluginHandle) -> Mapping[str, Any] | None:
        """Add fields to a bot's row of the status document, below `plugins.NAME`.

        When: each time somebody asks for the status.
        Where: in the daemon, on its loop: a plain function, which must be quick.
        Effect: what it returns must be JSON; None adds nothing.
        Errors: the row is without them, and it is a failure.

        Args:
            bot: the bot.
            plugin: the plugin's handle.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_cli(self, cli: click.Group) -> None:
        """Add verbs to the command `trioworkers`.

        When: when a verb is used that is not built in, and for `trioworkers --help`.
        Where: in the process of the command.
        Effect: `cli.add_command(…)`; a built-in verb of the same name wins.
        Errors: the verbs are left out, and a line on standard error says so.

        Args:
            cli: the command's group.
        """
        raise NotImplementedError


class WorkerHooks:
    """The hooks of a bot's own process, as pluggy wants them declared.

    A plugin's module that names another in `WORKER = "package.module"` has its worker-side hooks there;
    otherwise its own module is imported in workers, too, if it has such hooks. If the module has a function
    `in_workers(settings)`, workers are told of the plugin only while it returns true.
    """

    @hookspec
    def trioworkers_worker_start(self, bot: Bot, plugin: Any) -> None:
        """Prepare the process of a bot.

        When: before the handler's `start`.
        Where: in the worker; plain or async.
        Effect: none.
        Errors: one that raises, or takes longer than 5 s, is logged in the bot's log; the worker starts.

        Args:
            bot: the bot.
            plugin: `plugin.name`, `plugin.settings` (the table as JSON) and `plugin.log`.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_worker_stop(self, bot: Bot, plugin: Any) -> None:
        """Clean up in the process of a bot.

        When: after the handler's `stop`; not when the worker crashes or is killed.
        Where: in the worker; plain or async.
        Effect: none.
        Errors: one that raises, or takes longer than 5 s, is logged in the bot's log.

        Args:
            bot: the bot.
            plugin: as for `trioworkers_worker_start`.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_before_handle(self, bot: Bot, update: Update, plugin: Any) -> None:
        """Do something before each handling.

        When: just before the handler is called, within the handling's time limit.
        Where: in the worker, in the handler's task; plain or async.
        Effect: none.
        Errors: one that raises, or takes longer than 5 s, is logged; the handler is called. After 5 failures
            in a
        row it is switched off until the worker starts again.

        Args:
            bot: the bot that the handler is given.
            update: the update. It holds what users wrote.
            plugin: as for `trioworkers_worker_start`.
        """
        raise NotImplementedError

    @hookspec
    def trioworkers_after_handle(self, bot: Bot, update: Update, outcome: str, plugin: Any) -> None:
        """Do something after each handling.

        When: when the outcome is known, before it is sent to the daemon; not when the handling was cancelled.
        Where: in the worker; plain or async.
        Effect: none.
        Errors: as for `trioworkers_before_handle`.

        Args:
            bot: the bot that the handler was given.
            update: the update. It holds what users wrote.
            outcome: `done`, `retry`, `dead` or `drop`.
            plugin: as for `trioworkers_worker_start`.
        """
        raise NotImplementedError
