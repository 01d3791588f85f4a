"""What a test holds in its hands: the cluster, by kubectl and helm, and what may happen to its nodes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from tests.lab import images
from tests.lab.cluster import Cluster
from tests.lab.shell import LabError, run
from tests.lab.tools import binary
from tests.lab.waiting import wait_until

T = TypeVar("T")

Completed = subprocess.CompletedProcess[str]


class Options(TypedDict, total=False):
    """How to run a command: what it reads, whether failing is an error, and how many seconds it may take."""

    input: str | None
    check: bool
    timeout: float


class Lab:
    """A cluster for tests: the lab of this machine, or one that somebody has given us (`cluster` is None then).

    The lab loads its images itself. A given cluster has to be able to get them: LONGSHORE_TEST_IMAGE and
    LONGSHORE_TEST_REDIS_IMAGE say what they are called there.
    """

    def __init__(self, kubeconfig: Path, cluster: Cluster | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.project_image = os.environ.get("LONGSHORE_TEST_IMAGE", images.PROJECT)
        self.redis_image = os.environ.get("LONGSHORE_TEST_REDIS_IMAGE", images.REDIS)
        self._cluster = cluster

    @property
    def disposable(self) -> bool:
        """Whether the cluster is ours alone: nodes may be lost and CRDs deleted only then."""
        return self._cluster is not None

    # -- commands ----------------------------------------------------------------------------------------------------

    def kubectl(self, *words: str | Path, **options: Unpack[Options]) -> Completed:
        """Run kubectl as the cluster's administrator."""
        return self._run("kubectl", *words, **options)

    def helm(self, *words: str | Path, **options: Unpack[Options]) -> Completed:
        """Run helm as the cluster's administrator."""
        return self._run("helm", *words, **options)

    def get(self, *words: str) -> Any:
        """What `kubectl get … --output json` says."""
        return json.loads(self.kubectl("get", *words, "--output", "json").stdout)

    def find(self, *words: str) -> Any | None:
        """Like `get`, for one object that may not be there."""
        answer = self.kubectl("get", *words, "--ignore-not-found", "--output", "json").stdout
        return json.loads(answer) if answer.strip() else None

    def apply(self, *manifests: dict[str, Any], namespace: str | None = None) -> Completed:
        """Apply manifests."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        scope = ("--namespace", namespace) if namespace else ()
        return self.kubectl("apply", *scope, "--filename", "-", input=text)

    def wait(self, what: str, predicate: Callable[[], T], timeout: float = 60) -> T:
        """Wait until something is true of the cluster, and return what the predicate returned."""
        return wait_until(what, predicate, timeout, interval=0.3)

    @contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace of a test's own. What was in it is printed when the test fails, and deleted in any case."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        except BaseException:
            self._describe(name)
            raise
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", check=False)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """The names of all nodes."""
        return sorted(item["metadata"]["name"] for item in self.get("nodes")["items"])

    def ready_nodes(self) -> list[str]:
        """The names of the nodes that the cluster takes for ready."""
        return [item["metadata"]["name"] for item in self.get("nodes")["items"] if _condition(item, "Ready") == "True"]

    def lose(self, node: str) -> None:
        """A node dies without a word, with everything on it. `heal` boots it again."""
        self._own_cluster.node(node).lose()

    def cut(self, node: str) -> None:
        """A node is cut off from the network; everything on it goes on. `heal` ends that."""
        self._own_cluster.node(node).cut()

    def heal(self, node: str, timeout: float = 60) -> None:
        """Put a node right, and wait until the cluster takes it for ready."""
        self._own_cluster.heal(node)
        self.wait(f"{node} ready again", lambda: node in self.ready_nodes(), timeout)

    def load_image(self, archive: Path) -> None:
        """Load the images of an OCI archive on all nodes."""
        self._own_cluster.load(archive)

    @property
    def _own_cluster(self) -> Cluster:
        if self._cluster is None:
            raise LabError("this is not possible on a cluster that somebody has given us")
        return self._cluster

    def _run(self, program: str, *words: str | Path, **options: Unpack[Options]) -> Completed:
        # Every lab has the same address: what kubectl remembers of the kinds of one must not outlive it.
        cache = self.kubeconfig.parent / "kubectl-cache" if self.disposable else None
        environment = os.environ | ({"KUBECACHEDIR": str(cache)} if cache else {})
        return run(_program(program), f"--kubeconfig={self.kubeconfig}", *words, env=environment, **options)

    def _describe(self, namespace: str) -> None:
        for words in (("get", "all", "--output", "wide"), ("get", "events", "--sort-by=.lastTimestamp")):
            print(self.kubectl("--namespace", namespace, *words, check=False).stdout, file=sys.stderr)


def _program(name: str) -> Path | str:
    """Our own build, or with somebody's cluster, where nothing needs to be built, the machine's."""
    if binary(name).exists():
        return binary(name)
    if shutil.which(name):
        return name
    raise LabError(f"{name} is needed: `python -m tests.lab tools` builds it")


def _condition(item: dict[str, Any], kind: str) -> str:
    conditions = item.get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == kind), "Unknown")
