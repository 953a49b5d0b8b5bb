"""A simulated Telegram for a fleet in a container; one line of what is said for each line of input.

It runs in the container's network, by an interpreter from outside. A user says `BOT TEXT`, and the bot's
answer is printed. For `BOT -TEXT` no answer is expected, and `-` is printed.
"""

from __future__ import annotations

import sys

import trio

from trioworkers.testing import Telegram, serve_telegram


async def main(port: int, tokens: list[str]) -> None:
    """Serve until the input ends. `tokens`: `NAME=TOKEN` for each bot."""
    world = Telegram(seed=1, repeat_guard=False)
    bots = {
        name: world.add_bot(f"{name}_bot", token=token)
        for name, _, token in (pair.partition("=") for pair in tokens)
    }
    alice = world.add_user("Alice")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_telegram(world, port=port, task_status=task_status))
        print("serves", flush=True)
        while line := (await trio.to_thread.run_sync(sys.stdin.readline)).strip():
            name, _, text = line.partition(" ")
            await alice.say(bots[name], text.removeprefix("-"))
            if text.startswith("-"):
                print("-", flush=True)
            else:
                print((await alice.expect(bots[name], timeout=60))["text"], flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
