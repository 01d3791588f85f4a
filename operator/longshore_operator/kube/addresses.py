"""The `Addresses` port on a cluster: from a Secret's key, by one of the operator's names, or in plain text.

Nothing is copied across namespaces: also the operator's named brokers are read from a Secret of the namespace that uses
them, and only from the namespaces that they allow.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore_operator.api.conditions import Reason
from longshore_operator.engine.ports import AddressProblem, BrokerAddress, Manifest
from longshore_operator.kube.client import ApiClient, Forbidden, NotFound

SECRET_SECONDS = 10.0
"""So long a Secret is taken as it was read: a rotated one rolls its pools within this and the next look."""
HASH_ROUNDS = 50_000
ALL_NAMESPACES = "*"


@dataclass(frozen=True, slots=True)
class NamedBroker:
    """A broker that the operator was installed with: a plain address, or the Secret expected in each namespace."""

    url: str | None = None
    secret: str | None = None
    key: str = "url"
    allowed_namespaces: tuple[str, ...] = (ALL_NAMESPACES,)

    def allows(self, namespace: str) -> bool:
        """Whether a namespace may use it."""
        return ALL_NAMESPACES in self.allowed_namespaces or namespace in self.allowed_namespaces


class KubeAddresses:
    """Addresses of a cluster, with Secrets cached for a moment."""

    def __init__(
        self, client: ApiClient, brokers: Mapping[str, NamedBroker], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._brokers = brokers
        self._clock = clock
        self._secrets: dict[tuple[str, str], tuple[float, Manifest]] = {}
        self._hashes: dict[tuple[str, str, str], str] = {}

    async def resolve(self, namespace: str, broker: Mapping[str, Any] | None) -> BrokerAddress:
        """Return the address that `spec.broker` of a resource in this namespace leads to."""
        spec = broker or {}
        if spec.get("urlFrom"):
            reference = spec["urlFrom"]["secretKeyRef"]
            return await self._from_secret(namespace, reference["name"], reference.get("key", "url"))
        if spec.get("url"):
            return _plain(spec["url"])
        return await self._named(namespace, str(spec.get("name", "default")))

    async def _named(self, namespace: str, name: str) -> BrokerAddress:
        broker = self._brokers.get(name)
        if broker is None:
            known = ", ".join(sorted(self._brokers)) or "none"
            message = (
                f"the operator has no broker {name!r} (it has: {known}); use urlFrom or url, or add it to its values"
            )
            raise AddressProblem(Reason.BROKER_UNKNOWN, message)
        if not broker.allows(namespace):
            message = f"namespace {namespace} may not use the operator's broker {name!r}; see its allowedNamespaces"
            raise AddressProblem(Reason.NAMESPACE_NOT_ALLOWED, message)
        if broker.secret is not None:
            return await self._from_secret(namespace, broker.secret, broker.key)
        return _plain(broker.url or "")

    async def _from_secret(self, namespace: str, name: str, key: str) -> BrokerAddress:
        secret = await self._secret(namespace, name)
        data = (secret.get("data") or {}).get(key)
        if data is None:
            message = f"Secret {name} in namespace {namespace} has no key {key!r}; put the broker's whole address there"
            raise AddressProblem(Reason.SECRET_MISSING, message)
        url = base64.b64decode(data).decode(errors="replace").strip()
        source = {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
        return BrokerAddress(url, self._hash(secret, key, url), source)

    async def _secret(self, namespace: str, name: str) -> Manifest:
        known = self._secrets.get((namespace, name))
        if known is not None and self._clock() - known[0] < SECRET_SECONDS:
            return known[1]
        try:
            secret = await self._client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except NotFound:
            raise AddressProblem(Reason.SECRET_MISSING, _missing(namespace, name)) from None
        except Forbidden:
            message = f"the operator may not read Secret {name} in namespace {namespace}; give its account that right"
            raise AddressProblem(Reason.SECRET_MISSING, message) from None
        self._secrets[namespace, name] = (self._clock(), secret)
        return secret

    def _hash(self, secret: Manifest, key: str, url: str) -> str:
        """A slow, salted hash: the annotation that it ends up in is easier to read than the Secret."""
        meta = secret["metadata"]
        ident = (meta["uid"], meta["resourceVersion"], key)
        if ident not in self._hashes:
            self._hashes = {known: value for known, value in self._hashes.items() if known[::2] != ident[::2]}
            digest = hashlib.pbkdf2_hmac("sha256", url.encode(), f"{meta['uid']}/{key}".encode(), HASH_ROUNDS)
            self._hashes[ident] = digest.hex()[:16]
        return self._hashes[ident]


def _plain(url: str) -> BrokerAddress:
    return BrokerAddress(url, hashlib.sha256(url.encode()).hexdigest()[:16], {"value": url})


def _missing(namespace: str, name: str) -> str:
    return (
        f"there is no Secret {name} in namespace {namespace}; create it: kubectl create secret generic {name} "
        f"-n {namespace} --from-literal=url=ADDRESS"
    )
