"""How fast the embedded broker is, on this machine, now: ``python -m tests.bench.sqlite_probe [--delayed 1000000]``.

Not a test: figures vary by a quarter from hour to hour, so hold ratios within one run, not absolutes. The second column
is the throwaway prototype that the design was measured with, on this kind of machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from longshore.brokers.port import Broker, Outgoing, Owner, Settlement
from longshore.brokers.registry import open_broker
from longshore.message import Message
from tests.brokers.children import Child, Say

Q = "bench"
SHORT = Message(b"x" * 200, {}, {})
TASK = Message(
    b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
    {
        "lang": "py", "task": "shop.tasks.ship", "id": "6f1f6ad0-8a5b-4ee1-9a8d-6a3e1d9f9a3b", "shadow": None,
        "root_id": "6f1f6ad0-8a5b-4ee1-9a8d-6a3e1d9f9a3b", "parent_id": None, "group": None, "group_index": None,
        "eta": None, "expires": None, "retries": 0, "timelimit": [None, None], "argsrepr": "(1, 2)", "kwargsrepr": "{}",
        "origin": "gen4242@host", "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    },
    {"correlation_id": "6f1f6ad0-8a5b-4ee1-9a8d-6a3e1d9f9a3b", "reply_to": "", "delivery_mode": 2, "priority": 0},
)  # fmt: skip


def rate(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def put(broker: Broker, message: Message, count: int, portion: int) -> float:
    batch = [Outgoing(Q, message)] * portion
    broker.send(batch)
    return rate(count, lambda: [broker.send(batch) for _ in range(count // portion)])


def consume(url: str, message: Message, count: int, portion: int, processes: int) -> float:
    """Claim and settle until the queue is empty; the rate of all processes together."""

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner(f"w{os.getpid()}", 0), [Q])
        consumer.claim(0, 0.0)
        say("ready")
        started = time.monotonic()
        done = 0
        while claims := consumer.claim(portion, 0.0):
            for claim in claims:
                consumer.settle(Settlement(claim))
            done += len(claims)
        consumer.flush()
        say(f"{done} {started} {time.monotonic()}")

    broker = open_broker(url)
    for sent in range(0, count, 1000):
        broker.send([Outgoing(Q, message)] * min(1000, count - sent))
    broker.close()
    children = [Child(work) for _ in range(processes)]
    spans = []
    for child in children:
        child.reap()
        spans.append([float(word) for word in child.said()[1].split()])
    assert sum(span[0] for span in spans) >= count
    return sum(span[0] for span in spans) / (max(span[2] for span in spans) - min(span[1] for span in spans))


def idle_latency(url: str, count: int) -> tuple[float, float, float]:
    """From a send to the claim of a waiting process: p50 and p99 in ms, and the waiter's CPU while it waits, in %."""

    def work(say: Say) -> None:
        consumer = open_broker(url).consumer(Owner("idle", 0), [Q])
        consumer.claim(1, 0.0)
        say("ready")
        for _ in range(count):
            while not (claims := consumer.claim(1, 5.0)):
                pass
            say(repr(time.monotonic()))
            consumer.settle(Settlement(claims[0]))
            consumer.flush()
        used = time.process_time()
        consumer.claim(1, 2.0)
        say(repr((time.process_time() - used) / 2.0 * 100))

    broker = open_broker(url)
    child = Child(work)
    child.wait_for(1)
    delays = []
    for number in range(count):
        time.sleep(0.005)
        sent = time.monotonic()
        broker.send([Outgoing(Q, TASK)])
        delays.append((float(child.wait_for(number + 2)[-1]) - sent) * 1000)
    cpu = float(child.wait_for(count + 2)[-1])
    child.reap()
    broker.close()
    return statistics.median(delays), statistics.quantiles(delays, n=100)[98], cpu


def delayed(url: str, path: Path, count: int) -> None:
    broker = open_broker(url)
    far = time.time() + 3600
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inserted = rate(
        count,
        lambda: [
            broker.send([Outgoing(Q, SHORT, far + number + n / 1000) for n in range(1000)])
            for number in range(count // 1000)
        ],
    )
    size = path.stat().st_size
    consumer = broker.consumer(Owner("w", 0), [Q])
    claims = []
    for _ in range(300):
        broker.send([Outgoing(Q, SHORT)])
        started = time.perf_counter()
        [claim] = consumer.claim(1, 0.0)
        claims.append((time.perf_counter() - started) * 1e6)
        consumer.settle(Settlement(claim))
    counted = time.perf_counter()
    broker.depths([Q])
    counted = (time.perf_counter() - counted) * 1000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    print(
        f"{count:,} delayed: {count / inserted:.1f} s, {size / count:.0f} B each (253), claim p50 "
        f"{statistics.median(claims):.0f} us (38), depths {counted:.0f} ms, memory + {grown:.0f} MB"
    )
    consumer.close()
    broker.close()


def starting(url: str) -> None:
    """What a worker pays before its first claim."""
    code = (
        "import time; t = time.perf_counter(); from longshore.brokers.sqlite.broker import SQLiteBroker as B\n"
        "from longshore.brokers.port import Owner; i = time.perf_counter()\n"
        f"c = B({url!r}).consumer(Owner('w', 0), ['{Q}']); c.claim(1, 0.0)\n"
        "print((i - t) * 1000, (time.perf_counter() - i) * 1000)"
    )
    runs = [
        [
            float(word)
            for word in subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split()
        ]
        for _ in range(5)
    ]
    imported, claimed = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"start: import {imported:.0f} ms (all of longshore), first claim on an existing file {claimed:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delayed", type=int, default=0, metavar="N", help="also put N delayed messages")
    parser.add_argument("--count", type=int, default=10_000, help="messages per figure (default: 10000)")
    options = parser.parse_args()
    count = options.count
    print(f"{'per second; 200 B where nothing is said':62}{'here':>9}{'prototype':>12}")
    with TemporaryDirectory() as folder:
        for durability, known in (("normal", (35.1, 236, 19.7, 14.3, 128, 114)), ("full", (5.9, 117, 4.5, 0, 120, 0))):
            path = Path(folder) / f"{durability}.db"
            url = f"sqlite:///{path}?durability={durability}"
            broker = open_broker(url)
            some = count if durability == "normal" else count // 4
            figures = [
                ("put one by one", put(broker, SHORT, some, 1)),
                ("put 100 at once", put(broker, SHORT, count * 5, 100)),
            ]
            whole = [("put one by one, whole task messages", put(broker, TASK, some, 1))]
            broker.purge(Q)
            broker.close()
            for portion, number in ((1, some), (100, count * 3)):
                for processes in (1, 2):
                    name = f"claim + settle {portion} at once, {processes} processes"
                    figures.append((name, consume(url, SHORT, number, portion, processes)))
                    whole.append((f"{name}, whole messages", consume(url, TASK, number, portion, processes)))
            for (name, figure), before in zip(figures, known, strict=True):
                print(f"{durability + ': ' + name:62}{figure:9,.0f}{(f'{before:.1f}k' if before else ''):>12}")
            for name, figure in whole:
                print(f"{durability + ': ' + name:62}{figure:9,.0f}")
        p50, p99, cpu = idle_latency(f"sqlite:///{folder}/idle.db", 200)
        print(f"idle: send to claim p50 {p50:.2f} ms (0.27), p99 {p99:.2f} ms; waiting costs {cpu:.2f} % CPU")
        starting(f"sqlite:///{folder}/normal.db")
        if options.delayed:
            delayed(f"sqlite:///{folder}/delayed.db", Path(folder) / "delayed.db", options.delayed)


if __name__ == "__main__":
    main()
