"""Reads bots in Python by their syntax trees; nothing is imported or run.

From the program's file on, its imports are followed to those modules that lie in the project itself.
"""

from __future__ import annotations

import ast
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.adopt.code import CHECKS, MOST_FILES, Assigned, BotCode, TokenRead
from trioworkers.adopt.libraries import TOKEN
from trioworkers.adopt.service import Place, text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONSTRUCTORS = {
    "aiogram.Bot": "aiogram",
    "aiogram.client.bot.Bot": "aiogram",
    "telebot.TeleBot": "pyTelegramBotAPI",
    "telebot.async_telebot.AsyncTeleBot": "pyTelegramBotAPI",
    "telegram.Bot": "python-telegram-bot",
    "telegram.ext.Updater": "python-telegram-bot",
    "telegram.ext.ExtBot": "python-telegram-bot",
}
BUILDERS = ("telegram.ext.ApplicationBuilder", "telegram.ext.Application.builder")
POLLS = {"run_polling", "start_polling", "infinity_polling", "polling"}
WEBHOOKS = {"run_webhook", "start_webhook", "set_webhook", "run_webhooks", "SimpleRequestHandler"}
READS = {"os.getenv", "os.environ.get", "os.environ", "getenv", "environ.get", "environ"}
OTHER_READS = {"env", "env.str", "config"}  # of environs, django-environ and python-decouple


@dataclass
class _Facts(Assigned):
    """What the files of one program say together."""

    made: list[tuple[str, Place, ast.expr | None, str]] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    is_serial: bool = False
    is_concurrent: bool = False
    address: Place | None = None
    checks: Place | None = None


def read_python(entry: Path | Iterable[Path], root: Path) -> list[BotCode]:
    """Return the bots that a program makes.

    Args:
        entry: the file that is run, whose imports are followed; or all files of the project.
        root: the folder that modules are looked for in, beside the file's own.
    """
    facts = _Facts()
    for file, text, tree in _trees(entry, root):
        if facts.checks is None and (found := CHECKS.search(text)) is not None:
            facts.checks = Place(file, text.count("\n", 0, found.start()) + 1)
        with suppress(RecursionError):  # an expression of a thousand terms, which makes no bot
            _Reader(file, facts).visit(tree)
    bots = [_bot(facts, *made) for made in facts.made]
    return list({(bot.library, bot.token.kind, bot.token.name): bot for bot in reversed(bots)}.values())


def _bot(facts: _Facts, library: str, place: Place, token: ast.expr | None, how: str) -> BotCode:
    polls, webhook = bool(facts.called & POLLS), bool(facts.called & WEBHOOKS)
    if webhook and not polls:
        how = "webhook"
    elif library == "aiogram":
        how = "serial" if facts.is_serial else "tasks"
    elif library == "python-telegram-bot":
        how = "concurrent" if facts.is_concurrent else "serial"
    both = webhook and polls
    return BotCode(library, how, place, _token(facts, token, place), facts.address, both, facts.checks)


def _token(facts: _Facts, argument: ast.expr | None, place: Place) -> TokenRead:
    """Where an argument leads."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        line = Place(place.file, argument.lineno)
        return TokenRead("literal", "", line, text=argument.value)
    for node in ast.walk(argument) if argument is not None else ():
        if (name := _variable(node)) is not None:
            return TokenRead("variable", name, Place(place.file, getattr(node, "lineno", place.line)))
        if (path := _file(node)) is not None:
            return TokenRead("file", path, place)
    return facts.token_of(_names(argument), place)


def _names(node: ast.expr | None) -> Iterator[str]:
    """The names within an argument: of `settings.bot_token.get()`, `get`, `bot_token` and `settings`."""
    if node is None:
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value  # config["token"]


def _dotted(node: ast.AST) -> str:
    """`os.environ.get` of such an expression; "" of others."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def _variable(node: ast.AST) -> str | None:
    """The variable that an expression reads from the environment."""
    match node:
        case ast.Subscript(value=base, slice=ast.Constant(value=str(name))) if _dotted(base) in READS:
            return name
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            called = _dotted(function)
            if called in READS or called in OTHER_READS:
                return name
    return None


def _file(node: ast.AST) -> str | None:
    """The file that `open("x").read()` or `Path("x").read_text()` reads."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=opener, args=[ast.Constant(value=str(path)), *_]),
                attr="read" | "read_text",
            )
        ) if _dotted(opener) in ("open", "Path", "pathlib.Path", "io.open"):
            return path
    return None


class _Reader(ast.NodeVisitor):
    """Gathers the facts of one file."""

    def __init__(self, file: Path, facts: _Facts) -> None:
        self._file = file
        self._facts = facts
        self._known: dict[str, str] = {}  # a name here, and what it was imported as

    def _full(self, node: ast.AST) -> str:
        head, dot, rest = _dotted(node).partition(".")
        return f"{self._known.get(head, head)}{dot}{rest}"

    def _place(self, node: ast.expr | ast.stmt) -> Place:
        return Place(self._file, node.lineno)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            head = alias.name.partition(".")[0]
            self._known[alias.asname or head] = alias.name if alias.asname else head

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._known[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assigned(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node.target, node.value)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._holds(key.value, value)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(_dotted(base).rpartition(".")[2] == "BaseSettings" for base in node.bases):
            self._settings(node)
        self.generic_visit(node)

    def _settings(self, node: ast.ClassDef) -> None:
        """Fields of pydantic-settings are read from variables of their names, behind a prefix."""
        prefix = ""
        for inner in ast.walk(node):
            if isinstance(inner, ast.keyword) and inner.arg == "env_prefix":
                prefix = getattr(inner.value, "value", "")
        for field_ in node.body:
            if isinstance(field_, ast.AnnAssign) and isinstance(field_.target, ast.Name):
                name = f"{prefix}{field_.target.id}".upper()
                for inner in ast.walk(field_.value) if field_.value is not None else ():
                    if isinstance(inner, ast.keyword) and inner.arg in ("alias", "validation_alias", "env"):
                        name = getattr(inner.value, "value", name)
                if isinstance(name, str):
                    self._facts.variables.setdefault(field_.target.id, (name, self._place(field_)))

    def visit_Call(self, node: ast.Call) -> None:
        facts, function = self._facts, node.func
        full = self._full(function)
        facts.called.add(full.rpartition(".")[2] or getattr(function, "attr", ""))
        keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        for name, value in keywords.items():
            self._holds(name, value)
            if name == "handle_as_tasks" and getattr(value, "value", None) is False:
                facts.is_serial = True
            if name in ("base_url", "local_mode") and self._is_telegram():
                facts.address = self._place(node)
        if (variable := _variable(node)) is not None:
            facts.reads.setdefault(variable, self._place(node))
        if full in CONSTRUCTORS:
            token = keywords.get("token") or (node.args[0] if node.args else None)
            serial = getattr(keywords.get("threaded"), "value", None) is False
            how = "asyncio" if full.endswith("AsyncTeleBot") else "serial" if serial else "threads"
            facts.made.append((CONSTRUCTORS[full], self._place(node), token, how))
        elif isinstance(function, ast.Attribute) and self._is_telegram():
            if function.attr == "token" and node.args:
                facts.made.append(("python-telegram-bot", self._place(node), node.args[0], ""))
            elif function.attr == "concurrent_updates" and node.args:
                facts.is_concurrent |= getattr(node.args[0], "value", True) not in (False, 0, 1)
                facts.is_concurrent |= getattr(node.args[0], "value", None) is True
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if (variable := _variable(node)) is not None:
            self._facts.reads.setdefault(variable, self._place(node))
        self.generic_visit(node)

    def _is_telegram(self) -> bool:
        return any(known.startswith("telegram.") for known in self._known.values())

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._holds(target.id, value)
        elif isinstance(target, ast.Attribute):
            if self._full(target) in ("telebot.apihelper.API_URL", "telebot.asyncio_helper.API_URL"):
                self._facts.address = self._place(target)
            self._holds(target.attr, value)

    def _holds(self, name: str, value: ast.expr) -> None:
        """Note that `name` is what an expression is, if that reads a variable or a file, or is a token."""
        for node in ast.walk(value):
            if (variable := _variable(node)) is not None:
                self._facts.variables.setdefault(name, (variable, self._place(value)))
                return
            if (path := _file(node)) is not None:
                self._facts.files.setdefault(name, (path, self._place(value)))
                return
        match value:
            case ast.Constant(value=str(text)) if TOKEN.fullmatch(text):
                self._facts.literals.setdefault(
                    name, TokenRead("literal", name, self._place(value), text=text)
                )


def _trees(entry: Path | Iterable[Path], root: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    """The files of a program, each once; those that cannot be read as Python are passed over."""
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
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        yield file, text, tree
        if follows:
            waiting += _imports(tree, file, root, Path(entry).parent if isinstance(entry, Path) else root)


def _imports(tree: ast.Module, file: Path, root: Path, beside: Path) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(alias.name, (beside, root, root / "src"))
        elif isinstance(node, ast.ImportFrom):
            folders = (beside, root, root / "src") if not node.level else (_above(file, node.level),)
            base = f"{node.module}." if node.module else ""
            yield from _module(base.rstrip("."), folders) if base else ()
            for alias in node.names:
                yield from _module(f"{base}{alias.name}", folders)


def _above(file: Path, level: int) -> Path:
    folder = file.parent
    for _ in range(level - 1):
        folder = folder.parent
    return folder


def _module(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    parts = name.split(".")
    for folder in folders:
        for path in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if path.is_file():
                yield path
