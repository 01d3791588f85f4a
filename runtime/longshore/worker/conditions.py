"""What must hold before a task runs, beside its message: no other copy ran, its lock is free, it is its turn.

Asks the store; what it decides is a refusal (wait in the broker, fail, drop) or a lock that is held for the run. Tasks
without any of these never touch a store.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Mapping

from longshore.app import Longshore
from longshore.core.admission import Bury, Drop, Fail, Postpone, Refusal
from longshore.core.locks import Waiting, bound_name, delay_for_lock
from longshore.core.protocol import TaskCall
from longshore.core.ratelimit import HORIZON_SECONDS, SHORT_WAIT_SECONDS, Rate, delay_without_turn, is_in_time
from longshore.exceptions import BackendError, NoStore
from longshore.message import WAITING_HEADER
from longshore.stores.port import Store
from longshore.task import Task
from longshore.worker.locks import Hold, LockPipe, new_holder
from longshore.worker.plan import TaskPlan
from longshore.worker.rates import RateChanges

logger = logging.getLogger("longshore.worker")

TICK_MEMORY_SECONDS = 24 * 3600.0
STORE_DOWN_SECONDS = 2.0
_TURN_KEPT_SECONDS = 0.1
"""Turns taken several at once are used within this time, or not at all."""


def check_store(app: Longshore, tasks: Mapping[str, Task]) -> None:
    """Raise `NoStore` when a task asks for what only a store can keep and there is none."""
    for task in tasks.values():
        for option in ("lock", "rate_limit", "idempotency_key"):
            if getattr(task, option):
                app.require_store(f"task {task.name} has {option}={getattr(task, option)!r}")


class Conditions:
    """The conditions of one process. `pipe` tells the supervisor of locks; `changes` are rate limits set since."""

    def __init__(self, app: Longshore, worker: str, pipe: LockPipe, changes: RateChanges) -> None:
        self._app = app
        self._worker = worker
        self._pipe = pipe
        self._changes = changes
        self._turns: dict[str, deque[float]] = {}

    def admit(self, call: TaskCall, plan: TaskPlan) -> Hold | Refusal | None:
        """Return why a call does not run now, or the lock that it has for its run, or `None`."""
        rate = self._changes.rate(call.name, plan.rate)
        if rate is None and plan.lock is None and call.tick is None and call.once is None:
            return None
        try:
            return self._admit(call, plan, rate)
        except BackendError as error:
            waiting = self._waiting(call)
            return Postpone(time.time() + STORE_DOWN_SECONDS, waiting.again(), f"the store does not answer: {error}")
        except NoStore as error:
            return Bury("NoStore", str(error))

    def _admit(self, call: TaskCall, plan: TaskPlan, rate: Rate | None) -> Hold | Refusal | None:
        if self._is_second_copy(call):
            return Drop()
        hold = None
        if plan.lock is not None:
            taken = self._acquire(call, plan)
            if not isinstance(taken, Hold):
                return taken
            hold = taken
        if rate is not None and (later := self._await_turn(call, rate)) is not None:
            if hold is not None:
                self.free(hold)
            return later
        return hold

    def _waiting(self, call: TaskCall) -> Waiting:
        return Waiting.of(call.headers.get(WAITING_HEADER), time.time())

    # -- copies ------------------------------------------------------------------------------------------------------

    def _is_second_copy(self, call: TaskCall) -> bool:
        """Whether another copy came first; the same copy runs again after a crash, and as its own retry."""
        if call.once is not None:
            store = self._store(f"task {call.name}[{call.id}] has an idempotency key")
            expires = self._app.conf.task_idempotency_expires
            return not store.claim_once(f"once:{call.id}", str(call.once.get("copy")), expires=expires)
        if call.tick is not None and self._app.has_store:  # on RabbitMQ alone ticks are at-least-once
            key = f"tick:{call.tick.get('schedule')}:{call.tick.get('time')}"
            copy = str(call.tick.get("copy"))
            return not self._app.store.claim_once(key, copy, expires=TICK_MEMORY_SECONDS)
        return False

    def _store(self, reason: str) -> Store:
        self._app.require_store(reason)
        return self._app.store

    # -- locks -------------------------------------------------------------------------------------------------------

    def _acquire(self, call: TaskCall, plan: TaskPlan) -> Hold | Refusal:
        policy = plan.lock
        assert policy is not None
        try:
            name = bound_name(policy.template, plan.task.arguments(call.args, call.kwargs))
        except Exception as error:  # noqa: BLE001 - the template meets arguments that it does not fit, or is user code
            return Fail(type(error).__name__, f"the lock of task {call.name} cannot be named: {error}")
        hold = Hold(name, new_holder(self._worker, call.id), policy.timeout)
        free_in = self._store(f"task {call.name} has a lock").acquire(name, hold.holder, expires=policy.timeout)
        if not free_in:
            self._pipe.taken(hold)
            return hold
        now, waiting = time.time(), self._waiting(call)
        delay = delay_for_lock(waiting, policy, now, free_in, random.random())
        if delay is None:
            waited = f"{policy.blocking_timeout:g} s" if policy.blocking_timeout else "a moment, as it asked"
            return Fail("LockNotAcquired", f"lock {name!r} was held by another task for {waited}; the task has not run")
        return Postpone(now + delay, waiting.again(), f"lock {name!r} is held by another task")

    def free(self, hold: Hold) -> None:
        """Free a lock after its run."""
        try:
            if not self._app.store.release(hold.name, hold.holder):
                logger.error("lock %s was lost while its task ran: another task may have held it as well", hold.name)
        except BackendError as error:
            logger.warning("lock %s is freed by its time-out: %s", hold.name, error)
        self._pipe.freed(hold)

    # -- rate limits -------------------------------------------------------------------------------------------------

    def _await_turn(self, call: TaskCall, rate: Rate) -> Postpone | None:
        """Return `None` when it is this call's turn, perhaps after a wait of milliseconds."""
        waiting = self._waiting(call)
        if waiting.turn is not None and is_in_time(waiting.turn, time.time()):
            return None
        turn_at = self._next_turn(call.name, rate)
        now = time.time()
        if turn_at is None:
            later = now + delay_without_turn(random.random())
            return Postpone(later, waiting.again(), f"over its rate limit of {rate}")
        if turn_at - now > SHORT_WAIT_SECONDS:
            return Postpone(turn_at, waiting.again(turn_at), f"over its rate limit of {rate}")
        if turn_at > now:
            time.sleep(turn_at - now)
        return None

    def _next_turn(self, name: str, rate: Rate) -> float | None:
        """Return when the next turn is: one that this process has already, or of the store; `None` beyond its reach."""
        turns = self._turns.setdefault(name, deque())
        while turns and turns[0] < time.time() - _TURN_KEPT_SECONDS:
            turns.popleft()
        if not turns:
            store = self._store(f"task {name} has a rate limit")
            turn = store.take(name, rate, count=rate.batch, horizon=HORIZON_SECONDS)
            if not turn.taken:
                return None
            first = time.time() + turn.wait
            turns.extend(first + number * rate.interval for number in range(rate.batch))
        return turns.popleft()
