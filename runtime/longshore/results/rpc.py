"""Results as messages to the caller (``rpc://``), as Celery's: published to its `reply_to`, read once, by it alone.

Uses the app's broker, whichever it is. Each process has one queue for all its answers; what arrives is kept in memory
until it is asked for. Who has gone gets no answer: a queue that is missing is nobody's fault.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence

from longshore.brokers.port import Broker, Consumer, Outgoing, Owner, QueueSpec, Settlement
from longshore.exceptions import BackendError, BrokerError, QueueNotFound
from longshore.message import Message
from longshore.results import body
from longshore.results.port import DEFAULT_EXPIRES_SECONDS, ResultMeta
from longshore.results.waiting import ENDED

_KEPT = 10_000
"""Answers that nobody asked for yet; the oldest go first."""
_AT_ONCE = 100
_LONGEST_WAIT = 0.5


class RPCResults:
    """The port's `ResultBackend`; `broker` opens the app's broker when it is needed."""

    may_be_polled = False
    """Each result is handed to one caller: nobody else can look whether a chord's parts have ended."""

    def __init__(self, broker: Callable[[], Broker], *, persistent: bool = False) -> None:
        self.url = "rpc://"
        self._broker = broker
        self._delivery_mode = 2 if persistent else 1
        self._lock = threading.Lock()
        self._declared = False
        self._forget_all()

    @property
    def reply_to(self) -> str:
        """The queue of this process, made with the first call that wants an answer."""
        with self._lock:
            if self._pid != os.getpid():
                self._forget_all()
            if not self._declared:
                self._broker().declare([QueueSpec(self._queue, temporary=True)])
                self._declared = True
            return self._queue

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:  # noqa: ARG002 - a message stays until it is read
        """Send the states to their callers; whose caller wants none, or has gone, is left out."""
        outgoing = [self._answer(meta) for meta in metas if meta.reply_to]
        try:
            self._send(outgoing)
        except BrokerError as error:
            raise BackendError(f"answers cannot be sent: {error}") from error

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return what has arrived for these calls of this process."""
        if any(self._known(task_id) is None for task_id in task_ids):
            self._receive(0.0)
        return [self._known(task_id) for task_id in task_ids]

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Wait for the answer; one of the waiting threads receives for all of them."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._receive(0.0)
            meta = self._known(task_id)
            if meta is not None and meta.status in ENDED:
                return meta
            left = _LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            self._receive(min(left, _LONGEST_WAIT), until=task_id)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Drop the answers."""
        for task_id in task_ids:
            self._answers.pop(task_id, None)

    def close(self) -> None:
        """Give the queue up; answers that are on their way have no receiver any more."""
        with self._lock:
            if self._pid == os.getpid() and self._declared:
                try:
                    if self._consumer is not None:
                        self._consumer.close()
                    self._broker().delete_queue(self._queue)
                except BrokerError:
                    pass  # it goes by itself, an hour after its last use
            self._forget_all()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _forget_all(self) -> None:
        """Start afresh, also in a forked child: its parent's answers are its parent's."""
        self._pid = os.getpid()
        self._queue = str(uuid.uuid4())
        self._declared = False
        self._consumer: Consumer | None = None
        self._answers: OrderedDict[str, ResultMeta] = OrderedDict()

    def _known(self, task_id: str) -> ResultMeta | None:
        return self._answers.get(task_id)

    def _answer(self, meta: ResultMeta) -> Outgoing:
        properties = {"correlation_id": meta.task_id, "delivery_mode": self._delivery_mode}
        return Outgoing(meta.reply_to or "", Message(body.dump(meta).encode(), {}, properties))

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        try:
            if outgoing:
                self._broker().send(outgoing)
        except QueueNotFound:
            if len(outgoing) > 1:
                for one in outgoing:
                    self._send([one])

    def _receive(self, wait: float, *, until: str | None = None) -> None:
        queue = self.reply_to
        if not self._lock.acquire(timeout=max(wait, 5.0)):
            return
        try:
            if until is None or until not in self._answers:  # another thread may have received it meanwhile
                self._take(queue, wait)
        except BrokerError as error:
            if self._consumer is not None:
                self._consumer.abandon()
            raise BackendError(f"answers cannot be received: {error}") from error
        finally:
            self._lock.release()

    def _take(self, queue: str, wait: float) -> None:
        if self._consumer is None:
            self._consumer = self._broker().consumer(Owner(f"rpc.{queue}", 0), [queue])
        consumer = self._consumer
        while claims := consumer.claim(_AT_ONCE, wait):
            for claim in claims:
                self._keep(claim.message)
                consumer.settle(Settlement(claim))
            consumer.flush()
            wait = 0.0

    def _keep(self, message: Message) -> None:
        task_id = message.properties.get("correlation_id")
        if not isinstance(task_id, str):
            return
        try:
            meta = body.load(message.body, task_id)
        except BackendError:
            return  # no answer of a worker; it is gone with this
        earlier = self._answers.get(task_id)
        if earlier is None or earlier.status not in ENDED:
            self._answers[task_id] = meta
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
