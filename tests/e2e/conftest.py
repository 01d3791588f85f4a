"""The operator, installed by its chart, once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stage import SYSTEM, Stage, stage
from tests.lab.client import Lab
from tests.lab.paths import REPOSITORY

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
def shop_stage(operator: Lab) -> Iterator[Stage]:
    """A namespace with a Redis and a client."""
    with stage(operator) as prepared:
        yield prepared
