"""The documents themselves: every page is found, every link leads somewhere, every example works."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import tomllib

import click
import documents
import pytest
from documents import DOCS, DOCUMENTS, PAGES, README, ROOT, anchors, blocks, file_block, links, prose

import trioworkers
from trioworkers.cli import main
from trioworkers.config import fleet_schema, load_fleet
from trioworkers.plugins import load_installed

OFFLINE = runpy.run_path(str(DOCS / "offline.py"))
LARGEST_README = 8192  # bytes
SECRETS = {
    "HELLO_TOKEN": "123456:abc",
    "SUPPORT_TOKEN": "654321:abc",
    "BOTS_API_TOKEN": "secret",
    "DATABASE_URL": "postgresql://u@h/d",
}
RECIPES = [path for path in PAGES if path.parent.name == "recipes"]
DECISIONS = [path for path in PAGES if path.parent.name == "decisions"]


def name_of(path):
    return str(path.relative_to(ROOT))


def reachable(start):
    """Returns all documents that links lead to, from one document on."""
    found, left = {start}, [start]
    while left:
        new = {path for path, _ in links(left.pop()) if path.suffix == ".md"} - found
        found |= new
        left += new
    return found


def test_the_readme_begins_with_the_two_commands():
    """A newcomer sees first how to run and to test it."""
    first = blocks(README.read_text(), "sh")[0]
    assert README.read_text().startswith("# trioworkers\n\n```sh\nscripts/run ")
    assert [line.split()[0] for line in first.splitlines()] == ["scripts/run", "scripts/test"]


def test_the_readme_is_short():
    """It is read whole; everything else has a page of its own."""
    assert README.stat().st_size <= LARGEST_README


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    """Relative links and anchors exist, on GitHub and in the built site."""
    for path, anchor in links(document):
        assert path.exists(), path
        assert not anchor or anchors(path).count(anchor) == 1, f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_section_stands_twice(document):
    """Two versions of a page that were put together can leave a section of both."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    sections: list[str] = []
    above: list[str] = []
    for level, name in re.findall(r"^(#+) (.*)$", text, re.MULTILINE):
        above = [*above[: len(level) - 1], name]
        sections.append(" / ".join(above))
    assert [section for section in sections if sections.count(section) > 1] == []


@pytest.mark.parametrize("start", [README, DOCS / "index.md"], ids=name_of)
def test_every_page_is_reachable(start):
    """Whoever begins at the README, or at the site's first page, finds every page by links."""
    assert set(PAGES) - reachable(start) == set()


def test_every_page_is_in_the_navigation_once():
    """mkdocs.yml names each page below docs/, and no other."""
    text = (ROOT / "scripts/mkdocs.yml").read_text()
    named = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", text.partition("\nnav:\n")[2], re.MULTILINE)
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


@pytest.mark.parametrize("document", DECISIONS, ids=name_of)
def test_a_decision_has_its_parts(document):
    """Each says the situation, what was decided, and what was rejected; the index names each page once."""
    headings = re.findall(r"^## (.*)$", document.read_text(), re.MULTILINE)
    if document.name not in ("index.md", "smaller-decisions.md"):
        assert [name for name in headings if name != "Figures"] == ["Context", "Decision", "Alternatives"]
        assert [path for path, _ in links(DOCS / "decisions/index.md")].count(document) == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_code_blocks_are_right(document, tmp_path):
    """Python compiles, shell parses, and each piece of a fleet file is accepted as one."""
    text = document.read_text()
    for block in blocks(text, "python"):
        compile(block, document.name, "exec")
    for block in blocks(text, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)  # noqa: S607 - any bash
    (tmp_path / "token").write_text("123456:abc")  # that of the tutorial's bot
    for block in blocks(text, "toml"):
        tomllib.loads(block)
        if document in RECIPES:  # which have tests of their own, and files that are no fleet files
            continue
        path = tmp_path / "fleet.toml"
        path.write_text(block)
        load_fleet(path, SECRETS)


def test_a_file_is_the_same_wherever_it_is_shown():
    """The first bot stands in the README and on the first page; each recipe has files of its own."""
    shown: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        if document in RECIPES:
            continue
        for language in ("python", "toml"):
            for block in blocks(document.read_text(), language):
                if found := re.match(r"# (\w+\.(?:py|toml))\n", block):
                    shown.setdefault(found[1], set()).add(block)
    assert shown.keys() == {
        "albums.py",
        "audit.py",
        "fleet.toml",
        "greet.py",
        "hello.py",
        "news.py",
        "reminder.py",
        "shop.py",
        "short.py",
        "test_handle.py",
        "test_hello.py",
        "test_pays.py",
        "test_reminder.py",
        "test_short.py",
        "words.py",
    }
    assert [name for name, texts in shown.items() if len(texts) > 1] == []


def test_the_fleet_file_of_the_readme_is_good(tmp_path):
    """The bot that a newcomer copies is accepted."""
    path = tmp_path / "fleet.toml"
    path.write_text(file_block(README.read_text(), "toml", "fleet.toml"))
    assert list(load_fleet(path, SECRETS).bots) == ["hello"]


def commands_shown(text):
    """Yields each command line of ours in a document, from its blocks and from between backticks."""
    for line in [*"\n".join(blocks(text, "sh")).splitlines(), *documents.code(prose(text))]:
        if line.startswith("trioworkers "):
            words = shlex.split(line, comments=True)[1:]
            yield words[2:] if words[:1] == ["-c"] else words


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_that_are_shown_exist(document):
    """Verbs and options, wherever a document shows a command."""
    for words in commands_shown(document.read_text()):
        command: click.Command = main
        context = click.Context(main)
        names = [word for word in words if not word.startswith(("-", "["))]
        while isinstance(command, click.Group) and names and not names[0].isupper():
            found = command.get_command(context, names.pop(0))
            assert found is not None, words
            command = found
        options = {name for option in command.params for name in option.opts} | {"--help"}
        assert command is main or {word for word in words if word.startswith("-")} <= options, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_names_of_the_package_that_are_shown_exist(document):
    """What a document says can be imported is there: `trioworkers.InputFile` and the like."""
    text = document.read_text()
    shown = set(re.findall(r"\btrioworkers\.([A-Z]\w+)", text))
    for names in re.findall(r"^from trioworkers import (.+)$", text, re.MULTILINE):
        shown.update(names.split(", "))
    assert [name for name in shown if not hasattr(trioworkers, name)] == []


def test_what_a_page_loads_from_elsewhere_is_found():
    """Scripts, styles, fonts, pictures and frames of other hosts; links may lead anywhere."""
    html = """
      <link rel="stylesheet" href="https://a.example/a.css"><link rel="icon" href="img/favicon.ico">
      <script src="//b.example/b.js"></script><script src="js/base.js"></script>
      <img src="http://c.example/c.png"><a href="https://d.example/">there</a>
      <img srcset="e.png 1x, https://e.example/e.png 2x">
      <style>@import "https://f.example/f.css"; p { background: url(g.png) }</style>
      <p style="background: url('https://g.example/g.png')">https://h.example/</p>
    """
    hosts = [re.findall(r"\w\.example", address)[0] for address in OFFLINE["foreign_in_html"](html)]
    assert hosts == [f"{letter}.example" for letter in "abcefg"]
    css = '@import url("//a.example/a.css"); b { src: url(../b.woff2), url(data:image/svg+xml;https://c/) }'
    assert OFFLINE["foreign_in_css"](css) == ["//a.example/a.css"]


def test_a_site_is_checked_with_all_its_files(tmp_path):
    """Pages and style sheets in any folder; a folder without pages is an error, not a clean site."""
    with pytest.raises(FileNotFoundError):
        OFFLINE["check"](tmp_path)
    (tmp_path / "css").mkdir()
    (tmp_path / "index.html").write_text("<p>fine</p>")
    assert OFFLINE["check"](tmp_path) == []
    (tmp_path / "css/a.css").write_text("@import 'https://a.example/';")
    assert OFFLINE["check"](tmp_path) == ["css/a.css: https://a.example/"]


def test_the_schema_file_is_that_of_the_code():
    """fleet.schema.json is what `trioworkers schema` prints."""
    assert json.loads((ROOT / "fleet.schema.json").read_text()) == fleet_schema(load_installed().models())
