"""What an app needs to live in a Django project. Imported by an app that finds DJANGO_SETTINGS_MODULE set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longshore import signals
from longshore.contrib.django.task import DjangoTask
from longshore.task import Task

if TYPE_CHECKING:
    from longshore.app import Longshore


def install(app: Longshore) -> None:
    """Set Django up before tasks are imported, and keep its database connections in order around each task."""
    if app.Task is Task:
        app.Task = DjangoTask
    app.before_imports.append(_set_up)
    app.installed_packages = _installed_packages
    for signal, receiver in (
        (signals.worker_init, _close_all),
        (signals.worker_process_init, _close_all),
        (signals.task_prerun, _close_old),
        (signals.task_postrun, _close_old),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"longshore.django.{signal.name}")


def _set_up() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    import django

    django.setup()


def _installed_packages() -> list[str]:
    from django.apps import apps

    return [config.name for config in apps.get_app_configs()]


def _close_all(**_: Any) -> None:
    """No process works on a connection that another one opened before the fork."""
    from django.db import connections

    connections.close_all()


def _close_old(task: Task, **_: Any) -> None:
    """Close what has outlived CONN_MAX_AGE or broke, as Django does around a request; eager runs are the caller's."""
    if task.request.is_eager:
        return
    from django.db import close_old_connections

    close_old_connections()
