"""`trioworkers adopt` on files that are broken, hostile or something else: one clear line, never a crash."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from adopt_examples import ALL, PASSWORD, SECRETS, write_example
from click.testing import CliRunner

from trioworkers.cli import main

ROUNDS = int(os.environ.get("ROUNDS", "150"))
SEED = int(os.environ.get("SEED", "17"))


def adopt(*words):
    """What it says, and its code; whatever it raised is raised here."""
    result = CliRunner().invoke(main, ["adopt", *words], catch_exceptions=False)
    for secret in (*SECRETS, *(token.partition(":")[2] for token in SECRETS), PASSWORD):
        assert secret not in result.output
    return result.exit_code, result.output


BROKEN = {
    "ecosystem.config.json": ('{"apps": [', "ecosystem.config.json:1:11: expected JSON"),
    "process.json": ('{"apps": 3}', "expected an object with apps, a list of objects"),
    "pm2.json": ("[" * 100_000, "pm2.json"),
    "ecosystem.config.yml": ("apps: [", "ecosystem.config.yml:1:8: expected YAML"),
    "docker-compose.yml": ("services: [1, 2]", "expected a table of services"),
    "compose.yaml": ("services:\n  a: &a {<<: *a}\n", "compose.yaml"),
    "supervisord.conf": ("[program:a]\ncommand", "it has no command"),
    "supervisor.conf": ("[program:a\ncommand=b", "supervisor.conf:1: expected sections with KEY = VALUE"),
    "other.txt": ("hello", "expected an ecosystem file of PM2"),
    "missing.json": (None, "missing.json: cannot be read: no such file or directory"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_what_was_expected(here, name):
    """Exit code 1, the file, where that is known, and what it should have been."""
    text, said = BROKEN[name]
    if text is not None:
        (here / name).write_text(text)
    code, output = adopt(name)
    assert (code, said in output) == (1, True), output


def test_what_is_not_a_file_is_not_waited_for(here):
    """A fifo, a folder that is empty, bytes that are not UTF-8, a file of 2 MB, a NUL in the name."""
    os.mkfifo(here / "pm2.json")
    assert "expected a regular file" in adopt("pm2.json")[1]
    (here / "empty").mkdir()
    assert "expected an ecosystem file" in adopt("empty")[1]
    (here / "a.yml").write_bytes(b"services: \xff")
    assert "expected text in UTF-8" in adopt("a.yml")[1]
    (here / "b.yml").write_text("#" * 2**21)
    assert "too large" in adopt("b.yml")[1]


def test_aliases_that_grow_without_end_are_refused(here):
    """A billion laughs in YAML: a few hundred bytes that stand for more than memory holds."""
    levels = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    levels += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    (here / "compose.yml").write_text("\n".join([*levels, "services: {a: {build: .}}"]))
    assert "nested too deep" in adopt("compose.yml")[1]


@pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="an ecosystem file is run by node"
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("module.exports = {", "node could not evaluate it: SyntaxError"),
        ("throw new TypeError(process.env.SECRET)", "node could not evaluate it: TypeError"),
        ("require('not-there')", "node could not evaluate it: Error MODULE_NOT_FOUND"),
        ("module.exports = undefined", "expected an object with apps, a list of objects"),
        ("process.exit(0)", "node could not evaluate it"),
        ("const a = {}; a.a = a; module.exports = a", "node could not evaluate it: TypeError"),
        ("module.exports = () => ({ apps: [] })", "no bot that can be moved was found"),
        (
            "require('fs').writeFileSync(__dirname + '/made', '')",
            "node could not evaluate it: Error ERR_ACCESS",
        ),
        ("require('child_process').execSync('touch made')", "node could not evaluate it: Error ERR_ACCESS"),
    ],
)
def test_a_program_that_describes_nothing(here, text, said):
    """An ecosystem file that raises, exports no object, or tries to write a file or to start a process."""
    (here / "ecosystem.config.js").write_text(text)
    code, output = adopt(".")
    assert (code, said in output) == (1, True), output
    assert not (here / "made").exists()


@pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="an ecosystem file is run by node"
)
def test_an_ecosystem_file_is_given_no_variable_of_ours(here, monkeypatch):
    """What it reads from its environment is told by name: the value of this environment reaches nothing."""
    monkeypatch.setenv("SHOP_TOKEN", SECRETS[0])
    (here / "bot.js").write_text("new (require('telegraf').Telegraf)(process.env.T)")
    (here / "ecosystem.config.mjs").write_text(
        "const env = { T: `${process.env.SHOP_TOKEN}`, U: `-${process.env.X}` };\n"
        "export default { apps: [{ script: 'bot.js', env }] };\n"
    )
    code, output = adopt("ecosystem.config.mjs")
    assert code == 1  # `new (…)(…)` is more than can be seen
    (here / "bot.js").write_text("const { Telegraf } = require('telegraf'); new Telegraf(process.env.T)")
    code, output = adopt("ecosystem.config.mjs")
    assert code == 0
    assert 'token = { env = "SHOP_TOKEN" }' in output
    assert "U is put together from other variables" in output


def test_without_node_an_ecosystem_file_in_javascript_is_not_read(here, monkeypatch):
    """It says that node is needed, or the file as JSON."""
    monkeypatch.setenv("PATH", str(here))
    (here / "ecosystem.config.js").write_text("module.exports = { apps: [] }")
    assert "node is not installed here; expected node, or the file as JSON" in adopt(".")[1]


def mutated(text: str, dice: random.Random) -> str:
    """The text with pieces cut out, doubled, swapped or replaced."""
    for _ in range(dice.randint(1, 6)):
        at, to = sorted(dice.choices(range(len(text) + 1), k=2))
        to = min(to, at + dice.choice((1, 3, 30)))
        piece = dice.choice(("", text[at:to] * 2, dice.choice("[]{}()'\"`:,;=\n\t \\$%&*!|<>\x00\x7fä")))
        text = text[:at] + piece + text[to:]
    return text


@pytest.mark.parametrize("name", [name for name in ALL if name != "pm2"])
def test_whatever_the_files_hold_it_does_not_crash(here, name):
    """Files with pieces missing, doubled or strange: an exit code of its own, and no secret."""
    dice = random.Random(f"{SEED} {name}")
    for _ in range(ROUNDS):
        write_example(here, name)
        path = here / dice.choice([*ALL[name]])
        path.write_text(mutated(path.read_text(), dice), newline="")
        code, output = adopt(".")
        assert code in (0, 1), output


def test_code_of_bots_does_not_crash_its_reader(here):
    """The code of all examples, mutated, read by both readers."""
    from trioworkers.adopt.javascript import read_javascript
    from trioworkers.adopt.python_code import read_python

    dice = random.Random(SEED)
    codes = [
        text
        for files in ALL.values()
        for path, text in files.items()
        if Path(path).suffix in (".js", ".py", ".ts", ".mjs")
    ]
    for number in range(ROUNDS * 4):
        file = here / f"f{number % 7}.x"
        file.write_text(mutated(dice.choice(codes), dice), newline="")
        for bot in [*read_javascript(file), *read_python(file, here)]:
            assert bot.library
            assert bot.token.text not in repr(bot) or not bot.token.text


def test_a_text_that_repeats_itself_is_read_in_linear_time(here):
    """Four times as much takes no ten times as long: no pattern tries what it has tried before."""
    import time

    from trioworkers.adopt.javascript import read_javascript
    from trioworkers.adopt.python_code import read_python

    file = here / "f.js"

    def took(piece: str, size: int) -> float:
        file.write_text((piece * (size // len(piece))) + "\nrequire('telegraf')")
        began = time.process_time()
        read_javascript(file)
        read_python(file, here)
        return time.process_time() - began

    pieces = (
        "import a ",
        "const { a",
        "process.env",
        "new Telegraf(",
        "a: b: ",
        "`",
        "/*",
        "'\\",
        "{",
        "export x ",
        "= ",
    )
    for piece in pieces:
        assert took(piece, 2**19) < 10 * took(piece, 2**17) + 0.5, piece
