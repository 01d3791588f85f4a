"""Signals: functions that are called when something happens to a task or a worker. Names and arguments are Celery's.

``@task_prerun.connect`` or ``@task_prerun.connect(sender=add)``. What a receiver raises is logged and changes nothing.
A signal without receivers costs one look at an empty list.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

Receiver = Callable[..., Any]


class _Connected(NamedTuple):
    key: Hashable
    sender: Hashable
    find: Callable[[], Receiver | None]
    """A weak reference, or a function that always returns the receiver."""


class Signal:
    """One kind of event. Receivers are held weakly, unless connected with ``weak=False``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.receivers: list[_Connected] = []

    def __repr__(self) -> str:
        return f"<Signal {self.name}: {len(self.receivers)} receivers>"

    def connect(
        self,
        receiver: Receiver | None = None,
        *,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
    ) -> Any:
        """Call `receiver(sender=…, signal=…, **arguments)` at this event, or only at that of one `sender`.

        Usable as a decorator with and without arguments. The same receiver, or the same `dispatch_uid`, connects once.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender=sender, weak=weak, dispatch_uid=dispatch_uid)
        connected = _Connected(_receiver_key(receiver, dispatch_uid), _sender_key(sender), _finder(receiver, weak))
        living = [other for other in self.receivers if other.find() is not None]  # a dead one's id may be used again
        if all(other[:2] != connected[:2] for other in living):
            living.append(connected)
        self.receivers = living
        return receiver

    def disconnect(
        self, receiver: Receiver | None = None, *, sender: Any = None, dispatch_uid: Hashable | None = None
    ) -> bool:
        """Take a receiver away; return whether it was connected."""
        gone = (_receiver_key(receiver, dispatch_uid), _sender_key(sender))
        kept = [other for other in self.receivers if other[:2] != gone]
        found, self.receivers = len(kept) < len(self.receivers), kept
        return found

    def send(self, sender: Any, **arguments: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers; return each with what it returned, or with the exception that it raised."""
        if not self.receivers:
            return []
        key = _sender_key(sender)
        answers = []
        for connected in self.receivers:
            receiver = connected.find() if connected.sender in {None, key} else None
            if receiver is not None:
                answers.append((receiver, self._call(receiver, sender, arguments)))
        return answers

    def _call(self, receiver: Receiver, sender: Any, arguments: dict[str, Any]) -> Any:
        try:
            return receiver(sender=sender, signal=self, **arguments)
        except Exception as error:  # it is the user's code
            logger.exception("a receiver of the signal %s raised: %r", self.name, receiver)
            return error


def _finder(receiver: Receiver, weak: bool) -> Callable[[], Receiver | None]:
    if not weak:
        return lambda: receiver
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return weakref.WeakMethod(receiver)
    return weakref.ref(receiver)


def _receiver_key(receiver: Receiver | None, dispatch_uid: Hashable | None) -> Hashable:
    if dispatch_uid is not None:
        return dispatch_uid
    owner = getattr(receiver, "__self__", None)
    return (id(owner), id(getattr(receiver, "__func__", receiver)))


def _sender_key(sender: Any) -> Hashable:
    """A task is known by its name, so that a shared task, its name and each app's own object are one sender."""
    if sender is None or isinstance(sender, str):
        return sender
    name = getattr(sender, "name", None)
    return name if isinstance(name, str) else id(sender)


before_task_publish = Signal("before_task_publish")
"""In the sender, before a message leaves: body, exchange, routing_key, headers (may be changed), properties."""
after_task_publish = Signal("after_task_publish")
"""In the sender, once the broker has the message."""
task_received = Signal("task_received")
"""In a worker, when a message is claimed: request."""
task_prerun = Signal("task_prerun")
"""Before a task runs: task_id, task, args, kwargs."""
task_postrun = Signal("task_postrun")
"""After a task ran, whatever its end: task_id, task, args, kwargs, retval, state."""
task_success = Signal("task_success")
"""A task returned: result."""
task_failure = Signal("task_failure")
"""A task failed for good: task_id, exception, args, kwargs, traceback, einfo."""
task_retry = Signal("task_retry")
"""A task is to be tried again: request, reason, einfo."""
task_revoked = Signal("task_revoked")
"""A task is not run, or was ended: request, terminated, signum, expired."""
task_rejected = Signal("task_rejected")
"""A message went to the dead letters before it ran: message, exc."""
task_unknown = Signal("task_unknown")
"""A message names a task that is not registered here: name, id, message, exc."""
task_internal_error = Signal("task_internal_error")
"""Never sent: an error of the worker itself ends its process, and the task runs again. Kept for moved code."""
celeryd_init = Signal("celeryd_init")
"""A worker's settings are known, its app is imported: instance, conf, options."""
celeryd_after_setup = Signal("celeryd_after_setup")
"""The same, after logging is set up: instance, conf."""
worker_init = Signal("worker_init")
"""Before a worker starts its processes."""
worker_before_create_process = Signal("worker_before_create_process")
"""In the supervisor, before it forks a process."""
worker_process_init = Signal("worker_process_init")
"""In each process of a worker, before it claims."""
worker_process_shutdown = Signal("worker_process_shutdown")
"""In each process of a worker, when it ends in order: pid, exitcode."""
worker_ready = Signal("worker_ready")
"""All processes of a worker are started."""
worker_shutting_down = Signal("worker_shutting_down")
"""A worker was told to end: sig, how, exitcode."""
worker_shutdown = Signal("worker_shutdown")
"""All processes of a worker have ended."""
heartbeat_sent = Signal("heartbeat_sent")
"""A worker has reported."""
import_modules = Signal("import_modules")
"""A worker imports the modules of `include`."""
setup_logging = Signal("setup_logging")
"""A connected receiver sets logging up instead of the worker: loglevel, logfile, format, colorize."""
after_setup_logger = Signal("after_setup_logger")
"""The worker has set logging up: logger, loglevel, logfile, format, colorize."""
after_setup_task_logger = Signal("after_setup_task_logger")
"""The same, of tasks' own loggers."""
beat_init = Signal("beat_init")
"""Never sent: the operator sends what Celery's beat would. Kept for moved code."""
beat_embedded_init = Signal("beat_embedded_init")
"""Never sent, as `beat_init`."""
