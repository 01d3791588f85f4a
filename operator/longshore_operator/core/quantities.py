"""Kubernetes' CPU quantities, as far as a pool's concurrency follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_SUFFIXES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000)}


def cpus(quantity: Any) -> Decimal | None:
    """Return ``500m``, ``2``, ``0.5`` as CPUs; `None` for what is no quantity."""
    text = str(quantity).strip()
    factor = _SUFFIXES.get(text[-1:], Decimal(1))
    try:
        value = Decimal(text[:-1] if text[-1:] in _SUFFIXES else text)
    except InvalidOperation:
        return None
    return value * factor if value.is_finite() else None


def slots_from_resources(resources: Mapping[str, Any]) -> int:
    """Return the CPU limit, else the request, rounded up; 1 where neither is set: never the node's CPUs."""
    for part in ("limits", "requests"):
        value = cpus((resources.get(part) or {}).get("cpu", ""))
        if value is not None and value > 0:
            return max(1, math.ceil(value))
    return 1
