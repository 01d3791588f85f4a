"""From paths to the resources of a run, or to everything that is wrong with them, each with its file and line.

Says what a cluster would say at `kubectl apply`, and more: all objects are here, so a name that leads nowhere is an
error at once. Other kinds of a cluster (Deployment, Service …) are noticed and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.exceptions import ImproperlyConfigured
from longshore_operator.api import KINDS, CronSchedule, InvalidManifest, TaskQueue, WorkerPool, is_ours, parse
from longshore_operator.api.problems import nearest
from longshore_operator.engine.ports import Manifest
from longshore_operator.local.documents import Document, Problem, read_documents

CONFIGURATION = frozenset({"Secret", "ConfigMap"})

_PATH_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class ManifestErrors(ImproperlyConfigured):
    """Everything that is wrong with the manifests, one line a problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a run is made of. `resources` are as they were written; the models fill in defaults where they are read."""

    resources: tuple[Manifest, ...]
    configuration: tuple[Manifest, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    resources: dict[tuple[str, str, str], tuple[Document, TaskQueue | WorkerPool | CronSchedule]] = field(
        default_factory=dict
    )
    configuration: list[Manifest] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load(paths: Iterable[str], *, recursive: bool = False) -> Manifests:
    """Read and check everything; raise `ManifestErrors` with all that is wrong."""
    paths = tuple(paths)
    documents, problems = read_documents(paths, recursive=recursive)
    found = _Found(problems=problems)
    for document in documents:
        _sort(document, found)
    found.problems += _dangling(found)
    if not found.resources and not found.problems:
        found.problems.append(Problem(", ".join(paths), None, f"holds no {', '.join(KINDS)}"))
    if found.problems:
        raise ManifestErrors(sorted(found.problems, key=lambda problem: (problem.file, problem.line or 0)))
    return Manifests(
        resources=tuple(document.value for document, _ in found.resources.values()),
        configuration=tuple(found.configuration),
        notices=tuple(found.skipped),
    )


def _sort(document: Document, found: _Found) -> None:
    value = document.value
    if not isinstance(value, dict) or not value.get("kind") or not value.get("apiVersion"):
        said = "is not a manifest: it has no apiVersion and kind"
        found.problems.append(Problem(document.file, document.line(), said))
    elif is_ours(value) or value["kind"] in KINDS:
        _admit(document, found)
    elif value["kind"] in CONFIGURATION:
        found.configuration.append(value)
    else:
        name = (value.get("metadata") or {}).get("name", "")
        found.skipped.append(f"{document.file}:{document.line()}: {value['kind']} {name} is for a cluster: skipped")


def _admit(document: Document, found: _Found) -> None:
    try:
        resource = parse(document.value)
    except InvalidManifest as error:
        found.problems += [_located(document, problem.path, problem.message) for problem in error.problems]
        return
    identity = (resource.kind, resource.namespace, resource.name)
    if identity in found.resources:
        first, _ = found.resources[identity]
        said = f"{resource.kind} {resource.name} is already in {first.file}:{first.line()}"
        found.problems.append(_located(document, "metadata.name", said))
        return
    found.resources[identity] = document, resource


def _dangling(found: _Found) -> Iterator[Problem]:
    """Names of TaskQueues that nobody declares: in a cluster they may come later, here they are typing errors."""
    if found.problems:
        return
    for document, resource in found.resources.values():
        known = [name for kind, namespace, name in found.resources if (kind, namespace) == _queues_of(resource)]
        for path, name in _queue_references(resource):
            if name not in known:
                said = f'no TaskQueue "{name}" is among the manifests{nearest(name, known)}'
                yield _located(document, path, said)


def _queues_of(resource: TaskQueue | WorkerPool | CronSchedule) -> tuple[str, str]:
    return "TaskQueue", resource.namespace


def _queue_references(resource: TaskQueue | WorkerPool | CronSchedule) -> list[tuple[str, str]]:
    if isinstance(resource, WorkerPool):
        return [(f"spec.queues[{index}].name", queue.name) for index, queue in enumerate(resource.spec.queues)]
    if isinstance(resource, CronSchedule):
        return [("spec.queue", resource.spec.queue)]
    return []


def _located(document: Document, path: str, message: str) -> Problem:
    line = document.line(path_parts(path))
    return Problem(document.file, line, f"{path}: {message}" if path else message)


def path_parts(path: str) -> list[Any]:
    """Return the parts of a path such as ``spec.queues[0].name``."""
    return [int(index) if index else name for name, index in _PATH_PART.findall(path)]
