"""The pytest plugin: its fixture serves tests of any kind and costs nothing unused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from urllib.error import HTTPError

import pytest
import trio

from trioworkers.testing import NothingSaid, faults


def post(telegram, bot, method, **params):
    request = urllib.request.Request(  # noqa: S310 - our own http server
        f"{telegram.base_url}/bot{bot.token}/{method}",
        json.dumps(params).encode(),
        {"Content-Type": "application/json", "Connection": "close"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - our own http server
        return json.load(response)["result"]


def echo(telegram, bot):
    (update,) = post(telegram, bot, "getUpdates", timeout=5)
    message = update["message"]
    post(telegram, bot, "sendMessage", chat_id=message["chat"]["id"], text=message["text"])


def test_a_synchronous_test_talks_to_a_bot(telegram):
    """Say, answer, expect, look."""
    bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
    update_id = telegram.say(alice, bot, "hello")
    echo(telegram, bot)
    assert telegram.expect(alice, bot)["text"] == "hello"
    assert [call.method for call in telegram.calls] == ["getUpdates", "sendMessage"]
    assert telegram.wait_for(lambda world: world.pending(bot)) == 1
    assert (telegram.pending(bot), telegram.confirmed(bot)) == (1, [])
    assert len(telegram.sent(bot, alice.id)) == 1
    assert telegram.enqueue(bot, {"poll": {"id": "1"}}) == update_id + 1


def test_what_does_not_happen_fails_clearly(telegram):
    """expect and wait_for say what was missing."""
    bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
    with pytest.raises(NothingSaid, match=r"within 0\.01 s, got none"):
        telegram.expect(alice, bot, 0.01)
    with pytest.raises(NothingSaid, match="did not hold"):
        telegram.wait_for(lambda world: False, 0.01)
    with pytest.raises(ZeroDivisionError):
        telegram.do(lambda: 1 // 0)


def test_groups_buttons_faults_and_revoked_tokens(telegram):
    """The handle reaches everything, by name or by do()."""
    bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
    group = telegram.add_group("G", [bot, alice])
    markup = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
    message = post(telegram, bot, "sendMessage", chat_id=group.id, text="?", reply_markup=markup)
    assert telegram.expect(alice, bot, group=group) == message
    assert telegram.press(alice, bot, message, "Yes") > 0
    assert telegram.do(alice.block, bot) > 0
    rule = telegram.add_fault(faults.server_error(), method="getMe")
    with pytest.raises(HTTPError) as caught:
        post(telegram, bot, "getMe")
    caught.value.close()
    assert rule.hits == 1
    telegram.revoke(bot)
    with pytest.raises(HTTPError, match="401") as caught:
        post(telegram, bot, "getMe")
    caught.value.close()


def test_asyncio(telegram):
    """From asyncio the blocking calls go to a thread."""

    async def main():
        bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
        telegram.say(alice, bot, "hello")
        expected = asyncio.create_task(asyncio.to_thread(telegram.expect, alice, bot))
        await asyncio.to_thread(echo, telegram, bot)
        assert (await expected)["text"] == "hello"

    asyncio.run(main())


async def test_trio(telegram):
    """From another Trio loop, likewise."""
    bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
    telegram.say(alice, bot, "hello")
    await trio.to_thread.run_sync(echo, telegram, bot)
    assert (await trio.to_thread.run_sync(telegram.expect, alice, bot))["text"] == "hello"


def test_importing_the_plugin_loads_nothing_heavy():
    """Beyond what the package itself imports, an unused fixture costs no trio, h11 or msgspec."""
    code = (
        "import sys, trioworkers, pytest\n"
        "before = set(sys.modules)\n"
        "import trioworkers.testing.fixtures, trioworkers.testing\n"
        "print(sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "['trioworkers.testing', 'trioworkers.testing.fixtures']\n"


def test_the_plugin_needs_no_pytest_trio(tmp_path):
    """A synchronous test runs with the fixture while pytest-trio is switched off."""
    (tmp_path / "test_it.py").write_text("def test_it(telegram):\n    assert telegram.add_bot('b').id > 0\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:trio", "-p", "no:cacheprovider", "test_it.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_all_public_names_can_be_loaded():
    """__all__ and the lazy table agree."""
    import trioworkers.testing as public

    assert all(getattr(public, name) is not None for name in public.__all__)
    assert dir(public) == sorted(public.__all__)
    with pytest.raises(AttributeError):
        _ = public.nonsense
