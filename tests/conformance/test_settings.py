"""Every setting of a real Celery is known here: it means the same, is accepted, or is refused with the reason."""

from __future__ import annotations

import json
import subprocess

import pytest

from longshore.celery_settings import ACCEPTED, REFUSED
from longshore.exceptions import ImproperlyConfigured
from longshore.settings import SETTINGS, Settings

PROGRAM = """
import json
from celery.app.defaults import NAMESPACES, flatten
print(json.dumps(sorted(name for name, _ in flatten(NAMESPACES))))
"""


def is_known(name):
    try:
        Settings({})[name]
    except ImproperlyConfigured as error:
        return "refused" in str(error)
    return True


@pytest.mark.parity("A12")
def test_every_setting_of_celery_is_known(celery):
    done = subprocess.run([celery / "bin" / "python", "-c", PROGRAM], capture_output=True, text=True, check=True)
    names = json.loads(done.stdout)
    assert len(names) > 150
    assert [name for name in names if not is_known(name)] == []


def test_no_setting_is_two_things():
    assert ACCEPTED.keys().isdisjoint(SETTINGS)
    assert REFUSED.keys().isdisjoint(SETTINGS)
    assert ACCEPTED.keys().isdisjoint(REFUSED)
