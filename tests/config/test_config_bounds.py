"""Texts that would take a file's reader the square of their size: refused, or read in one pass."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from trioworkers import nearest as nearest_module
from trioworkers.config import FleetFileError, load_fleet
from trioworkers.config import settings as declared
from trioworkers.config.bounds import DEEPEST, too_deep_key
from trioworkers.config.lean import find_state_dir
from trioworkers.config.messages import MOST, faults
from trioworkers.config.positions import Positions
from trioworkers.config.settings import BotSettings
from trioworkers.config.toml import Source, parse_source
from trioworkers.config.values import MOST_ITEMS
from trioworkers.masking import MASK, mask_tokens
from trioworkers.nearest import LONGEST, nearest

FILE = Path("fleet.toml")
BOT = '[bots.a]\ntoken = "1:abc"\nhandler = "a:b"\n'


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With how many names each name was compared."""
    found: list[int] = []
    was = difflib.get_close_matches

    def noting(name: str, names: list[str], **more: Any) -> list[str]:
        found.append(len(names))
        return was(name, names, **more)

    monkeypatch.setattr(nearest_module, "get_close_matches", noting)
    return found


def keys(part: str, count: int, dot: str = ".") -> str:
    return dot.join([part] * count)


@pytest.mark.parametrize("part", ["a", "1", '"a b"', "'a.b'", '"\\"."', '""'])
@pytest.mark.parametrize(
    ("before", "after"), [("", " = 1"), ("[", "]"), ("[[", "]]"), ("x = {a = 1, ", " = 1}")]
)
@pytest.mark.parametrize("dot", [".", " . ", "\t."])
def test_a_key_of_very_many_parts_is_not_read(
    monkeypatch: pytest.MonkeyPatch, part: str, before: str, after: str, dot: str
) -> None:
    """tomllib takes 9 s and 4 GB for 20,000 of them; it is never asked. The place is told."""
    monkeypatch.setattr(tomllib, "loads", None)
    text = f"# no key\n{before}{keys(part, 20_000, dot)}{after}\n"
    found = parse_source(FILE, text.encode())
    assert isinstance(found, list)
    assert [str(problem) for problem in found] == [
        f"fleet.toml:2:{len(before) + 1}: nested too deeply, expected at most {DEEPEST} levels"
    ]


@pytest.mark.parametrize(
    "text",
    [
        f't = "{keys("a", 99)}"',
        f"t = '{keys('a', 99)}'",
        f't = """\n{keys("a", 99)}\n"""',
        f"t = '''\n{keys('a', 99)}\n'''",
        f'# "{keys("a", 99)}\nt = 1',
        f't = "\\"{keys("a", 99)}"',
        f't = ""  # "{keys("a", 99)}',
        f't = """a""""  # {keys("a", 99)}',
        f't = """\\"""{keys("a", 99)}"""',
        f"{keys('a', DEEPEST)} = 1",
    ],
)
def test_dots_that_are_no_keys(text: str) -> None:
    """In strings, in comments, and in a key that is just deep enough."""
    tomllib.loads(text)
    assert too_deep_key(text) is None


@given(st.text(alphabet="ab.\"'\\#=[]{} \n", max_size=60))
@example('"""')
@example("'" * 7)
def test_what_is_read_has_no_too_deep_key(text: str) -> None:
    """Whatever it looks like: no file that was good before is refused now, nor is any key of it missed."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert too_deep_key(text) is None
    assert too_deep_key(tomli_w.dumps(tables)) is None
    assert too_deep_key(f"{text}\n[{keys('z', DEEPEST + 1)}]") is not None


@pytest.mark.parametrize(
    "piece", ['"', "'", '"""', "'''", '"\\', "\\", "a.", "'a'.", '"\n', "a.b.c\n", '"""\\', "''a", ".", "# "]
)
def test_a_long_text_is_looked_through_once(piece: str) -> None:
    """Of any sort; a look that took the square of it would not come back."""
    assert (too_deep_key(piece * 400_000 + "." * DEEPEST) is None) == (piece not in ("a.", "'a'."))


def test_lines_of_a_broken_file_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look for the daemon's folders on the good lines of a file that is none."""
    read: list[str] = []
    was = tomllib.loads

    def noting(text: str) -> dict[str, Any]:
        read.append(text)
        return was(text)

    lines = [
        keys("a", 20_000) + " = 1",
        "[fleet]",
        'state_dir = "there"',
        "[" + " " * 100_000,
    ]
    (tmp_path / "fleet.toml").write_text("\n".join(lines))
    monkeypatch.setattr(tomllib, "loads", noting)
    assert find_state_dir(tmp_path / "fleet.toml", {}) == tmp_path / "there"
    assert max(map(len, read)) < 100


def test_a_large_file_that_is_no_toml_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a small one, all faults are found by reading it again and again."""
    counts = []
    for size in (10, 100_000):
        reads: list[int] = []
        was = tomllib.loads

        def noting(text: str, was: Any = was, reads: list[int] = reads) -> Any:
            reads.append(len(text))
            return was(text)

        monkeypatch.setattr(tomllib, "loads", noting)
        assert isinstance(parse_source(FILE, b"x = \n" * 3 + b"ok = 1\n" * size), list)
        monkeypatch.undo()
        counts.append(len(reads))
    assert counts[0] > 1
    assert counts[1] == 1


def test_places_are_counted_when_they_are_asked_for() -> None:
    """Counting the characters of a line for each of its values takes the square of them."""
    source = parse_source(FILE, ("x = [" + "1, " * 200_000 + ']\ny = { "ä" = 1, z = 2 }').encode())
    assert isinstance(source, Source)
    assert ("x", 199_999) in source.positions
    assert "_lines" not in vars(source.positions)
    assert source.positions.value(("x", 199_999)) == (1, 6 + 3 * 199_999)
    assert source.positions.key(("y", "z")) == (2, 16)
    assert Positions(b"").value(("x",)) == (1, 1)


def arrays_of(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if _is_array(field.annotation)]


def _is_array(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is tuple or any(map(_is_array, get_args(annotation)))


ARRAYS = [
    (model, name)
    for model in vars(declared).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel
    for name in arrays_of(model)
]


class _Sliced(bytes):
    """A file's bytes that note how much of them is asked for at once."""

    slices: list[int]

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        if isinstance(at, slice):
            self.slices.append(len(part))
        return part


def test_a_file_is_parsed_block_by_block() -> None:
    """The parser keeps the interpreter to itself in each step, and so holds up all bots."""
    source = _Sliced(b"x = [" + b'"\xc3\xa9", ' * 20_000 + b"1]\ny = 1\n")
    source.slices = []
    positions = Positions(source)
    assert positions.value(("y",)) == (2, 5)
    assert positions.value(("x", 20_000)) == (1, 6 + 5 * 20_000)
    assert sum(source.slices) >= len(source)
    assert max(source.slices) <= 4096


def test_there_are_arrays() -> None:
    """The next test looks at something."""
    assert (BotSettings, "allowed_updates") in ARRAYS
    assert len(ARRAYS) >= 6


@pytest.mark.parametrize(("model", "name"), ARRAYS, ids=lambda given: getattr(given, "__name__", given))
def test_a_very_long_array_is_one_fault(model: type[BaseModel], name: str, compared: list[int]) -> None:
    """100,000 kinds of updates took 7.8 s: each was compared with all kinds there are."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate({name: ["mesage"] * 100_000})
    told = [message for path, message, _ in faults(model, caught.value) if path[0] == name]
    assert told == [f"expected at most {MOST_ITEMS:,} values, got 100,000"]
    assert compared == []


def test_very_many_unknown_keys(tmp_path: Path, compared: list[int]) -> None:
    """As many as anybody reads are told, and have a hint."""
    unknown = "".join(f"tokeen{number} = 1\n" for number in range(20_000))
    for before in (BOT, BOT + "[limits]\n", ""):
        compared.clear()
        (tmp_path / "fleet.toml").write_text(before + unknown + (BOT if not before else ""))
        with pytest.raises(FleetFileError) as caught:
            load_fleet(tmp_path / "fleet.toml", {})
        assert 0 < len(caught.value.problems) <= MOST
        assert len(compared) <= MOST


def test_very_many_bad_bots(tmp_path: Path) -> None:
    """Some thousand problems are enough."""
    bad = "".join(f'[bots.b{number}]\ntoken = "x"\nhandler = "a"\n' for number in range(3_000))
    (tmp_path / "fleet.toml").write_text(bad)
    with pytest.raises(FleetFileError) as caught:
        load_fleet(tmp_path / "fleet.toml", {})
    assert 1_000 <= len(caught.value.problems) < 1_100


def test_a_key_that_is_a_page_long_is_told_in_part(tmp_path: Path) -> None:
    """And a long number in it is no token for minutes."""
    (tmp_path / "fleet.toml").write_text(f"{BOT}{'1' * 1_000_000} = 1\n")
    with pytest.raises(FleetFileError) as caught:
        load_fleet(tmp_path / "fleet.toml", {})
    (problem,) = caught.value.problems
    assert len(str(problem)) < 3_000
    assert mask_tokens("1" * 1_000_000) == "1" * 1_000_000
    assert mask_tokens(f"x{'1' * 300}:abcdefgh!") == f"x{MASK}!"


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("tokem", ["token", "handler"], "token"),
        ("nothing", ["token", "handler"], None),
        ("", ["token"], None),
        ("x" * (LONGEST + 1), ["x" * LONGEST], None),
        ("bot-77", [f"bot-{number}" for number in range(50)], "bot-7"),
    ],
)
def test_the_nearest_name(name: str, known: list[str], expected: str | None) -> None:
    """The most alike, if any is alike."""
    assert nearest(name, known) == expected


def test_one_name_among_very_many(compared: list[int]) -> None:
    """Ten thousand bots are not compared letter by letter; those that begin alike come first."""
    known = [f"{letter}{number:05}" for letter in "abcdefghij" for number in range(5_000)]
    assert nearest("j00007x", known) == "j00007"
    assert max(compared) <= nearest_module.MOST
