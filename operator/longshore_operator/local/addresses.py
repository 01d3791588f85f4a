"""Where the broker is: this folder's own, an address from the command line, or what the manifests say.

A TaskQueue's `spec.broker` is for the cluster; on one machine all queues share the embedded broker unless told else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from longshore_operator.api import DEFAULT_BROKER, Reason
from longshore_operator.engine.ports import AddressProblem, BrokerAddress
from longshore_operator.local.environment import MissingReference, Store

MANIFEST = "manifest"
"""The value of ``--broker`` that follows the manifests."""


class LocalAddresses:
    """The `Addresses` port. `url` is the broker of all; `None` follows the manifests, where `embedded` is `default`."""

    def __init__(self, url: str | None, embedded: str, store: Store) -> None:
        self.url = url
        self._embedded = embedded
        self._store = store

    async def resolve(self, namespace: str, broker: Mapping[str, Any] | None) -> BrokerAddress:
        """Return the address for a `spec.broker`."""
        url = self.url or self._of_manifest(namespace, broker or {})
        source = {"value": url} if url == self._embedded else None
        return BrokerAddress(url, hashlib.sha256(url.encode()).hexdigest()[:16], source)

    def _of_manifest(self, namespace: str, broker: Mapping[str, Any]) -> str:
        if broker.get("url"):
            return str(broker["url"])
        if broker.get("name", DEFAULT_BROKER) == DEFAULT_BROKER and "urlFrom" not in broker:
            return self._embedded
        if broker.get("name"):
            raise AddressProblem(
                Reason.BROKER_UNKNOWN,
                f"broker {broker['name']!r} is one of an operator's in a cluster; give its address with --broker URL",
            )
        reference = (broker.get("urlFrom") or {}).get("secretKeyRef") or {}
        try:
            return self._store.value("Secret", namespace, reference.get("name", ""), reference.get("key", "url"))
        except MissingReference as error:
            raise AddressProblem(Reason.SECRET_MISSING, str(error)) from None
