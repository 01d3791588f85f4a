"""The operator, installed by its chart, once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stage import SYSTEM, Stage, stage
from tests.lab.client import Lab
from tests.lab.paths import REPOSITORY

FAILED = pytest.StashKey[bool]()
CHART = REPOSITORY / "charts/longshore"


@pytest.fixture(scope="session")
def operator(lab: Lab) -> Iterator[Lab]:
    """A cluster with the operator in it, two replicas."""
    repository, _, tag = lab.project_image.rpartition(":")
    lab.helm(
        "install", "longshore", CHART, "--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "2m",
        "--set", f"image.repository={repository}", "--set", f"image.tag={tag}",
        "--set", "image.pullPolicy=IfNotPresent",
        timeout=180,
    )  # fmt: skip
    yield lab
    lab.helm("uninstall", "longshore", "--namespace", SYSTEM, check=False)


@pytest.fixture
def shop_stage(operator: Lab, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A namespace with a Redis and a client; when the test fails, what was in it is shown."""
    with stage(operator) as prepared:
        yield prepared
        if request.node.stash.get(FAILED, False):
            print(prepared.describe())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember a failure for the fixtures, which are taken down afterwards."""
    outcome = yield
    if outcome.get_result().failed:
        item.stash[FAILED] = True
