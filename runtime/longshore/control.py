"""Remote control of workers: `app.control` and `app.control.inspect()`. Names, arguments and answers are Celery's.

Every worker on the app's broker hears it, Longshore's and Celery's alike (on SQLite Longshore's alone). Who answers has
`timeout` seconds for it; nobody knows how many there should be.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longshore.brokers.control import ControlLine, Names, open_control
from longshore.stores.port import REVOKED_KIND, REVOKED_SECONDS

if TYPE_CHECKING:
    from longshore.app import Longshore

Replies = list[dict[str, Any]]
_NOT_SAID: Any = object()


class DuplicateNodenameWarning(UserWarning):
    """Two workers answered under one name."""


class Control:
    """Commands for the workers of an app."""

    def __init__(self, app: Longshore) -> None:
        self.app = app

    def inspect(
        self,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Callable[[Any], object] | None = None,
        connection: object = None,
        app: Longshore | None = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Inspect:
        """Return a way to ask these workers, or all."""
        del connection  # of Celery's signature: there is nothing to choose here
        control = self if app is None else Control(app)
        return Inspect(control, destination, timeout, callback, limit, pattern, matcher)

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | str | None = None,
        connection: object = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], object] | None = None,
        channel: object = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra: Any,
    ) -> Replies | None:
        """Send a command; with `reply` return the answers, ``[{node: answer}, …]``, that came within `timeout`."""
        del connection, channel
        names = [destination] if isinstance(destination, str) else destination
        body = {
            "method": command,
            "arguments": {**(arguments or {}), **extra},
            "destination": list(names) if names else None,
            "pattern": pattern,
            "matcher": matcher,
        }
        line = self._open()
        try:
            if not reply:
                line.command(body, {"clock": 1, "expires": 0})
                return None
            enough = limit if limit is not None else len(names) if names else None
            return _collect(line, body, Names.of(self.app.conf), timeout, enough, callback)
        finally:
            line.close()

    def _open(self) -> ControlLine:
        self.app.require_broker()
        return open_control(self.app.conf.broker_url, Names.of(self.app.conf))

    # -- tasks -------------------------------------------------------------------------------------------------------

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Tell the workers not to run these tasks; with `terminate`, to end them where they run.

        Where there is a store it is written there too, for workers that start later.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        if self.app.has_store:
            store = self.app.open_store()
            try:
                store.mark(REVOKED_KIND, ids, expires=REVOKED_SECONDS)
            finally:
                store.close()
        arguments = {"task_id": ids, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **options)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Sequence[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Do the same with the tasks that carry one of these stamps."""
        arguments = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **options)

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: Sequence[str] | None = None,
        signal: str = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Revoke these tasks and end them where they run."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **options)

    def rate_limit(
        self, task_name: str, rate_limit: str | int | None, destination: Sequence[str] | None = None, **options: Any
    ) -> Replies | None:
        """Set how often a task may run, such as ``10/m``; for the life of the workers that hear it."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments, destination, **options)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Sequence[str] | None = None,
        **options: Any,
    ) -> Replies | None:
        """Set how long a task may run; for the life of the workers that hear it."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **options)

    def purge(self, connection: object = None) -> int:
        """Drop what waits in the app's own queues; return how many messages that were."""
        del connection
        routes = self.app.conf.task_routes.values()
        queues = {self.app.conf.task_default_queue} | {
            route["queue"] if isinstance(route, Mapping) else route for route in routes
        }
        existing = [queue for queue, depth in self.app.broker.depths(sorted(queues)).items() if depth is not None]
        return sum(self.app.broker.purge(queue) for queue in existing)

    discard_all = purge

    # -- workers -----------------------------------------------------------------------------------------------------

    def ping(self, destination: Sequence[str] | None = None, timeout: float = 1.0, **options: Any) -> Replies:
        """Ask who is there."""
        return self.broadcast("ping", {}, destination, reply=True, timeout=timeout, **options) or []

    def shutdown(self, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers drain and end."""
        return self.broadcast("shutdown", {}, destination, **options)

    def pool_grow(self, n: int = 1, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers run `n` tasks more at a time."""
        return self.broadcast("pool_grow", {"n": n}, destination, **options)

    def pool_shrink(self, n: int = 1, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers run `n` tasks less at a time."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **options)

    def add_consumer(self, queue: str, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers claim from one more queue."""
        return self.broadcast("add_consumer", {"queue": queue}, destination, **options)

    def cancel_consumer(self, queue: str, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers claim no more from a queue."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **options)

    def enable_events(self, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers publish task events."""
        return self.broadcast("enable_events", {}, destination, **options)

    def disable_events(self, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers publish no task events."""
        return self.broadcast("disable_events", {}, destination, **options)

    def heartbeat(self, destination: Sequence[str] | None = None, **options: Any) -> Replies | None:
        """Have workers tell at once that they live."""
        return self.broadcast("heartbeat", {}, destination, **options)


class Inspect:
    """Questions to workers. An answer is ``{node: answer}``, or `None` when nobody answered."""

    def __init__(
        self,
        control: Control,
        destination: Sequence[str] | str | None,
        timeout: float,
        callback: Callable[[Any], object] | None,
        limit: int | None,
        pattern: str | None,
        matcher: str | None,
    ) -> None:
        self.app = control.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher
        self._control = control

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask with any command."""
        replies = self._control.broadcast(
            command,
            arguments,
            self.destination,
            reply=True,
            timeout=self.timeout,
            limit=self.limit,
            callback=self.callback,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        by_node = flatten_reply(replies or [])
        if isinstance(self.destination, str):
            return by_node.get(self.destination)
        return by_node or None

    def ping(self, destination: Sequence[str] | None = _NOT_SAID) -> Any:
        """Ask who is there."""
        if destination is not _NOT_SAID:
            self.destination = destination
        return self.ask("ping")

    def active(self, safe: bool | None = None) -> Any:
        """Ask what runs."""
        return self.ask("active", safe=safe)

    def reserved(self, safe: bool | None = None) -> Any:
        """Ask what is claimed and has not started."""
        return self.ask("reserved", safe=safe)

    def scheduled(self, safe: bool | None = None) -> Any:
        """Ask what is delayed in the workers' queues."""
        return self.ask("scheduled", safe=safe)

    def registered(self, *taskinfoitems: str) -> Any:
        """Ask which tasks there are, with these of their attributes."""
        return self.ask("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def query_task(self, *ids: Any) -> Any:
        """Ask where these tasks are."""
        wanted = ids[0] if len(ids) == 1 and not isinstance(ids[0], str) else ids
        return self.ask("query_task", ids=list(wanted))

    def conf(self, with_defaults: bool = False) -> Any:
        """Ask for the settings."""
        return self.ask("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Sequence[str] | None = None) -> Any:
        """Greet, as a Celery worker does when it starts."""
        return self.ask("hello", from_node=from_node, revoked=revoked)

    def stats(self) -> Any:
        """Ask what the workers are and have done."""
        return self.ask("stats")

    def revoked(self) -> Any:
        """Ask which tasks are revoked."""
        return self.ask("revoked")

    def active_queues(self) -> Any:
        """Ask which queues are worked on."""
        return self.ask("active_queues")

    def report(self) -> Any:
        """Ask for a description of the installation."""
        return self.ask("report")

    def clock(self) -> Any:
        """Ask for the logical clock."""
        return self.ask("clock")


def flatten_reply(replies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``[{node: answer}, …]`` as one mapping; two nodes of one name are warned of."""
    nodes: dict[str, Any] = {}
    for reply in replies:
        if twice := sorted(nodes.keys() & reply.keys()):
            text = f"several workers answered as {', '.join(twice)}: give each a name of its own (-n)"
            warnings.warn(text, DuplicateNodenameWarning, stacklevel=3)
        nodes.update(reply)
    return nodes


def _collect(
    line: ControlLine,
    body: dict[str, Any],
    names: Names,
    timeout: float,
    limit: int | None,
    callback: Callable[[Any], object] | None,
) -> Replies:
    """Send, then listen until the time is over or everybody asked has answered."""
    inbox, ticket = str(uuid.uuid4()), str(uuid.uuid4())
    line.hear_replies(inbox)
    body |= {"ticket": ticket, "reply_to": {"exchange": names.replies_exchange, "routing_key": inbox}}
    ends = time.monotonic() + timeout
    line.command(body, {"clock": 1, "expires": time.time() + timeout})
    replies: Replies = []
    while (limit is None or len(replies) < limit) and (left := ends - time.monotonic()) > 0:
        for mail in line.receive(left):
            if isinstance(mail.body, dict) and mail.headers.get("ticket", ticket) == ticket:
                replies.append(mail.body)
                if callback is not None:
                    callback(mail.body)
    return replies
