"""The pytest plugin: one cluster for all tests of a session that ask for one.

Which cluster: the one that LONGSHORE_TEST_KUBECONFIG names, if its owner has allowed tests there; else the lab that
`make lab` has brought up, which is left up; else a lab of the session's own. Without the means for that, the tests
are skipped and say what was missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import images, means, tools
from tests.lab.client import Lab
from tests.lab.cluster import Cluster
from tests.lab.paths import ADMIN_KUBECONFIG, REPOSITORY

GIVEN = "LONGSHORE_TEST_KUBECONFIG"
PERMISSION = "longshore-test-allowed"

_COLD_START = 1800
"""Seconds that a test may take, the lab's start included: from cold caches, the tools alone take ten minutes."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A cluster for tests, with the project's image on it."""
    if os.environ.get(GIVEN):
        yield _given_cluster(Path(os.environ[GIVEN]))
        return
    if reason := means.why_not_now():
        pytest.skip(reason)
    yield from _own_lab()


@pytest.fixture
def disposable_lab(lab: Lab) -> Lab:
    """A cluster that is ours alone: for tests that lose nodes or delete CRDs."""
    if not lab.disposable:
        pytest.skip(f"nodes of the cluster in {GIVEN} are not ours to lose")
    return lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the cluster; those that need to see one come and go are first, while none is up."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(_COLD_START))
    items.sort(key=lambda item: "spare_cluster" not in getattr(item, "fixturenames", ()))


def _given_cluster(kubeconfig: Path) -> Lab:
    """Somebody's cluster is touched only where its owner has said so; anything else is an error, not a skip."""
    lab = Lab(kubeconfig)
    allowed = lab.kubectl("--namespace", "default", "get", "configmap", PERMISSION, check=False)
    if allowed.returncode != 0:
        pytest.fail(f"{GIVEN}: ConfigMap {PERMISSION} cannot be read in namespace default: {allowed.stderr.strip()}")
    return lab


def _own_lab() -> Iterator[Lab]:
    cluster = Cluster()
    tools.build_all()
    ours = cluster.ensure()
    try:
        load_images(cluster)
        yield Lab(ADMIN_KUBECONFIG, cluster)
    finally:
        if ours:
            cluster.down()


def load_images(cluster: Cluster) -> None:
    """Load the images of the tests; the project's own where there is something to make it of."""
    cluster.load(images.redis())
    if (REPOSITORY / "pyproject.toml").exists():
        cluster.load(images.project())
