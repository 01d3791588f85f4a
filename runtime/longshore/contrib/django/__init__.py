"""Django: settings, tasks of the installed apps, connections closed between tasks, sends on commit.

An app made where DJANGO_SETTINGS_MODULE is set has all of it by itself, as with Celery.
"""

from __future__ import annotations

from longshore.contrib.django.task import DjangoTask

__all__ = ["DjangoTask"]
