"""Sends for one system, in its environment, and says how long it took: ``driver.py MODULE COMMAND [COUNT [KIND]]``.

Commands: fill, one (send one by one), many (send in batches), beside (16 threads at once), coroutines (16 at once),
stamps (paced sends for the latency), depth, stored, bytes. The answer is one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import random
import sys
import time

WARM_UP = 20
BESIDE = 16
PAUSE_SECONDS = 0.004


async def drive(module, command, count, kind):
    start = getattr(module, "start", None)
    if start is not None:
        await start()
    try:
        return await COMMANDS[command](module, count, kind)
    finally:
        end = getattr(module, "end", None)
        if end is not None:
            await end()


async def settled(value):
    return await value if inspect.isawaitable(value) else value


async def fill(module, count, kind):
    whole = getattr(module, "fill", None) or getattr(module, "send_many", None)
    if whole is not None:
        await settled(whole(kind, count))
    else:
        await send_each(module, count, kind)
    return {"count": count}


async def send_each(module, count, kind):
    """No `await` for a plain function: its callers do not have one either."""
    send = module.send_one
    if inspect.iscoroutinefunction(send):
        for _ in range(count):
            await send(kind)
    else:
        for _ in range(count):
            send(kind)


async def one(module, count, kind):
    await send_each(module, WARM_UP, kind)
    began = time.perf_counter()
    await send_each(module, count, kind)
    return {"count": count, "sent": count + WARM_UP, "seconds": time.perf_counter() - began}


async def many(module, count, kind):
    await settled(module.send_many(kind, WARM_UP))
    began = time.perf_counter()
    await settled(module.send_many(kind, count))
    return {"count": count, "sent": count + WARM_UP, "seconds": time.perf_counter() - began}


async def beside(module, count, kind):
    await send_each(module, WARM_UP, kind)
    each = count // BESIDE * BESIDE
    began = time.perf_counter()
    module.send_beside(kind, each, BESIDE)
    return {"count": each, "sent": each + WARM_UP, "seconds": time.perf_counter() - began}


async def coroutines(module, count, kind):
    await send_each(module, WARM_UP, kind)
    each = count // BESIDE * BESIDE
    began = time.perf_counter()
    await module.send_coroutines(kind, each, BESIDE)
    return {"count": each, "sent": each + WARM_UP, "seconds": time.perf_counter() - began}


async def stamps(module, count, _kind):
    chance = random.Random(1)
    for _ in range(count):
        await asyncio.sleep(PAUSE_SECONDS * (1 + chance.random()))
        await settled(module.send_one("stamp", time.perf_counter()))
    return {"count": count}


async def depth(module, _count, _kind):
    return {"depth": await settled(module.depth())}


async def stored(module, _count, _kind):
    return {"stored": await settled(module.stored())}


async def message_bytes(module, _count, _kind):
    measure = getattr(module, "message_bytes", None)
    return {"bytes": measure() if measure else None}


COMMANDS = {
    "fill": fill, "one": one, "many": many, "beside": beside, "coroutines": coroutines, "stamps": stamps,
    "depth": depth, "stored": stored, "bytes": message_bytes,
}  # fmt: skip


def main():
    name, command, *rest = sys.argv[1:]
    module = importlib.import_module(name)
    count, kind = int(rest[0]) if rest else 0, rest[1] if len(rest) > 1 else "noop"
    print(json.dumps(asyncio.run(drive(module, command, count, kind))))


if __name__ == "__main__":
    main()
