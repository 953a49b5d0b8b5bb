"""Renews `share/`, what packages install for shells and `man`: `python docs/manual.py`. Tests compare both.

The man page is made from the command's own help texts, and from the tables of docs/commands.md and
docs/fleet-file.md. Its date is that of the newest version in CHANGELOG.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trioworkers.cli import main
from trioworkers.cli.shells import SCRIPTS
from trioworkers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent
ROOT = DOCS.parent
WIDTH = 76  # characters of a line of prose in the source; man fills lines itself
FILES = {
    "./fleet.toml, /etc/trioworkers/fleet.toml": "the fleet file, unless **-c** or a variable names one",
    "fleet.d/*.toml": "further bots, beside the fleet file and in the state directory",
    "<state_dir>": "the database, and the bots that were added by command",
    "<runtime_dir>/control.sock": "the socket that commands use to reach the daemon",
    "<runtime_dir>/api-token": "the API's token, unless the fleet file or the environment has one",
    "<log_dir>/master.log, worker_<bot>.log": "the logs of the daemon and of each bot",
    "<log_dir>/daemon.err": "the standard error of a daemon that **trioworkers start** runs",
}


def commands(
    group: click.Group, context: click.Context, prefix: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yields each verb with its full name and its context, groups before what is in them."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        full = f"{prefix} {name}"
        inner = click.Context(command, info_name=name, parent=context, resilient_parsing=True)
        yield full, command, inner
        if isinstance(command, click.Group):
            yield from commands(command, inner, full)


def man_page(group: click.Group = main) -> str:
    """Returns the man page of the command, in the macros of man(7)."""
    context = click.Context(
        group, info_name="trioworkers", resilient_parsing=True, **group.context_settings
    )  # resilient_parsing: without the plugins of a fleet file that happens to be at hand
    lines = [
        f'.TH TRIOWORKERS 1 {date()} "trioworkers {__version__}" "User Commands"',
        ".SH NAME",
        f"trioworkers \\- {plain('run many Telegram bots from one fleet file')}",
        ".SH SYNOPSIS",
        r".B trioworkers",
        r"[\fB\-c\fR \fIFLEET\fR] \fIVERB\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *help_text(group.help or ""),
        ".SH OPTIONS",
        *options(group, context),
        ".SH VERBS",
    ]
    for full, command, inner in commands(group, context, "trioworkers"):
        lines += [f".SS {roff(' '.join([full, *command.collect_usage_pieces(inner)]))}"]
        lines += help_text(command.help or "")
        lines += options(command, inner)
    lines += [".SH SIGNALS", *prose("What signals to **trioworkers run** do:")]
    lines += tagged(table("commands.md", "## Signals"))
    lines += [".SH EXIT STATUS", *tagged(table("commands.md", "<!-- exit codes -->"))]
    lines += [".SH ENVIRONMENT", *tagged(table("fleet-file.md", "<!-- variables -->"))]
    lines += [".SH FILES", *tagged([(name.replace("*", "\\*"), text) for name, text in FILES.items()])]
    lines += [".SH SEE ALSO", r".BR systemd (1),", r".BR journalctl (1)"]
    return "\n".join(lines) + "\n"


def date() -> str:
    """Returns the date of the newest version in CHANGELOG.md, as YYYY-MM-DD."""
    found = re.search(r"^## \S+ - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("CHANGELOG.md: expected a heading like '## 1.2.3 - 2026-12-31'")
    return found[1]


def help_text(text: str) -> Iterator[str]:
    """Yields a help text: paragraphs are filled, indented lines are examples and stay as they are."""
    first = True
    for paragraph in text.strip("\n").split("\n\n"):
        rest = [line for line in paragraph.splitlines() if line.strip() and line != "\b"]
        while rest:
            indented = rest[0].startswith("  ")
            count = next((at for at, line in enumerate(rest) if line.startswith("  ") != indented), len(rest))
            part, rest = rest[:count], rest[count:]
            if not first:
                yield ".PP"
            first = False
            if indented:
                yield from (".EX", *(f"    {roff(line[2:])}" for line in part), ".EE")
            else:
                yield from prose(" ".join(part))


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yields the options of a command; --help only once, for all."""
    for param in command.get_params(context):
        if isinstance(param, click.Option) and ("--help" not in param.opts or context.parent is None):
            record = param.get_help_record(context)
            if record is not None:
                yield from (".TP", f".B {roff(record[0])}", *prose(record[1]))


def tagged(rows: list[tuple[str, str]]) -> Iterator[str]:
    """Yields a list of terms and what each means."""
    for term, text in rows:
        yield from (".TP", f".B {plain(term)}", *prose(text))


def table(page: str, start: str) -> list[tuple[str, str]]:
    """Returns the first two columns of the first table after `start` in a page."""
    after = (DOCS / page).read_text().partition(start)[2]
    lines = after[after.index("|") :].split("\n\n")[0].splitlines()
    rows = [re.split(r"(?<!\\)\|", line) for line in lines if line.startswith("|")]
    return [(row[1].strip(), row[2].strip()) for row in rows[2:]]


def prose(text: str) -> Iterator[str]:
    """Yields running text of Markdown as lines of roff."""
    line = ""
    for word in plain(text).split():
        if line and len(line) + len(word) >= WIDTH:
            yield line
            line = ""
        line = f"{line} {word}" if line else (rf"\&{word}" if word[0] in ".'" else word)
    yield line or r"\&"


def plain(text: str) -> str:
    """Returns Markdown as roff: links are their text, code and strong words are bold."""
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"`([^`]+)`|\*\*(.+?)\*\*", text)
    shown = [roff(parts[0].replace("\\*", "*").replace("&lt;", "<"))]
    for code, strong, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        shown.append(rf"\fB{roff(code or strong)}\fR{roff(after)}")
    return "".join(shown)


def roff(text: str) -> str:
    """Returns text with what roff would act on escaped, in ASCII."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    text = text.replace("^", r"\(ha").replace("~", r"\(ti").replace('"', r"\(dq")
    text = "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in text)
    return rf"\&{text}" if text.startswith(".") else text


def shared() -> dict[str, str]:
    """Returns the texts of the files below `share/`, by their paths."""
    return {
        "man/man1/trioworkers.1": man_page(),
        "bash-completion/completions/trioworkers": SCRIPTS["bash"],
        "zsh/site-functions/_trioworkers": SCRIPTS["zsh"],
        "fish/vendor_completions.d/trioworkers.fish": SCRIPTS["fish"],
    }


if __name__ == "__main__":
    for name, text in shared().items():
        path = ROOT / "share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
