"""Several lanes of tests side by side (pytest-xdist): most of them wait for servers and processes, not for a CPU.

A file's tests stay together, so that fixtures of a module are made once. All that needs the cluster is one lane's,
since there is one cluster; it is the longest and begins first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

CLUSTER = "cluster"
CLUSTER_PATHS = ("tests/lab/", "tests/e2e/", "tests/docs/test_tutorial.py")
LONGEST_FIRST = (
    "tests/worker/",
    "tests/chaos/",
    "tests/conformance/",
    "tests/brokers/",
    "tests/canvas/",
    "tests/docs/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; within a lane the order stays."""
    items.sort(key=lambda item: rank(lane_of(item.nodeid)))
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()) and lane_of(item.nodeid) != CLUSTER:
            raise pytest.UsageError(f"{item.nodeid} needs the cluster: it belongs to {' or '.join(CLUSTER_PATHS)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Return xdist's scheduler by scopes, with lanes for scopes."""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return lane_of(nodeid)

    return Lanes(config, log)


def lane_of(nodeid: str) -> str:
    """Return which tests a test stays together with."""
    return CLUSTER if nodeid.startswith(CLUSTER_PATHS) else nodeid.partition("::")[0]


def rank(lane: str) -> int:
    """Say which lanes begin first; those of one rank stay in their order."""
    if lane == CLUSTER:
        return 0
    return next((index + 1 for index, folder in enumerate(LONGEST_FIRST) if lane.startswith(folder)), 99)
