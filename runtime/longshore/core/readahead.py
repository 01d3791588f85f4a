"""How many messages a process may claim ahead: about 10 ms of work, and nothing behind a task that may be long.

Durations are kept by task name. Below the horizon the estimate follows a high quantile, in steps, so that one run that
was slow by a garbage collection or a busy neighbor does not end the read-ahead; a run beyond the horizon counts at once
and is forgotten slowly, since it is what makes others wait. An unknown name counts as long.
"""

from __future__ import annotations

HORIZON_SECONDS = 0.010
LIMIT = 100
_FORGET_LONG = 0.98
_UP, _DOWN = 1.10, 0.995
"""Steps of a stochastic quantile: up one time in twenty balances down, so the estimate rests at the 95th percentile."""


class ReadAhead:
    """Durations as measured by one process, and the claim size that follows from them."""

    __slots__ = ("_estimates", "_recent")

    def __init__(self) -> None:
        self._estimates: dict[str, float] = {}
        self._recent = 0.0

    def measured(self, name: str, seconds: float) -> None:
        """Note how long a run of task `name` took."""
        known = self._estimates.get(name)
        self._estimates[name] = seconds if known is None else follow(known, seconds)
        self._recent = seconds if known is None and seconds > self._recent else follow(self._recent, seconds)

    def is_short(self, name: str) -> bool:
        """Whether a run of this task is expected to end within the horizon."""
        return self._estimates.get(name, HORIZON_SECONDS) < HORIZON_SECONDS

    def expected(self, name: str) -> float:
        """How long a run of this task is expected to take, at most; a name that was never measured counts as long."""
        return self._estimates.get(name, HORIZON_SECONDS)

    def reset(self) -> None:
        """Forget what was measured: after a redelivery or a reconnect nothing is claimed ahead until tasks settle."""
        self._estimates.clear()
        self._recent = 0.0

    def limit(self) -> int:
        """How many messages to claim at once, 1 or more."""
        if not self._estimates:
            return 1
        return max(1, min(LIMIT, int(HORIZON_SECONDS / max(self._recent, 1e-6))))


def follow(estimate: float, seconds: float) -> float:
    """Return the estimate after one more run."""
    if seconds >= HORIZON_SECONDS or estimate >= HORIZON_SECONDS:
        return max(seconds, estimate * _FORGET_LONG)
    if seconds > estimate:
        return min(seconds, estimate * _UP + 1e-6)
    return max(seconds, estimate * _DOWN)
