"""What a claim costs, by Longshore's port and without its worker: ``claims.py fill|delay|measure COUNT``.

`fill` and `delay` add messages, due now or in an hour or more; `measure` claims and settles so many, by the hundred.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time

import longshore_app as bench
from settings import QUEUE

from longshore.brokers.port import Owner, Settlement

BATCH = 100
FAR_SECONDS = 3600
PATIENCE_SECONDS = 30.0
WARM_UP = 200


def fill(count):
    bench.fill("noop", count)
    return {"count": count}


def delay(count):
    for start in range(0, count, bench.FILL_BATCH):
        some = min(bench.FILL_BATCH, count - start)
        bench.fill("noop", some, countdown=FAR_SECONDS + start // bench.FILL_BATCH)
    return {"count": count}


def measure(count):
    """Microseconds of a claim with its settlement; those of the first claims, which open the connection, left out."""
    consumer = bench.app.broker.consumer(Owner("bench-claims", 0), [QUEUE])
    take(consumer, WARM_UP)
    looks, cpu = [time.perf_counter()], time.process_time()
    for _ in range((count - WARM_UP) // BATCH):
        take(consumer, BATCH)
        looks.append(time.perf_counter())
    cpu = time.process_time() - cpu
    consumer.flush()
    consumer.close()
    each = [(after - before) / BATCH * 1e6 for before, after in itertools.pairwise(looks)]
    return {"count": count, "value": statistics.mean(each), "p50": statistics.median(each),
            "cpu_us": cpu / len(each) / BATCH * 1e6}  # fmt: skip


def take(consumer, count):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count:
        claims = consumer.claim(min(BATCH, count), 1.0)
        for claim in claims:
            consumer.settle(Settlement(claim))
        count -= len(claims)
        if not claims and time.monotonic() > deadline:
            raise SystemExit(f"{count} messages did not come")


if __name__ == "__main__":
    asyncio.run(bench.start())
    print(json.dumps({"fill": fill, "delay": delay, "measure": measure}[sys.argv[1]](int(sys.argv[2]))))
