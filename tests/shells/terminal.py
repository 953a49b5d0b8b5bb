"""A real shell in a pseudo-terminal, for tests of completion: what a person types, and what then runs."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 60.0  # seconds
PROMPT = "ready> "
SETTINGS = {
    "bash": f"PS1='{PROMPT}'; bind 'set bell-style none'; source $SCRIPT",
    "zsh": f"PS1='{PROMPT}'; unsetopt beep prompt_sp; fpath=(${{SCRIPT:h}} $fpath)\n"
    "autoload -Uz compinit; compinit -u -D",
    "fish": f"function fish_prompt; echo -n '{PROMPT}'; end; function fish_greeting; end; source $SCRIPT",
}
NAMES = {"bash": "trioworkers", "zsh": "_trioworkers", "fish": "trioworkers.fish"}
RECORDER = """#!/bin/sh
# Stands for the command: while a shell completes it is the real one, else its words go into a file.
if [ -n "$_TRIOWORKERS_COMPLETE" ]; then exec {python} -m trioworkers.cli "$@"; fi
printf '%s\\n' "$@" >"$HOME/words.new"
mv "$HOME/words.new" "$HOME/words"
"""


class Terminal:
    """A shell at its prompt."""

    def __init__(self, descriptor: int, home: Path) -> None:
        self._descriptor, self._words = descriptor, home / "words"
        self._shown = ""

    def run(self, keys: str) -> list[str]:
        """Type the keys, then Enter; return the words that trioworkers was called with."""
        self._words.unlink(missing_ok=True)
        while PROMPT not in self._shown:
            self._read(PROMPT)
        self._shown = ""
        os.write(self._descriptor, f"{keys}\r".encode())
        while not self._words.exists():
            self._read("the command to be called")
        return self._words.read_text().splitlines()

    def _read(self, awaited: str) -> None:
        if not select.select([self._descriptor], [], [], 0.05)[0]:
            return
        try:
            self._shown += os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # the shell ended
            pytest.fail(f"expected {awaited}, the terminal shows {self._shown!r}")

    def give_up(self, _signal: int, _frame: object) -> None:
        """Fail, since the deadline is over."""
        pytest.fail(f"the deadline is over, the terminal shows {self._shown!r}")


@contextmanager
def terminal(shell: str, folder: Path, script: str) -> Iterator[Terminal]:
    """Run a shell in a folder, with the completion script at hand; end it afterwards.

    The shell reads no settings but ours, and `trioworkers` on its PATH writes down how it is called.
    """
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is missing; scripts/test installs it where it may")
    home = folder / "home"
    (home / "bin").mkdir(parents=True)
    (home / NAMES[shell]).write_text(script)
    recorder = home / "bin" / "trioworkers"
    recorder.write_text(RECORDER.format(python=shlex.quote(sys.executable)))
    recorder.chmod(0o755)
    environment = {
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "SCRIPT": str(home / NAMES[shell]),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }
    (home / ".bashrc").write_text(SETTINGS["bash"])
    (home / ".zshrc").write_text(SETTINGS["zsh"])
    words = {
        "bash": [program, "--noprofile", "-i"],
        "zsh": [program, "-d", "-i"],
        "fish": [program, "--no-config", "-i", "-C", SETTINGS["fish"]],
    }[shell]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(program, words, environment)  # noqa: S606 - the shell under test
    shown = Terminal(descriptor, home)
    before = signal.signal(signal.SIGALRM, shown.give_up)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    try:
        yield shown
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.close(descriptor)
        os.waitpid(pid, 0)
