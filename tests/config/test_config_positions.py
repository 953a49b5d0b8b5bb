"""Lines and columns of keys and values."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioworkers.config.positions import Positions

SOURCE = """\
top = 1
[bots.echo]
  token = 5          # comment
"quo ted".x = "é"
retry = { attempts = 3, max.deep = [1, { z = 2 }] }
[bots."a.b".settings]
é = "broken, bare keys are ASCII"
[[list.of]]
a = 1
[[list.of]]
a = 2
[list.of.sub]
b = 3
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), (1, 1), (1, 7)),
        (("bots",), (2, 2), (2, 2)),
        (("bots", "echo"), (2, 7), (2, 1)),
        (("bots", "echo", "token"), (3, 3), (3, 11)),
        (("bots", "echo", "quo ted"), (4, 1), (4, 1)),
        (("bots", "echo", "quo ted", "x"), (4, 11), (4, 15)),
        (("bots", "echo", "retry"), (5, 1), (5, 9)),
        (("bots", "echo", "retry", "attempts"), (5, 11), (5, 22)),
        (("bots", "echo", "retry", "max", "deep"), (5, 29), (5, 36)),
        (("bots", "echo", "retry", "max", "deep", 0), (5, 37), (5, 37)),
        (("bots", "echo", "retry", "max", "deep", 1, "z"), (5, 42), (5, 46)),
        (("bots", "a.b", "settings"), (6, 13), (6, 1)),
        (("list", "of", 0, "a"), (9, 1), (9, 5)),
        (("list", "of", 1, "a"), (11, 1), (11, 5)),
        (("list", "of", 1, "sub", "b"), (13, 1), (13, 5)),
    ],
)
def test_keys_and_values_have_places(path, key, value):
    """Every way of writing a key has a place, in a file with a broken line as well."""
    positions = Positions(SOURCE.encode())
    assert path in positions
    assert positions.key(path) == key
    assert positions.value(path) == value


def test_what_is_absent_is_placed_at_the_table_around_it():
    """A missing key is reported at its table's header, or at the top."""
    positions = Positions(SOURCE.encode())
    assert positions.value(("bots", "echo", "handler")) == (2, 1)
    assert positions.key(("bots", "echo", "handler")) == (2, 1)
    assert positions.value(("api", "bind")) == (1, 1)
    assert positions.key(()) == (1, 1)


def test_columns_count_characters():
    """Neither bytes nor a carriage return shift a column."""
    positions = Positions('a = { "éé😀" = "日本", b = 1 }\r\nc = 2\r\n'.encode())
    assert positions.key(("a", "b")) == (1, 21)
    assert positions.key(("c",)) == (2, 1)


def test_an_explicit_table_beats_an_implied_one():
    """A table that a longer header came before is found at its own header."""
    positions = Positions(b"[a.b]\nx = 1\n[a]\ny = 1\n")
    assert positions.value(("a",)) == (3, 1)


KEYS = st.one_of(st.text("abz09_-", min_size=1, max_size=4), st.text(max_size=4))
VALUES = st.recursive(
    st.integers(0, 9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_key_that_tomllib_reads_has_a_place(tables):
    """What tomli-w writes and tomllib reads, tree-sitter finds."""
    import tomli_w

    text = tomli_w.dumps(tables)
    positions = Positions(text.encode())
    lines = text.split("\n")
    stack: list[tuple[tuple[str | int, ...], object]] = [((), tomllib.loads(text))]
    while stack:
        path, value = stack.pop()
        if path:
            assert path in positions
            line, column = positions.value(path)
            if isinstance(value, int):
                assert lines[line - 1][column - 1 :].startswith(str(value))
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            stack.extend(((*path, key), inner) for key, inner in items)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text('[]{}="\n.ab1# ', max_size=80).map(str.encode))
def test_broken_files_have_positions_too(source):
    """No sequence of bytes makes the search for positions fail."""
    positions = Positions(source)
    line, column = positions.value(("a", "b", 0))
    assert line >= 1
    assert column >= 1
    assert all(line >= 1 for line in positions.error_lines)
