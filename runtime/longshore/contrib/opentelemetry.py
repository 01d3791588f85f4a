"""OpenTelemetry traces that go with the message: `pip install longshore[otel]`, then `instrument()` beside the app.

A send is a span of kind producer, a run one of kind consumer, its child: the W3C context travels in the message's
headers (`traceparent`, `tracestate`), so that a Celery worker or client that is instrumented takes part. Connected by
signals: who does not call `instrument` pays nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, MutableMapping
from contextvars import Token
from typing import Any, NamedTuple

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from longshore import __version__, signals
from longshore.request import current_run

_UID = "longshore-opentelemetry"


class _Running(NamedTuple):
    span: Span
    token: Token[Context]
    thread: int


class Instrumentation:
    """What `instrument` connects; one for a process."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._tracer = trace.get_tracer("longshore", __version__, provider)
        self._running: dict[str, _Running] = {}

    def connect(self) -> None:
        """Take part in what happens."""
        for signal, receiver in self._receivers().items():
            signal.connect(receiver, weak=False, dispatch_uid=_UID)

    def disconnect(self) -> None:
        """Take no part any more."""
        for signal in self._receivers():
            signal.disconnect(dispatch_uid=_UID)

    def _receivers(self) -> dict[signals.Signal, Any]:
        return {
            signals.before_task_publish: self._publish,
            signals.task_prerun: self._begin,
            signals.task_retry: self._retried,
            signals.task_failure: self._failed,
            signals.task_postrun: self._end,
        }

    def _publish(self, sender: Any, headers: MutableMapping[str, Any], routing_key: str, **_: Any) -> None:
        """The context of this span, not that of the caller, goes with the message."""
        attributes = _attributes(str(sender), str(headers.get("id")), routing_key)
        span = self._tracer.start_span(f"publish {sender}", kind=SpanKind.PRODUCER, attributes=attributes)
        propagate.inject(headers, context=trace.set_span_in_context(span))
        span.end()

    def _begin(self, task_id: str, task: Any, **_: Any) -> None:
        run = current_run.get()
        headers: Mapping[str, Any] = run.request.headers if run is not None else {}
        queue = str(run.request.delivery_info.get("routing_key")) if run is not None else ""
        parent = propagate.extract({key: value for key, value in headers.items() if isinstance(value, str)}, Context())
        attributes = _attributes(task.name, task_id, queue)
        span = self._tracer.start_span(f"run {task.name}", parent, kind=SpanKind.CONSUMER, attributes=attributes)
        token = context.attach(trace.set_span_in_context(span, parent))
        self._running[task_id] = _Running(span, token, threading.get_ident())

    def _failed(self, task_id: str, exception: BaseException, **_: Any) -> None:
        if (running := self._running.get(task_id)) is not None:
            running.span.record_exception(exception)
            running.span.set_status(Status(StatusCode.ERROR, f"{type(exception).__name__}: {exception}"))

    def _retried(self, request: Any, reason: Any, **_: Any) -> None:
        if (running := self._running.get(request.id)) is not None:
            running.span.add_event("retry", {"reason": str(reason)})

    def _end(self, task_id: str, state: str, **_: Any) -> None:
        running = self._running.pop(task_id, None)
        if running is None:
            return
        running.span.set_attribute("longshore.state", state)
        running.span.end()
        if running.thread == threading.get_ident():  # what another thread attached, its own context has taken along
            context.detach(running.token)


def _attributes(task: str, task_id: str, queue: str) -> dict[str, str]:
    return {
        "messaging.system": "longshore",
        "messaging.destination.name": queue,
        "messaging.message.id": task_id,
        "longshore.task": task,
    }


def instrument(tracer_provider: TracerProvider | None = None) -> Instrumentation:
    """Trace what this process sends and runs; without a provider the global one is used."""
    instrumentation = Instrumentation(tracer_provider)
    instrumentation.connect()
    return instrumentation
