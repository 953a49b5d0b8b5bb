"""Reads ecosystem files of PM2.

One in JavaScript is a program: Node.js runs it, it alone, where Node.js is installed. It is given an empty
environment, may read files and nothing else where Node.js can hold it to that, and what it takes from its
environment is known by a mark in place of the value.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.adopt.service import AdoptError, Place, Service, Survey, Variable, line_of, read_text
from trioworkers.adopt.yaml_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = tuple(
    f"{stem}.{end}"
    for stem in ("ecosystem.config", "pm2.config", "ecosystem", "pm2", "process")
    for end in ("js", "cjs", "mjs", "json", "yml", "yaml")
)
SECONDS = 20.0
LONGEST = 4 * 1024 * 1024  # bytes that an evaluated file may come to
MARK = "\x01env:"
_MARKED = re.compile(r"\x01env:([A-Za-z_][A-Za-z0-9_]*)\x01")
_EVALUATE = """
const own = { ...process.env }, set = {};
process.env = new Proxy(own, {
  get: (all, name) => typeof name !== "string" ? undefined
    : name in set ? set[name]
    : name in all || !/^[A-Za-z_]/.test(name) || /^(NODE_|FORCE_|NO_COLOR|DEBUG)/.test(name)
    ? all[name] : `\\x01env:${name}\\x01`,
  has: (all, name) => name in all || name in set,
  set: (all, name, value) => { if (/^(NODE_)/.test(name)) set[name] = `${value}`; return true; },
});
const { pathToFileURL } = require("node:url");
import(pathToFileURL(process.argv[1]).href).then((module) => {
  let found = module.default ?? module;
  if (typeof found === "function") found = found();
  return Promise.resolve(found);
}).then((found) => require("node:fs").writeSync(1, "\\n\\x02" + JSON.stringify(found)))
.catch((error) => {
  process.stderr.write(`\\n\\x02${error && error.name}: ${error && error.code || ""}`);
  process.exit(1);
});
"""
_INTERPRETERS = {".py": "python3", ".sh": "bash", ".rb": "ruby", ".php": "php", ".pl": "perl", ".ts": "bun"}
_SIZES = {"K": "KB", "M": "MB", "G": "GB"}


def read_pm2(file: Path) -> Survey:
    """Return the apps of an ecosystem file.

    Raises:
        AdoptError: it cannot be read, or evaluated.
    """
    text = read_text(file)
    if file.suffix in (".yml", ".yaml"):
        content = read_yaml(file, text)
    elif file.suffix == ".json":
        content = _json(file, text)
    else:
        content = _evaluate(file)
    apps = content.get("apps") if isinstance(content, dict) and "apps" in content else content
    apps = [apps] if isinstance(apps, dict) and "script" in apps else apps
    if not isinstance(apps, list) or not all(isinstance(app, dict) for app in apps):
        message = f"{file}: expected an object with apps, a list of objects"
        raise AdoptError(message)
    services = tuple(_service(app, file, text, number) for number, app in enumerate(apps, start=1))
    evaluated = file.suffix in (".js", ".cjs", ".mjs")
    notes = (
        (f"{file.name} was evaluated by node, which it has to be; no app of it was started",)
        if evaluated
        else ()
    )
    return Survey("a PM2 ecosystem file", file, services, notes, "pm2 stop {}")


def _json(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        where = f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        message = f"{file}{where}: expected JSON"
        raise AdoptError(message) from None
    except RecursionError:
        message = f"{file}: nested too deep"
        raise AdoptError(message) from None


def _evaluate(file: Path) -> Any:
    """What the file exports, by Node.js, with the strictest permissions that this one knows."""
    node = shutil.which("node")
    if node is None:
        message = f"{file}: is JavaScript, and node is not installed here; expected node, or the file as JSON"
        raise AdoptError(message)
    for flags in (["--permission"], ["--experimental-permission"], []):
        held = [*flags, "--allow-fs-read=*"] if flags else []
        try:
            done = subprocess.run(  # noqa: S603 - node itself, on the file that was named
                [node, *held, "-e", _EVALUATE, str(file.absolute())],
                cwd=file.absolute().parent,
                env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            message = f"{file}: was not evaluated by node within {SECONDS:g} s"
            raise AdoptError(message) from None
        except OSError as error:
            message = f"{file}: node cannot be run: {(error.strerror or '').lower()}"
            raise AdoptError(message) from None
        if done.returncode == 9 and flags:  # Node.js: an option that it does not know
            continue
        break
    _, mark, result = done.stdout[-LONGEST:].rpartition(b"\x02")
    if done.returncode or not mark:
        what = (
            done.stderr.decode(errors="replace").rpartition("\x02")[2].strip()
            if b"\x02" in done.stderr
            else ""
        )
        name = re.match(r"([A-Za-z]+): ?([A-Z_0-9]*)", what)
        said = f": {name[1]} {name[2]}".rstrip() if name else ""
        message = (
            f"{file}: node could not evaluate it{said}; try `node {shlex.quote(file.name)}` in its folder"
        )
        raise AdoptError(message)
    try:
        return json.loads(result)
    except (ValueError, RecursionError):
        message = f"{file}: expected it to export an object with apps"
        raise AdoptError(message) from None


def _service(app: dict[str, Any], file: Path, text: str, number: int) -> Service:
    name = app.get("name")
    script = app.get("script") or app.get("exec") or ""
    name = name if isinstance(name, str) and name else Path(str(script)).stem or f"app-{number}"
    place = Place(file, line_of(text, name) or line_of(text, str(script)))
    cwd = file.parent / str(app.get("cwd") or app.get("working_directory") or "")
    instances = str(app.get("instances") or 1)
    words = _command(app, str(script), cwd)
    obstacle = None if words else f"{place}: has no script, expected one"
    notes = []
    if app.get("cron_restart"):
        notes.append("cron_restart does not come along")
    if str(app.get("autorestart")).lower() == "false":
        notes.append("autorestart is false, but trioworkers starts a bot again that ends")
    notes += [
        f"{key} is one of several environments, not taken"
        for key in app
        if key.startswith("env_") and isinstance(app[key], dict)
    ]
    return Service(
        name=name,
        place=place,
        command=words,
        cwd=cwd,
        variables=dict(_variables(app.get("env"), name, file, text)),
        copies=int(instances) if re.fullmatch(r"[1-9][0-9]{0,3}", instances) else 0,
        memory_limit=_size(app.get("max_memory_restart")),
        obstacle=obstacle,
        notes=tuple(notes),
    )


def _command(app: dict[str, Any], script: str, cwd: Path) -> tuple[str, ...]:
    interpreter = app.get("interpreter") or app.get("exec_interpreter")
    words = _words(script) if " " in script and not (cwd / script).exists() else [script]
    arguments = _words(app.get("args"))
    if not script:
        return ()
    if interpreter and interpreter != "none":
        options = _words(app.get("interpreter_args") or app.get("node_args"))
        return (str(interpreter), *options, *words, *arguments)
    suffix = Path(words[0]).suffix
    if interpreter == "none" or (not suffix and not (cwd / words[0]).is_file()) or shutil.which(words[0]):
        return (*words, *arguments)  # npm, say
    options = _words(app.get("interpreter_args") or app.get("node_args"))
    return (_INTERPRETERS.get(suffix, "node"), *options, *words, *arguments)


def _words(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(word) for word in value]
    if not isinstance(value, str):
        return []
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def _variables(table: object, app: str, file: Path, text: str) -> Iterator[tuple[str, Variable]]:
    for name, value in table.items() if isinstance(table, dict) else ():
        if value is None or isinstance(value, dict | list):
            continue
        said = "true" if value is True else "false" if value is False else str(value)
        place = Place(file, line_of(text, app, str(name)) or line_of(text, str(name)))
        marked = _MARKED.fullmatch(said)
        if marked is not None:
            yield name, Variable("", place, marked[1])
        else:
            yield name, Variable(_MARKED.sub(r"${\1}", said), place)


def _size(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return f"{value}B"
    match = re.fullmatch(r"\s*([0-9]{1,12})\s*([KMG]?)B?\s*", str(value or ""), re.IGNORECASE)
    return f"{match[1]}{_SIZES.get(match[2].upper(), 'B')}" if match else None
