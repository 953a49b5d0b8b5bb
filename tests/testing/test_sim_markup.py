"""Formatted texts, as Telegram reads them: what is shown, with which entities, and what is refused."""

from __future__ import annotations

import random

import pytest

from trioworkers.testing.markup.cleaning import clean, is_blank
from trioworkers.testing.markup.formatted import MADE_BY_BOTS, BadText, read_formatted
from trioworkers.testing.markup.links import BadLink, check_link
from trioworkers.testing.markup.nesting import CODE, QUOTES, end_of, nest


def entity(kind, offset, length, **more):
    return {"type": kind, "offset": offset, "length": length, **more}


@pytest.mark.parametrize(
    ("text", "shown", "entities"),
    [
        ("plain", "plain", []),
        ("<b>bold</b>", "bold", [entity("bold", 0, 4)]),
        ("<strong>a</strong><em>b</em>", "ab", [entity("bold", 0, 1), entity("italic", 1, 1)]),
        (
            "<b>a <i>b</i></b>",
            "a b",
            [entity("bold", 0, 2), entity("bold", 2, 1), entity("italic", 2, 1)],
        ),
        ("<pre>a <code>b</code></pre>", "a b", [entity("pre", 0, 3)]),
        ("<code><pre>a</pre></code>", "a", [entity("pre", 0, 1)]),
        ("<code> a</code>", " a", [entity("code", 0, 2)]),
        (
            '<a href="x.org">a <code>b</code> <b>c</b></a>',
            "a b c",
            [entity("text_link", 0, 5, url="http://x.org/"), entity("bold", 4, 1)],
        ),
        (
            "<blockquote>a <blockquote>b</blockquote> <code>c</code></blockquote>",
            "a b c",
            [entity("blockquote", 0, 5), entity("code", 4, 1)],
        ),
        (
            '<a href="x.org">a <blockquote>b</blockquote></a>',
            "a b",
            [entity("blockquote", 2, 1)],
        ),
        (
            "<blockquote> <code> a</code></blockquote>",
            " a",
            [entity("blockquote", 0, 2), entity("code", 0, 2)],
        ),
        ("a\tb\r\n<b>c</b>", "a b\nc", [entity("bold", 4, 1)]),
        ("<b>a\r</b>\u202e<i>b</i>", "ab", [entity("bold", 0, 1), entity("italic", 1, 1)]),
        ("<u>a</u> <ins>b</ins>", "a b", [entity("underline", 0, 1), entity("underline", 2, 1)]),
        (
            "<s>a</s> <del>b</del> <strike>c</strike>",
            "a b c",
            [entity("strikethrough", at, 1) for at in (0, 2, 4)],
        ),
        ('<span class="tg-spoiler">x</span>', "x", [entity("spoiler", 0, 1)]),
        ("<tg-spoiler>x</tg-spoiler>", "x", [entity("spoiler", 0, 1)]),
        ("😀 <b>x</b>", "😀 x", [entity("bold", 3, 1)]),
        ("<code>a &lt;b&gt; &amp; &quot;c&quot;</code>", 'a <b> & "c"', [entity("code", 0, 11)]),
        ("&#128512;&#x1F600;<i>x</i> &nbsp; &", "😀😀x &nbsp; &", [entity("italic", 4, 1)]),
        (
            '<a href="https://x.org/?a=1&amp;b=2">l</a>',
            "l",
            [entity("text_link", 0, 1, url="https://x.org/?a=1&b=2")],
        ),
        ("<a href='x.org'>l</a>", "l", [entity("text_link", 0, 1, url="http://x.org/")]),
        ("<a>x.org</a>", "x.org", [entity("text_link", 0, 5, url="http://x.org/")]),
        ('<a href="nonsense">l</a>', "l", []),
        ('<a href="tg://user?id=7">l</a>', "l", [entity("text_mention", 0, 1, user={"id": 7})]),
        ("<pre>x</pre>", "x", [entity("pre", 0, 1)]),
        ('<pre><code class="language-py">x</code></pre>', "x", [entity("pre", 0, 1, language="py")]),
        ('<code class="language-py">x</code>', "x", [entity("code", 0, 1)]),
        (
            "<b>a <code>b</code> c</b>",
            "a b c",
            [entity("bold", 0, 2), entity("code", 2, 1), entity("bold", 4, 1)],
        ),
        ("<blockquote>q</blockquote>", "q", [entity("blockquote", 0, 1)]),
        ("<blockquote expandable>q</blockquote>", "q", [entity("expandable_blockquote", 0, 1)]),
        ('<tg-emoji emoji-id="53">👍</tg-emoji>', "👍", [entity("custom_emoji", 0, 2, custom_emoji_id="53")]),
        (
            '<tg-time unix="1647531900" format="wDT">now</tg-time>',
            "now",
            [entity("date_time", 0, 3, unix_time=1647531900, date_time_format="wDT")],
        ),
        ("<b>a</b><b>b</b>", "ab", [entity("bold", 0, 2)]),
        ("  <b> x </b>  ", "x", [entity("bold", 0, 1)]),
        ("<b>  </b>x", "x", []),
        ("<B>x</b >", "x", [entity("bold", 0, 1)]),
    ],
)
def test_html(text, shown, entities):
    """Tags become entities in UTF-16 units, references become characters, and the text is trimmed."""
    assert read_formatted(text, "HTML") == (shown, entities)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ä <x>", 'Unsupported start tag "x" at byte offset 3'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("<br/>", 'Unsupported start tag "br/" at byte offset 0'),
        ("1 <b", "Unclosed start tag at byte offset 2"),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ('<span class="x">', 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("<a href>", 'Expected equal sign in declaration of an attribute of the tag "a" at byte offset 0'),
        ('<a ="x">', 'Empty attribute name in the tag "a" at byte offset 0'),
        ('<a href="x', "Unclosed start tag at byte offset 0"),
        ("<a href=x/y>", "Unexpected end of name token at byte offset 8"),
        ('<tg-emoji emoji-id="x">👍</tg-emoji>', "Invalid custom emoji identifier specified"),
    ],
)
def test_broken_html(text, words):
    """Telegram says what is wrong, and at which byte."""
    with pytest.raises(BadText) as caught:
        read_formatted(text, "html")
    assert str(caught.value) == f"can't parse entities: {words}"


@pytest.mark.parametrize(
    ("text", "shown", "entities"),
    [
        ("*a* _b_ __c__ ~d~ ||e|| `f`", "a b c d e f", None),
        ("*a _b_*", "a b", [entity("bold", 0, 2), entity("bold", 2, 1), entity("italic", 2, 1)]),
        (
            "__a _b_ __",
            "a b",
            [entity("underline", 0, 2), entity("italic", 2, 1), entity("underline", 2, 1)],
        ),
        (r"1\.5 \* 2 \= 3\!", "1.5 * 2 = 3!", []),
        (r"[l](https://x.org/\)a)", "l", [entity("text_link", 0, 1, url="https://x.org/)a")]),
        ("[l](tg://user?id=7)", "l", [entity("text_mention", 0, 1, user={"id": 7})]),
        ("```py\nx = 1\n```", "x = 1", [entity("pre", 0, 5, language="py")]),
        ("```\nx_y*z\n```", "x_y*z", [entity("pre", 0, 5)]),
        ("`a_b\\`c`", "a_b`c", [entity("code", 0, 5)]),
        (">q\n>r\nx", "q\nr\nx", [entity("blockquote", 0, 4)]),
        (">q\n>r||", "q\nr", [entity("expandable_blockquote", 0, 3)]),
        (">a\n**>b", "a\nb", [entity("blockquote", 0, 2), entity("blockquote", 2, 1)]),
        ("![👍](tg://emoji?id=53)", "👍", [entity("custom_emoji", 0, 2, custom_emoji_id="53")]),
        (
            "![now](tg://time?unix=5&format=t)",
            "now",
            [entity("date_time", 0, 3, unix_time=5, date_time_format="t")],
        ),
        ("😀*x*", "😀x", [entity("bold", 2, 1)]),
    ],
)
def test_markdown_v2(text, shown, entities):
    """Marks may be nested; in code only a backtick ends it."""
    got, found = read_formatted(text, "MarkdownV2")
    assert got == shown
    if entities is None:
        kinds = ["bold", "italic", "underline", "strikethrough", "spoiler", "code"]
        entities = [entity(kind, 2 * at, 1) for at, kind in enumerate(kinds)]
    assert found == entities


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.b", r"Character '.' is reserved and must be escaped with the preceding '\'"),
        ("1 > 0", r"Character '>' is reserved and must be escaped with the preceding '\'"),
        ("a|b", r"Character '|' is reserved and must be escaped with the preceding '\'"),
        ("ä *x", "Can't find end of Bold entity at byte offset 3"),
        ("_x", "Can't find end of Italic entity at byte offset 0"),
        ("__x_", "Can't find end of Italic entity at byte offset 3"),
        ("``` x", "Can't find end of Pre entity at byte offset 0"),
        ("```py\nx", "Can't find end of PreCode entity at byte offset 0"),
        (">*a\nb", "Can't find end of Bold entity at byte offset 1"),
        ("[a](b", "Can't find end of a URL at byte offset 4"),
        ("[a", "Can't find end of TextUrl entity at byte offset 0"),
        ("![a]", "Custom emoji entity must contain a tg://emoji URL"),
        ("![a](tg://emoji?id=5", "Can't find end of a custom emoji URL at byte offset 5"),
    ],
)
def test_broken_markdown_v2(text, words):
    """Telegram says what is wrong, and at which byte."""
    with pytest.raises(BadText) as caught:
        read_formatted(text, "MarkdownV2")
    assert str(caught.value) == f"can't parse entities: {words}"


@pytest.mark.parametrize(
    ("text", "shown", "entities"),
    [
        ("*a* _b_ `c`", "a b c", [entity("bold", 0, 1), entity("italic", 2, 1), entity("code", 4, 1)]),
        ("[l](x.org)", "l", [entity("text_link", 0, 1, url="http://x.org/")]),
        ("```py\nx```", "x", [entity("pre", 0, 1, language="py")]),
        ("a.b-c! \\_ \\x", "a.b-c! _ \\x", []),
        ("*a_b*", "a_b", [entity("bold", 0, 3)]),
    ],
)
def test_markdown(text, shown, entities):
    """The old one: nothing is nested, and only four characters are special."""
    assert read_formatted(text, "Markdown") == (shown, entities)


def test_broken_markdown():
    """A name with an underscore, which everybody sends once."""
    with pytest.raises(BadText, match="Can't find end of the entity starting at byte offset 5"):
        read_formatted("snake_case", "markdown")


def test_entities_of_a_bots_own():
    """They are kept in order; those that Telegram finds by itself are left out, and links are completed."""
    given = [
        entity("bold", 2, 1),
        entity("text_link", 0, 1, url="x.org"),
        entity("url", 0, 1),
        entity("italic", 1, 0),
    ]
    expected = [entity("text_link", 0, 1, url="http://x.org/"), entity("bold", 2, 1)]
    assert read_formatted("a b", "", given) == ("a b", expected)
    assert read_formatted("<b>a</b>", "HTML", given)[1] == [entity("bold", 0, 1)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            [entity("bold", 0, 4), entity("italic", 2, 4)],
            [entity("bold", 0, 2), entity("italic", 2, 4), entity("bold", 2, 2)],
        ),
        ([entity("code", 0, 4), entity("pre", 2, 4)], [entity("code", 0, 4)]),
        ([entity("code", 2, 2), entity("italic", 0, 6)], None),
        ([entity("bold", 0, 2), entity("bold", 1, 3)], [entity("bold", 0, 4)]),
        ([entity("blockquote", 0, 4), entity("expandable_blockquote", 3, 3)], [entity("blockquote", 0, 4)]),
        ([entity("blockquote", 0, 4), entity("code", 2, 4)], [entity("blockquote", 0, 4)]),
    ],
)
def test_entities_that_overlap(given, kept):
    """Each is inside of another or apart from it, by cutting styles and by leaving out others."""
    if kept is None:
        kept = [entity("italic", 0, 2), entity("code", 2, 2), entity("italic", 4, 2)]
    assert read_formatted("abcdef", "", given) == ("abcdef", kept)


@pytest.mark.parametrize("seed", range(40))
def test_any_entities_are_nested_as_the_rules_say(seed):
    """No two cross, code holds nothing, quotations do not nest; doing it twice changes nothing."""
    dice = random.Random(seed)
    given = [
        entity(dice.choice(sorted(MADE_BY_BOTS)), dice.randrange(30), dice.randrange(1, 12))
        for _ in range(dice.randrange(2, 15))
    ]
    kept = nest(given)
    assert nest(kept) == kept
    assert {one["type"] for one in kept} <= {one["type"] for one in given}
    for number, one in enumerate(kept):
        for inner in kept[number + 1 :]:
            if inner["offset"] >= end_of(one):
                continue
            assert end_of(inner) <= end_of(one)
            assert one["type"] not in CODE
            assert one["type"] not in QUOTES or inner["type"] not in QUOTES
    styled = {(one["type"], at) for one in given for at in range(one["offset"], end_of(one))}
    shown = {(one["type"], at) for one in kept for at in range(one["offset"], end_of(one))}
    in_code = {at for kind, at in shown if kind in CODE}
    assert {(kind, at) for kind, at in styled if kind in {"bold", "spoiler"}} == {
        (kind, at) for kind, at in styled & shown if kind in {"bold", "spoiler"}
    } | {(kind, at) for kind, at in styled if kind in {"bold", "spoiler"} and at in in_code}


@pytest.mark.parametrize(
    "text", ["", " \n", "\t", "\u00a0", "\u200b\u200d", "\u2800", "\ufeff", "\U000e0041"]
)
def test_a_text_of_which_nothing_is_seen(text):
    """Telegram refuses it; a letter beside it is enough."""
    assert is_blank(clean(text))
    assert not is_blank(clean(text + "a"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "expected an Array of MessageEntity"),
        (["x"], "can't parse MessageEntity: expected an Object"),
        ([{"type": "bold", "length": 1}], "can't parse MessageEntity: Can't find field \"offset\""),
        ([entity("blink", 0, 1)], "can't parse MessageEntity: Unsupported type specified"),
        ([entity("text_link", 0, 1)], "can't parse MessageEntity: Can't find field \"url\""),
        ([entity("bold", "x", 1)], 'can\'t parse MessageEntity: Field "offset" must be a valid Number'),
        ([entity("bold", -1, 1)], "receive an entity with incorrect offset -1"),
        ([entity("bold", 0, -1)], "receive an entity with incorrect length -1"),
        (
            [entity("bold", 2, 9)],
            "entity beginning at UTF-16 offset 2 ends after the end of the text at UTF-16 offset 11",
        ),
        ([entity("bold", 2, 1)], "entity begins in a middle of a UTF-16 symbol at byte offset 1"),
        (
            [entity("bold", 0, 2)],
            "entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at byte offset 1",
        ),
        ([entity("text_link", 0, 1, url="x")], "entity URL 'x' is invalid: Wrong HTTP URL"),
    ],
)
def test_entities_that_do_not_fit(given, words):
    """Of the text `a😀bc`: one unit, two, one, one."""
    if given == {}:
        given = {"type": "bold"}
    with pytest.raises(BadText) as caught:
        read_formatted("a😀bc", "", given)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("x.org", "http://x.org/"),
        ("https://x.org:8443/a?b#c", "https://x.org:8443/a?b#c"),
        ("https://x.org?b", "https://x.org/?b"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/"),
        ("tg://resolve?domain=x", "tg://resolve?domain=x"),
    ],
)
def test_links(url, kept):
    """They are completed as Telegram shows them."""
    assert check_link(url) == kept


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost", "Wrong HTTP URL"),
        ("http://localhost:8080/x", "Wrong HTTP URL"),
        ("http://a b.org", "Wrong HTTP URL"),
        ("", "Wrong HTTP URL"),
        ("mailto://x.org", "Unsupported URL protocol"),
    ],
)
def test_bad_links(url, words):
    """What Telegram would not open is refused."""
    with pytest.raises(BadLink) as caught:
        check_link(url)
    assert str(caught.value) == f"URL '{url}' is invalid: {words}"


def test_a_web_app_is_on_https():
    """Other schemes are refused."""
    with pytest.raises(BadLink, match="Only HTTPS links are allowed"):
        check_link("http://x.org", https_only=True)
