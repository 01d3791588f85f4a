"""The stage of the end-to-end tests: the chart installed, and in a namespace a Redis, a client pod and the shop.

Everything goes through `kubectl` and `helm`, as a user would do it; tasks are sent from a pod of the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.lab.client import Lab
from tests.lab.paths import REPOSITORY

SYSTEM = "longshore-system"
SHOP = REPOSITORY / "docs/examples/shop/manifests/shop.yaml"
SEND = """
import json, sys
from shop.tasks import app
calls = json.loads(sys.argv[1])
print(json.dumps([result.id for result in app.send_many([(name, args) for name, args in calls])]))
"""
STATES = """
import json, sys
from shop.tasks import app
metas = app.backend.fetch(json.loads(sys.argv[1]))
print(json.dumps([[m.status, m.result] if m else ["PENDING", None] for m in metas]))
"""


class Stage:
    """One namespace with a broker and a client."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab = lab
        self.namespace = namespace

    def kubectl(self, *words: str, **options: Any):
        return self.lab.kubectl("--namespace", self.namespace, *words, **options)

    def get(self, *words: str) -> Any:
        return self.lab.get("--namespace", self.namespace, *words)

    def find(self, *words: str) -> Any | None:
        return self.lab.find("--namespace", self.namespace, *words)

    def python(self, program: str, *words: str) -> Any:
        """Run a program beside the shop's code, in the client pod; return what it printed."""
        done = self.kubectl("exec", "client", "--", "python", "-c", program, *words, timeout=120)
        return json.loads(done.stdout)

    def send(self, calls: list[tuple[str, list[Any]]]) -> list[str]:
        return self.python(SEND, json.dumps(calls))

    def results(self, ids: list[str]) -> list[tuple[str, Any]]:
        return [tuple(pair) for pair in self.python(STATES, json.dumps(ids))]

    def all_done(self, ids: list[str]) -> bool:
        return all(status in {"SUCCESS", "FAILURE"} for status, _ in self.results(ids))

    def apply(self, *documents: dict[str, Any]) -> None:
        self.lab.apply(*documents, namespace=self.namespace)

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        found = self.find(kind, name) or {}
        listed = found.get("status", {}).get("conditions", [])
        return next((one for one in listed if one["type"] == condition), {})

    def replicas(self, name: str = "shop") -> int | None:
        deployment = self.find("deployment", name)
        return deployment["spec"]["replicas"] if deployment else None

    def describe(self) -> str:
        """Return what is in the namespace, and what workers and operator said last."""
        words = (
            ("get", "all,tq,wp,csch", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("get", "tq,wp", "-o", "jsonpath={range .items[*]}{.metadata.name}: {.status}{'\\n'}{end}"),
            ("logs", "-l", "longshore.dev/worker-pool", "--all-containers", "--tail=30", "--prefix"),
            ("logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=longshore", "--tail=40", "--prefix"),
        )
        return "\n\n".join(self.kubectl(*line, check=False).stdout for line in words)

    def pods(self, pool: str = "shop") -> list[dict[str, Any]]:
        return self.get("pods", "-l", f"longshore.dev/worker-pool={pool}")["items"]


def shop(**pool: Any) -> list[dict[str, Any]]:
    """Return the tutorial's manifests; `pool` replaces fields of the WorkerPool's spec."""
    documents = list(yaml.safe_load_all(SHOP.read_text()))
    documents[1]["spec"].update(pool)
    return documents


@contextmanager
def stage(lab: Lab, *, node: str | None = None) -> Iterator[Stage]:
    """Set a stage up; with `node` the broker and the client are pinned there."""
    with lab.namespace("shop") as namespace:
        placed = {"nodeName": node} if node else {}
        host = f"redis.{namespace}.svc.cluster.local"
        lab.apply(*_broker(lab, host, placed), _client(lab, placed), namespace=namespace)
        lab.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/redis", "pod/client", "--timeout=60s")
        yield Stage(lab, namespace)


def _broker(lab: Lab, host: str, placed: dict[str, str]) -> list[dict[str, Any]]:
    container = {"name": "redis", "image": lab.redis_image, "imagePullPolicy": "IfNotPresent",
                 "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1}}  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broker"},
         "stringData": {"url": f"redis://{host}:6379/0"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis"},
         "spec": {"selector": {"app": "redis"}, "ports": [{"port": 6379}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "redis", "labels": {"app": "redis"}},
         "spec": {**placed, "containers": [container]}},
    ]  # fmt: skip


def _client(lab: Lab, placed: dict[str, str]) -> dict[str, Any]:
    url = {"valueFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
    container = {
        "name": "client",
        "image": lab.project_image,
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/app/shop",
        "command": ["sleep", "infinity"],
        "env": [{"name": "LONGSHORE_BROKER_URL", **url}, {"name": "LONGSHORE_RESULT_BACKEND", **url}],
    }
    spec = {**placed, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}
