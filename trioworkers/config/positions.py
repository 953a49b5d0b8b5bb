"""Where each key and value of a TOML file stands; tomllib tells only what they are.

tree-sitter parses broken files too, so a file has positions as far as it makes sense. Lines and
columns are 1-based, columns count characters.

tree-sitter keeps the interpreter to itself in each of its steps, wherever it runs. So it is given a file in
blocks, and asked for nodes one by one: in between, the loop goes on.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.config.problems import KeyPath

# Deeper values have no positions of their own; they are refused anyway, and recursion stays bounded.
_DEEPEST = 64
BLOCK = 4096  # bytes that are parsed in one step
_KEYS = frozenset({"bare_key", "quoted_key", "dotted_key"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value begin, each as row and byte, both from 0; an element's key is the element.

    They become lines and columns when somebody asks: counting the characters of a line for each of its
    values takes the square of their number.
    """

    key: tuple[int, int]
    value: tuple[int, int]
    explicit: bool
    """False for a table that only a longer header or a dotted key implies."""


class Positions:
    """The places of one file's keys; the file is parsed when the first one is asked for."""

    def __init__(self, source: bytes) -> None:
        self._source = source

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._places

    def key(self, path: KeyPath) -> tuple[int, int]:
        """Returns where the key of `path` begins, or the value of the nearest table around it."""
        place = self._places.get(path)
        return self._shown(place.key) if place is not None else self.value(path[:-1])

    def value(self, path: KeyPath) -> tuple[int, int]:
        """Returns where the value of `path` begins, a table's header, or that of the table around it."""
        for end in range(len(path), 0, -1):
            place = self._places.get(path[:end])
            if place is not None:
                return self._shown(place.value)
        return 1, 1

    @cached_property
    def error_lines(self) -> frozenset[int]:
        """The lines on which the grammar finds something that is not TOML."""
        lines: set[int] = set()
        stack = [self._root]
        while stack:
            node = stack.pop()
            if node.is_error or node.is_missing:
                lines.update(range(node.start_point[0] + 1, node.end_point[0] + 2))
            elif node.has_error:
                stack.extend(_children(node))
        return frozenset(lines)

    @cached_property
    def _root(self) -> Node:
        def read(begin: int, _: object) -> bytes:
            return self._source[begin : begin + BLOCK]

        return Parser(Language(tree_sitter_toml.language())).parse(read).root_node

    @cached_property
    def _lines(self) -> list[bytes]:
        return self._source.split(b"\n")

    @cached_property
    def _places(self) -> dict[KeyPath, Place]:
        places: dict[KeyPath, Place] = {}
        for path, place in self._walk(self._root):
            known = places.get(path)
            # The first place wins, but a table's own header beats a header that only implies it.
            if known is None or (place.explicit and not known.explicit):
                places[path] = place
        return places

    def _walk(self, root: Node) -> Iterator[tuple[KeyPath, Place]]:
        lengths: dict[KeyPath, int] = {}  # how many elements an array of tables has so far
        for node in _children(root):
            if node.type == "pair":
                yield from self._pair((), node, 0)
            elif node.type in ("table", "table_array_element"):
                yield from self._table(node, lengths)

    def _table(self, node: Node, lengths: dict[KeyPath, int]) -> Iterator[tuple[KeyPath, Place]]:
        header = next((child for child in _children(node) if child.type in _KEYS), None)
        if header is None:
            return
        parts = self._parts(header)
        is_element = node.type == "table_array_element"
        path: KeyPath = ()
        for number, (name, key) in enumerate(parts):
            path = (*path, name)
            last = number == len(parts) - 1
            value = _at(node) if last else _at(key)
            yield path, Place(_at(key), value, last)
            if last and is_element:
                lengths[path] = lengths.get(path, 0) + 1
            if path in lengths:
                path = (*path, lengths[path] - 1)
                yield path, Place(_at(key), value, last)
        for child in _children(node):
            if child.type == "pair":
                yield from self._pair(path, child, 0)

    def _pair(self, table: KeyPath, node: Node, depth: int) -> Iterator[tuple[KeyPath, Place]]:
        keys = [child for child in node.children if child.type in _KEYS]
        if not keys:
            return
        # The value comes last; an error node before it is what tree-sitter skipped.
        values = _values(node)[1:]
        path = table
        parts = self._parts(keys[0])
        for number, (name, key) in enumerate(parts):
            path = (*path, name)
            if number < len(parts) - 1:
                yield path, Place(_at(key), _at(key), False)
            else:
                yield path, Place(_at(key), _at(values[-1] if values else key), True)
        if values:
            yield from self._inside(path, values[-1], depth + 1)

    def _inside(self, path: KeyPath, node: Node, depth: int) -> Iterator[tuple[KeyPath, Place]]:
        if depth > _DEEPEST:
            return
        if node.type == "inline_table":
            for child in _children(node):
                if child.type == "pair":
                    yield from self._pair(path, child, depth)
        elif node.type == "array":
            for index, element in enumerate(_values(node)):
                inner = (*path, index)
                yield inner, Place(_at(element), _at(element), True)
                yield from self._inside(inner, element, depth + 1)

    def _parts(self, key: Node) -> list[tuple[str, Node]]:
        leaves: list[Node] = []
        stack = [key]
        while stack:
            node = stack.pop()
            if node.type == "dotted_key":
                stack.extend(reversed(node.children))
            elif node.type in _KEYS:
                leaves.append(node)
        # No deeper than what is read: every prefix of a key gets a place, a square of its length.
        return [(_name(leaf), leaf) for leaf in leaves[:_DEEPEST]]

    def _shown(self, at: tuple[int, int]) -> tuple[int, int]:
        row, column = at
        return row + 1, len(self._lines[row][:column].decode(errors="replace")) + 1


def _children(node: Node) -> Iterator[Node]:
    """A node's children, one after the other: as a list they are made in one step."""
    cursor = node.walk()
    more = cursor.goto_first_child()
    while more:
        child = cursor.node
        if child is not None:
            yield child
        more = cursor.goto_next_sibling()


def _at(node: Node) -> tuple[int, int]:
    row, column = node.start_point
    return row, column


def _values(node: Node) -> list[Node]:
    return [child for child in _children(node) if child.is_named and child.type not in ("comment", "ERROR")]


def _name(key: Node) -> str:
    text = (key.text or b"").decode(errors="replace")
    if key.type == "quoted_key":
        try:
            return next(iter(tomllib.loads(f"{text}=0")))
        except ValueError:
            return text
    return text
