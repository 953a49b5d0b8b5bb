"""Reads bots in JavaScript and TypeScript by their text; nothing is run.

Comments are blanked first, so that what is left out is not found. From the program's file on, relative
imports and requires are followed. There is no parser of the language here: it would be a large dependency,
and what is looked for is a constructor of one of three packages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.adopt.code import CHECKS, MOST_FILES, Assigned, BotCode, TokenRead
from trioworkers.adopt.libraries import NODE, TOKEN
from trioworkers.adopt.service import Place, text_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUFFIXES = (".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".tsx", ".jsx")
CLASSES = {"telegraf": "Telegraf", "grammy": "Bot", "node-telegram-bot-api": "default"}
MOST_MADE = 20  # bots of one program
RUNNER = "@grammyjs/runner"

_COMMENT_OR_STRING = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)
_FROM = re.compile(
    r"""\bimport\s+(?P<names>[^;'"`()]{1,400}?)\s+from\s*(?P<q>['"])(?P<module>[^'"\n]{1,200})(?P=q)"""
)
_REQUIRED = re.compile(
    r"""\b(?:const|let|var)\s+(?P<names>[\w$]+|\{[^{}]{0,400}\})(?:\s*:[^=;]{1,80})?\s*=\s*"""
    r"""(?:await\s+import|require)\s*\(\s*(?P<q>['"`])(?P<module>[^'"`\n]{1,200})(?P=q)\s*\)"""
    r"""(?:\s*\.\s*(?P<member>[\w$]+))?"""
)
_MODULE = re.compile(
    r"""(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*|\bexport\s[^;'"]{0,200}from\s*)(['"`])(\.{1,2}/[^'"`\n]{0,200}|\.{1,2})\1"""
)
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_READ = re.compile(
    r"""\b(?:process|Bun)\s*\.\s*env\s*!?\s*(?:\?\.|\.)\s*([A-Za-z_]\w*)"""
    r"""|\b(?:process|Bun)\s*\.\s*env\s*\[\s*['"`]([A-Za-z_]\w*)['"`]\s*\]"""
    r"""|\bDeno\s*\.\s*env\s*\.\s*get\s*\(\s*['"`]([A-Za-z_]\w*)['"`]"""
    r"""|\bconfig(?:Service)?\s*\.\s*get(?:OrThrow)?\s*(?:<[^<>\n]{0,40}>)?\s*\(\s*['"`]([A-Z_][A-Z0-9_]*)['"`]"""
)
_TAKEN_APART = re.compile(r"""\{([^{}]{0,400})\}\s*=\s*(?:process|Bun)\s*\.\s*env\b""")
_HELD = re.compile(r"""([A-Za-z_$][\w$]*)['"`]?\s*(?::\s*[\w<>|\s]{1,40}=|=|:)(?!=)(?=\s*([^\n;,]{1,300}))""")
_NEST = re.compile(r"""\bTelegrafModule\s*\.\s*forRoot\w*\s*\([^;]{0,300}?\btoken\s*:\s*([^,;}\n]{1,120})""")
_FILE = re.compile(r"""\breadFile(?:Sync)?\s*\(\s*(['"`])([^'"`\n]{1,200})\1""")
_WEBHOOK = re.compile(
    r"""\b(?:webhookCallback|createWebhook|startWebhook|setWebhook|setWebHook|processUpdate)\s*\(|\bwebHook\s*:|\bwebhook\s*:\s*\{"""
)
_POLLS = re.compile(
    r"""\.\s*(?:launch|start|startPolling|startPoll)\s*\(|\bpolling\s*:\s*(?!false\b)|\brun\s*\("""
)
_ADDRESS = re.compile(r"""\b(?:apiRoot|baseApiUrl)\s*:""")


@dataclass
class _Facts(Assigned):
    """What the files of one program say together."""

    made: list[tuple[str, Place, str]] = field(default_factory=list)  # library, where, the first argument
    has_runner: bool = False
    sequentializes: bool = False
    has_webhook: bool = False
    polls: bool = False
    address: Place | None = None
    checks: Place | None = None


def read_javascript(entry: Path | Iterable[Path]) -> list[BotCode]:
    """Return the bots that a program makes.

    Args:
        entry: the file that is run, whose imports are followed; or all files of the project.
    """
    facts = _Facts()
    for file, text in _texts(entry):
        _read(file, text, facts)
    bots = [_bot(facts, *made) for made in facts.made]
    return list({(bot.library, bot.token.kind, bot.token.name): bot for bot in reversed(bots)}.values())


def without_comments(text: str) -> str:
    """The text with its comments blanked, lines and lengths kept."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return re.sub(r"[^\n]", " ", found) if found.startswith(("//", "/*")) else found

    return _COMMENT_OR_STRING.sub(blank, text)


def _read(file: Path, text: str, facts: _Facts) -> None:
    def place(at: int) -> Place:
        return Place(file, text.count("\n", 0, at) + 1)

    for match in _READ.finditer(text):
        name = next(filter(None, match.groups()))
        if name not in facts.reads:  # finding the line takes as long as reading up to it
            facts.reads[name] = place(match.start())
    for match in _TAKEN_APART.finditer(text):
        for part in match[1].split(","):
            found = _NAME.findall(part.partition("=")[0])
            if found and found[-1] not in facts.variables:
                facts.reads.setdefault(found[0], place(match.start()))
                facts.variables.setdefault(found[-1], (found[0], place(match.start())))
    for match in _HELD.finditer(text):
        _hold(match, place, facts)
    for module, exported, name in dict.fromkeys(_bound(text)):
        if module == RUNNER:
            facts.has_runner |= exported == "run"
            facts.sequentializes |= exported == "sequentialize"
        library = NODE.get(module.removeprefix("npm:").partition("@")[0])
        if library is None:
            continue
        wanted = CLASSES[library]
        if exported == wanted or (library == "telegraf" and exported == "default"):
            called = rf"{re.escape(name)}(?:\s*\.\s*{wanted})?"
        elif exported == "*":
            called = rf"{re.escape(name)}\s*\.\s*{wanted}"
        else:
            continue
        for match in re.finditer(rf"\bnew\s+{called}\s*(?:<[^()]{{0,80}}>)?\s*\(", text):
            if len(facts.made) < MOST_MADE:
                facts.made.append((library, place(match.start()), _argument(text, match.end())))
            facts.polls |= bool(
                re.search(r"\bpolling\s*:\s*(?!false\b)", text[match.end() : match.end() + 400])
            )
    for match in _NEST.finditer(text):
        if len(facts.made) < MOST_MADE:
            facts.made.append(("telegraf", place(match.start()), match[1]))
            facts.polls |= "launchOptions" not in text
    facts.has_webhook |= _WEBHOOK.search(text) is not None
    facts.polls |= _POLLS.search(text) is not None
    if facts.address is None and (found_at := _ADDRESS.search(text)) is not None:
        facts.address = place(found_at.start())
    if facts.checks is None and (found_at := CHECKS.search(text)) is not None:
        facts.checks = place(found_at.start())


def _hold(match: re.Match[str], place: Callable[[int], Place], facts: _Facts) -> None:
    """Note that a name is what follows it, if that reads a variable or a file, or is a token."""
    name, value = match[1], match[2]
    if name in facts.variables or name in facts.files or name in facts.literals:
        return
    if (read := _READ.search(value)) is not None:
        variable = next(filter(None, read.groups()))
        facts.variables[name] = (variable, place(match.start()))
    elif (file := _FILE.search(value)) is not None:
        facts.files[name] = (file[2], place(match.start()))
    elif TOKEN.fullmatch(bare := value.strip().strip("'\"`")):
        facts.literals[name] = TokenRead("literal", name, place(match.start()), text=bare)


def _bound(text: str) -> Iterator[tuple[str, str, str]]:
    """Each import: its module, the name that this exports ("default", "*" for all), and the name here."""
    for match in _FROM.finditer(text):
        names = match["names"].removeprefix("type ")
        inside = re.search(r"\{([^{}]*)\}", names)
        for part in inside[1].split(",") if inside else ():
            if found := _NAME.findall(part.removeprefix(" type ")):
                yield match["module"], found[0], found[-1]
        outside = re.sub(r"\{[^{}]*\}", "", names)
        if star := re.search(r"\*\s+as\s+([\w$]+)", outside):
            yield match["module"], "*", star[1]
            yield match["module"], "default", star[1]  # of packages that export a class alone
        elif found := _NAME.findall(outside):
            yield match["module"], "default", found[0]
    for match in _REQUIRED.finditer(text):
        names, module = match["names"], match["module"]
        if not names.startswith("{"):
            yield module, match["member"] or "*", names
            if not match["member"]:
                yield module, "default", names
        for part in names.strip("{}").split(",") if names.startswith("{") else ():
            if found := _NAME.findall(part):
                yield module, found[0], found[-1]


def _argument(text: str, at: int) -> str:
    """The first argument of a call, whose parenthesis ends before `at`."""
    depth, quote, begin = 0, "", at
    while at < len(text) and at - begin < 1000:
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"`":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}" or (character == "," and not depth):
            if not depth:
                break
            depth -= 1
        at += 1
    return text[begin:at].strip()


def _bot(facts: _Facts, library: str, place: Place, argument: str) -> BotCode:
    how = "poll"
    if facts.has_webhook and not facts.polls:
        how = "webhook"
    elif library == "grammy" and facts.has_runner:
        how = "sequentialize" if facts.sequentializes else "runner"
    both = facts.has_webhook and facts.polls
    return BotCode(library, how, place, _token(facts, argument, place), facts.address, both, facts.checks)


def _token(facts: _Facts, argument: str, place: Place) -> TokenRead:
    """Where an argument leads."""
    if (read := _READ.search(argument)) is not None:
        return TokenRead("variable", next(filter(None, read.groups())), place)
    if argument[:1] in "'\"`" and argument and "${" not in argument:
        return TokenRead("literal", "", place, text=argument[1:-1])
    if (file := _FILE.search(argument)) is not None:
        return TokenRead("file", file[2], place)
    return facts.token_of(
        reversed(_NAME.findall(argument)), place
    )  # of config.telegram.token, the last says most


def _texts(entry: Path | Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The files of a program, each once, without comments; JSON files that it requires, too."""
    follows = isinstance(entry, Path)
    waiting = [entry] if isinstance(entry, Path) else list(entry)
    seen: set[Path] = set()
    while waiting and len(seen) < MOST_FILES:
        file = waiting.pop(0)
        if file in seen:
            continue
        seen.add(file)
        text = text_or_none(file)
        if text is None:
            continue
        text = without_comments(text)
        yield file, text
        if follows:
            for match in _MODULE.finditer(text):
                waiting += _module(file.parent / match[2])


def _module(path: Path) -> Iterator[Path]:
    """The file that a relative import means: itself, with an ending, or the index of a folder."""
    try:
        if path.is_file():
            yield path
            return
        stem = path.with_suffix("") if path.suffix in SUFFIXES else path  # ./x.js may be ./x.ts
        for suffix in (*SUFFIXES, ".json"):
            for candidate in (Path(f"{stem}{suffix}"), path / f"index{suffix}"):
                if candidate.is_file():
                    yield candidate
                    return
    except (OSError, ValueError):
        return
