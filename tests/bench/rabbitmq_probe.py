"""Measure the RabbitMQ broker alone, without a worker around it: `python -m tests.bench.rabbitmq_probe`.

Prints no-op claims and settlements a second by queue type, batch size and process count, early acknowledgements, sends
a second (one by one, by 16 threads, in batches) beside py-amqp's own confirmed publishes, and the latency of an idle
consumer. Starts a server of its own. Beside every figure of ours stands one of py-amqp from the same run where there is
one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import amqp

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, QueueType, Settlement
from tests.bench.redis_probe import message
from tests.support.rabbitmq import RabbitMQServer

KINDS: tuple[QueueType, ...] = ("Classic", "Quorum")


def declare(url: str, kind: QueueType) -> None:
    broker = open_broker(url)
    broker.delete_queue("q")
    broker.declare([QueueSpec("q", kind)])
    broker.close()


def fill(url: str, count: int, batch: int = 1000) -> float:
    """Send `count` messages in batches; return the messages a second."""
    broker = open_broker(url)
    outgoing = [Outgoing("q", message(number)) for number in range(count)]
    started = time.perf_counter()
    for start in range(0, count, batch):
        broker.send(outgoing[start : start + batch], deadline=60)
    rate = count / (time.perf_counter() - started)
    broker.close()
    return rate


def drain(url: str, slot: int, batch: int, early: bool, share: int) -> tuple[int, float, float, float]:
    """Claim and settle until `share` are done or nothing comes; return how many, first and last moment, CPU seconds."""
    broker = open_broker(url)
    consumer = broker.consumer(Owner("probe", slot), ["q"])
    count, first, last, cpu = 0, 0.0, 0.0, time.process_time()
    while count < share and (claims := consumer.claim(batch, 1.0)):
        first = first or time.perf_counter()
        for claim in claims:
            if early:
                consumer.acknowledge_now([claim])
            else:
                consumer.settle(Settlement(claim))
        count += len(claims)
        last = time.perf_counter()
    cpu = time.process_time() - cpu
    consumer.close()
    broker.close()
    return count, first, last, cpu


def drain_rate(url: str, kind: QueueType, count: int, batch: int, processes: int, early: bool = False) -> str:
    """Fill, then drain by so many processes; return messages a second and the CPU time of one in our process."""
    declare(url, kind)
    fill(url, count)
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        work = [(url, slot, batch, early, count) for slot in range(processes)]
        runs = pool.starmap(drain, work, chunksize=1)
    assert sum(done for done, *_ in runs) == count, runs
    seconds = max(last for _, _, last, _ in runs) - min(first for _, first, _, _ in runs)
    return f"{count / seconds:,.0f}/s, {sum(cpu for *_, cpu in runs) / count * 1e6:.0f} us CPU each"


def each_send(send: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        send()
    return count / (time.perf_counter() - started)


def ours_one_by_one(url: str, count: int, threads: int = 1) -> float:
    broker = open_broker(url)
    broker.send([Outgoing("q", message(0))])
    workers = [
        threading.Thread(
            target=each_send, args=(lambda: broker.send([Outgoing("q", message(1))], deadline=60), count // threads)
        )
        for _ in range(threads)
    ]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rate = count / (time.perf_counter() - started)
    broker.close()
    return rate


def raw_one_by_one(port: int, count: int) -> float:
    """py-amqp, confirmed, as kombu would call it."""
    with amqp.Connection(f"127.0.0.1:{port}", confirm_publish=True) as connection:
        channel = connection.channel()
        sent = message(1)

        def publish() -> None:
            properties = {"content_type": "application/json", "delivery_mode": 2, "correlation_id": sent.id}
            out = amqp.Message(sent.body, application_headers=dict(sent.headers), **properties)
            channel.basic_publish_confirm(out, "", "q")

        return each_send(publish, count)


def latency(url: str, kind: QueueType, count: int) -> tuple[float, float]:
    """Median and 99th percentile, in ms, from the start of a send to the claim by an idle consumer."""
    declare(url, kind)
    sender, broker = open_broker(url), open_broker(url)
    consumer = broker.consumer(Owner("probe", 0), ["q"])
    consumer.claim(100, 0.0)
    times: list[float] = []
    got = threading.Semaphore(0)

    def consume() -> None:
        while len(times) < count:
            for claim in consumer.claim(100, 1.0):
                times.append(time.perf_counter() - started)
                consumer.settle(Settlement(claim))
            consumer.flush()
            got.release()

    started = time.perf_counter()
    thread = threading.Thread(target=consume)
    thread.start()
    while len(times) < count:
        before = len(times)
        time.sleep(0.002)
        started = time.perf_counter()
        sender.send([Outgoing("q", message(1))])
        while len(times) == before:
            got.acquire(timeout=1)
    thread.join()
    broker.close()
    sender.close()
    times.sort()
    return statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        server = RabbitMQServer(Path(folder))
        server.start()
        try:
            measure(server, count)
        finally:
            server.close()


def measure(server: RabbitMQServer, count: int) -> None:
    url = server.url()
    for kind in KINDS:
        for batch, processes in ((100, 1), (100, 2), (10, 1), (1, 1)):
            messages = count if batch > 1 else count // 10
            rate = drain_rate(url, kind, messages, batch, processes)
            print(f"{kind}: claim + settle, {batch} at once, {processes} process(es): {rate}")
        early = drain_rate(url, kind, count // 10, 100, 1, early=True)
        print(f"{kind}: claim + early acknowledgement with its barrier, 1 process: {early}")
        declare(url, kind)
        few = count // 20
        print(f"{kind}: send one by one, py-amqp confirmed: {raw_one_by_one(server.port, few):,.0f}/s")
        print(f"{kind}: send one by one, confirmed and mandatory: {ours_one_by_one(url, few):,.0f}/s")
        print(f"{kind}: send one by one from 16 threads: {ours_one_by_one(url, count // 2, 16):,.0f}/s")
        for batch in (100, 1000):
            print(f"{kind}: send {batch} at once, confirmed: {fill(url, count, batch):,.0f}/s")
        median, worst = latency(url, kind, 500)
        print(f"{kind}: send to claim, idle consumer: p50 {median:.2f} ms, p99 {worst:.2f} ms")


if __name__ == "__main__":
    main()
