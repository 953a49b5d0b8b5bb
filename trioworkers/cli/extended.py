"""The command's group with the verbs of plugins, which are looked for only when they are needed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.streams import open_closed_streams

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trioworkers.plugins import Plugins

HOOK = "trioworkers_cli"
LONGEST = 60  # characters of what is said about a verb in a list
VERBS = "trioworkers.verbs"  # of plugins, kept in the context: completion and --help ask for each by name


class ExtendedGroup(click.Group):
    """A group whose further verbs come from plugins, for a verb that is not built in and for `--help`."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command, as click does."""
        open_closed_streams()
        return super().main(*args, **options)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a verb, and give it and what is below it a short text for lists."""
        shorten(cmd)
        super().add_command(cmd, name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb; one that is built in wins."""
        found = super().get_command(ctx, cmd_name)
        return found or _verbs(ctx).get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        return sorted({*super().list_commands(ctx), *_verbs(ctx)})


def shorten(command: click.Command) -> None:
    """Set the text of a verb, and of those below it, in lists: click would cut it off within a clause."""
    if command.short_help is None and command.help:
        command.short_help = brief(command.help)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        shorten(inner)


def brief(text: str) -> str:
    """Return the first sentence without its full stop; of a long one its first clause."""
    sentence = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")
    if len(sentence) <= LONGEST:
        return sentence
    sentence = re.split(r"[;:] ", sentence)[0]
    return sentence if len(sentence) <= LONGEST else sentence[:LONGEST].rpartition(", ")[0] or sentence


def _config(context: click.Context) -> Path | None:
    """What `-c` says; while `--help` is carried out, it was not handled yet."""
    return context.obj if isinstance(context.obj, Path) else context.params.get("config")


def _verbs(context: click.Context) -> MutableMapping[str, click.Command]:
    """What the plugins of the fleet add, or, without a fleet file at hand, those that are installed.

    While a shell completes, only installed plugins count: a TAB must not run code that lies in a folder.
    """
    from trioworkers.plugins.errors import RAISED, kind_and_place

    found: MutableMapping[str, click.Command] | None = context.meta.get(VERBS)
    if found is not None:
        return found
    group = click.Group()
    for plugin in _plugins(context).implementing(HOOK):
        try:
            plugin.hooks[HOOK].function(**plugin.hooks[HOOK].bound(cli=group))
        except RAISED as error:
            click.echo(f"plugin {plugin.name}: {HOOK} raised {kind_and_place(error)}", err=True)
    for command in group.commands.values():
        shorten(command)
    context.meta[VERBS] = group.commands
    return group.commands


def _plugins(context: click.Context) -> Plugins:
    from trioworkers.config import FleetFileError, find_fleet_file, load_fleet
    from trioworkers.plugins import load_installed, load_plugins

    if context.resilient_parsing:
        return load_installed()
    try:
        return load_plugins(load_fleet(find_fleet_file(_config(context), os.environ), os.environ))
    except FleetFileError:
        return load_installed()
