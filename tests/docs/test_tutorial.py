"""The tutorials, carried out as a reader does it: every command, and what it is said to print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, Step, steps
from tests.docs.terminal import Terminal, matches
from tests.lab.client import Lab
from tests.lab.paths import BINARIES

LAPTOP = DOCS / "tutorial/laptop.md"
CLUSTER = DOCS / "tutorial/cluster.md"
SYSTEM = "longshore-system"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("LONGSHORE_BROKER_URL", "LONGSHORE_RESULT_BACKEND", "LONGSHORE_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    shop = tmp_path / "shop"
    shutil.copytree(DOCS / "examples/shop", shop, ignore=shutil.ignore_patterns("__pycache__", ".longshore"))
    terminal = Terminal(shop, str(Path(sys.executable).parent))
    yield terminal
    terminal.close()


@pytest.mark.timeout(240)
def test_on_a_laptop_every_command_does_what_the_page_says(terminal: Terminal) -> None:
    commands = steps(LAPTOP)
    assert len(commands) > 12
    for step in commands:
        terminal.run(step)


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Iterator[Terminal]:
    """The root of a clone, on a cluster without an operator; what the page leaves there is taken away."""
    if lab.helm("status", "longshore", "--namespace", SYSTEM, check=False).returncode == 0:
        pytest.skip("an operator is installed on this cluster already; this test installs its own")
    clone = tmp_path / "clone"
    for folder in ("charts/longshore", "docs/examples/shop/manifests"):
        shutil.copytree(ROOT / folder, clone / folder)
    terminal = Terminal(clone, str(BINARIES), KUBECONFIG=str(lab.kubeconfig), KUBECACHEDIR=str(tmp_path / "cache"))
    yield terminal
    terminal.close()
    lab.kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")
    lab.helm("uninstall", "longshore", "--namespace", SYSTEM, check=False)


def with_images_of(lab: Lab, step: Step) -> Step:
    """Return the step with the images that this cluster has instead of those of a registry."""
    repository, _, tag = lab.project_image.rpartition(":")
    command = step.command.replace("registry.example/longshore:0.1", lab.project_image)
    command = command.replace("repository=registry.example/longshore", f"repository={repository}")
    command = command.replace("image.tag=0.1", f"image.tag={tag}").replace(
        "--image=redis:7", f"--image={lab.redis_image}"
    )
    return Step(command, step.expected)


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_on_a_cluster_every_command_does_what_the_page_says(lab: Lab, cluster: Terminal) -> None:
    commands = steps(CLUSTER)
    assert len(commands) > 20
    for step in commands:
        cluster.run(with_images_of(lab, step))


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (["a", "c"], "a\nb\nc", True),
        (["c", "a"], "a\nb\nc", False),
        (["after ... s: 3 tasks"], "after 1.25 s: 3 tasks", True),
        (["after ... s: 3 tasks"], "after 1.25 s: 4 tasks", False),
        (["00000000-0000-0000-0000-000000000000"], "6a0d4b8e-2c9c-4a4e-9f8e-0123456789ab", True),
        (["00000000-0000-0000-0000-000000000000"], "none", False),
        (["orders   1  ..."], "orders 1 2", True),
        ([], "whatever", True),
    ],
)
def test_how_a_page_is_compared_with_a_terminal(expected: list[str], printed: str, fits: bool) -> None:
    assert matches(Step("x", expected), printed) is fits
