"""The example project in docs/examples/django, as its users run it."""

import os
import subprocess
import sys

import pytest

from tests.support.workers import ROOT, SOURCES, running_worker, wait_for

PROJECT = ROOT / "docs" / "examples" / "django"


@pytest.fixture
def environ(tmp_path):
    return {
        "SHOP_DATA": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "shop_site.settings",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), SOURCES]),
    }


@pytest.fixture
def shell(environ):
    """Run Python code in the project, as `manage.py shell -c` does."""

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", f"import django; django.setup()\n{code}"],
            capture_output=True,
            text=True,
            env={**os.environ, **environ},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    return run


DEPTH = "from shop_site import app; print(app.broker.depths(['orders'])['orders'].ready)"


@pytest.mark.parity("C11")
def test_a_task_is_sent_when_the_transaction_commits_and_never_after_a_rollback(shell):
    shell("from orders.sales import buy\ntry: buy('tea', in_stock=False)\nexcept LookupError: pass")
    assert shell("from shop_site import app; print(app.broker.depths(['orders'])['orders'])") == "None"
    shell("from orders.sales import buy; buy('tea')")
    assert shell(DEPTH) == "1"


@pytest.mark.parity("A11", "C11")
def test_a_worker_finds_the_tasks_of_the_installed_apps_and_works_on_the_database(shell, environ, tmp_path):
    shell("from orders.sales import buy; [buy(f'tea {n}') for n in range(20)]")
    options = ("-c", "2", "-Q", "orders")
    broker = f"sqlite:///{tmp_path}/tasks.db"
    with running_worker("shop_site", *options, broker=broker, log=tmp_path / "log", environ=environ) as worker:
        worker.ready()
        count = "from orders.models import Order; print(Order.objects.filter(state='shipped').count())"
        wait_for("all are shipped", lambda: shell(count) == "20")
        assert worker.terminate() == 0
    assert "error" not in worker.log


def test_connections_are_closed_around_each_task_and_not_inherited(shell):
    """CONN_MAX_AGE is 0 by default: a connection that is open before a task is closed when it begins."""
    code = """
from django.db import connection
from orders.models import Order
from orders.tasks import ship
from longshore import signals
from shop_site import app
order = Order.objects.create(article="tea")
assert connection.connection is not None
signals.worker_process_init.send(None)
assert connection.connection is None
from longshore.contrib.testing import start_worker
with start_worker(app):
    handle = ship.delay(order.id)
    print(handle.get(timeout=20))
"""
    assert shell(code) == "tea (shipped)"


def test_wrong_arguments_raise_before_the_commit(shell):
    code = """
from django.db import transaction
from orders.tasks import ship
try:
    ship.delay_on_commit()
except TypeError as error:
    print(error)
"""
    assert "missing a required argument: 'order_id'" in shell(code)
