"""Fixtures for all tests: the real servers, each in a plug-in of its own."""

import asyncio
from importlib.util import find_spec

_PLUGINS = (
    "tests.parity.plugin",
    "tests.support.redis",
    "tests.support.topologies",
    "tests.support.rabbitmq",
    "tests.support.postgres",
    "tests.support.apiserver",
    "tests.lab.fixtures",
    "tests.support.lanes",
)

pytest_plugins = ["pytester", *(name for name in _PLUGINS if find_spec(name))]

# looptime asks for the current loop before sync tests too; the policy would make one that nobody closes.
asyncio.set_event_loop(None)
