"""What `trioworkers new` writes: templates of plugins, bots and fleets, and the rules for their names."""

from __future__ import annotations

from trioworkers.scaffold.dotenv import DotenvError, parse_dotenv
from trioworkers.scaffold.moving import Move, VariablesRefusedError, plan_move
from trioworkers.scaffold.names import NameRefusedError, check_name
from trioworkers.scaffold.writing import (
    FilesExistError,
    bot_files,
    bot_table,
    fleet_files,
    plugin_files,
    write_files,
)

__all__ = [
    "DotenvError",
    "FilesExistError",
    "Move",
    "NameRefusedError",
    "VariablesRefusedError",
    "bot_files",
    "bot_table",
    "check_name",
    "fleet_files",
    "parse_dotenv",
    "plan_move",
    "plugin_files",
    "write_files",
]
