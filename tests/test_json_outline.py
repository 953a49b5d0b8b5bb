"""The outline of JSON that no decoder takes: against a decoder, where there is one that does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.json_outline import elements, is_object, member

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.lists(values), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_an_array_are_found(whole, indent, ascii_only):
    """Whatever their texts hold, and whatever white space is between them."""
    found = elements(json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass"))
    assert found is not None
    assert [json.loads(one.decode(errors="surrogatepass")) for one in found] == whole


@given(st.dictionaries(st.text(max_size=2), values), values)
def test_a_member_is_found_by_its_name(others, value):
    """Also where texts and inner objects look like it."""
    whole = {**others, "inner": {"result": 1}, "text": '"result":', "result": value}
    text = json.dumps(whole).encode()
    assert is_object(text)
    found = member(text, b"result")
    assert found is not None
    assert json.loads(found) == value
    assert member(text, b"results") is None


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b"]", b"[]]", b"[[]", b"[}", b'["]', b"{}", b"[],[]", b"7", b'[{"a":]}', b'"[]"', b"[] x"],
)
def test_what_is_no_whole_array_has_no_elements(text):
    """Cut short, crossed, or something else."""
    assert elements(text) is None


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{}}", b'{"a":[}', b'{"a"', b"[]", b"{} x", b'{"a":"}', b"{},{}"]
)
def test_what_is_no_whole_object_is_none(text):
    """The same for objects."""
    assert not is_object(text)
    assert member(text, b"a") is None


def test_nesting_has_no_end_here():
    """No stack is used up."""
    deep = b"[" * 100_000 + b"]" * 100_000
    assert elements(b"[1," + deep + b"]") == [b"1", deep]
