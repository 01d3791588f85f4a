import json
from datetime import timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longshore import Longshore
from longshore.exceptions import ImproperlyConfigured
from longshore.manifests import kubernetes_name
from longshore.schedules import crontab, maybe_schedule, schedule, solar
from longshore_operator.api import CronSchedule
from tests.support.workers import run_command


@pytest.fixture
def app():
    return Longshore("shop", set_as_current=False, broker="sqlite://", timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("made", "expression"),
    [
        (crontab(), "* * * * *"),
        (crontab(minute=0, hour=2), "0 2 * * *"),
        (crontab(minute="*/15", hour="8-18", day_of_week="mon-fri"), "*/15 8-18 * * mon-fri"),
        (crontab(minute=[0, 30, 5], hour=(1, "13-15")), "0,5,30 1,13-15 * * *"),
        (crontab(minute=0, hour=0, day_of_month="1, 15", month_of_year="jan,jul"), "0 0 1,15 jan,jul *"),
        (crontab.from_string("30 7 * * 1"), "30 7 * * 1"),
    ],
)
@pytest.mark.parity("H2")
def test_a_crontab_is_one_cron_expression(made, expression):
    assert made.spec() == {"cron": expression}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: crontab(minute=61), "Bad minute"),
        (lambda: crontab(day_of_week="mon", day_of_month=1), "both to hold"),
        (lambda: crontab.from_string("* * *"), "five fields"),
        (lambda: schedule(0.5), "whole seconds"),
        (lambda: schedule(timedelta(seconds=90.5)), "whole seconds"),
        (lambda: solar("noon", 0, 0), "solar_noon"),
        (lambda: solar("sunset", 91, 0), "no place on Earth"),
        (lambda: maybe_schedule("hourly"), "crontab"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_words(make, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        make()


@pytest.mark.parity("H2")
def test_schedules_of_code_become_cron_schedules_that_the_operator_accepts(app):
    @app.task(name="shop.report", queue="reports")
    def report(kind):
        return kind

    app.conf.beat_schedule = {
        "Nightly report": {
            "task": "shop.report",
            "schedule": crontab(minute=0, hour=2),
            "args": ("full",),
            "options": {"priority": 5, "expires": 600, "queue": "nightly"},
        }
    }

    @app.on_after_configure.connect
    def declare(sender, **_):
        sender.add_periodic_task(10.0, report, args=("quick",))
        sender.add_periodic_task(timedelta(hours=1), "shop.hourly", kwargs={"deep": True}, name="hourly")
        sender.add_periodic_task(solar("dawn_civil", 52.5, 13.4), "shop.lights", name="lights")

    app.finalize()
    app.finalize()
    from longshore.manifests import cron_schedules

    made = cron_schedules(app.periodic_tasks(), app.queue_for, time_zone="Europe/Berlin", namespace="shop")
    specs = {manifest["metadata"]["name"]: manifest["spec"] for manifest in made}
    assert specs["nightly-report"] == {
        "cron": "0 2 * * *",
        "timeZone": "Europe/Berlin",
        "task": "shop.report",
        "args": ["full"],
        "queue": "nightly",
        "priority": 5,
        "expiresSeconds": 600,
    }
    assert specs["shop-report-quick"]["everySeconds"] == 10
    assert specs["shop-report-quick"]["queue"] == "reports"
    assert specs["hourly"]["kwargs"] == {"deep": True}
    assert specs["lights"]["solar"]["event"] == "DawnCivil"
    for manifest in made:
        parsed = CronSchedule.model_validate(manifest)
        assert parsed.metadata.namespace == "shop"


def test_a_signature_gives_its_arguments_and_options(app):
    signature = {"task": "shop.report", "args": [2], "kwargs": {"a": 1}, "options": {"queue": "q", "task_id": None}}
    app.add_periodic_task(60, signature, args=(1,), kwargs={"a": 3})
    (found,) = app.periodic_tasks()
    assert (found.args, found.kwargs, found.options) == ((1, 2), {"a": 3}, {"queue": "q"})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"schedule": 10}, "says no task"),
        ({"task": "t"}, "says no schedule"),
        ({"task": "t", "schedule": 10, "countdown": 1}, "unknown countdown"),
        ({"task": "t", "schedule": 10, "options": {"link": []}}, "option link cannot be kept"),
        ({"task": "t", "schedule": 0.1}, "schedule 'x': a schedule's interval"),
    ],
)
def test_an_entry_that_no_cron_schedule_can_hold_is_refused(app, entry, said):
    app.conf.beat_schedule = {"x": entry}
    with pytest.raises(ImproperlyConfigured, match=said):
        app.periodic_tasks()


def test_two_schedules_of_one_name_are_refused(app):
    app.add_periodic_task(10, "t", name="x")
    with pytest.raises(ImproperlyConfigured, match="two schedules are named 'x'"):
        app.add_periodic_task(20, "t", name="x")


@given(st.text(min_size=1))
def test_a_name_for_kubernetes_is_one_or_an_error(text):
    try:
        name = kubernetes_name(text)
    except ImproperlyConfigured:
        assert not any(character.isascii() and character.isalnum() for character in text)
        return
    assert len(name) <= 63
    assert name == name.lower()
    assert name[0].isalnum()
    assert name[-1].isalnum()


PROGRAM = """
from longshore import Longshore
from longshore.schedules import crontab
app = Longshore("shop", broker="sqlite://", task_default_queue="Orders.In")

@app.on_after_configure.connect
def declare(sender, **_):
    sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week="mon"), "shop.week", name="week")
"""


def test_the_command_prints_manifests_or_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "scheduled.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    refused = run_command("manifests", "scheduled:app")
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("say which it is: --task-queue Orders.In=NAME")
    done = run_command("manifests", "scheduled:app", "--task-queue", "Orders.In=orders")
    assert done.returncode == 0, done.stderr
    (manifest,) = yaml.safe_load_all(done.stdout)
    assert manifest["spec"] == {"cron": "30 7 * * mon", "timeZone": "UTC", "task": "shop.week", "queue": "orders"}
    listed = run_command("manifests", "scheduled:app", "--task-queue", "Orders.In=orders", "-o", "json")
    assert json.loads(listed.stdout)["items"] == [manifest]
