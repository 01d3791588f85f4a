"""How long to wait before the next try."""

from __future__ import annotations

from longshore.policy import RetryPolicy


def retry_delay(policy: RetryPolicy, retries: int, draw: float) -> float:
    """Return the seconds until try number `retries` + 1; `draw` in [0, 1) is the jitter's random number.

    Without back-off that is `default_delay`; with it min(max, factor * 2**retries), and jitter draws uniformly from
    [0, that].
    """
    if policy.backoff is None:
        return policy.default_delay
    exponent = min(max(retries, 0), 63)  # 2**64 seconds is longer than any maximum, and floats stay exact
    delay = min(policy.backoff_max, policy.backoff * 2.0**exponent)
    return delay * draw if policy.jitter else delay


def reconnect_delay(failures: int) -> float:
    """Return the seconds to wait after `failures` failed connections in a row: 0.1, 0.2, 0.4 … at most 5."""
    return min(5.0, 0.1 * 2.0 ** min(max(failures - 1, 0), 10))
