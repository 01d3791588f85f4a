"""Workers' reports on RabbitMQ: told to a fanout exchange, heard by whoever listens just then.

Nothing is kept in the broker: a listener has a queue of its own, which the broker bounds in length and age and removes
with the connection. A report is forgotten ten seconds after it was heard.
"""

from __future__ import annotations

import time
from threading import Lock

import msgspec

from longshore.brokers.port import WorkerReport
from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.connection import Channel, Connection
from longshore.brokers.rabbitmq.frames import publish_frames
from longshore.brokers.rabbitmq.link import Link
from longshore.brokers.rabbitmq.tables import properties

EXCHANGE = "longshore.workers.v1"
FORGOTTEN_SECONDS = 10.0
FIRST_LISTEN_SECONDS = 2.3
"""Reports come every two seconds: a listener that has just begun has heard everybody after this."""

_QUEUE = {"x-max-length": 5000, "x-message-ttl": 4000}
_PROPERTIES = properties({"content_type": "application/json", "delivery_mode": 1})
_PAUSE_SECONDS = 0.1


class _Said(msgspec.Struct, frozen=True):
    """What travels: a report, or that a worker ends."""

    v: int
    report: WorkerReport | None = None
    gone: str | None = None


_decode = msgspec.json.Decoder(_Said).decode


class Reports:
    """Telling and hearing, over a process's link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = Lock()
        self._told_on: Connection | None = None
        self._heard_on: Connection | None = None
        self._queue = ""
        self._heard: dict[str, tuple[float, WorkerReport]] = {}

    def tell(self, report: WorkerReport) -> None:
        """Publish a report."""
        self._publish(_Said(1, report=report))

    def forget(self, worker: str) -> None:
        """Publish that a worker ends."""
        self._publish(_Said(1, gone=worker))

    def heard(self) -> list[WorkerReport]:
        """Return the latest report of every worker that was heard; the first call listens for a moment."""
        began = self._link.run(self._listen)
        until = time.monotonic() + (FIRST_LISTEN_SECONDS if began else 0)
        while True:
            self._link.run(self._hear)
            if time.monotonic() >= until:
                break
            time.sleep(_PAUSE_SECONDS)
        return self._current(time.monotonic())

    def _current(self, now: float) -> list[WorkerReport]:
        with self._lock:
            self._heard = {
                worker: (at, report) for worker, (at, report) in self._heard.items() if now - at < FORGOTTEN_SECONDS
            }
            return [report for _, report in self._heard.values()]

    def _publish(self, said: _Said) -> None:
        body = msgspec.json.encode(said)

        def work(connection: Connection, deadline: float) -> None:
            channel = self._link.channel(connection, deadline)
            if self._told_on is not connection:
                _declare(channel, deadline)
                self._told_on = connection
            data = publish_frames(
                channel.number, EXCHANGE, "", _PROPERTIES, body, mandatory=False, frame_max=connection.frame_max
            )
            channel.write(data, deadline)

        self._link.run(work)

    def _listen(self, connection: Connection, deadline: float) -> bool:
        """Have a queue on this connection; return whether it is new."""
        if self._heard_on is connection:
            return False
        channel = self._link.channel(connection, deadline)
        _declare(channel, deadline)
        declare = methods.declare_queue(
            channel.number, "", durable=False, exclusive=True, auto_delete=True, arguments=_QUEUE
        )
        answer = channel.call(declare, frames.QUEUE_DECLARE_OK, deadline)
        self._queue = methods.read_queue_facts(answer).queue
        bind = methods.bind_queue(channel.number, self._queue, EXCHANGE, "")
        channel.call(bind, frames.QUEUE_BIND_OK, deadline)
        self._heard_on = connection
        return True

    def _hear(self, connection: Connection, deadline: float) -> None:
        """Fetch what is there: the first answer tells how many more, and those are asked for in one piece."""
        self._listen(connection, deadline)
        channel = self._link.channel(connection, deadline)
        more = 1
        while more:
            channel.write(methods.get(channel.number, self._queue, no_ack=True) * more, deadline)
            left = 0
            for _ in range(more):
                answer = channel.next_answer(deadline)
                left = 0
                if answer.method == frames.BASIC_GET_OK:
                    self._note(answer.body)
                    left = methods.read_messages_left(answer.arguments)
            more = min(left, 500)

    def _note(self, body: bytes) -> None:
        """A report of another version that we cannot read is passed over."""
        try:
            said = _decode(body)
        except msgspec.DecodeError:
            return
        with self._lock:
            if said.report is not None:
                self._heard[said.report.worker] = (time.monotonic(), said.report)
            elif said.gone is not None:
                self._heard.pop(said.gone, None)


def _declare(channel: Channel, deadline: float) -> None:
    declare = methods.declare_exchange(channel.number, EXCHANGE, "fanout")
    channel.call(declare, frames.EXCHANGE_DECLARE_OK, deadline)
