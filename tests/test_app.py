"""The app: names, registry, settings, routing, shared tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from longshore import Longshore, current_app, shared_task
from longshore.exceptions import DuplicateTask, ImproperlyConfigured, NoResultBackend, NotRegistered, redact_url


@pytest.fixture
def app():
    return Longshore("shop", set_as_current=False)


@pytest.mark.parity("B2", "B3")
def test_names_are_module_and_function_unless_given(app):
    @app.task
    def pay():
        pass

    @app.task(name="other.name")
    def named():
        pass

    assert pay.name == f"{__name__}.pay"
    assert set(app.tasks) == {f"{__name__}.pay", "other.name"}
    with pytest.raises(NotRegistered, match=r"other\.name"):
        app.tasks["missing"]


@pytest.mark.parity("B2")
def test_a_duplicate_name_names_both_places(app):
    app.task(lambda: 1, name="same")
    with pytest.raises(DuplicateTask, match=r"test_app\.py:\d+ and .*test_app\.py:\d+"):
        app.task(lambda: 2, name="same")


def test_an_unknown_option_is_refused(app):
    with pytest.raises(ImproperlyConfigured, match="retry_backof"):
        app.task(lambda: 1, name="t", retry_backof=True)


@pytest.mark.parity("A11")
def test_a_shared_task_belongs_to_every_app_also_to_those_to_come():
    @shared_task(name="shared.one")
    def one():
        return 1

    @shared_task("shared.two")
    def two():
        return 2

    app = Longshore("late", task_always_eager=True)
    assert {"shared.one", "shared.two"} <= set(app.tasks)
    assert one() == 1
    assert two.delay().get() == 2
    assert current_app.main == "late"


@pytest.mark.parity("A12")
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("task_ack_late", True, "did you mean task_acks_late"),
        ("task_acks_late", "perhaps", "is not true or false"),
        ("task_serializer", "pickle", "pickle and others are refused"),
        ("worker_concurrency", 0, "less than 1"),
        ("task_reject_on_worker_lost", "perhaps", "is not true or false"),
        ("task_time_limit", -5, "is negative"),
        ("worker_max_tasks_per_child", 0, "less than 1"),
        ("task_annotations", {}, "refused: set the options at the task"),
        ("s3_bucket", "b", "refused: there is no such result backend"),
        ("broker_use_ssl", True, "refused: say it in the address"),
    ],
)
def test_a_wrong_setting_says_what_is_right(app, name, value, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        app.conf[name] = value


def test_settings_of_celery_whose_purpose_holds_anyway_are_accepted(app):
    app.conf.worker_prefetch_multiplier = 4
    app.conf.update({"broker_pool_limit": 10, "beat_max_loop_interval": 5})
    app.conf.task_queues = [SimpleNamespace(name="orders"), "reports"]
    assert app.conf.task_queues == ("orders", "reports")
    assert "broker_pool_limit" not in list(app.conf)


@pytest.mark.parametrize("options", [{"links": None}, {"routing_key": "x"}])
def test_a_call_option_that_would_not_be_honored_is_refused(app, options):
    with pytest.raises(TypeError, match=r"task t: unknown option .*; there is queue, countdown"):
        app.send_task("t", **options)


def test_options_of_celery_that_hold_anyway_are_accepted_and_their_contrary_is_refused(app):
    app.task(lambda: 1, name="fine", reject_on_worker_lost=True, serializer="json")
    with pytest.raises(ImproperlyConfigured, match="less than or equal to time_limit"):
        app.task(lambda: 1, name="a", time_limit=1, soft_time_limit=2)
    with pytest.raises(ValueError, match="less than or equal to time_limit"):
        app.send_task("t", time_limit=1, soft_time_limit=2)
    with pytest.raises(ImproperlyConfigured, match="pickle is refused"):
        app.task(lambda: 1, name="b", serializer="pickle")


def test_the_environment_wins_over_the_code(monkeypatch):
    app = Longshore("t", broker="redis://code", set_as_current=False)
    assert app.conf.broker_url == "redis://code"
    monkeypatch.setenv("LONGSHORE_BROKER_URL", "redis://environment")
    assert app.conf.broker_url == "redis://environment"


def test_routes_by_task_name_pattern_and_default(app):
    app.conf.task_routes = {"mail.*": {"queue": "mails"}, "mail.urgent": "fast"}
    app.task(lambda: 1, name="pinned", queue="own")
    assert [app.queue_for(name) for name in ("mail.urgent", "mail.slow", "pinned", "other")] == [
        "fast", "mails", "own", "celery",
    ]  # fmt: skip


@pytest.mark.parity("C2", "C4")
def test_options_become_headers_and_the_time_in_the_broker(app):
    eta = datetime(2030, 1, 1, tzinfo=UTC)
    outgoing = app.outgoing(
        "t", (1,), {}, eta=eta, expires=eta + timedelta(hours=1), priority=7, task_id="x", queue="q"
    )
    assert outgoing.due_at == eta.timestamp()
    assert outgoing.queue == "q"
    assert outgoing.message.headers["eta"] == "2030-01-01T00:00:00+00:00"
    assert outgoing.message.headers["expires"] == "2030-01-01T01:00:00+00:00"
    assert outgoing.message.properties["priority"] == 7
    assert app.outgoing("t", (), {}, eta=datetime(2020, 1, 1)).due_at is None  # noqa: DTZ001 - naive is UTC
    with pytest.raises(ImproperlyConfigured, match="not within 0"):
        app.outgoing("t", (), {}, priority=10)


@pytest.mark.parity("G4")
def test_without_a_backend_a_result_cannot_be_asked_for(app):
    with pytest.raises(NoResultBackend, match="LONGSHORE_RESULT_BACKEND"):
        app.AsyncResult("x").get(timeout=1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("amqp://user:se%40cret@host//", "amqp://user:***@host//"),
        ("redis://host/0?password=secret&x=1", "redis://host/0?password=***&x=1"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_an_address_is_shown_without_its_password(url, shown):
    assert redact_url(url) == shown
