"""`trioworkers new`: a folder to begin a plugin, a bot or a fleet with; its own tests pass at once."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import USAGE
from trioworkers.cli.failures import fail

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """Begin a plugin, a bot or a fleet: write files whose tests pass at once.

\b
No file is overwritten. The next steps are printed.

\b
  trioworkers new fleet my-fleet
  trioworkers new bot support
  trioworkers new plugin quiet_hours
"""
PLUGIN = """Write a plugin into the folder NAME: a package with settings, hooks, tests and a README.

\b
NAME consists of lower-case letters, digits and underscores. It becomes the name of the module, and of the
plugin's table in the fleet file, [plugins.NAME].

\b
  trioworkers new plugin quiet_hours
  trioworkers new plugin quiet_hours --into ~/src
"""
BOT = """Write a bot into the folder NAME, beside the fleet file: its handler and a test.

\b
NAME consists of lower-case letters, digits and underscores. The table for the fleet file is printed, and no
fleet file is changed.

\b
  trioworkers new bot support
  trioworkers new bot support --into my-fleet
  trioworkers new bot support --into my-fleet >>my-fleet/fleet.toml
"""
FLEET = """Write a fleet into DIR, or into this folder: a fleet file, a bot with its test, and a README.

\b
It runs without Telegram (python play.py), and with it once its bot has a token.

\b
With --from-env the fleet is that of the Node.js system that trioworkers replaces: its BOT_MODE, WEBHOOK_…
and tokens are read from the environment, or from the .env file FILE. Tokens from a file are written to
secrets/, with mode 0600; no token is printed.

\b
  trioworkers new fleet my-fleet
  trioworkers new fleet
  trioworkers new fleet my-fleet --from-env ../old/.env
"""
FIRST_BOT = "greeter"

into = click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    metavar="DIR",
    help="The folder to write the new folder into; this one unless set.",
)


@click.group(help=HELP)
def new() -> None:
    pass


@new.command(help=PLUGIN)
@click.argument("name")
@into
def plugin(name: str, into: Path) -> None:
    from trioworkers.scaffold import check_name, plugin_files

    _attempt(check_name, name)
    _write(into, plugin_files(name))
    folder = shlex.quote(str(into / name))
    _say(
        f"wrote {folder}; its settings and hooks are in {name}.py",
        "next, in the environment that has trioworkers:",
        f"  cd {folder}",
        "  pip install -e '.[test]'",
        "  pytest",
        f"then add its table to a fleet file: [plugins.{name}]",
    )


@new.command(help=BOT)
@click.argument("name")
@into
def bot(name: str, into: Path) -> None:
    from trioworkers.scaffold import bot_files, bot_table, check_name

    _attempt(check_name, name)
    _write(into, bot_files(name))
    folder = shlex.quote(str(into / name))
    _say(
        f"wrote {folder}; its handler is in __init__.py",
        "next:",
        "  pip install pytest",
        f"  pytest {folder}",
        f"  append this table to {shlex.quote(str(into / 'fleet.toml'))}, and set the variable that it names",
    )
    click.echo(f"\n{bot_table(name)}", nl=False)


@new.command(help=FLEET)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--from-env",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    type=click.Path(),
    help="Take the fleet from the environment, or from a .env file.",
)
def fleet(folder: Path, from_env: str | None) -> None:
    from trioworkers.scaffold import fleet_files

    if from_env is not None:
        _move(folder, Path(from_env) if from_env else None)
        return
    _write(folder, fleet_files(FIRST_BOT))
    steps = ["python play.py   # talk to the bot, without Telegram", "pip install pytest", "pytest"]
    if folder != Path("."):
        steps.insert(0, f"cd {shlex.quote(str(folder))}")
    _say(
        f"wrote a fleet with one bot, {FIRST_BOT}, into {shlex.quote(str(folder))}",
        "next:",
        *(f"  {step}" for step in steps),
        "README.md says how to run it with Telegram",
    )


def _move(folder: Path, file: Path | None) -> None:
    """Write the fleet that the old system's variables describe; say which bots it has, and no token."""
    from trioworkers.scaffold import DotenvError, VariablesRefusedError, parse_dotenv, plan_move, write_files

    try:
        variables = os.environ if file is None else parse_dotenv(file.read_text(encoding="utf-8"), str(file))
        origin = Path.cwd() if file is None else file.absolute().parent
        move = plan_move(variables, origin, read_later=file is None)
    except (DotenvError, VariablesRefusedError) as error:
        fail(str(error))
    except UnicodeDecodeError:
        fail(f"{file}: expected text in UTF-8")
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or type(error).__name__).lower()}")
    _attempt(write_files, folder, move.files, move.private)
    _say(
        f"wrote {shlex.quote(str(folder / 'fleet.toml'))}",
        *(f"  bot {name}, its token from {variable}" for name, variable in move.bots.items()),
        *move.notes,
        "each bot has a handler that greets; put yours into the bot's __init__.py",
        "next:",
        *([f"  cd {shlex.quote(str(folder))}"] if folder != Path(".") else []),
        "  python play.py   # talk to a bot, without Telegram",
        "  trioworkers check --handlers",
        "stop the old system before `trioworkers run`: Telegram gives each update to one of them only",
    )


def _write(folder: Path, texts: dict[str, str]) -> None:
    from trioworkers.scaffold import write_files

    _attempt(write_files, folder, texts)


def _attempt(work: Callable[..., None], *args: Any) -> None:
    """Do it; turn what can be expected to go wrong into one line and an exit code."""
    from trioworkers.scaffold import FilesExistError, NameRefusedError

    try:
        work(*args)
    except NameRefusedError as error:
        fail(str(error), USAGE)
    except FilesExistError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or type(error).__name__).lower()}")


def _say(*lines: str) -> None:
    """Print to standard error, so that standard output holds only what may be appended to a fleet file."""
    for line in lines:
        click.echo(line, err=True)
