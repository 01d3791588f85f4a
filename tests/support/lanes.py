"""Several lanes of tests side by side (pytest-xdist): most of them wait for servers and processes, not for a CPU.

A file's tests stay together, so that fixtures of a module are made once. All that needs the cluster is one lane's,
since there is one cluster; it is the longest and begins first.
"""

from __future__ import annotations

import pytest

LONGEST_FIRST = ("tests/worker", "tests/chaos", "tests/conformance", "tests/brokers", "tests/canvas", "tests/docs")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist") or not hasattr(config, "workerinput"):
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(lane_of(item)))
    items.sort(key=lambda item: rank(lane_of(item)))


def lane_of(item: pytest.Item) -> str:
    file = item.nodeid.partition("::")[0]
    needs_cluster = "lab" in getattr(item, "fixturenames", ()) or file.startswith(("tests/lab/", "tests/e2e/"))
    return "cluster" if needs_cluster else file


def rank(lane: str) -> int:
    """Say which lanes begin first; those of one rank stay in their order."""
    if lane == "cluster":
        return 0
    return next((index + 1 for index, folder in enumerate(LONGEST_FIRST) if lane.startswith(folder)), 99)
