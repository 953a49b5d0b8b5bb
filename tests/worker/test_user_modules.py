"""Modules of users: they hide none of Python's or ours, and the code that runs is that of their source."""

from __future__ import annotations

import importlib
import importlib.util
import json
import marshal
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trioworkers.user_modules import SourceLoader, search_in
from trioworkers.worker.handler import HandlerError, import_handler
from trioworkers.worker.probe import probe_handler

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLE = "async def handle(update, bot): ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for modules of users; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def word_of(folder: Path, handler: str = "bot") -> str:
    """The word of a handler's module, in a process of its own as a worker's is."""
    code = (
        "import sys\nfrom trioworkers.worker.handler import import_handler\n"
        f"found = import_handler('{handler}:handle', [{str(folder)!r}])\n"
        f"print(sys.modules['{handler}'].WORD, found.code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    return done.stdout.split()[0]


def save(path: Path, word: str, at: float) -> None:
    """Write a module whose `WORD` this is, as it would have been saved at that time."""
    path.write_text(f"WORD = {word!r}\n{HANDLE}")
    os.utime(path, (at, at))


# -- code is that of the source ----------------------------------------------------------------------


@pytest.mark.parametrize("former", ["by this loader", "by Python", "unchecked"])
def test_two_saves_of_one_length_in_one_second_are_two_codes(folder: Path, former: str) -> None:
    """Whoever compiled the first: what is cached is not taken by its time and size, nor without a check."""
    path = folder / "bot.py"
    save(path, "one", 1_700_000_000.2)
    if former == "by this loader":
        assert word_of(folder) == "one"
    else:
        modes = py_compile.PycInvalidationMode
        mode = modes.TIMESTAMP if former == "by Python" else modes.UNCHECKED_HASH
        py_compile.compile(str(path), invalidation_mode=mode)
    save(path, "two", 1_700_000_000.8)
    assert word_of(folder) == "two"


def test_a_module_that_the_handler_imports_is_loaded_from_its_source_too(folder: Path) -> None:
    """In a package of its own as well: all of the bot's code is new, or none of it."""
    (folder / "words").mkdir()
    (folder / "words" / "__init__.py").write_text("")
    (folder / "bot.py").write_text(f"from words.inner import WORD\n{HANDLE}")
    for word in ("one", "two"):
        save(folder / "words" / "inner.py", word, 1_700_000_000)
        assert word_of(folder) == word


def test_compiled_code_is_kept_and_used_while_its_source_is_the_same(folder: Path) -> None:
    """Its time does not matter: a copy with other times is not compiled anew."""
    save(folder / "bot.py", "one", 1_700_000_000)
    assert word_of(folder) == "one"
    cache = Path(importlib.util.cache_from_source(str(folder / "bot.py")))
    kept = cache.read_bytes()
    told = compile(f"WORD = 'from the cache'.split()[2]\n{HANDLE}", str(folder / "bot.py"), "exec")
    cache.write_bytes(kept[:16] + marshal.dumps(told))
    os.utime(folder / "bot.py", (1, 1))
    assert word_of(folder) == "cache"


def test_the_fingerprint_is_of_the_source_that_was_loaded(folder: Path) -> None:
    """Not of a file that was saved a moment later."""
    source = "import pathlib\npathlib.Path(__file__).write_text('other')\n" + HANDLE
    (folder / "bot.py").write_text(source)
    code = import_handler("bot:handle", [str(folder)]).code
    (folder / "same.py").write_text(source)
    assert import_handler("same:handle", [str(folder)]).code == code


def test_a_plugins_file_is_loaded_from_its_source(folder: Path) -> None:
    """As handlers are."""
    path = folder / "plugin.py"
    for word in ("one", "two"):
        save(path, word, 1_700_000_000)
        spec = importlib.util.spec_from_file_location("p", path, loader=SourceLoader("p", str(path)))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert word == module.WORD


# -- names -------------------------------------------------------------------------------------------

NAMES = ("secrets", "calendar", "queue", "logging", "email", "json", "random", "types", "ssl", "uuid")


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_that_has_the_name_of_a_module_of_pythons_is_told_so(folder: Path, name: str) -> None:
    """With both files, whether that module was loaded before or not; nothing of it is imported."""
    (folder / f"{name}.py").write_text(HANDLE + "raise SystemExit\n")
    with pytest.raises(HandlerError) as caught:
        import_handler(f"{name}:handle", [str(folder)])
    theirs = importlib.util.find_spec(name)
    assert theirs is not None
    assert str(caught.value) == (
        f"{name}:handle: {name!r} is {theirs.origin} of Python itself, "
        f"which hides {folder / name}.py: rename that file"
    )


def test_a_handler_that_has_the_name_of_a_module_of_ours_is_told_so(folder: Path) -> None:
    """And one of a library's that is loaded already; one that is installed and meant is none of these."""
    import trio

    for name in ("trio", "trioworkers"):
        (folder / f"{name}.py").write_text(HANDLE)
        with pytest.raises(
            HandlerError, match=rf"^{name}:handle: '{name}' is .*, which hides {folder}/{name}"
        ):
            import_handler(f"{name}:handle", [str(folder)])
    assert trio.__file__ is not None
    assert import_handler("trioworkers.demo.bots.echo:handle", [str(folder / "x")]) is not None


@pytest.mark.parametrize("line", ["from secrets import TOKEN", "import secrets\nsecrets.TOKEN"])
def test_a_handler_that_needs_a_hidden_module_is_told_which(folder: Path, line: str) -> None:
    """A `secrets.py` with a token is what people write; the import of it gets Python's."""
    (folder / "secrets.py").write_text("TOKEN = 'x'\n")
    (folder / "bot.py").write_text(f"{line}\n{HANDLE}")
    with pytest.raises(
        HandlerError, match=rf"'secrets' is .*secrets\.py of Python itself, which hides {folder}"
    ):
        import_handler("bot:handle", [str(folder)])


def test_modules_beside_a_handler_hide_none_of_pythons(folder: Path) -> None:
    """Not even one that nobody has imported yet: `strptime` imports `calendar` when it is called first."""
    for name in NAMES:
        if name != "types":  # without which Python itself does not start
            (folder / f"{name}.py").write_text("raise RuntimeError('hidden')\n")
    (folder / "bot.py").write_text(f"from datetime import datetime\ndatetime.strptime('1', '%d')\n{HANDLE}")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)}
    assert probe_handler("bot:handle", [str(folder)], folder, environ) is None


def test_a_module_of_the_bot_hides_an_installed_one(folder: Path) -> None:
    """As it does for a script: the fleet's folders come before installed packages."""
    (folder / "bot.py").write_text(f"import pygments\n{HANDLE}WORD = pygments.WORD\n")
    (folder / "pygments.py").write_text("WORD = 'own'\n")
    assert word_of(folder) == "own"


@pytest.mark.parametrize("way", ["python -m", "PYTHONPATH", "both"])
def test_the_command_imports_nothing_from_the_folder_that_it_is_called_in(folder: Path, way: str) -> None:
    """Neither by the working directory nor by `PYTHONPATH`, which images of containers set to it."""
    for name in NAMES:
        if name != "types":  # without which Python itself does not start
            (folder / f"{name}.py").write_text("raise RuntimeError('hidden')\n")
    (folder / "fleet.toml").write_text('[bots.a]\ntoken = "1:a"\nhandler = "bot:handle"\n')
    (folder / "fleet.toml").chmod(0o600)
    (folder / "bot.py").write_text(HANDLE)
    command = [sys.executable, "-m", "trioworkers.cli", "-c", "fleet.toml", "run", "--dry-run"]
    if way == "PYTHONPATH":
        command.insert(1, "-P")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE"))}
    if way != "python -m":
        environ["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environ, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_search_is_the_same_whatever_was_searched_before(folder: Path) -> None:
    """Python's own, the fleet's, installed packages; the order of `python_path` is kept."""
    code = (
        "import json, sys\nfrom trioworkers.user_modules import search_in\n"
        "before = list(sys.path)\nsearch_in(['/b', '/a'])\nfirst = list(sys.path)\nsearch_in(['/b', '/a'])\n"
        "again = list(sys.path)\nsearch_in(['/b', '/a'], last=True)\nlast = list(sys.path)\n"
        "search_in(['/b', '/a'])\nprint(json.dumps([before, first, again, last, list(sys.path)]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    before, first, again, last, after = json.loads(done.stdout)
    place = first.index("/b")
    assert first == again == [*before[:place], "/b", "/a", *before[place:]]
    assert first[place - 1].endswith("lib-dynload")
    assert all("site-packages" not in entry for entry in first[:place])
    assert last == [*before, "/b", "/a"]
    assert after == first


# -- a bot's code is that of all its modules ---------------------------------------------------------


def code_of(folder: Path, *, preload: str = "") -> tuple[str, set[str]]:
    """The code of the handler `bot`, and the files that were preloaded, in a process as a worker's is."""
    code = (
        "import importlib, sys\nfrom trioworkers.user_modules import search_in\n"
        "from trioworkers.worker.handler import import_handler\n"
        f"path = [{str(folder)!r}]\n"
        f"search_in(path, last=True)\n"
        f"if {preload!r}: importlib.import_module({preload!r})\n"
        "search_in(path)\n"
        "found = import_handler('bot:handle', path)\n"
        "import json\nprint(json.dumps([found.code, sorted(found.loaded.preloaded)]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )
    found, preloaded = json.loads(done.stdout)
    return found, {Path(path).name for path in preloaded}


@pytest.mark.parametrize("preload", ["", "words"])
def test_the_code_of_a_bot_follows_the_modules_that_it_imports(folder: Path, preload: str) -> None:
    """A module beside it, one in a package, one of before the fork; a module of nobody changes nothing."""
    (folder / "bot.py").write_text(f"import words\nfrom shop import prices\n{HANDLE}")
    (folder / "shop").mkdir()
    for file in ("words.py", "shop/__init__.py", "shop/prices.py", "nobodys.py"):
        (folder / file).write_text("X = 1\n")
    codes = [code_of(folder, preload=preload)]
    assert codes[0] == code_of(folder, preload=preload)
    assert codes[0][1] == ({"words.py"} if preload else set())
    for file in ("bot.py", "words.py", "shop/__init__.py", "shop/prices.py"):
        (folder / file).write_text((folder / file).read_text() + "Y = 2\n")
        codes.append(code_of(folder, preload=preload))
    assert len({code for code, _ in codes}) == len(codes)
    (folder / "nobodys.py").write_text("X = 2\n")
    assert code_of(folder, preload=preload) == codes[-1]


def test_a_source_that_cannot_be_compiled_is_noted(folder: Path) -> None:
    """Whoever waits for it to change has to know of it."""
    (folder / "bot.py").write_text(f"import words\n{HANDLE}")
    (folder / "words.py").write_text("X = (\n")
    loaded = search_in([str(folder)])
    notes: list[int] = []
    loaded.on_load = lambda: notes.append(len(loaded.files))
    with pytest.raises(SyntaxError):
        importlib.import_module("bot")
    assert [Path(path).name for path in loaded.files] == ["bot.py", "words.py"]
    assert notes == [1, 2]
