"""Fixtures for all tests: the real servers, each in a plug-in of its own."""

from importlib.util import find_spec

_PLUGINS = ("tests.support.redis", "tests.support.rabbitmq", "tests.support.apiserver", "tests.lab.fixtures")

pytest_plugins = [name for name in _PLUGINS if find_spec(name)]
