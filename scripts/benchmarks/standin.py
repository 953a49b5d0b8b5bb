"""The stand-in Bot API of `bench fleet`, in a process of its own: the simulator, fed and counted over pipes.

It prints a line of JSON with its address and the bots' tokens, then for each line `N FIRST` that it reads
enqueues N updates, spread over chats and bots, beginning with the bot FIRST, and prints how many seconds
passed until all were answered.
"""

from __future__ import annotations

import json
import sys
import time

import trio

from trioworkers.testing import Telegram, serve_telegram

CHATS = 100


async def main(count: int) -> None:
    world = Telegram(seed=1, repeat_guard=False, record=True, history=1)
    bots = [world.add_bot(f"bot{number}") for number in range(count)]
    people = [world.add_user(f"Person{number}") for number in range(CHATS)]
    async with trio.open_nursery() as nursery:
        base = await nursery.start(serve_telegram, world)
        print(json.dumps({"base": base, "tokens": [bot.token for bot in bots]}), flush=True)
        async for line in trio.wrap_file(sys.stdin):
            updates, first = map(int, line.split())
            scanned = len(world.calls)
            began = time.perf_counter()
            for number in range(updates):
                people[number // count % CHATS].send(bots[(first + number) % count], "hello")
            answered = 0
            while answered < updates:
                await trio.sleep(0.002)
                new = world.calls[scanned:]
                scanned += len(new)
                answered += sum(call.method == "sendMessage" and call.ok for call in new)
            print(json.dumps(time.perf_counter() - began), flush=True)
        nursery.cancel_scope.cancel()


trio.run(main, int(sys.argv[1]))
