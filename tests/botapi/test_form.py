"""Forms of uploads: a parser of somebody else reads what was meant, and no file is copied."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multipart import MultipartParser, parse_options_header

from trioworkers.botapi.form import FilePart, encode_form, new_boundary

BOUNDARY = b"0123456789abcdef"


def _whole(form):
    return b"".join(part for part in form.parts if isinstance(part, bytes))


def parsed(form):
    """The parts that a strict parser finds: name, file name, content type, content."""
    kind, options = parse_options_header(form.content_type.decode())
    assert kind == "multipart/form-data"
    body = _whole(form)
    assert len(body) == form.length
    parts = MultipartParser(
        io.BytesIO(body), options["boundary"], content_length=form.length, strict=True, spool_limit=10**7
    )
    return [(part.name, part.filename, part.content_type, part.raw) for part in parts]


def as_read(name):
    """What is read of a name: the parser turns back what browsers write, but none of ours beside."""
    kept = {chr(code): f"%{code:02X}" for code in (*range(0x20), 0x7F, ord(";"))}
    del kept["\r"], kept["\n"]
    return name.translate(str.maketrans(kept))


# names that hold the browsers' own escapes are read as what these stand for, in every parser
names = st.text(max_size=20).filter(lambda text: "%" not in text and "\\" not in text)
contents = st.one_of(
    st.binary(max_size=50), st.sampled_from([b"\r\n", b"\r\n--", b"--" + BOUNDARY[:-1], b"-"])
)


@given(
    st.dictionaries(names.filter(bool), st.text(max_size=30), max_size=3),
    st.dictionaries(names.filter(bool), st.tuples(names.filter(bool), contents), max_size=3),
)
@example({"caption": 'two\nlines\r\nand "quotes"'}, {"a": ('x"; name="evil.txt', b"\r\n--" + BOUNDARY[:-1])})
@example({"chat_id": "7"}, {})
@example({}, {"document": ("relatório.pdf", b"")})
def test_what_is_encoded_is_read(fields, files):
    """Names, texts and contents, whatever they hold, fields first; the length is known before."""
    parts = {name: FilePart(filename, content, "image/png") for name, (filename, content) in files.items()}
    form = encode_form(fields, parts, BOUNDARY)
    assert parsed(form) == [
        *((as_read(name), None, "text/plain", text.encode()) for name, text in fields.items()),
        *((as_read(name), as_read(part.filename), "image/png", part.content) for name, part in parts.items()),
    ]


def test_the_content_of_a_file_is_not_copied():
    """The object that was given is the one that is sent."""
    contents = [bytes(10**6), b"small"]
    files = {f"file{number}": FilePart("x", content, "a/b") for number, content in enumerate(contents)}
    form = encode_form({"a": "b"}, files, BOUNDARY)
    assert [part for part in form.parts if any(part is content for content in contents)] == contents
    assert len(form.parts) == 5  # what is between them is in one piece each


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("plain.txt", b"plain.txt"),
        ("отчёт.pdf", "отчёт.pdf".encode()),
        ('a"b', b"a%22b"),
        ("a\r\nb", b"a%0D%0Ab"),
        ("a\\b", b"a\\b"),
        ("a%22b", b"a%22b"),
        ("a;b.txt", b"a%3Bb.txt"),
        ("a\x00\t\x1b\x7f", b"a%00%09%1B%7F"),
        ("a\udcffb", b"a?b"),
    ],
)
def test_names_are_quoted_as_browsers_do(name, written):
    """And control characters and semicolons in the same way."""
    lines = _whole(encode_form({}, {"f": FilePart(name, b"", "a/b")}, BOUNDARY)).split(b"\r\n")
    assert lines[1] == b'Content-Disposition: form-data; name="f"; filename="%s"' % written
    lines = _whole(encode_form({name: "x"}, {}, BOUNDARY)).split(b"\r\n")
    assert lines[1] == b'Content-Disposition: form-data; name="%s"' % written


@pytest.mark.parametrize("content_type", ["a/b\r\nX: y", "a/b\n", "", "a/\u00e9", "a\x00b"])
def test_a_content_type_adds_no_line(content_type):
    """What could be another header is refused, and not quoted."""
    with pytest.raises(ValueError, match=r"^content_type of a file: expected visible ASCII characters$"):
        encode_form({}, {"f": FilePart("x", b"", content_type)}, BOUNDARY)


def test_boundaries_differ():
    """Each has 128 random bits, in letters that every server accepts."""
    boundaries = {new_boundary() for _ in range(100)}
    assert len(boundaries) == 100
    assert all(len(one) == 32 and one.isalnum() for one in boundaries)
