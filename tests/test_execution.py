"""One run in one process: handlers in Celery's order, and what each end calls."""

from __future__ import annotations

import pytest

from longshore import Longshore, Task
from longshore.exceptions import Ignore, MaxRetriesExceededError


class Told(Task):
    calls: list[str] = []  # noqa: RUF012 - shared on purpose: the tests read it

    def before_start(self, task_id, args, kwargs):
        self.calls.append("before_start")

    def on_success(self, retval, task_id, args, kwargs):
        self.calls.append(f"on_success {retval}")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self.calls.append(f"on_retry {exc}")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self.calls.append(f"on_failure {exc}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self.calls.append(f"after_return {status}")


@pytest.fixture
def app():
    Told.calls.clear()
    return Longshore("t", task_always_eager=True, task_cls=Told, set_as_current=False)


@pytest.mark.parity("B5", "B6")
def test_the_handlers_of_a_success(app):
    assert app.task(lambda: 7, name="seven").delay().get() == 7
    assert Told.calls == ["before_start", "on_success 7", "after_return SUCCESS"]


@pytest.mark.parity("B6")
def test_the_handlers_of_a_retried_task_that_fails_in_the_end(app):
    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def unlucky(self):
        raise self.retry(exc=ValueError("again"))

    with pytest.raises(ValueError, match="again"):
        unlucky.delay().get()
    first_run = ["before_start", "on_retry again", "after_return RETRY"]
    assert Told.calls == [*first_run, "before_start", "on_failure again", "after_return FAILURE"]


@pytest.mark.parity("E2")
def test_retrying_too_often_without_an_exception_says_so(app):
    @app.task(bind=True, max_retries=0)
    def never(self):
        self.retry()

    with pytest.raises(MaxRetriesExceededError):
        never.delay().get()


def test_an_ignored_task_calls_neither_success_nor_failure(app):
    @app.task
    def ignored():
        raise Ignore

    ignored.delay()
    assert Told.calls == ["before_start"]


def test_a_handler_that_raises_changes_nothing_about_the_end():
    class Clumsy(Task):
        def on_success(self, retval, task_id, args, kwargs):
            raise RuntimeError("a handler's own trouble")

    app = Longshore("t", task_always_eager=True, set_as_current=False)
    assert app.task(lambda: 1, name="one", base=Clumsy).delay().get() == 1


def test_a_task_without_handlers_of_its_own_calls_none():
    app = Longshore("t", set_as_current=False)
    assert app.task(lambda: 1, name="one").handlers == frozenset()
    assert "on_success" in app.task(lambda: 1, name="two", base=Told).handlers


@pytest.mark.parity("C8")
def test_arguments_that_do_not_fit_fail_at_the_call():
    app = Longshore("t", set_as_current=False)
    task = app.task(lambda a, b=2: a, name="t")
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        task.delay()
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        task.apply_async((1,), {"c": 3})


def test_retry_with_an_exception_as_its_first_argument_is_refused():
    app = Longshore("t", task_always_eager=True, set_as_current=False)

    @app.task(bind=True)
    def wrong(self):
        self.retry(ValueError("meant as exc"))

    with pytest.raises(TypeError, match="exc="):
        wrong.delay().get()


@pytest.mark.parity("B9")
def test_an_exception_that_cannot_even_be_shown_is_described():
    from longshore.describing import describe

    class Stubborn(Exception):
        def __init__(self, code):
            super().__init__(self)
            self.code = code

        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    failure = describe(Stubborn(7))
    assert failure.type.endswith("Stubborn")
    assert "cannot be shown" in failure.text
    assert failure.args == ["<Stubborn that cannot be shown>"]
