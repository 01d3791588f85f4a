"""The port between the runtime and a broker: one behavior, whoever keeps the messages.

Everything above this module speaks of queues, claims and settlements; nothing above it knows of channels, Lua or SQL.
A *claim* is a message that a worker holds; it belongs to an *owner* (one worker process) and stays with it until it is
settled, given back, or the owner is found dead. All times are seconds since the epoch, all durations seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from longshore.message import Message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from longshore.results.port import ResultBackend, ResultMeta

QueueType = Literal["Classic", "Quorum"]

SEND_DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do; a `False` or `None` here is an error for whoever asks for it, never silence."""

    name: str
    delayed: bool
    """ETA and countdown wait in the broker."""
    priorities: bool
    atomic_settle: bool
    """A settlement and what it sends happen in one transaction; otherwise sent (confirmed), then settled."""
    counts_leased: bool
    """`depths` can tell how many messages are claimed."""
    counts_delayed: bool
    fenced: bool
    """A settlement of a claim that was given to another is refused by the broker itself."""
    takeover_seconds: float
    """How long after a worker's silent death its claims are back in the queue, at most."""
    multi_host: bool
    celery_interop: bool
    returns_claims: bool = False
    """A dead process's claims are back the moment its connection closes. What is to be said of them must be said
    before it is killed.
    """
    gil_seconds: float = math.inf
    """How long a task may hold the interpreter's lock and keep its claims: endless where its supervisor keeps them."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue as it is declared. An existing queue is adopted with the type that it has."""

    name: str
    type: QueueType = "Classic"
    max_priority: int | None = None
    temporary: bool = False
    """One process's own, for answers: in no list of queues; where the broker can, gone an hour after its last use."""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What is in a queue. `None` is unknown, never 0."""

    ready: int | None
    leased: int | None = None
    delayed: int | None = None
    oldest_ready_at: float | None = None
    next_due_at: float | None = None
    consumers: int | None = None


class Outgoing(msgspec.Struct, frozen=True):
    """A message on its way into a queue; with `due_at` it waits in the broker until then."""

    queue: str
    message: Message
    due_at: float | None = None


class Claim(msgspec.Struct, eq=False):
    """A message that this process holds.

    `token` is the broker's own proof of the claim. `deliveries` counts the *started* executions before this one (a
    fetch alone does not count). `redelivered` is true when the message was held by somebody before. `counted` is
    true when this start is counted already: where the broker cannot see who starts, a suspect counts beforehand.
    """

    queue: str
    message: Message
    token: Any
    deliveries: int = 0
    redelivered: bool = False
    counted: bool = False


class Settlement(msgspec.Struct, frozen=True):
    """How a claim ends: its messages are sent, then it is removed; or it goes back to its queue.

    `sends` are a retry, a dead letter, callbacks: they are in their queues before the claim is gone, so that a death in
    between makes a duplicate, never a loss. With `give_back` the claim returns to the front of its queue, and
    `counted` says whether that was a started execution. A `result` is stored in the same transaction, unless the claim
    is not ours any more; only a consumer that was opened with `results` takes one.
    """

    claim: Claim
    sends: tuple[Outgoing, ...] = ()
    give_back: bool = False
    counted: bool = False
    result: ResultMeta | None = None
    result_expires: float | None = None
    """After how many seconds the result is forgotten; `None` for never."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds claims: one process. `worker` is unique for ever (pod UID and start), `slot` within its worker."""

    worker: str
    slot: int

    def __str__(self) -> str:
        return f"{self.worker}/{self.slot}"


@dataclass(frozen=True, slots=True)
class Started:
    """A task that a process was running when it died."""

    task_id: str
    counted: bool = True
    """Whether that was a started execution which is to be counted; not one that its claim has counted."""
    sentence: str | None = None
    """Why it must not run again: from now on its message carries this in the header `SENTENCE_HEADER`."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself every few seconds, through the broker; the operator and `inspect` read it."""

    worker: str
    name: str
    """The human name, `celery@host` style."""
    pool: str | None
    """``namespace/name`` of the WorkerPool."""
    queues: tuple[str, ...]
    capacity: int
    busy: int
    held: int
    """Claims, running ones included."""
    processed: int
    draining: bool
    tasks: tuple[str, ...]
    """Registered names, 200 at most."""
    task_count: int
    pid: int
    host: str
    started_at: float
    at: float
    """When it was said, by the broker's clock where there is one."""
    unknown_tasks: tuple[str, ...] = ()
    """Names of tasks that were parked lately, because no task of that name is registered."""


class Consumer(Protocol):
    """Claims and settles for one owner. Used by one thread.

    After a `BrokerError` the caller either goes on with what it holds (a settlement of a claim that was lost with its
    connection is refused) or gives it up with `abandon`. What was handed to `settle` is carried out when the broker is
    back, if the broker still can.
    """

    def claim(self, limit: int, wait: float, *, ahead: bool = False) -> list[Claim]:
        """Send what is settled, then claim up to `limit` messages; wait up to `wait` seconds for the first one.

        Return early, perhaps with nothing, when the wake descriptor becomes readable. A message with earlier started
        executions, or given back by a dead owner, is returned alone, so that a poison message is caught alone.

        With `ahead` a part of `limit` may be fetched while the caller works, for its next claim: only for tasks that
        are known to be short. A `flush` gives back what was fetched so and not handed out.
        """

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement; it leaves with the next `claim` or `flush`, soon."""

    def acknowledge_now(self, claims: Sequence[Claim]) -> None:
        """Settle before the start (early ack), all in one round trip: when this returns, nobody gets these messages
        again. The barrier of at-most-once. When it raises, none of them may be started.

        What is acknowledged and has not started is lost with its process: the caller gives no more at a time than
        it may lose.
        """

    def flush(self) -> int:
        """Carry out what is noted, at once, and give back what was fetched ahead; return how many settlements came too
        late (the claim was not ours any more).
        """

    def abandon(self) -> None:
        """Give up what is held, after an error: it goes back, uncounted, with the next call that works.

        What was noted stays noted. Sends nothing itself and never raises.
        """

    def close(self) -> None:
        """Flush, give back what is held (uncounted), and end."""


class Broker(Protocol):
    """One process's way to a broker. Opens lazily; opens anew in a child after a fork; closing twice is harmless.

    Methods may be called from several threads. Every call has a deadline: a dead broker raises, it never hangs.
    """

    url: str
    capabilities: Capabilities

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make sure that the queues exist; adopt what is there."""

    def send(self, outgoing: Sequence[Outgoing], *, deadline: float = SEND_DEADLINE_SECONDS) -> None:
        """Put messages into their queues, confirmed where the broker can; raise `BrokerError` within the deadline."""

    def submit(self, outgoing: Outgoing, *, deadline: float = SEND_DEADLINE_SECONDS) -> Future[None]:
        """Send a message from a thread of the process that puts what waits into one send; always confirmed.

        The future has this message's own error.
        """

    def depths(self, queues: Sequence[str]) -> Mapping[str, QueueDepth | None]:
        """Return what is in each queue, in one round trip; `None` for a queue that does not exist."""

    def consumer(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None = None,
        results: ResultBackend | None = None,
    ) -> Consumer:
        """Claim as `owner` from `queues`, fairly; a readable `wake_fd` ends a wait.

        `results` is where the results of settlements go: a backend that `settles_results_of` says yes to.
        """

    def settles_results_of(self, backend: ResultBackend) -> bool:
        """Whether a settlement can store its result in this backend, in one transaction: it is the same server."""

    def keep_claims(self, worker: str, slots: Sequence[int], queues: Sequence[str]) -> None:
        """Prolong the claims of these live processes of a worker; called by its supervisor every 2 seconds."""

    def release_owner(self, owner: Owner, queues: Sequence[str], started: Sequence[Started]) -> int:
        """Give back at once what a dead process held. `started` are the tasks that it was running: those that are
        `counted` count as started executions, the others do not. A sentence is in its message from
        then on. Return how many went back.

        Where the capabilities say `returns_claims` it gives nothing back, but notes starts and sentences; there it may
        be called before the process is killed.
        """

    def sweep(self, queues: Sequence[str]) -> int:
        """Take over the claims of owners that are gone, and promote what is due; return how many messages moved."""

    def report(self, report: WorkerReport) -> None:
        """Publish a worker's report; it is forgotten about 10 s after the last one."""

    def forget_worker(self, worker: str) -> None:
        """Remove the report of a worker that ends."""

    def workers(self) -> list[WorkerReport]:
        """Return the latest report of every live worker on this broker."""

    def peek(self, queue: str, limit: int) -> list[Message]:
        """Return the first ready messages without claiming them."""

    def purge(self, queue: str) -> int:
        """Drop every ready and delayed message of a queue; return how many. Claims stay."""

    def delete_queue(self, queue: str) -> None:
        """Remove the queue with all that is in it."""

    def close(self) -> None:
        """Close the connections of this process."""
