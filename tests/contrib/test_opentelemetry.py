"""A trace goes from the sender through the message into the run, and on to what the run sends."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from longshore import Longshore, signals
from longshore.contrib.opentelemetry import instrument
from longshore.core.protocol import parse_call
from longshore.execution import execute, execute_async
from longshore.run import Run


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentation = instrument(provider)
    yield exporter, provider
    instrumentation.disconnect()
    provider.shutdown()


@pytest.fixture
def app(tmp_path):
    app = Longshore("traced", broker=f"sqlite:///{tmp_path}/b.db", set_as_current=False)

    @app.task(name="parent")
    def parent():
        app.send_task("child")

    @app.task(name="child")
    def child():
        raise ValueError("no")

    @app.task(name="again", bind=True)
    def again(self):
        raise self.retry(countdown=1)

    @app.task(name="coroutine")
    async def coroutine():
        return 1

    yield app
    app.close()


def next_run(app):
    [message] = app.broker.peek("celery", 1)
    app.broker.purge("celery")
    run = Run(parse_call(message), message, "celery")
    return app.tasks[run.call.name], run


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_one_trace_holds_the_send_the_run_and_what_the_run_sends(app, spans):
    exporter, provider = spans
    with provider.get_tracer("test").start_as_current_span("request"):
        app.tasks["parent"].delay()
    execute(*next_run(app))
    task, run = next_run(app)
    execute(task, run)
    found = by_name(exporter)
    order = ["request", "publish parent", "run parent", "publish child", "run child"]
    assert {found[name].context.trace_id for name in order} == {found["request"].context.trace_id}
    for above, below in pairwise(order):
        assert found[below].parent.span_id == found[above].context.span_id
    assert (found["publish child"].kind, found["run child"].kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert found["run child"].status.status_code == StatusCode.ERROR
    assert found["run child"].events[0].name == "exception"
    assert found["run parent"].attributes["longshore.state"] == "SUCCESS"
    assert found["run child"].attributes["messaging.message.id"] == run.call.id


def test_a_run_leaves_no_context_behind(app, spans):
    exporter, _ = spans
    for name in ("parent", "again"):
        app.send_task(name)
        execute(*next_run(app))
        app.broker.purge("celery")
    found = by_name(exporter)
    assert found["run again"].context.trace_id != found["run parent"].context.trace_id
    assert found["publish again"].parent is None
    assert found["run again"].events[0].name == "retry"


async def test_a_coroutine_and_a_function_beside_the_loop_are_traced(app, spans):
    exporter, _ = spans
    for name in ("coroutine", "parent"):
        app.send_task(name)
        await execute_async(*next_run(app))
        app.broker.purge("celery")
    found = by_name(exporter)
    assert found["run coroutine"].attributes["longshore.state"] == "SUCCESS"
    assert found["publish child"].parent.span_id == found["run parent"].context.span_id


def test_without_it_nothing_is_connected(app):
    assert not signals.task_prerun.receivers
    assert not signals.before_task_publish.receivers
    app.send_task("parent")
    assert "traceparent" not in app.broker.peek("celery", 1)[0].headers
