"""Reads a folder with a project in it: what starts the bot, by package.json or by the files that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.adopt.code import sources_below
from trioworkers.adopt.javascript import SUFFIXES, read_javascript, without_comments
from trioworkers.adopt.program import package_json, scripts_of, simple_words
from trioworkers.adopt.python_code import read_python
from trioworkers.adopt.service import Place, Service, Survey, text_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE_MARK = "package.json"
PYTHON_MARKS = ("requirements.txt", "pyproject.toml", "Pipfile", "setup.py")
OTHER_MARKS = ("go.mod", "Cargo.toml", "composer.json", "pom.xml", "build.gradle", "Gemfile")
_LIKELY = ("main", "bot", "index", "app", "run", "__main__", "start", "server")
_RUNS_ITSELF = re.compile(
    r"""__name__\s*==|asyncio\.run\(|\.run_polling\(|infinity_polling\(|\.polling\(|executor\.start_polling\("""
    r"""|\.launch\(|\.start\(|\brun\(|polling\s*:"""
)


def is_project(folder: Path) -> bool:
    """Whether a folder holds a project of a language that is known here."""
    return any((folder / mark).is_file() for mark in (NODE_MARK, *PYTHON_MARKS, *OTHER_MARKS))


def read_folder(folder: Path) -> Survey:
    """Return the one program of a project."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name) or "bot"
    if (folder / NODE_MARK).is_file():
        kind, mark = "a folder with package.json", NODE_MARK
        command = _node_command(folder)
    elif (mark := next((mark for mark in PYTHON_MARKS if (folder / mark).is_file()), "")) != "":
        kind, command = f"a folder with {mark}", _python_command(folder)
    else:
        mark = next((mark for mark in OTHER_MARKS if (folder / mark).is_file()), "")
        kind, command = f"a folder with {mark}", ()
    obstacle = None if command else "it cannot be seen what starts it: write its table by hand"
    service = Service(
        name=name, place=Place(folder / mark), command=tuple(command), cwd=folder, obstacle=obstacle
    )
    return Survey(kind, folder, (service,))


def _node_command(folder: Path) -> Sequence[str]:
    """The start script, without npm where it needs no shell and no program of node_modules."""
    package = package_json(folder)
    scripts = scripts_of(folder)
    if (text := scripts.get("start")) is not None:
        words = simple_words(text)
        return words if words and words[0] in ("node", "bun", "deno") else ["npm", "start"]
    main = package.get("main")
    if isinstance(main, str) and (folder / main).is_file():
        return ["node", main]
    found = _maker(folder, SUFFIXES)
    if found is None:
        return []
    return ["node" if found.suffix in (".js", ".cjs", ".mjs") else "bun", str(found.relative_to(folder))]


def _python_command(folder: Path) -> Sequence[str]:
    found = _maker(folder, (".py",))
    if found is None:
        return []
    path = found.relative_to(folder)
    program = interpreter_of(folder)
    if path.name == "__main__.py" and path.parent != Path():
        return [program, "-m", ".".join(path.parent.parts)]
    if len(path.parts) > 1 and (found.parent / "__init__.py").is_file():
        return [program, "-m", ".".join(path.with_suffix("").parts)]
    return [program, str(path)]


def interpreter_of(folder: Path) -> str:
    """The Python of a project's own environment, relative to it; `python3` if it has none."""
    for name in (".venv", "venv", "env"):
        if (folder / name / "bin" / "python").exists():
            return f"{name}/bin/python"
    return "python3"


def _maker(folder: Path, suffixes: Sequence[str]) -> Path | None:
    """The file to run: one that makes a bot and runs itself, and is called so, at best."""
    files = list(sources_below(folder, suffixes))
    best: tuple[int, int, str, Path] | None = None
    for file in files:
        text = text_or_none(file) or ""
        if file.suffix != ".py":
            text = without_comments(text)
        runs = _RUNS_ITSELF.search(text) is not None
        if not runs:
            continue
        makes = bool(read_python(file, folder) if file.suffix == ".py" else read_javascript(file))
        if not makes:
            continue
        likely = _LIKELY.index(file.stem) if file.stem in _LIKELY else len(_LIKELY)
        rank = (likely, len(file.parts), str(file), file)
        best = rank if best is None else min(best, rank)
    return best[-1] if best is not None else None
