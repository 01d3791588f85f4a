"""The lab is a guest on somebody's machine: a cluster that comes and goes leaves the machine as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import images, means, tools
from tests.lab.client import Lab
from tests.lab.cluster import Cluster
from tests.lab.paths import ADMIN_KUBECONFIG, STATE
from tests.lab.processes import Identity, Processes, children_of, identify
from tests.lab.shell import LabError, run
from tests.lab.test_lab import redis_pod

FOLDERS = (
    *("/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd"),
    *("/var/log/pods", "/var/log/containers"),
)
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")


@dataclass(frozen=True)
class Machine:
    """What a lab could leave behind, but for processes."""

    mounts: frozenset[str]
    network: tuple[str, ...]
    control_groups: frozenset[str]
    files: frozenset[str]
    sysctls: tuple[str, ...]

    @classmethod
    def look(cls) -> Machine:
        """See how the machine is now."""
        return cls(
            mounts=frozenset(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()),
            network=tuple(run("ip", *words).stdout for words in (("-brief", "address"), ("route",), ("netns",))),
            control_groups=frozenset(str(path) for path in Path("/sys/fs/cgroup").glob("*/*")),
            files=frozenset(str(path) for folder in map(Path, FOLDERS) for path in _present(folder)),
            sysctls=tuple((Path("/proc/sys") / name).read_text() for name in SYSCTLS),
        )


@pytest.fixture
def spare_cluster() -> Iterator[Cluster]:
    """A cluster that is not up yet; only where none is, for a machine has room for one."""
    if reason := means.why_not_now():
        pytest.skip(reason)
    cluster = Cluster()
    if cluster.usable():
        pytest.skip("a lab is up, and this test has to see one come and go")
    cluster.down()  # what a killed session has left behind
    tools.build_all()
    images.pause()
    yield cluster
    cluster.down()


@pytest.mark.lab
def test_down_leaves_nothing_behind(spare_cluster: Cluster) -> None:
    redis, before = images.redis(), Machine.look()
    spare_cluster.up(2)
    spare_cluster.node("node1").load(redis)
    _run_a_pod(Lab(ADMIN_KUBECONFIG, spare_cluster))
    inhabitants = _everything_that_runs()
    assert Machine.look() != before

    spare_cluster.down()

    assert not [process for process in inhabitants if process.alive]
    assert Machine.look() == before
    assert not STATE.exists()


@pytest.mark.lab
def test_an_up_that_fails_cleans_up_behind_itself(spare_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before, inhabitants = Machine.look(), list[Identity]()

    def fail() -> list[str]:
        inhabitants.extend(_everything_that_runs())
        raise LabError("the nodes do not come")

    monkeypatch.setattr(spare_cluster, "ready_nodes", fail)
    with pytest.raises(LabError, match="the nodes do not come"):
        spare_cluster.up(1)

    assert len(inhabitants) > 5
    assert not [process for process in inhabitants if process.alive]
    assert Machine.look() == before
    assert not STATE.exists()


@pytest.mark.lab
def test_half_a_cluster_is_replaced(spare_cluster: Cluster) -> None:
    assert spare_cluster.ensure(1)
    Processes(STATE).stop("apiserver", grace=0)
    assert spare_cluster.ensure(1)
    assert spare_cluster.usable()
    assert not spare_cluster.ensure(1)


@pytest.mark.lab
def test_down_without_a_cluster_is_fine(spare_cluster: Cluster) -> None:
    spare_cluster.down()


@pytest.mark.lab
def test_a_second_lab_is_told_who_is_in_the_way(spare_cluster: Cluster, tmp_path: Path) -> None:
    run("ip", "link", "add", "longshore0", "type", "bridge")
    try:
        run("ip", "link", "set", "longshore0", "alias", tmp_path)
        with pytest.raises(LabError, match=str(tmp_path)):
            spare_cluster.up(1)
        assert not STATE.exists()
    finally:
        run("ip", "link", "delete", "longshore0")


def _run_a_pod(lab: Lab) -> None:
    lab.wait("the default account", lambda: lab.find("serviceaccount", "default"))
    lab.apply(redis_pod(lab.redis_image, "node1"))
    lab.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")


def _everything_that_runs() -> list[Identity]:
    """Every process of the lab: those that it started, and what those have started, containers included."""
    processes = Processes(STATE)
    started = [identity for name in processes.names() if (identity := processes.identity(name))]
    return [identify(pid) for root in started for pid in _family(root.pid)]


def _family(pid: int) -> list[int]:
    return [pid, *(member for child in children_of(pid) for member in _family(child))]


def _present(folder: Path) -> list[Path]:
    return [folder, *folder.iterdir()] if folder.exists() else []
