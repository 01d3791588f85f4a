"""From a pod template to a running worker on this machine: arguments, environment, folder, log.

What only a cluster has (image, volumes, resources, probes) is left out; broker and results are this run's own unless
the manifests shall be followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore_operator.engine.ports import Manifest
from longshore_operator.local.environment import MissingReference, Store, container_environment
from longshore_operator.local.pods import CannotStart, LocalPod, Start
from longshore_operator.local.process import WorkerProcess
from longshore_operator.local.workloads import worker_container

PROGRAM = "longshore"
CLUSTER_ONLY = ("LONGSHORE_HTTP_PORT",)
PORT_OPTION = "--http-port"
"""Probes mean nothing here: the end of a process is seen at once, and workers on one machine would fight for a port."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all workers of a run share."""

    folder: Path
    """Where they run, and where their app is imported from."""
    import_path: tuple[Path, ...]
    logs: Path
    store: Store
    own: Mapping[str, str]
    """Variables of this run, such as the broker's address; they win over the template's."""

    def starter(self, template: Manifest) -> Start:
        """Return what starts one pod of this template."""
        container = worker_container(template)

        def start(pod: LocalPod) -> WorkerProcess:
            log = self.logs / (f"{pod.name}.log" if pod.namespace == "default" else f"{pod.namespace}.{pod.name}.log")
            try:
                env = self._environment(container, pod)
                return WorkerProcess(worker_arguments(container), env=env, cwd=self.folder, log=log)
            except MissingReference as error:
                raise CannotStart(str(error)) from None
            except OSError as error:
                raise CannotStart(f"worker cannot be started: {error}") from None

        return start

    def _environment(self, container: Manifest, pod: LocalPod) -> dict[str, str]:
        given = (*self.own, *CLUSTER_ONLY)
        named = container_environment(container, pod.namespace, self.store, _fields(pod), given)
        base = {name: value for name, value in os.environ.items() if name not in CLUSTER_ONLY}
        python_path = [*map(str, self.import_path), *filter(None, [named.get("PYTHONPATH", base.get("PYTHONPATH"))])]
        return {**base, **named, **self.own, "PYTHONPATH": os.pathsep.join(python_path), "PYTHONUNBUFFERED": "1"}


def worker_arguments(container: Manifest) -> list[str]:
    """Return what follows the word ``longshore``, which may also be the image's entry point, in the command line."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return _without_option(words[1:] if words[:1] == [PROGRAM] else words, PORT_OPTION)


def _without_option(words: Sequence[str], option: str) -> list[str]:
    if option not in words:
        return list(words)
    at = words.index(option)
    return [*words[:at], *words[at + 2 :]]


def _fields(pod: LocalPod) -> dict[str, str]:
    return {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": "localhost",
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
