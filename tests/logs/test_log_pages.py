"""Pages of a log: no line twice, none lost, over rotations, between two looks of somebody who forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.logs.page import LONGEST_LINE, PlaceError, last_lines, lines_after


def test_a_page_begins_where_the_last_one_ended(tmp_path) -> None:
    """Half a line is waited for."""
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nhal")
    page = last_lines(log, 10)
    assert page.lines == ("one", "two")
    with log.open("a") as file:
        file.write("f\nfour\n")
    assert lines_after(log, page.next, 10).lines == ("half", "four")


def test_a_rotation_between_two_pages_loses_nothing(tmp_path) -> None:
    """The rest of the old file comes first, then the new ones."""
    log = tmp_path / "a.log"
    log.write_text("one\n")
    page = last_lines(log, 10)
    with log.open("a") as file:
        file.write("two\n")
    log.rename(tmp_path / "a.log.1")
    log.write_text("three\n")
    page = lines_after(log, page.next, 10)
    assert (page.lines, page.missed) == (("two", "three"), False)
    log.rename(tmp_path / "a.log.2")
    (tmp_path / "a.log.1").unlink()
    (tmp_path / "a.log.2").unlink()
    log.write_text("five\n")
    page = lines_after(log, page.next, 10)
    assert (page.lines, page.missed) == (("five",), True)


def test_a_new_file_with_the_inode_of_a_deleted_one_is_another(tmp_path) -> None:
    """File systems give inodes again: it is read from its beginning."""
    log = tmp_path / "a.log"
    log.write_text("one\n")
    page = last_lines(log, 10)
    inode, _, rest = page.next.partition("-")
    assert inode == str(log.stat().st_ino)
    log.unlink()
    log.write_text("five\nsix\n")
    page = lines_after(log, f"{log.stat().st_ino}-{rest}", 10)
    assert (page.lines, page.missed) == (("five", "six"), True)


def test_a_log_that_does_not_exist_yet_is_followed(tmp_path) -> None:
    """From its first line."""
    log = tmp_path / "a.log"
    page = last_lines(log, 10)
    assert page.lines == ()
    log.write_text("one\n")
    page = lines_after(log, page.next, 10)
    assert (page.lines, page.missed) == (("one",), False)


def test_a_log_that_was_cut_off_is_begun_anew(tmp_path) -> None:
    """As an outside logrotate with copytruncate does."""
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nthree\n")
    page = last_lines(log, 10)
    log.write_text("4\n")
    assert lines_after(log, page.next, 10).lines == ("4",)


def test_long_lines_are_cut_with_a_sign(tmp_path) -> None:
    """A line of some megabytes would hang a browser."""
    log = tmp_path / "a.log"
    log.write_text("é" * 10_000 + "\n" + "\xff\n")
    (long, short) = last_lines(log, 10).lines
    assert long == "é" * LONGEST_LINE + "…"
    assert short == "\xff"


@pytest.mark.parametrize("place", ["", "x", "1", "1-", "-1", "1--1", "٣-٣ ", "1-2-3-4"])
def test_what_is_not_a_place_is_refused(tmp_path, place: str) -> None:
    """With words."""
    with pytest.raises(PlaceError, match="expected the next of an earlier page"):
        lines_after(tmp_path / "a.log", place, 10)


@given(
    st.lists(st.tuples(st.sampled_from(["line", "part", "rotate", "look"]), st.integers(0, 9)), max_size=40)
)
def test_pages_together_are_the_log(tmp_path_factory, steps) -> None:
    """Whatever happens between looks: each finished line is in exactly one page, in order."""
    folder = tmp_path_factory.mktemp("log")
    log = folder / "a.log"
    seen: list[str] = []
    written = ""
    place = last_lines(log, 10).next
    for step, number in [*steps, ("look", 0)]:
        if step in ("line", "part"):
            text = f"{number}\n" if step == "line" else f"{number}"
            with log.open("a") as file:
                file.write(text)
            written += text
        elif step == "rotate" and log.exists() and written.endswith("\n"):
            numbers = sorted((int(path.suffix[1:]) for path in folder.glob("a.log.*")), reverse=True)
            for old in numbers:
                (folder / f"a.log.{old}").rename(folder / f"a.log.{old + 1}")
            log.rename(folder / "a.log.1")
        elif step == "look":
            page = lines_after(log, place, 1000)
            seen += page.lines
            place = page.next
    assert seen == written.split("\n")[:-1]
