"""The table of the Bot API, against itself: each name it uses is there, each value says what it is."""

from __future__ import annotations

import pytest

from trioworkers.testing.facts import Value, bot_api, parse

BASIC = {"Integer", "String", "Boolean", "Float", "True", "InputFile"}


def _names(value: tuple[str, ...]) -> set[str]:
    return {name.split("Array of ")[-1] for name in value}


def test_the_table_holds_the_whole_bot_api() -> None:
    assert len(bot_api().methods) == 180
    assert bot_api().methods["sendMessage"].returns == ("Message",)
    assert bot_api().methods["sendMessage"].parameters["chat_id"] == Value(
        ("Integer", "String"), required=True
    )
    assert bot_api().types["Message"].fields["text"] == Value(("String",), required=False)
    assert "InputMediaPhoto" in bot_api().types["InputMedia"].one_of


@pytest.mark.parametrize("name", bot_api().methods)
def test_each_method_names_types_that_are_there(name: str) -> None:
    method = bot_api().methods[name]
    known = BASIC | bot_api().types.keys()
    assert _names(method.returns) <= known
    for parameter, value in method.parameters.items():
        assert value.types, parameter
        assert _names(value.types) <= known, parameter


@pytest.mark.parametrize("name", bot_api().types)
def test_each_type_names_types_that_are_there(name: str) -> None:
    kind = bot_api().types[name]
    known = BASIC | bot_api().types.keys()
    assert _names(kind.one_of) <= known
    for field, value in kind.fields.items():
        assert value.types, field
        assert _names(value.types) <= known, field


def test_a_table_is_read() -> None:
    found = parse(
        "# words\n\ngetIt -> It | Boolean\n  id: Integer\n  name?: String | InputFile\n\n"
        "It = A | B\nA\n  a: It\n"
    )
    assert found.methods["getIt"].returns == ("It", "Boolean")
    assert found.methods["getIt"].parameters == {
        "id": Value(("Integer",), required=True),
        "name": Value(("String", "InputFile"), required=False),
    }
    assert found.types["It"].one_of == ("A", "B")
    assert found.types["A"].fields == {"a": Value(("It",), required=True)}
