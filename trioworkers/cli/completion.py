"""`trioworkers completion`: the completion script of a shell, printed."""

from __future__ import annotations

import click

from trioworkers.cli.shells import SCRIPTS

HELP = """Print the script that completes trioworkers in SHELL: bash, zsh or fish.

\b
It completes verbs, options, files, and the names of the bots in the fleet file. It needs no running daemon.

\b
  source <(trioworkers completion bash)
  trioworkers completion bash > ~/.local/share/bash-completion/completions/trioworkers
  trioworkers completion zsh > ~/.zfunc/_trioworkers
  trioworkers completion fish > ~/.config/fish/completions/trioworkers.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> None:
    click.echo(SCRIPTS[shell], nl=False)
