"""Renews the stubs of the Bot API from the table of facts: `python docs/stubs.py`. A test compares the two.

`trioworkers/types.pyi` has the objects as typed dictionaries, `trioworkers/botapi/methods.pyi` all methods as
those of a bot. Only type checkers and editors read them.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trioworkers.botapi.parameters import SPANS
from trioworkers.testing.facts import bot_api
from trioworkers.testing.unions import tag_field, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trioworkers.testing.facts import BotApi, Method, Value

ROOT = Path(__file__).parents[1]
TYPES = ROOT / "trioworkers/types.pyi"
METHODS = ROOT / "trioworkers/botapi/methods.pyi"
LONGEST = 110  # characters of a line
PAGE = "https://core.telegram.org/bots/api#"
UPLOADED = frozenset({"media", "thumbnail", "cover", "photo", "animation", "video", "sticker"})
"""Fields of objects that are sent, which Telegram takes as text and we as a file, too (`attach://<part>`)."""
PLAIN = {"Integer": "int", "Float": "float", "String": "str", "Boolean": "bool", "True": "Literal[True]"}
SENT = {"Integer": "Whole", "Float": "Number", "String": "Text", "Boolean": "bool", "True": "bool"}

TYPES_HEAD = '''\
"""The objects of the Bot API as typed dictionaries. Made by docs/stubs.py from the table of facts.

At run time each of these names is `dict`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal, NotRequired, Protocol, TypeAlias, TypedDict
from uuid import UUID

from trioworkers.botapi.files import InputFile as Upload

# what a call takes in the place of a text, a number, a moment, a span of time
Text: TypeAlias = str | Enum | UUID
Whole: TypeAlias = int | Enum | Decimal
Number: TypeAlias = float | Enum | Decimal
Moment: TypeAlias = int | Enum | datetime | timedelta
Span: TypeAlias = int | Enum | timedelta

class Dataclass(Protocol):
    """A dataclass: what a call takes in the place of an object."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

class Attrs(Protocol):
    """An attrs class, likewise."""

    __attrs_attrs__: ClassVar[Any]

class Struct(Protocol):
    """A `msgspec.Struct`, likewise."""

    __struct_fields__: ClassVar[tuple[str, ...]]

Object: TypeAlias = Dataclass | Attrs | Struct
'''

METHODS_HEAD = '''\
"""All methods of the Bot API, as a bot has them. Made by docs/stubs.py from the table of facts.

Only type checkers and editors read this; at run time, `Bot` makes each call by its name.
"""

from collections.abc import Sequence
from typing import Protocol, overload

from trioworkers.botapi.files import InputFile
from trioworkers.types import (
{names}
)

class Methods(Protocol):
    """The methods of the Bot API. Each is a call as :meth:`trioworkers.Bot.call` makes it.

    `once` names the call for replay: it is made once for an update, whatever its parameters are the second
    time.
    """
'''


def types_stub(api: BotApi) -> str:
    """Returns the text of `types.pyi`."""
    given = _reached(api, [name for method in api.methods.values() for name in method.returns] + ["Update"])
    tags = _tags(api)
    parts = [TYPES_HEAD]
    for name, kind in api.types.items():
        if name == "InputFile":  # ours is a class
            continue
        is_sent = name not in given
        if kind.one_of:
            union = _union(_scalar(one, is_sent) for one in kind.one_of)
            parts.append(_alias(name, union))
        else:
            parts += _dictionary(name, kind.fields, is_sent, tags.get(name))
    kinds = ", ".join(f'"{name}"' for name in api.types["Update"].fields if name != "update_id")
    parts.append(_alias("UpdateKind", [f"Literal[{kinds}]"]))
    return "\n".join(parts)


def _tags(api: BotApi) -> dict[str, tuple[str, str]]:
    """The field that tells a type from the others that may stand in its place, with the value that it has."""
    return {
        member: (field, tag_of(name, member))
        for name, kind in api.types.items()
        if kind.one_of and (field := tag_field(name))
        for member in kind.one_of
    }


def _dictionary(
    name: str, fields: dict[str, Value], is_sent: bool, tag: tuple[str, str] | None
) -> Iterator[str]:
    """Yields a typed dictionary. A key that is a word of Python (`from`) stands in a base of its own, as no
    class can have it."""
    lines = {field: _field(field, value, is_sent) for field, value in fields.items()}
    if tag is not None:
        lines[tag[0]] = f'Literal["{tag[1]}"]' + (" | Enum" if is_sent else "")
    base = "TypedDict"
    if words := {field: line for field, line in lines.items() if keyword.iskeyword(field)}:
        base = f"_{name}Words"
        inner = ", ".join(f'"{field}": {line}' for field, line in words.items())
        yield f'{base} = TypedDict("{base}", {{{inner}}})\n'
    plain = [f"    {field}: {line}" for field, line in lines.items() if field not in words]
    docs = f'    """{PAGE}{name.lower()}"""'
    yield "\n".join([f"class {name}({base}):", docs, *([""] if plain else []), *plain, ""])


def _field(name: str, value: Value, is_sent: bool) -> str:
    shown = " | ".join(_value(name, value.types, is_sent=is_sent, is_field=True))
    return shown if value.required else f"NotRequired[{shown}]"


def methods_stub(api: BotApi) -> str:
    """Returns the text of `methods.pyi`."""
    parts = [part for name, method in api.methods.items() for part in _method(name, method)]
    text = "\n".join(parts)
    used = set(re.findall(r"\b[A-Z]\w+", re.sub(r'"""(?s:.*?)"""', "", text))) - {"Sequence", "InputFile"}
    used -= {"None", "True", "False"}
    head = METHODS_HEAD.replace("{names}", "\n".join(f"    {name}," for name in sorted(used)))
    return f"{head}\n{text}"


def _method(name: str, method: Method) -> Iterator[str]:
    """Yields one method, or two forms of one that answers a message, or True for an inline message."""
    if set(method.returns) == {"Message", "Boolean"}:
        inline, chat = ("inline_message_id",), ("chat_id", "message_id")
        yield _form(name, method, "Message", without=inline, demanded=chat, overloaded=True)
        yield _form(name, method, "bool", without=chat, demanded=inline, overloaded=True)
    else:
        yield _form(name, method, " | ".join(_value("", method.returns, is_sent=False)))


def _form(
    name: str,
    method: Method,
    returns: str,
    *,
    without: Iterable[str] = (),
    demanded: Iterable[str] = (),
    overloaded: bool = False,
) -> str:
    required, optional = [], []
    for parameter, value in method.parameters.items():
        if parameter in without:
            continue
        shown = " | ".join(_value(parameter, value.types, is_sent=True))
        if value.required or parameter in demanded:
            required.append(f"        {parameter}: {shown},")
        else:
            optional.append(f"        {parameter}: {shown} | None = None,")
    lines = ["    @overload"] if overloaded else []
    lines += [f"    async def {_snake(name)}(", "        self,", "        *,", *required, *optional]
    lines += ["        once: str | None = None,", f"    ) -> {returns}:"]
    return "\n".join([*lines, f'        """{PAGE}{name.lower()}"""', ""])


def _value(name: str, types: Iterable[str], *, is_sent: bool, is_field: bool = False) -> list[str]:
    """The types of a parameter or field: `is_sent`, what a call takes; else what Telegram sends."""
    found: dict[str, None] = {}
    arrays: list[str] = []
    for one in types:
        if one.startswith("Array of "):
            arrays.append(one.removeprefix("Array of "))
            continue
        found[_scalar(one, is_sent, name)] = None
        if is_sent and one == "String" and is_field and name in UPLOADED:
            found["Upload"] = None
        if is_sent and not is_field and one not in SENT and one != "InputFile":
            found["Object"] = None
    if arrays:
        found |= dict.fromkeys(_array(arrays, is_sent))
    return list(found)


def _array(inner: list[str], is_sent: bool) -> list[str]:
    """An array of these. What is sent may be any sequence, but a text, which is one of texts."""
    if inner[0].startswith("Array of "):
        (within,) = _array([one.removeprefix("Array of ") for one in inner], is_sent)
        return [f"{'Sequence' if is_sent else 'list'}[{within}]"]
    shown = " | ".join(_scalar(one, is_sent) for one in inner)
    if not is_sent:
        return [f"list[{shown}]"]
    if inner == ["String"]:
        return ["list[str]", "tuple[str, ...]"]
    objects = "" if inner[0] in SENT else " | Object"
    return [f"Sequence[{shown}{objects}]"]


def _scalar(name: str, is_sent: bool, of: str = "") -> str:
    if name.startswith("Array of "):
        return _array([name.removeprefix("Array of ")], is_sent)[0]
    if is_sent and name == "Integer":
        if of.endswith(SPANS):
            return "Span"
        if of.endswith("date"):
            return "Moment"
    return (SENT if is_sent else PLAIN).get(name, name)


def _union(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _alias(name: str, union: list[str]) -> str:
    line = f"{name}: TypeAlias = {' | '.join(union)}"
    if len(line) > LONGEST:
        line = f"{name}: TypeAlias = (\n    " + "\n    | ".join(union) + "\n)"
    return line + "\n"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _reached(api: BotApi, names: Iterable[str]) -> set[str]:
    """The types that these names lead to, themselves included."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop().replace("Array of ", "")
        if name in api.types and name not in found:
            found.add(name)
            kind = api.types[name]
            left += [*kind.one_of, *(inner for value in kind.fields.values() for inner in value.types)]
    return found


if __name__ == "__main__":
    TYPES.write_text(types_stub(bot_api()))
    METHODS.write_text(methods_stub(bot_api()))
