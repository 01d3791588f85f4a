"""Whether a new status is worth a write: etcd is no time series database, and idle means no request.

Pure: two statuses in, one of three answers out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Change = Literal["None", "Figures", "State"]

_SILENT = frozenset({"measuredTime"})
_FIGURES = frozenset(
    {"ready", "leased", "delayed", "dead", "rates", "busySlots", "backlog", "oldestAgeSeconds", "lastDecision"}
)
_AGE_STEP = 0.25


def status_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    """Return `State` for what a person waits for (write at once), `Figures` for what may wait a few seconds."""
    changed = {key for key in {*old, *new} - _SILENT if _changed(key, old.get(key), new.get(key))}
    if not changed:
        return "None"
    return "Figures" if changed <= _FIGURES else "State"


def _changed(key: str, old: Any, new: Any) -> bool:
    if key == "oldestAgeSeconds" and old is not None and new is not None:
        return bool(new < old or new > old * (1 + _AGE_STEP) + 5)
    if key == "lastDecision" and old and new:
        return bool(old.get("reason") != new.get("reason"))
    if key == "conditions":
        return _conditions(old) != _conditions(new)
    return bool(old != new)


def _conditions(conditions: Any) -> dict[str, Any]:
    """The scaling message tells figures that move all the time; its reason is what counts."""
    return {
        one["type"]: (one["status"], one["reason"], one.get("observedGeneration"), _message(one))
        for one in conditions or ()
    }


def _message(condition: Mapping[str, Any]) -> str:
    return "" if condition["type"] == "Scaling" and condition["status"] == "True" else condition.get("message", "")
