"""Reads files of Docker Compose, and the Dockerfiles that they build: what runs inside, seen from outside."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.adopt.code import assigned_in
from trioworkers.adopt.service import (
    AdoptError,
    Place,
    Service,
    Survey,
    Variable,
    line_of,
    read_text,
    text_or_none,
)
from trioworkers.adopt.yaml_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OUTER = re.compile(r"\$\{([A-Za-z_]\w*)(?::?[?-][^{}]*)?\}|\$([A-Za-z_]\w*)")
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):?-([^{}]*)\}")
_ASSIGNED = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=(.*)")


def read_compose(file: Path) -> Survey:
    """Return the services of a file.

    Raises:
        AdoptError: it cannot be read.
    """
    text = read_text(file)
    content = read_yaml(file, text)
    services = content.get("services") if isinstance(content, dict) else None
    if not isinstance(services, dict) or not all(isinstance(one, dict) for one in services.values()):
        message = f"{file}: expected a table of services"
        raise AdoptError(message)
    secrets = content.get("secrets")
    files = {
        name: file.parent / one["file"]
        for name, one in (secrets.items() if isinstance(secrets, dict) else ())
        if isinstance(one, dict) and isinstance(one.get("file"), str)
    }
    found = tuple(_service(name, one, file, text, files, services) for name, one in services.items())
    stop = "docker compose stop {}"
    return Survey("a file of Docker Compose", file, found, (), stop)


def _service(
    name: str,
    table: dict[str, Any],
    file: Path,
    text: str,
    secrets: dict[str, Path],
    all_services: dict[str, Any],
) -> Service:
    build = table.get("build")
    context = (
        build if isinstance(build, str) else build.get("context", ".") if isinstance(build, dict) else None
    )
    place = Place(file, _line(text, name))
    if context is None:
        folder, image = file.parent, str(table.get("image") or "")
        mounts = _mounts(table, file.parent)
        mounted_code = mounts.get(str(table.get("working_dir") or ""))
        if mounted_code is None:
            what = f"it runs the image {image}" if image else "it has neither build nor image"
            return Service(
                name=name, place=place, command=(), cwd=folder, obstacle=f"{what}: no code of it is here"
            )
        folder, docker = mounted_code, _Docker()
    else:
        folder = file.parent / context
        named = build.get("dockerfile") if isinstance(build, dict) else None
        docker = read_dockerfile(folder / (named if isinstance(named, str) else "Dockerfile"))
    inside = str(table.get("working_dir") or docker.folder)
    entrypoint = _words(table.get("entrypoint")) or docker.entrypoint
    command = (*entrypoint, *(_words(table.get("command")) or docker.command))
    command = (
        tuple(word.removeprefix(f"{inside}/") for word in command) if inside not in ("", "/") else command
    )
    deploy = table.get("deploy") if isinstance(table.get("deploy"), dict) else {}
    copies = str(table.get("scale") or deploy.get("replicas") or 1)  # type: ignore[union-attr]
    variables = {name: variable for one in _env_files(table, file) for name, variable in _of_file(one)}
    variables |= dict(_variables(table.get("environment"), file, text, name))
    notes = list(_notes(table, variables, name, all_services))
    return Service(
        name=name,
        place=place,
        command=command,
        cwd=folder,
        variables=variables,
        copies=int(copies) if re.fullmatch(r"[1-9][0-9]{0,3}", copies) else 0 if copies == "0" else 1,
        memory_limit=_memory(table, deploy),
        enabled=copies != "0" and not table.get("profiles"),
        mounted=_mounted(table, secrets),
        obstacle=None if command else "neither it nor its Dockerfile names a command",
        notes=tuple(notes),
    )


class _Docker:
    """What the last stage of a Dockerfile says."""

    def __init__(self) -> None:
        self.folder = ""
        self.entrypoint: tuple[str, ...] = ()
        self.command: tuple[str, ...] = ()


def read_dockerfile(file: Path) -> _Docker:
    """Return the working directory, entry point and command of an image; empty where nothing can be read."""
    found = _Docker()
    text = re.sub(r"\\[ \t]*\n", " ", text_or_none(file) or "")
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word.upper():
            case "FROM":
                found = _Docker()
            case "WORKDIR":
                found.folder = str(Path(found.folder or "/", rest))
            case "ENTRYPOINT":
                found.entrypoint, found.command = tuple(_instruction(rest)), ()
            case "CMD":
                found.command = tuple(_instruction(rest))
    return found


def _instruction(text: str) -> list[str]:
    if text.startswith("["):
        try:
            words = json.loads(text)
        except (ValueError, RecursionError):
            return []
        return [str(word) for word in words] if isinstance(words, list) else []
    return _words(text)


def _words(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(word) for word in value]
    if not isinstance(value, str) or not value.strip():
        return []
    if re.search(r"[|&;<>]", value):  # the shell form
        return ["sh", "-c", value]
    try:
        return shlex.split(value)
    except ValueError:
        return ["sh", "-c", value]


def _env_files(table: dict[str, Any], file: Path) -> Iterator[Path]:
    named = table.get("env_file")
    for one in named if isinstance(named, list) else [named]:
        path = one.get("path") if isinstance(one, dict) else one
        if isinstance(path, str) and path:
            yield file.parent / path


def _of_file(file: Path) -> Iterator[tuple[str, Variable]]:
    for line in (text_or_none(file) or "").splitlines():
        if not line.lstrip().startswith("#") and (match := _ASSIGNED.fullmatch(line)) is not None:
            found = assigned_in(file, match[1])
            if found is not None:
                yield match[1], Variable(found[1], found[0])


def _variables(given: object, file: Path, text: str, service: str) -> Iterator[tuple[str, Variable]]:
    pairs: list[tuple[str, str | None]] = []
    if isinstance(given, dict):
        pairs = [
            (str(name), value if isinstance(value, str) and value else None) for name, value in given.items()
        ]
    elif isinstance(given, list):
        for item in given:
            name, equals, rest = str(item).partition("=")
            pairs.append((name, rest if equals else None))
    for name, value in pairs:
        place = Place(file, _line(text, service, name))
        if value is None:  # taken from the surroundings under this name
            yield name, Variable("", place, name)
            continue
        outer = _OUTER.fullmatch(value)
        if outer is not None and (default := _DEFAULT.fullmatch(value)) is not None:
            yield name, Variable(default[2], place)
        elif outer is not None:
            yield name, Variable("", place, outer[1] or outer[2])
        else:
            yield name, Variable(value.replace("$$", "$"), place)


def _line(text: str, service: str, word: str = "") -> int:
    """The line of a service's key, or of a word behind it; 0 if that is not there."""
    found = re.search(rf"(?m)^[ \t]+['\"]?{re.escape(service)}['\"]?[ \t]*:", text)
    if found is None:
        return 0
    line = text.count("\n", 0, found.start()) + 1
    inner = line_of(text[found.end() :], word) if word else 1
    return line + inner - 1 if inner else 0


def _mounts(table: dict[str, Any], folder: Path) -> dict[str, Path]:
    found = {}
    volumes = table.get("volumes")
    for one in volumes if isinstance(volumes, list) else ():
        source, target = "", ""
        if isinstance(one, dict):
            source, target = str(one.get("source") or ""), str(one.get("target") or "")
        elif isinstance(one, str) and one.count(":"):
            source, target = one.split(":")[:2]
        if source.startswith((".", "/")):
            found[target] = folder / source
    return found


def _mounted(table: dict[str, Any], secrets: dict[str, Path]) -> dict[str, Path]:
    """The secrets of a service, by the paths under which it finds them."""
    found = {}
    names = table.get("secrets")
    for one in names if isinstance(names, list) else ():
        name = one.get("source") if isinstance(one, dict) else one
        target = one.get("target", name) if isinstance(one, dict) else one
        if name in secrets:
            found[str(Path("/run/secrets", str(target)))] = secrets[name]
    return found


def _notes(
    table: dict[str, Any], variables: dict[str, Variable], name: str, services: Sequence[str] | dict[str, Any]
) -> Iterator[str]:
    yield "it leaves its image: what it needs has to be installed here"
    hosts = sorted(other for other in services if other != name)
    for variable, held in variables.items():
        for host in hosts:
            if re.search(rf"(?:@|//|^){re.escape(host)}(?::\d+|/|$)", held.text):
                yield f"{variable} names the service {host}, which is known inside of Compose only"
    if table.get("ports"):
        yield "ports do not come along: it listens on this machine itself"
    if table.get("profiles"):
        yield "profiles do not come along"


def _memory(table: dict[str, Any], deploy: Any) -> str | None:
    limit = table.get("mem_limit")
    if limit is None and isinstance(deploy, dict):
        resources = deploy.get("resources")
        limits = resources.get("limits") if isinstance(resources, dict) else None
        limit = limits.get("memory") if isinstance(limits, dict) else None
    match = re.fullmatch(r"([0-9]{1,12})([bkmg]?)b?", str(limit or "").strip().lower())
    return f"{match[1]}{ {'k': 'KB', 'm': 'MB', 'g': 'GB'}.get(match[2], 'B') }" if match else None
