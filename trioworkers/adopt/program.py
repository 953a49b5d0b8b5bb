"""What a command runs: which language, and which file of the project.

Package managers and wrappers are looked through; what cannot be seen through is left as it is.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.adopt.libraries import NODE, OTHERS, PYTHON
from trioworkers.adopt.service import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NODES = re.compile(r"(?:node|nodejs|bun|deno|tsx|ts-node|ts-node-esm|nodemon|ts-node-dev)")
PYTHONS = re.compile(r"(?:python|pypy)[0-9.]*")
MANAGERS = ("npm", "yarn", "pnpm", "bun")
WRAPPERS = (
    ("poetry", "run"),
    ("pipenv", "run"),
    ("uv", "run"),
    ("npx",),
    ("exec",),
    ("dotenv", "--"),
    ("dumb-init",),
    ("tini", "--"),
)
VALUED = {  # options that a value follows
    *(
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-e",
        "--env-file",
        "--watch",
        "-W",
    ),
    *("-X", "--ext", "--exec", "-P", "--project", "--config", "-c"),
}
DEEPEST = 4  # a script that calls a script


@dataclass(frozen=True, slots=True)
class Program:
    """What a command runs.

    Attributes:
        language: `javascript`, `python`, or "" if it is neither, or cannot be seen.
        entry: the file that is run, if that can be seen.
        runner: the program that runs it, `node` or `bun` say.
    """

    language: str = ""
    entry: Path | None = None
    runner: str = ""


def program_of(words: Sequence[str], folder: Path, depth: int = 0) -> Program:
    """Return what a command runs from a folder."""
    words = _unwrapped(list(words))
    if not words or depth > DEEPEST:
        return Program()
    called = Path(words[0]).name
    if called in MANAGERS and (script := _script(called, words[1:])) is not None:
        return program_of(last_words(scripts_of(folder).get(script, "")), folder, depth + 1)
    if called in ("sh", "bash", "dash") and "-c" in words[:-1]:
        return program_of(last_words(words[words.index("-c") + 1]), folder, depth + 1)
    if called in ("sh", "bash", "dash") and len(words) > 1:
        return _shell_script(folder / words[1], folder, depth)
    if NODES.fullmatch(called):
        rest = words[2:] if called in ("deno", "bun") and words[1:2] == ["run"] else words[1:]
        return Program("javascript", _javascript_file(_first_plain(rest), folder), called)
    if PYTHONS.fullmatch(called):
        return Program("python", _python_file(words[1:], folder), called)
    path = folder / words[0]
    if path.suffix == ".py":
        return Program("python", path if path.is_file() else None, "")
    if path.suffix in (".js", ".cjs", ".mjs"):
        return Program("javascript", path if path.is_file() else None, "")
    return _shell_script(path, folder, depth) if path.suffix in (".sh", "") and path.is_file() else Program()


def simple_words(text: str) -> list[str] | None:
    """The words of a command line that needs no shell; None if it does."""
    if re.search(r"[|&;<>()$`*?\n]", text):
        return None
    try:
        return shlex.split(text)
    except ValueError:
        return None


def last_words(text: str) -> list[str]:
    """The words of the last command of a line for a shell: what stays, after migrations and builds."""
    last = re.split(r"&&|\|\||[;\n]", text.strip().rstrip(";"))[-1]
    try:
        return shlex.split(re.sub(r"[0-9]?>>?\s*\S+|2>&1", "", last))
    except ValueError:
        return []


def _unwrapped(words: list[str]) -> list[str]:
    """The words without assignments and wrappers before them."""
    while words:
        if Path(words[0]).name == "env" or re.fullmatch(r"[A-Za-z_]\w*=.*", words[0], re.DOTALL):
            words = words[1:]
            continue
        for wrapper in WRAPPERS:
            if tuple(words[: len(wrapper)]) == wrapper and len(words) > len(wrapper):
                words = words[len(wrapper) :]
                break
        else:
            return words
    return words


def _script(manager: str, words: Sequence[str]) -> str | None:
    """The script of package.json that a package manager is asked for."""
    plain = [word for word in words if not word.startswith("-")]
    if plain[:1] == ["run"] or plain[:1] == ["run-script"]:
        return plain[1] if len(plain) > 1 else None
    if plain[:1] == ["start"] or manager in ("yarn", "pnpm"):
        return plain[0] if plain else "start"
    return None


def package_json(folder: Path) -> Mapping[str, Any]:
    """The table of a folder's package.json; empty if there is none that can be read."""
    try:
        found = json.loads(text_or_none(folder / "package.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def scripts_of(folder: Path) -> dict[str, str]:
    """The scripts of a folder's package.json."""
    scripts = package_json(folder).get("scripts")
    found = scripts.items() if isinstance(scripts, dict) else ()
    return {name: text for name, text in found if isinstance(text, str)}


def _first_plain(words: Sequence[str]) -> str | None:
    skips = False
    for word in words:
        if skips:
            skips = False
        elif word.startswith("-"):
            skips = word in VALUED
        else:
            return word
    return None


def _javascript_file(word: str | None, folder: Path) -> Path | None:
    """The file, or the source that a built file is made of."""
    if word is None:
        return None
    path = folder / word
    candidates = [path, Path(f"{path}.js"), path / "index.js"]
    for built in ("dist", "build", "lib", "out"):  # tsc writes src/bot.ts to dist/bot.js
        if Path(word).parts[:1] == (built,):
            inner = Path(*Path(word).parts[1:]).with_suffix(".ts")
            candidates = [folder / "src" / inner, folder / inner, folder / built / "src" / inner, *candidates]
    return next((path for path in candidates if path.is_file()), None)


def _python_file(words: Sequence[str], folder: Path) -> Path | None:
    if "-m" in words[:-1]:
        name = words[words.index("-m") + 1].replace(".", "/")
        candidates = [
            folder / place / end for place in ("", "src") for end in (f"{name}/__main__.py", f"{name}.py")
        ]
        return next((path for path in candidates if path.is_file()), None)
    word = _first_plain(words)
    return folder / word if word is not None and (folder / word).is_file() else None


def _shell_script(path: Path, folder: Path, depth: int) -> Program:
    """What the last command of a short shell script runs."""
    text = text_or_none(path)
    if text is None or not text.startswith("#!") or "sh" not in text.partition("\n")[0]:
        return Program()
    for line in reversed(text.splitlines()[1:]):
        words = last_words(line.partition(' "$@"')[0])
        if words and (found := program_of(words, folder, depth + 1)).language:
            return found
    return Program()


def libraries_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the libraries of bots that a project says it needs, each with the wanted version, or ""."""
    needs = package_json(folder).get("dependencies")
    for name, wanted in needs.items() if isinstance(needs, dict) else ():
        if name in NODE:
            yield NODE[name], wanted if isinstance(wanted, str) and len(wanted) < 40 else ""
    for file in ("requirements.txt", "pyproject.toml", "Pipfile", "setup.cfg"):
        for match in re.finditer(
            r"""(?mi)(?:^|["'\[{,])\s*(aiogram|python[-_.]telegram[-_.]bot|pytelegrambotapi)(?![-\w.])"""
            r"""(?:\[[^\]\n]*\])?["']?\s*(?:=\s*(?=["']))?["']?\s*([~^<>=!]*\s*[0-9][\w.*,<>=! ]*)?""",
            text_or_none(folder / file) or "",
        ):
            yield PYTHON[re.sub(r"[-_.]+", "-", match[1].lower())], (match[2] or "").strip()
    for file, needles in OTHERS.items():
        text = text_or_none(folder / file) or ""
        for needle, library in needles.items():
            if needle.lower() in text.lower():
                yield library, ""
    for project in sorted(folder.glob("*.csproj"))[:5]:
        if 'Include="Telegram.Bot"' in (text_or_none(project) or ""):
            yield "Telegram.Bot (C#)", ""
