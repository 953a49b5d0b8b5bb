"""How modules of users are found and loaded: they hide none of Python's or ours, and none of them is stale.

A fleet's folder often has a `secrets.py`, a `calendar.py` or a `queue.py`. If that folder came first in the
search for modules, as a script's folder does, the next `import secrets` of a library would get the user's
module. So Python's own folders come first, and the fleet's folders come in only when a handler is imported.

Python takes compiled code from `__pycache__` when the source's time, in seconds, and its size are as they
were when it was compiled. After two saves within a second, or a copy that keeps times, it runs the old code.
Here the compiled code has to be of the very source, by its hash (PEP 552, "checked hash-based pycs").
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from contextlib import suppress
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import source_hash
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

CHECKED = b"\3\0\0\0"  # the flags of a pyc that is valid for one source only, whatever its time (PEP 552)
HEADER = 16  # bytes of a pyc before its code: magic number, flags, and eight bytes of the source
INSTALLED = ("site-packages", "dist-packages")


class Loaded:
    """The files that a process has loaded modules of users from.

    Attributes:
        files: by path, the module's name and the :func:`fingerprint_of` its source. A source is noted when it
            is read, also when it cannot be compiled then.
        preloaded: those of them that were loaded before, in the process that this one was forked from.
        on_load: called after another file was noted, in whatever thread imports; it must not raise.
    """

    def __init__(self, preloaded: Loaded | None = None) -> None:
        self.files: dict[str, tuple[str, str]] = {} if preloaded is None else dict(preloaded.files)
        self.preloaded = frozenset(self.files)
        self.on_load: Callable[[], object] | None = None

    def note(self, path: str, name: str, fingerprint: str) -> None:
        """Note a file (the loader's call)."""
        self.files[path] = name, fingerprint
        if self.on_load is not None:
            self.on_load()


class SourceLoader(SourceFileLoader):
    """Loads a module from its source, or from compiled code that has the hash of that source.

    Attributes:
        fingerprint: a short hash of the source that was loaded; empty before that.
    """

    fingerprint = ""

    def __init__(self, fullname: str, path: str, loaded: Loaded | None = None) -> None:
        super().__init__(fullname, path)
        self._loaded = loaded

    def get_data(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: there is no such file, or it is compiled code that is valid by its time.
        """
        data = super().get_data(path)
        if path == self.path:
            if not self.fingerprint:
                self.fingerprint = fingerprint_of(data)
                self._source_hash = source_hash(data)
                if self._loaded is not None:
                    self._loaded.note(self.path, self.name, self.fingerprint)
        elif path.endswith(".pyc") and data[4:8] != CHECKED:
            raise OSError(path)
        return data

    def set_data(self, path: str, data: bytes, *, _mode: int = 0o666) -> None:  # type: ignore[override]
        """Write compiled code with the hash of its source; a folder that cannot be written is ignored."""
        checked = data[:4] + CHECKED + self._source_hash + data[HEADER:]
        super().set_data(path, checked, _mode=_mode)  # as its own caller does


class _SourceHook:
    """Makes the finders of the folders of users; an entry of `sys.path_hooks`."""

    def __init__(self, folders: Iterable[str], loaded: Loaded, *, preloads: bool) -> None:
        self.asked = tuple(folders)
        self.folders = tuple(folder.rstrip(os.sep) for folder in folders)
        self.loaded = loaded
        self.preloads = preloads

    def is_as_wanted(self, folders: Sequence[str], last: bool) -> bool:
        """Whether another one for these folders would do the same, and this one has loaded nothing yet."""
        loaded = self.loaded
        is_same = self.preloads == last and self.asked == tuple(folders)
        return is_same and len(loaded.files) == len(loaded.preloaded)

    def __call__(self, path: str) -> FileFinder:
        is_theirs = any(path == folder or path.startswith(folder + os.sep) for folder in self.folders)
        if not is_theirs or any(part in INSTALLED for part in path.split(os.sep)) or not os.path.isdir(path):
            raise ImportError(path)
        loader: Any = self._loader  # typeshed asks for a class, the finder only calls it
        return FileFinder(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (loader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    def _loader(self, fullname: str, path: str) -> SourceLoader:
        return SourceLoader(fullname, path, self.loaded)


def fingerprint_of(source: bytes) -> str:
    """A short hash of a source, by a hash of Python's own: to call on OpenSSL for the first time is slow."""
    return hashlib.blake2b(source, digest_size=6).hexdigest()


def put_python_first() -> None:
    """Let Python's own modules come before those of `PYTHONPATH`, and the working directory, which
    `python -m` puts first, come last."""
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path:
        sys.path.append(sys.path.pop(0))
    pythons = [entry for entry in sys.path if _is_pythons(entry)]
    sys.path[:] = pythons + [entry for entry in sys.path if entry not in pythons]


def search_in(folders: Sequence[str], *, last: bool = False) -> Loaded:
    """Let modules be found in `folders` from now on, and be loaded from their source there.

    They come after Python's own modules and before installed packages, or, with `last`, after all. Returns
    what is loaded from there; what was loaded while they came last counts as preloaded. Where the process
    that this one was forked from did the same last, and loaded nothing since, there is nothing to do.
    """
    first = sys.path_hooks[0] if sys.path_hooks else None
    if isinstance(first, _SourceHook) and first.is_as_wanted(folders, last):
        return first.loaded
    rest = [entry for entry in sys.path if entry not in folders]
    place = (
        len(rest) if last else 1 + max((i for i, entry in enumerate(rest) if _is_pythons(entry)), default=-1)
    )
    sys.path[:] = [*rest[:place], *folders, *rest[place:]]
    former = [one for one in sys.path_hooks if isinstance(one, _SourceHook)]
    hook = _SourceHook(
        folders, Loaded(next((one.loaded for one in former if one.preloads), None)), preloads=last
    )
    sys.path_hooks[:] = [hook, *(one for one in sys.path_hooks if not isinstance(one, _SourceHook))]
    for entry in list(sys.path_importer_cache):
        with suppress(ImportError):
            hook(entry)
            del sys.path_importer_cache[entry]  # found by then as any other folder
    return hook.loaded


def forget_listings() -> None:
    """Let folders be listed anew when a module is looked for in them, but for Python's own.

    As `importlib.invalidate_caches`. Python's folders change with Python only, and a worker that lists them
    again copies pages that it shares with others.
    """
    for entry in list(sys.path_importer_cache):
        if not _is_pythons(entry):
            del sys.path_importer_cache[entry]


def own_file(name: str, folders: Iterable[str]) -> str | None:
    """The file of the module `name` in one of `folders`, the first that has one."""
    return next((path for path in may_be_at(name, folders) if os.path.isfile(path)), None)


def may_be_at(name: str, folders: Iterable[str]) -> list[str]:
    """The files that the module `name` may come from in `folders`."""
    inner = name.replace(".", os.sep)
    return [os.path.join(f, inner + end) for f in folders for end in (".py", f"{os.sep}__init__.py")]


def missed_by(error: BaseException) -> str | None:
    """The name of the module that an import did not find; None when it failed for something else."""
    if isinstance(error, ModuleNotFoundError):
        return error.name
    if isinstance(error, ImportError) and error.name:  # `from package import module`
        found = re.match(r"cannot import name '(\w+)' from", error.msg or "")
        return f"{error.name}.{found[1]}" if found else None
    return None


def hidden_by(name: str, folders: Sequence[str]) -> str | None:
    """Why the module `name` of `folders` cannot be imported: another one has its name; None when it can be.

    The words name both files. A package is looked at by the first part of its modules' names.
    """
    top = name.partition(".")[0]
    file = own_file(top, folders)
    if file is None:
        return None
    module = sys.modules.get(top)
    if module is not None and _comes_from(module, file):
        return None
    if top in sys.stdlib_module_names:
        return f"{top!r} is {_file_of(top, module)} of Python itself, which hides {file}: rename that file"
    if module is not None:
        return f"{top!r} is {_file_of(top, module)}, which hides {file}: rename that file"
    return None


def _comes_from(module: ModuleType, file: str) -> bool:
    with suppress(OSError, TypeError):
        return os.path.samefile(module.__file__ or "", file)
    return False


def _file_of(name: str, module: ModuleType | None) -> str:
    if module is None:
        from importlib.util import find_spec  # rare

        with suppress(ImportError, ValueError, AttributeError):
            spec = find_spec(name)
            if spec is not None and spec.origin:
                return spec.origin
        return "a module"
    return getattr(module, "__file__", None) or "a built-in module"


def _is_pythons(entry: str) -> bool:
    """Whether an entry of `sys.path` has modules of Python itself."""
    home = os.path.dirname(os.__file__)
    return entry == home or os.path.basename(entry) in ("lib-dynload", _ARCHIVE)


_ARCHIVE = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
