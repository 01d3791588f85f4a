"""What the bare servers give, measured in the same run: the ceilings to which the figures are compared.

Each function takes the servers and a size, does the least that the job needs, proves by a count that it was done, and
returns a rate per second or milliseconds. They run in processes of their own, as every system does.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import amqp
import redis

MESSAGE = b"x" * 900
BATCH = 100
WINDOW = 100
QUEUE = "bench"
_DELIVER = struct.pack(">HH", 60, 60)
_FRAME = struct.Struct(">BHI")
_METHOD = 1


def redis_socket(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def lpush_socket(port: int, count: int) -> dict[str, Any]:
    """LPUSH and its answer, one by one, on a bare socket."""
    command = b"*3\r\n$5\r\nLPUSH\r\n$5\r\nbench\r\n$%d\r\n%b\r\n" % (len(MESSAGE), MESSAGE)
    with redis_socket(port) as connection:
        began = time.perf_counter()
        for _ in range(count):
            connection.sendall(command)
            connection.recv(64)
        seconds = time.perf_counter() - began
    return _proven(redis.Redis(port=port).llen("bench"), count, count / seconds)


def lpush_client(port: int, count: int) -> dict[str, Any]:
    """LPUSH, one by one, by the redis package's client."""
    client = redis.Redis(port=port)
    client.lpush("bench", MESSAGE)
    began = time.perf_counter()
    for _ in range(count - 1):
        client.lpush("bench", MESSAGE)
    seconds = time.perf_counter() - began
    return _proven(client.llen("bench"), count, count / seconds)


def pop_socket(port: int, count: int) -> dict[str, Any]:
    """RPOP in pipelines of 100 on a bare socket, the answers only counted."""
    client = redis.Redis(port=port)
    for start in range(0, count, 1000):
        client.lpush("bench", *[MESSAGE] * min(1000, count - start))
    one = len(MESSAGE) + len(b"$900\r\n\r\n")
    command = b"*2\r\n$4\r\nRPOP\r\n$5\r\nbench\r\n" * BATCH
    with redis_socket(port) as connection:
        began = time.perf_counter()
        for _ in range(count // BATCH):
            connection.sendall(command)
            missing = one * BATCH
            while missing:
                missing -= len(connection.recv(min(missing, 1 << 17)))
        seconds = time.perf_counter() - began
    return _proven(client.llen("bench"), count % BATCH, count / seconds)


def wait_socket(port: int, count: int) -> dict[str, Any]:
    """From an LPUSH of one process to the answer of another one's BRPOP."""
    waits = multiprocessing.get_context("fork").SimpleQueue()
    waiter = multiprocessing.get_context("fork").Process(target=_brpop_each, args=(port, count, waits))
    waiter.start()
    with redis_socket(port) as connection:
        for pause in _pauses(count):
            time.sleep(pause)
            sent = b"%.9f" % time.perf_counter()
            connection.sendall(b"*3\r\n$5\r\nLPUSH\r\n$5\r\nbench\r\n$%d\r\n%b\r\n" % (len(sent), sent))
            connection.recv(64)
    return _latencies(waits.get(), count, waiter)


def _brpop_each(port: int, count: int, waits: Any) -> None:
    seen = []
    with redis_socket(port) as connection:
        for _ in range(count):
            connection.sendall(b"*3\r\n$5\r\nBRPOP\r\n$5\r\nbench\r\n$2\r\n10\r\n")
            answer = connection.recv(256)
            seen.append(time.perf_counter() - float(answer.split(b"\r\n")[-2]))
    waits.put(seen)


# -- RabbitMQ ----------------------------------------------------------------------------------------------------------


def _connected(port: int) -> amqp.Connection:
    connection = amqp.Connection(f"127.0.0.1:{port}", confirm_publish=False)
    connection.connect()
    return connection


def _persistent() -> amqp.Message:
    return amqp.Message(MESSAGE, delivery_mode=2)


def publish_confirmed(port: int, count: int) -> dict[str, Any]:
    """A persistent message and its confirmation, one by one, by py-amqp."""
    with amqp.Connection(f"127.0.0.1:{port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        began = time.perf_counter()
        for _ in range(count):
            channel.basic_publish(_persistent(), routing_key=QUEUE, mandatory=True)
        seconds = time.perf_counter() - began
        found = channel.queue_declare(QUEUE, passive=True).message_count
    return _proven(found, count, count / seconds)


def publish_window(port: int, count: int) -> dict[str, Any]:
    """Persistent messages by py-amqp, the confirmations awaited after every 100."""
    with _connected(port) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        channel.confirm_select()
        confirmed = [0]

        def acknowledged(tag: int, _multiple: bool) -> None:
            confirmed[0] = max(confirmed[0], tag)

        channel.events["basic_ack"].add(acknowledged)
        rounds = max(count // WINDOW, 1)
        began = time.perf_counter()
        for done in range(1, rounds + 1):
            for _ in range(WINDOW):
                channel.basic_publish(_persistent(), routing_key=QUEUE, mandatory=True)
            while confirmed[0] < done * WINDOW:
                connection.drain_events(timeout=10)
        seconds = time.perf_counter() - began
        found = channel.queue_declare(QUEUE, passive=True).message_count
    return _proven(found, rounds * WINDOW, rounds * WINDOW / seconds)


def publish_unconfirmed(port: int, count: int) -> dict[str, Any]:
    """Persistent messages by py-amqp, not confirmed, until the broker has them all."""
    with _connected(port) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        began = time.perf_counter()
        for _ in range(count):
            channel.basic_publish(_persistent(), routing_key=QUEUE)
        found = _await_messages(channel, count)
        seconds = time.perf_counter() - began
    return _proven(found, count, count / seconds)


def _await_messages(channel: amqp.Channel, count: int) -> int:
    """Ask until the broker has them all, or for 5 seconds; return how many there are."""
    deadline = time.perf_counter() + 5
    while True:
        found = int(channel.queue_declare(QUEUE, passive=True).message_count)
        if found >= count or time.perf_counter() > deadline:
            return found


def consume_frames(port: int, count: int) -> dict[str, Any]:
    """Deliveries taken off a bare socket, frames only told apart, acknowledged by the hundred."""
    publish_window(port, count)
    count = max(count // WINDOW, 1) * WINDOW
    connection = _connected(port)  # its socket is taken over, and closed without a word of AMQP
    channel = connection.channel()
    channel.basic_qos(0, 10 * BATCH, a_global=False)
    began = time.perf_counter()
    sock = connection.transport.sock
    sock.sendall(_consume_frame(channel.channel_id))
    _take_deliveries(sock, count, channel.channel_id)
    seconds = time.perf_counter() - began
    time.sleep(0.2)  # for the last acknowledgement
    sock.close()
    with _connected(port) as after:
        left = after.channel().queue_declare(QUEUE, passive=True).message_count
    return _proven(left, 0, count / seconds)


def _consume_frame(channel: int) -> bytes:
    """basic.consume of the queue with nowait, so that only deliveries follow."""
    name = QUEUE.encode()
    body = struct.pack(">HHH", 60, 20, 0) + bytes([len(name)]) + name + b"\x03raw" + b"\x08" + struct.pack(">I", 0)
    return _FRAME.pack(_METHOD, channel, len(body)) + body + b"\xce"


def _take_deliveries(sock: socket.socket, count: int, channel: int) -> None:
    buffer, at, seen, tag = b"", 0, 0, 0
    while seen < count:
        buffer, at = buffer[at:] + sock.recv(1 << 17), 0
        while len(buffer) - at >= _FRAME.size:
            kind, _, size = _FRAME.unpack_from(buffer, at)
            if len(buffer) - at < _FRAME.size + size + 1:
                break
            start = at + _FRAME.size
            if kind == _METHOD and buffer[start : start + 4] == _DELIVER:
                seen += 1
                tag = int.from_bytes(buffer[start + 5 + buffer[start + 4] : start + 13 + buffer[start + 4]], "big")
                if seen % BATCH == 0:
                    sock.sendall(_FRAME.pack(_METHOD, channel, 13) + struct.pack(">HHQB", 60, 80, tag, 1) + b"\xce")
            at = start + size + 1


def wait_amqp(port: int, count: int) -> dict[str, Any]:
    """From a publish of one process to py-amqp's callback in another one."""
    with _connected(port) as connection:
        connection.channel().queue_declare(QUEUE, durable=True, auto_delete=False)
    waits = multiprocessing.get_context("fork").SimpleQueue()
    waiter = multiprocessing.get_context("fork").Process(target=_consume_each, args=(port, count, waits))
    waiter.start()
    with _connected(port) as connection:
        channel = connection.channel()
        for pause in _pauses(count):
            time.sleep(pause)
            channel.basic_publish(amqp.Message(b"%.9f" % time.perf_counter(), delivery_mode=2), routing_key=QUEUE)
    return _latencies(waits.get(), count, waiter)


def _consume_each(port: int, count: int, waits: Any) -> None:
    seen: list[float] = []
    with _connected(port) as connection:
        channel = connection.channel()

        def taken(message: amqp.Message) -> None:
            seen.append(time.perf_counter() - float(message.body))
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(QUEUE, callback=taken)
        while len(seen) < count:
            connection.drain_events(timeout=10)
    waits.put(seen)


# -- common ------------------------------------------------------------------------------------------------------------


def _pauses(count: int) -> list[float]:
    chance = random.Random(1)
    return [0.3, *(0.004 * (1 + chance.random()) for _ in range(count - 1))]


def _latencies(seen: list[float], count: int, waiter: Any) -> dict[str, Any]:
    waiter.join()
    waits = [seconds * 1000 for seconds in seen[count // 10 :]]
    p99 = statistics.quantiles(waits, n=100, method="inclusive")[98]
    return {"value": statistics.median(waits), "p99": p99, "tasks": len(waits)}


def _proven(found: int, wanted: int, rate: float) -> dict[str, Any]:
    if found != wanted:
        raise RuntimeError(f"{found} messages where {wanted} should be")
    return {"value": rate, "tasks": wanted}


BASELINES: dict[str, tuple[str, Callable[[int, int], dict[str, Any]], str]] = {
    "raw LPUSH": ("redis", lpush_client, "the redis package's client, one by one"),
    "raw LPUSH, socket": ("redis", lpush_socket, "a bare socket, one by one"),
    "raw RPOP": ("redis", pop_socket, "a bare socket, pipelines of 100, answers only counted"),
    "raw BRPOP wait": ("redis", wait_socket, "bare sockets, LPUSH to BRPOP"),
    "raw confirmed publish": ("rabbitmq", publish_confirmed, "py-amqp, one by one"),
    "raw publish, window 100": ("rabbitmq", publish_window, "py-amqp, confirmations awaited after every 100"),
    "raw publish": ("rabbitmq", publish_unconfirmed, "py-amqp, not confirmed"),
    "raw consume": ("rabbitmq", consume_frames, "a bare socket, frames only told apart, acks by the hundred"),
    "raw consume wait": ("rabbitmq", wait_amqp, "py-amqp, publish to callback"),
}
"""name → (broker, function of port and count, how)."""


def measure(name: str, port: int, count: int) -> dict[str, Any]:
    """Run a baseline in a process of its own."""
    line = [sys.executable, "-m", "tests.bench.raw", name, str(port), str(count)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()[-400:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(BASELINES[sys.argv[1]][1](int(sys.argv[2]), int(sys.argv[3]))))
