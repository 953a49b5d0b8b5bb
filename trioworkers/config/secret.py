"""Secrets, and where they come from.

A secret is written into the file as a string, or better as a table that names its source:
`{ env = "X" }`, `{ file = "path" }` (relative to the fleet file's folder) or
`{ credential = "name" }` (systemd's `LoadCredential=`, below $CREDENTIALS_DIRECTORY). It becomes a
:class:`Secret` while the settings are validated and shows itself nowhere but through `reveal()`.
"""

from __future__ import annotations

import codecs
import hmac
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic_core import PydanticCustomError, core_schema

from trioworkers.masking import MASK, mask_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

SOURCES = ("env", "file", "credential")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# systemd.exec(5): a credential's name is a valid file name without a colon.
CREDENTIAL_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@-]{1,255}")
_LARGEST_FILE = 64 * 1024


class Secret:
    """A text that shows itself only to who asks for it by `reveal()`.

    Its repr, str and format are a mask, JSON gets the mask, pickling and copying into another
    process are refused. Equal secrets are equal, so that plans can tell a changed token.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the text itself; never put it into a message, a log or an exception."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_encode(self._value), _encode(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            _validate,
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return secret_json_schema()


@dataclass(frozen=True, slots=True)
class SecretContext:
    """What a fleet file refers to but does not contain; pydantic's validation context.

    Attributes:
        folder: what relative paths are relative to.
        environ: the environment.
        env_names: filled with every variable that an `env =` named.
        files: filled with every file that a secret was looked for in.
    """

    folder: Path
    environ: Mapping[str, str]
    env_names: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def note(self, tables: object) -> None:
        """Note the sources of secrets within tables that only a plugin understands."""
        stack = [tables]
        while stack:
            value = stack.pop()
            if isinstance(value, list):
                stack.extend(value)
            if not isinstance(value, dict):
                continue
            stack.extend(value.values())
            match value:
                case {"env": str(name)} if len(value) == 1:
                    self.env_names.add(name)
                case {"file": str(path)} if len(value) == 1:
                    self.files.add(self.folder / path)


def resolve(value: object, surroundings: SecretContext | None) -> str:
    """Returns the text that a secret's declaration stands for; never empty.

    Raises:
        PydanticCustomError: the declaration is malformed, or its source is absent; type
            `secret_absent` when it is a variable that is unset or empty.
    """
    if isinstance(value, str):
        if not value:
            raise _problem("expected a string that is not empty")
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("secret_type", "expected a string or a table")
    names = [name for name in value if name in SOURCES]
    if len(value) != 1 or len(names) != 1:
        # The keys found are not named: somebody may have written the secret as one.
        found = "another key" if len(value) == 1 else f"{len(value)} keys"
        raise _problem(
            f"expected a table with one of the keys env, file and credential, got one with {found}"
        )
    name = names[0]
    argument = value[name]
    if not isinstance(argument, str) or not argument:
        raise _problem(f"expected the {_ARGUMENTS[name]} as a string")
    if surroundings is None:
        raise _problem("a secret's source can be resolved only while a fleet file is read")
    match name:
        case "env":
            return _from_environment(argument, surroundings)
        case "file":
            return _from_file(surroundings, surroundings.folder / argument, f'the file "{argument}"')
        case _:
            return _from_credential(argument, surroundings)


_ARGUMENTS = {
    "env": "name of an environment variable",
    "file": "path of a file",
    "credential": "name of a credential",
}


def _from_environment(name: str, surroundings: SecretContext) -> str:
    if _ENV_NAME.fullmatch(name) is None:
        # Not shown: it is perhaps the secret itself.
        raise _problem("expected the name of an environment variable after env")
    surroundings.env_names.add(name)
    text = surroundings.environ.get(name)
    if not text:
        state = "not set" if text is None else "empty"
        raise PydanticCustomError(
            "secret_absent", "{problem}", {"problem": f"the environment variable {name} is {state}"}
        )
    return text


def _from_credential(name: str, surroundings: SecretContext) -> str:
    if CREDENTIAL_NAME.fullmatch(name) is None:
        raise _problem("expected the name of a credential after credential")
    folder = surroundings.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        reason = "the environment variable CREDENTIALS_DIRECTORY is not set"
        raise _problem(f'the credential "{name}" cannot be read: {reason}')
    return _from_file(surroundings, Path(folder) / name, f'the credential "{name}"')


def _from_file(surroundings: SecretContext, path: Path, what: str) -> str:
    surroundings.files.add(path)
    what = mask_tokens(what)
    try:
        # A fifo would block the daemon, a device would never end.
        regular = stat.S_ISREG(os.stat(path).st_mode)
        content = b""
        if regular:
            with path.open("rb") as stream:
                content = stream.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such path"
        raise _problem(f"{what} cannot be read: {reason.lower()}") from None
    if not regular:
        raise _problem(f"{what} is not a regular file")
    if len(content) > _LARGEST_FILE:
        raise _problem(f"{what} is too large for a secret, expected at most {_LARGEST_FILE} bytes")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _problem(f"{what} is not UTF-8") from None
    if not text:
        raise _problem(f"{what} is empty")
    return text


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # the environment may hold bytes that are not UTF-8


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError("secret", "{problem}", {"problem": text})


def _validate(value: object, info: core_schema.ValidationInfo) -> Secret:
    return value if isinstance(value, Secret) else Secret(resolve(value, info.context))


def secret_json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a secret's declaration: a string, or a table with one source."""
    return {
        "anyOf": [
            {"type": "string", "minLength": 1},
            *(
                {
                    "type": "object",
                    "properties": {
                        name: {"type": "string", "minLength": 1, "description": f"the {_ARGUMENTS[name]}"}
                    },
                    "required": [name],
                    "additionalProperties": False,
                }
                for name in SOURCES
            ),
        ]
    }
