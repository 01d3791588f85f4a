"""Names bound to a call's arguments (locks, idempotency keys), and how a message waits for a lock. Pure.

A task that cannot have its lock does not sit in a slot: its message goes back to wait in the broker, with a header that
says since when. It asks again after a part of the time that it has waited, so that it waits a quarter too long at most.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.exceptions import ImproperlyConfigured

DEFAULT_TIMEOUT_SECONDS = 30.0
LONGEST_NAME = 200
"""Characters; a longer name is cut, and a digest of the whole is put in place of the rest."""
_SHORTEST_DELAY, _LONGEST_DELAY = 0.1, 5.0
_WAITED_PART = 0.25

Template = str | Callable[..., str]


@dataclass(frozen=True, slots=True)
class LockPolicy:
    """A task's lock: its name for a call, how long it outlives its holder, how long a call may wait for it."""

    template: Template
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    blocking_timeout: float | None = None
    """`None` waits for ever, 0 not at all."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a message's header says of its waiting so far."""

    since: float
    times: int = 0
    turn: float | None = None
    """When its turn under the rate limit is, if it has one."""

    @classmethod
    def of(cls, header: Any, now: float) -> Waiting:
        """Read the header; a message without one waits from now on."""
        if not isinstance(header, dict):
            return cls(now)
        turn = header.get("turn")
        return cls(float(header.get("since") or now), int(header.get("times") or 0), turn and float(turn))

    def again(self, turn: float | None = None) -> dict[str, Any]:
        """Return the header of the next wait."""
        return {"v": 1, "since": self.since, "times": self.times + 1, "turn": turn}


def lock_policy(task: str, lock: Any, timeout: float, blocking_timeout: float | None) -> LockPolicy | None:
    """Return the policy of a task's options; ``lock=True`` is one lock for the whole task."""
    if lock is None or lock is False:
        return None
    if lock is not True and not isinstance(lock, str) and not callable(lock):
        raise ImproperlyConfigured(f"task {task}: lock={lock!r} is not a name, True or a function of the arguments")
    if not timeout > 0:
        raise ImproperlyConfigured(f"task {task}: lock_timeout={timeout!r} is not a number of seconds above 0")
    if blocking_timeout is not None and not blocking_timeout >= 0:
        raise ImproperlyConfigured(f"task {task}: lock_blocking_timeout={blocking_timeout!r} is negative")
    return LockPolicy(task if lock is True else lock, float(timeout), blocking_timeout)


def check_template(template: Any, option: str, task: str, parameters: Mapping[str, Any]) -> None:
    """Raise `ImproperlyConfigured` when a template names what is no parameter of the task."""
    if not isinstance(template, str):
        return
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ImproperlyConfigured(f"task {task}: {option}={template!r}: {error}") from None
    names = [field.partition(".")[0].partition("[")[0] for field in fields]
    wrong = [name or "{}" for name in names if name not in parameters]
    if wrong:
        raise ImproperlyConfigured(
            f"task {task}: {option}={template!r} names {', '.join(wrong)}; its parameters are {', '.join(parameters)}"
        )


def bound_name(template: Template, arguments: Mapping[str, Any]) -> str:
    """Return the name for these arguments, by their names; a function is called with them."""
    name = template.format_map(dict(arguments)) if isinstance(template, str) else str(template(**arguments))
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 65]}:{hashlib.sha256(name.encode()).hexdigest()}"


def delay_for_lock(waiting: Waiting, policy: LockPolicy, now: float, free_in: float, draw: float) -> float | None:
    """Return in how many seconds to ask for the lock again; `None` when it has waited long enough.

    `free_in` is when its present holder's time ends, unless it is renewed; `draw` is uniform in [0, 1).
    """
    waited = max(now - waiting.since, 0.0)
    delay = min(max(waited * _WAITED_PART, _SHORTEST_DELAY), _LONGEST_DELAY) * (0.75 + 0.5 * draw)
    delay = max(min(delay, free_in), _SHORTEST_DELAY / 2)
    if policy.blocking_timeout is None:
        return delay
    left = policy.blocking_timeout - waited
    return min(delay, left) if left > 0 else None
