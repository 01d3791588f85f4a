"""Task events of a worker's process: off until somebody wants them, and then a note in a list for each.

The switch is on the board, so that it holds for every process at once; a process looks at it once a batch. While it is
off nothing of this is connected to anything.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from longshore import signals
from longshore.core.protocol import shortened
from longshore.request import current_run
from longshore.worker.board import Pen

if TYPE_CHECKING:
    from longshore.app import Longshore
    from longshore.events import EventSender


class TaskEvents:
    """The event sender of one process."""

    def __init__(self, app: Longshore, hostname: str, pen: Pen) -> None:
        self._app = app
        self._hostname = hostname
        self._pen = pen
        self._is_on = False
        self._sender: EventSender | None = None
        self._began: dict[str, float] = {}

    def follow(self) -> None:
        """Do as the switch says; called before each batch."""
        if self._pen.events_wanted != self._is_on:
            self._is_on = not self._is_on
            self._connect() if self._is_on else self._disconnect()

    def close(self) -> None:
        """Send what waits, as far as that takes no second."""
        if self._sender is not None:
            self._sender.close()

    def _receivers(self) -> dict[signals.Signal, Any]:
        return {
            signals.task_received: self._received,
            signals.task_prerun: self._started,
            signals.task_success: self._succeeded,
            signals.task_failure: self._failed,
            signals.task_retry: self._retried,
            signals.task_revoked: self._revoked,
            signals.task_rejected: self._rejected,
            signals.task_postrun: self._ended,
        }

    def _connect(self) -> None:
        if self._sender is None:
            from longshore.brokers.control import Names, open_control
            from longshore.events import EventSender

            names, url = Names.of(self._app.conf), self._app.conf.broker_url
            self._sender = EventSender(lambda: open_control(url, names), self._hostname, os.getppid(), self._pen.tick)
        for signal, receiver in self._receivers().items():
            signal.connect(receiver, weak=False, dispatch_uid=("longshore-events", receiver.__name__))

    def _disconnect(self) -> None:
        for signal, receiver in self._receivers().items():
            signal.disconnect(dispatch_uid=("longshore-events", receiver.__name__))
        self._began.clear()

    def _send(self, kind: str, task_id: str | None, **fields: Any) -> None:
        if self._sender is not None and task_id is not None:
            self._sender.send(kind, uuid=task_id, **fields)

    # -- receivers ---------------------------------------------------------------------------------------------------

    def _received(self, request: Any, **_: Any) -> None:
        self._send(
            "task-received",
            request.id,
            name=request.task,
            args=request.argsrepr,
            kwargs=request.kwargsrepr,
            root_id=request.root_id,
            parent_id=request.parent_id,
            retries=request.retries,
            eta=request.eta and request.eta.isoformat(),
            expires=request.expires and request.expires.isoformat(),
        )

    def _started(self, task_id: str, **_: Any) -> None:
        self._began[task_id] = time.monotonic()
        self._send("task-started", task_id)

    def _succeeded(self, result: Any, **_: Any) -> None:
        run = current_run.get()
        task_id = run.request.id if run is not None else None
        runtime = time.monotonic() - self._began.get(task_id or "", time.monotonic())
        self._send("task-succeeded", task_id, result=shortened(repr(result)), runtime=runtime)

    def _failed(self, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
        self._send("task-failed", task_id, exception=shortened(repr(exception)), traceback=einfo.traceback)

    def _retried(self, request: Any, reason: Any, einfo: Any, **_: Any) -> None:
        error = getattr(reason, "exc", None) or reason
        self._send("task-retried", request.id, exception=shortened(repr(error)), traceback=einfo.traceback)

    def _revoked(self, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
        self._send("task-revoked", request.id, terminated=terminated, signum=signum, expired=expired)

    def _rejected(self, message: Any, **_: Any) -> None:
        self._send("task-rejected", message.id, requeue=False)

    def _ended(self, task_id: str, **_: Any) -> None:
        self._began.pop(task_id, None)
