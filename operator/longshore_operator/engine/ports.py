"""The ports through which the engine sees and changes the world: the same engine runs a cluster and a laptop.

`kube/` implements them with the Kubernetes API, `local/` with files and processes. Objects are plain dicts in their
Kubernetes shape (a user may template anything), reads come from warm caches, and only effects are awaited. Nothing here
knows kopf, HTTP or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from longshore_operator.core.pods import PodView

Manifest = dict[str, Any]
"""An object as Kubernetes writes it: apiVersion, kind, metadata, spec, status."""

Kind = Literal["TaskQueue", "WorkerPool", "CronSchedule"]
KINDS: tuple[Kind, ...] = ("TaskQueue", "WorkerPool", "CronSchedule")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which resource: the work queue's unit."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Return the key of one of our three kinds."""
    meta = manifest["metadata"]
    return Key(manifest["kind"], meta.get("namespace", "default"), meta["name"])


class Conflict(Exception):
    """Somebody else wrote the object since we read it; look again and decide anew."""


class Refused(Exception):
    """The API refuses a write for good (validation, quota, permission); the text says why, for a person."""


class Unreachable(Exception):
    """What the port stands for does not answer now; nothing is known, try again."""


class AddressProblem(Exception):
    """A broker reference that leads to no address. `reason` is a condition's reason, `message` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is. `url` is a secret: it is never logged or put into a manifest; `checksum` may be."""

    url: str
    checksum: str
    source: Mapping[str, Any] | None = None
    """How a worker gets it: the source of an environment variable (`value` or `valueFrom`), where the spec does not
    already say.
    """


class Resources(Protocol):
    """The declared resources. Reads are from a warm cache and never block."""

    def get(self, key: Key) -> Manifest | None:
        """Return the resource, `None` when it does not exist."""

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Manifest]:
        """Return every resource of a kind, of one namespace or of all that are served."""

    async def write_status(self, manifest: Manifest, status: Manifest) -> None:
        """Replace the status of the resource as it was read; raise `Conflict` if it has changed since."""

    async def write_finalizers(self, manifest: Manifest, finalizers: Sequence[str]) -> None:
        """Replace the finalizers of the resource as it was read; raise `Conflict` if it has changed since."""

    async def record(self, manifest: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell people about something that happened (an Event); may be dropped, never raises."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs for a pool now. `deployment` is the object of the pool's name, also when it is a stranger's."""

    deployment: Manifest | None
    pods: tuple[PodView, ...] = ()
    events: tuple[tuple[str, str], ...] = ()


class Workloads(Protocol):
    """Deployments and their pods, or what stands for them."""

    async def observe(self, namespace: str, name: str) -> Workload:
        """Return the Deployment of this name, whoever owns it, and the pods of the pool of this name."""

    async def apply(self, deployment: Manifest) -> Manifest | None:
        """Server-side apply of a complete Deployment with our field manager; creates it where there is none.

        With `metadata.resourceVersion` set the write is refused (`Conflict`) if the object has changed. Raises
        `Refused` with the API's text. Returns the object as it is now stored, where the port can tell.
        """

    async def mark(self, pod: PodView, deletion_cost: int | None) -> None:
        """Set (or with `None` remove) the pod's deletion cost; a pod that is gone is no error."""


class Addresses(Protocol):
    """From a reference in a spec to a broker's address."""

    async def resolve(self, namespace: str, broker: Mapping[str, Any] | None) -> BrokerAddress:
        """Return where the broker of a TaskQueue's `spec.broker` is; raise `AddressProblem`, or `Unreachable`."""


Listener = Callable[[Iterable[Key]], None]
"""The engine's ear: a port calls it with every key that may need another look (also for children and Secrets)."""
