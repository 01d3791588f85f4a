"""Measure the Redis broker alone, without a worker around it: `python -m tests.bench.redis_probe`.

Prints no-op claims and settlements a second by batch size and process count, sends a second one by one and together,
raw LPUSH for comparison, the latency of an idle consumer, and what an import costs. Starts a server of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import redis

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement
from longshore.message import Message
from tests.support.redis import RedisServer

BODY = b'[["' + b"x" * 200 + b'"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def message(number: int) -> Message:
    """A protocol 2 message; with its envelope about 1.3 kB."""
    name = f"6f9619ff-8b86-d011-b42d-00c04fc{number:05d}"
    headers = {
        "lang": "py", "task": "shop.tasks.noop", "id": name, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": name,
        "parent_id": None, "argsrepr": "('" + "x" * 100 + "',)", "kwargsrepr": "{}", "origin": "gen1@host",
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    return Message(BODY, headers, {"correlation_id": name, "reply_to": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"})


def fill(url: str, count: int) -> float:
    """Send `count` messages together and return the messages a second."""
    broker = open_broker(url)
    outgoing = [Outgoing("q", message(number)) for number in range(count)]
    started = time.perf_counter()
    broker.send(outgoing)
    rate = count / (time.perf_counter() - started)
    broker.close()
    return rate


def drain(url: str, slot: int, batch: int) -> int:
    """Claim and settle until nothing is left; return how many."""
    broker = open_broker(url)
    consumer = broker.consumer(Owner("probe", slot), ["q"])
    count = 0
    while claims := consumer.claim(batch, 0):
        for claim in claims:
            consumer.settle(Settlement(claim))
        count += len(claims)
    consumer.close()
    broker.close()
    return count


def drain_rate(url: str, processes: int, batch: int, count: int) -> float:
    """Return claims and settlements a second of several processes together."""
    fill(url, count)
    started = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        started = time.perf_counter()
        done = sum(pool.starmap(drain, [(url, slot, batch) for slot in range(processes)]))
    elapsed = time.perf_counter() - started
    assert done == count
    return done / elapsed


def send_rate(url: str, count: int) -> float:
    """Return sends a second, one by one."""
    broker = open_broker(url)
    one = message(1)
    started = time.perf_counter()
    for _ in range(count):
        broker.send([Outgoing("sent", one)])
    rate = count / (time.perf_counter() - started)
    broker.purge("sent")
    broker.close()
    return rate


def raw_rate(port: int, count: int) -> float:
    """Return bare LPUSH round trips a second with an element of the same size."""
    data = b"x" * 1300
    command = b"*3\r\n$5\r\nLPUSH\r\n$3\r\nraw\r\n$1300\r\n" + data + b"\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for _ in range(count):
            connection.sendall(command)
            connection.recv(64)
        return count / (time.perf_counter() - started)


def client_rate(port: int, count: int) -> float:
    """Return LPUSH round trips a second of the redis package's own client, with an element of the same size."""
    with redis.Redis(port=port) as client:
        data = b"x" * 1300
        client.lpush("raw", data)
        started = time.perf_counter()
        for _ in range(count):
            client.lpush("raw", data)
        return count / (time.perf_counter() - started)


def latencies(url: str, count: int) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds from a send to the claim of an idle consumer."""
    broker = open_broker(url)
    consumer = broker.consumer(Owner("probe", 0), ["idle"])
    seen: list[float] = []

    def sender() -> None:
        for _ in range(count):
            time.sleep(0.004)
            broker.send([Outgoing("idle", Message(repr(time.perf_counter()).encode(), {"id": "x"}, {}))])

    thread = threading.Thread(target=sender)
    thread.start()
    while len(seen) < count:
        for claim in consumer.claim(10, 1.0):
            seen.append(time.perf_counter() - float(claim.message.body))
            consumer.settle(Settlement(claim))
    thread.join()
    consumer.close()
    broker.close()
    return statistics.median(seen) * 1000, statistics.quantiles(seen, n=100)[98] * 1000


def import_seconds(module: str) -> float:
    """Return what an interpreter of its own takes to import this module, in milliseconds."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(3)
    ]
    return min(runs) * 1000


def main() -> None:
    """Run everything and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--option", action="append", default=[], help="for redis-server, such as --appendonly")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), *options.option)
        server.start()
        try:
            measure(server, options.count)
        finally:
            server.kill()


def measure(server: RedisServer, count: int) -> None:
    """Print the figures of a running server."""
    url = server.url()
    broker = open_broker(url)
    broker.declare([QueueSpec("q")])
    broker.close()
    print(f"cpus {os.cpu_count()}, load {os.getloadavg()[0]:.1f}, {count} messages")
    for processes, batch in ((1, 1), (1, 10), (1, 100), (2, 100)):
        rate = drain_rate(url, processes, batch, count if batch > 1 else count // 10)
        print(f"claim + settle, {processes} process(es), batch {batch:>3}: {rate:>9,.0f}/s")
    runs = [(send_rate(url, 3000), client_rate(server.port, 3000), raw_rate(server.port, 3000)) for _ in range(5)]
    sent, client, raw = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"send one by one: {sent:,.0f}/s; LPUSH by the redis package {client:,.0f}/s, ratio {sent / client:.2f}")
    print(f"    LPUSH by a bare socket {raw:,.0f}/s, ratio {sent / raw:.2f}")
    print(f"send together: {fill(url, count):,.0f}/s")
    p50, p99 = latencies(url, 300)
    print(f"idle latency: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    for module in ("longshore.brokers.redis", "redis"):
        print(f"import {module}: {import_seconds(module):.0f} ms")


if __name__ == "__main__":
    main()
