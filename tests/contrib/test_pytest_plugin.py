"""The plugin, used as its users use it: with the fixtures that it brings."""

import threading

import pytest

from longshore import current_app, shared_task
from longshore.contrib.testing import start_worker
from longshore.registry import apps


@pytest.mark.parity("C12", "A13")
def test_a_worker_runs_the_tasks_that_a_test_defines(longshore_app, longshore_worker):
    @longshore_app.task
    def add(x, y):
        return x + y

    assert add.delay(2, 2).get(timeout=20) == 4


def test_retries_and_failures_are_real(longshore_app, longshore_worker):
    seen = []

    @longshore_app.task(bind=True, autoretry_for=(OSError,), default_retry_delay=0.01, max_retries=2)
    def fail(self):
        seen.append(self.request.retries)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail.delay().get(timeout=20)
    assert seen == [0, 1, 2]


@pytest.mark.longshore(task_always_eager=True)
@pytest.mark.parity("C12")
def test_a_marker_gives_settings(longshore_app):
    ran = []

    @longshore_app.task(name="note")
    def note(x):
        ran.append(x)

    longshore_app.send_task("note", (1,))
    assert ran == [1]


def test_the_app_is_the_current_one_for_shared_tasks(longshore_app, longshore_worker, monkeypatch):
    monkeypatch.setattr(apps, "shared", [])  # a shared task is every app's, those of other tests included

    @shared_task(name="shared-in-a-test")
    def double(x):
        return 2 * x

    assert current_app.main == "tests"
    assert double.delay(4).get(timeout=20) == 8


def test_every_test_has_a_broker_of_its_own(longshore_app):
    assert longshore_app.broker.depths(["celery"])["celery"] is None


def test_coroutines_run_beside_each_other(longshore_app):
    together = threading.Barrier(2, timeout=20)

    @longshore_app.task
    def meet():
        together.wait()
        return True

    with start_worker(longshore_app, concurrency=2, execution="asyncio"):
        assert all(handle.get(timeout=20) for handle in [meet.delay(), meet.delay()])


def test_processes_are_refused(longshore_app):
    with pytest.raises(ValueError, match="has no processes"), start_worker(longshore_app, execution="processes"):
        pass
