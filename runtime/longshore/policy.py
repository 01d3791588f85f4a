"""Policies as values: when a task is tried again, when its message is acknowledged, where dead letters go.

Defaults are Celery's, but for `reject_on_worker_lost`, which is on here: a task whose process died is not lost.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MAX_DELIVERIES = 5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a task is tried again after an exception. All times are seconds."""

    max_retries: int | None = 3
    """`None` is for ever."""
    default_delay: float = 180.0
    backoff: float | None = None
    """The factor of the exponential back-off: factor * 2**retries; `None` waits `default_delay`."""
    backoff_max: float = 600.0
    jitter: bool = True
    """Draw the delay uniformly from [0, delay] ("full jitter", Brooker 2015)."""


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """When a message leaves its queue for good."""

    late: bool = False
    """After the run instead of just before it."""
    on_failure_or_timeout: bool = True
    """Late only: acknowledge a failed task as well; otherwise it is rejected (to the dead letters)."""
    reject_on_worker_lost: bool = True
    """Late only: a task whose process died runs again; otherwise it has failed."""

    def after(self, *, acknowledged: bool) -> AckPolicy:
        """Return the policy for the end of a run, whose message may be acknowledged already, by the task itself."""
        return EARLY if acknowledged and self.late else self


EARLY = AckPolicy()


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """Where messages of a queue go that cannot, or must not, run any more."""

    queue: str
    max_deliveries: int = DEFAULT_MAX_DELIVERIES
    """Started executions that died with their process; one more is not tried."""
    keep_failures: bool = False
    """Keep tasks that failed for good, with their exception, replayable."""

    @classmethod
    def default_for(cls, queue: str) -> DeadLetterPolicy:
        """Return the policy of a queue for which nobody said anything."""
        return cls(queue=f"{queue}.dead")
