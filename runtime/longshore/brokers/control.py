"""The port of remote control: commands to every worker, replies to whoever asked, events to whoever listens.

On the wire it is kombu's pidbox and Celery's events, so that Celery's own tools work; nothing here is kept: who does
not listen has missed it. Names and bodies are values of this module; connections are the brokers' (`*/control.py`). A
process that forks leaves its lines to the parent.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

import msgspec

from longshore.brokers.registry import module_of
from longshore.core.protocol import parse_time
from longshore.exceptions import MessageError
from longshore.message import Message

_HOUR = 3600
EVERYTHING = "#"
"""The topic of a listener that wants every event."""


class Names(NamedTuple):
    """What the exchanges are called, and how long queues of listeners live; Celery's settings of these names."""

    control: str = "celery"
    events: str = "celeryev"
    control_queue_expires: float = 10.0
    control_queue_ttl: float = 300.0
    event_queue_expires: float = 60.0
    event_queue_ttl: float = 5.0
    event_queue_prefix: str = "celeryev"

    @classmethod
    def of(cls, conf: Mapping[str, Any]) -> Names:
        """Return the names of an app's settings."""
        return cls(
            control=conf["control_exchange"],
            events=conf["event_exchange"],
            control_queue_expires=conf["control_queue_expires"],
            control_queue_ttl=conf["control_queue_ttl"],
            event_queue_expires=conf["event_queue_expires"],
            event_queue_ttl=conf["event_queue_ttl"],
            event_queue_prefix=conf["event_queue_prefix"],
        )

    @property
    def commands_exchange(self) -> str:
        """Where commands are published."""
        return f"{self.control}.pidbox"

    @property
    def replies_exchange(self) -> str:
        """Where replies are published."""
        return f"reply.{self.control}.pidbox"

    def node_queue(self, node: str) -> str:
        """Return the name of a node's queue."""
        return f"{node}.{self.control}.pidbox"

    def reply_queue(self, inbox: str) -> str:
        """Return the name of the queue of somebody who waits for replies."""
        return f"{inbox}.{self.replies_exchange}"


class Mail(NamedTuple):
    """One message, as it was read."""

    body: Any
    headers: Mapping[str, Any]


class Event(NamedTuple):
    """One publishing: an event, or a list of them under a topic such as ``task.multi``."""

    topic: str
    body: Any
    headers: Mapping[str, Any]


class Waiting(NamedTuple):
    """A delayed message, and when it is due."""

    due_at: float
    queue: str
    message: Message


class ControlLine(Protocol):
    """A connection for control. It opens when it is first needed; after a `BrokerError` the next call opens it anew.

    Listen to one of the three, once; then `receive`, and often: a broker takes a line for dead that nobody reads.
    Used by one thread at a time.
    """

    def hear_commands(self, node: str) -> None:
        """Listen to commands, as a worker of that name."""

    def hear_replies(self, inbox: str) -> None:
        """Listen to replies to this address."""

    def hear_events(self, listener: str, topic: str = EVERYTHING) -> None:
        """Listen to events."""

    def receive(self, wait: float, wake_fd: int | None = None) -> list[Mail]:
        """Return what has arrived; wait up to `wait` seconds for the first, or until `wake_fd` is readable."""

    def command(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        """Publish a command to every node."""

    def reply(self, exchange: str, inbox: str, body: Any, headers: Mapping[str, Any]) -> None:
        """Publish a reply; nobody may be waiting for it any more."""

    def publish(self, events: Sequence[Event]) -> None:
        """Publish events."""

    def held(self, worker: str, queues: Sequence[str]) -> list[tuple[str, Message]] | None:
        """Return what a worker's processes hold, by queue; `None` where only they know."""

    def delayed(self, queues: Sequence[str], limit: int, *, behind: bool = False) -> list[Waiting]:
        """Return the delayed messages of these queues, the next due first; they stay where they are.

        A Celery client puts them into the queue itself, from where the first idle worker moves them. With `behind` they
        are looked for there as well, even where a message that was looked at counts as redelivered (RabbitMQ).
        """

    def close(self) -> None:
        """Stop listening."""

    def abandon(self) -> None:
        """Let go of a parent's connection in a forked child."""


def match(name: str, pattern: str, matcher: str) -> bool:
    """Whether a node's name matches: `matcher` is ``glob`` or ``pcre``."""
    if matcher == "glob":
        return fnmatch.fnmatchcase(name, pattern)
    try:
        return matcher == "pcre" and re.match(pattern, name) is not None
    except re.error:
        return False


def utc_offset() -> int:
    """Return how many hours the clock here is behind UTC, as Celery writes it into events."""
    return (time.altzone if time.localtime().tm_isdst > 0 else time.timezone) // _HOUR


def waiting_for(queue: str, message: Message) -> Waiting | None:
    """Return a message of a plain queue as a delayed one, if its ETA is still to come: Celery's clients send it so."""
    eta = message.headers.get("eta")
    if eta is None:
        return None
    try:
        moment = parse_time(eta, "eta")
    except MessageError:
        return None
    return Waiting(moment.timestamp(), queue, message) if moment and moment.timestamp() > time.time() else None


_lines: WeakSet[Any] = WeakSet()


def open_control(url: str, names: Names | None = None) -> ControlLine:
    """Return a line to the broker of an address; nothing is connected yet."""
    line: ControlLine = import_module(f"{module_of(url)}.control").open_line(url, names or Names())
    _lines.add(line)
    return line


def encode(body: Any) -> bytes:
    """Return a body as JSON; what JSON has no form for is its text."""
    return msgspec.json.encode(body, enc_hook=str)


def decode(body: bytes) -> Any:
    """Read a JSON body; `None` for what is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _leave_to_parent() -> None:
    for line in list(_lines):
        line.abandon()
    _lines.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
