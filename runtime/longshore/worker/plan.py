"""What holds for every run of one task in one process: decided once, since settings are slow to ask."""

from __future__ import annotations

from dataclasses import dataclass

from longshore.app import Longshore
from longshore.core.limits import NO_LIMITS, Limits
from longshore.core.locks import LockPolicy
from longshore.core.protocol import TaskCall
from longshore.core.ratelimit import Rate, parse_rate
from longshore.policy import AckPolicy
from longshore.task import Task
from longshore.worker.board import EARLY, FINAL_LOSS
from longshore.worker.options import WorkerOptions


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task's policies in this worker."""

    task: Task
    ack: AckPolicy
    marks: int
    """What the board says of its runs."""
    limits: Limits
    tracked: bool
    """Whether the state STARTED is stored."""
    has_backend: bool
    ignored: bool
    lock: LockPolicy | None = None
    rate: Rate | None = None
    """The task's own rate limit, the settings' default included; a command may have changed it since."""

    @property
    def begins_alone(self) -> bool:
        """Whether it is not begun together with others: a lock is not held while others run, and what may end its
        process takes no other with it.
        """
        return self.ack.late or self.lock is not None or self.rate is not None or self.limits is not NO_LIMITS

    def keeps_result_of(self, call: TaskCall) -> bool:
        """Whether this call's result is stored: its own word wins over the task's, and that over the app's."""
        return self.has_backend and not (self.ignored if call.ignore_result is None else call.ignore_result)


class Plans:
    """The plans of a process, made when they are first needed."""

    def __init__(self, app: Longshore, options: WorkerOptions) -> None:
        self._app = app
        self._options = options
        self._plans: dict[str, TaskPlan] = {}

    @property
    def worker(self) -> str:
        """The worker's name."""
        return self._options.name

    def of(self, name: str) -> TaskPlan:
        """Return the plan of a registered task."""
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plans[name] = self._make(self._app.tasks[name])
        return plan

    def keeps_result_of(self, call: TaskCall) -> bool:
        """Whether a call's result is stored; of an unknown task it is, where there is a place."""
        if call.name in self._app.tasks:
            return self.of(call.name).keeps_result_of(call)
        return self._app.has_backend

    def _make(self, task: Task) -> TaskPlan:
        conf = self._app.conf
        ack = task.ack_policy(late_by_default=self._options.late_by_default)
        return TaskPlan(
            task=task,
            ack=ack,
            marks=(FINAL_LOSS if not ack.reject_on_worker_lost else 0) if ack.late else EARLY,
            limits=task.limits,
            tracked=conf.task_track_started if task.track_started is None else task.track_started,
            has_backend=self._app.has_backend,
            lock=task.lock_policy,
            rate=parse_rate(conf.task_default_rate_limit if task.rate_limit is None else task.rate_limit),
            ignored=conf.task_ignore_result if task.ignore_result is None else task.ignore_result,
        )
