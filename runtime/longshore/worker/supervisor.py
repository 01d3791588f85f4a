"""The supervisor: starts the processes of a worker, keeps their claims alive, replaces the dead, drains them all.

It runs no task. Broker calls happen in the keeper's thread, so that a dead broker never delays a signal; the keeper
rests while a child is forked, so that no child inherits a lock that nobody will release.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from longshore import signals
from longshore.app import Longshore
from longshore.brokers.port import QueueSpec
from longshore.core.backoff import reconnect_delay
from longshore.exceptions import BrokerRefused, BrokerUnavailable, LongshoreError
from longshore.sealing import keyring
from longshore.worker.aftermath import Aftermath
from longshore.worker.board import Board
from longshore.worker.conditions import Conditions, check_store
from longshore.worker.enforcement import Enforcement
from longshore.worker.keeper import Keeper
from longshore.worker.locks import LockKeeper
from longshore.worker.logs import FIELDS
from longshore.worker.options import WorkerOptions
from longshore.worker.rates import RateChanges
from longshore.worker.revocations import Revocations, Revoked
from longshore.worker.roster import Child, Roster
from longshore.worker.signals import WakePipe, die_with
from longshore.worker.tasks import TaskProcess

if TYPE_CHECKING:
    from longshore.worker.control.node import ControlNode
    from longshore.worker.health import HealthServer
    from longshore.worker.pooled import PooledProcess

logger = logging.getLogger("longshore.worker")

QUICK_DEATH_SECONDS = 5.0
MAX_RESTART_DELAY_SECONDS = 10.0


class Supervisor:
    """Runs a worker until it is drained; `run` returns the exit code."""

    def __init__(self, app: Longshore, options: WorkerOptions) -> None:
        self._app = app
        self._wake = WakePipe()
        self._board = Board(options.concurrency, self._wake.ring)
        self._board.events_wanted = options.task_events
        if options.http_port is not None:
            self._board.count_tasks(sorted(app.tasks))
        self.revocations = Revocations(app.open_store() if app.has_store else None, self._wake.ring)
        """What is not to run any more; for whoever controls this worker."""
        check_store(app, app.tasks)
        keyring()  # a key that is none is told now, not at the first message
        self._locks = LockKeeper(app.open_store)
        self.rate_changes = RateChanges(app.require_store)
        self._conditions = Conditions(app, options.worker, self._locks.pipe, self.rate_changes)
        self._roster = Roster(options, self._board, self._wake, lambda: self._stop(signal.SIGTERM, None))
        self._roster.changed = self._tell_keeper
        self._children = self._roster.children
        self._keeper = Keeper(app.broker, options, self._board, app.tasks, self.revocations)
        self.revocations.changed = lambda: self._keeper.errand(self.revocations.exchange)
        self._enforcement = Enforcement(
            self._board,
            self._keeper,
            self._wake,
            self.revocations,
            Aftermath(app),
            returns_claims=app.broker.capabilities.returns_claims,
            interruptible=options.execution == "asyncio",
        )
        self._control: ControlNode | None = None
        self._pid = os.getpid()
        self._stops = 0
        self._kill_at = float("inf")
        self._exit_code = 0

    @property
    def _options(self) -> WorkerOptions:
        return self._roster.options

    def _tell_keeper(self) -> None:
        self._keeper.live(self._roster.owners(), self._options.queues)

    # -- life --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start, supervise, drain."""
        self._install_signals()
        signals.worker_init.send(self)
        try:
            self._declare()
        except LongshoreError as error:
            logger.error("%s", error)
            return 1
        if self._stops:
            return 0
        self.revocations.load()
        gc.collect()
        gc.freeze()  # the children's collectors leave the shared pages alone
        for child in self._children:
            self._start(child)
        self._keeper.start(self._roster.owners())
        self._locks.start()
        server = self._serve_health()
        self._start_control()
        what, queues = f"{self._options.concurrency} {self._options.execution}", ", ".join(self._options.queues)
        logger.info("worker %s ready: %s on %s", self._options.name, what, queues)
        signals.worker_ready.send(self)
        self._supervise()
        if self._control is not None:
            self._control.stop()
        self._keeper.stop()
        self._locks.stop()
        if server is not None:
            server.close()
        signals.worker_shutdown.send(self)
        logger.info("worker %s ended", self._options.name, extra={FIELDS: self._totals()})
        return self._exit_code

    def _totals(self) -> dict[str, str | int]:
        """What it came to: with the last word, because the last report to the broker is older and is taken down."""
        slots = [self._board.read(row) for row in range(self._board.slots)]
        processed, failed = sum(slot.processed for slot in slots), sum(slot.failed for slot in slots)
        return {"worker": self._options.worker, "processed": processed, "failed": failed}

    def _declare(self) -> None:
        """Wait for a broker that is down; end for one that refuses."""
        failures = 0
        while not self._stops:
            try:
                self._app.broker.declare([QueueSpec(name) for name in self._options.queues])
                return
            except BrokerUnavailable as error:
                failures += 1
                if failures == 1:
                    logger.warning("%s; trying again until it answers", error)
                self._wake.wait(reconnect_delay(failures))

    def _install_signals(self) -> None:
        self._wake.install()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken

    def _stop(self, number: int, _frame: object) -> None:
        self._stops += 1
        if self._stops == 1:
            self._kill_at = time.monotonic() + self._options.drain_seconds
        elif number == signal.SIGINT or self._stops > 2:  # noqa: PLR2004 - a second SIGTERM may come from a script
            self._kill_at = 0.0

    def _start_control(self) -> None:
        from longshore.worker.control.node import ControlNode

        self._control = ControlNode(self._app, self._roster, self._board, self.rate_changes, self.revocations)
        self._control.start()

    def _serve_health(self) -> HealthServer | None:
        if self._options.http_port is None:
            return None
        from longshore.worker.health import HealthServer

        try:
            return HealthServer(self._options, self._board, self._keeper)
        except OSError as error:
            logger.error("port %d for probes: %s; use --http-port for another", self._options.http_port, error.strerror)
            self._exit_code = 1
            self._stop(signal.SIGTERM, None)
            return None

    def _supervise(self) -> None:
        told = False
        while True:
            self._roster.follow_orders()
            if self._stops and not told:
                self._drain()
                told = True
            if self._stops and time.monotonic() >= self._kill_at:
                self._signal_all(signal.SIGKILL)
            patience = self._enforcement.look(self._children)
            self._reap()
            if self._stops and not any(child.pid for child in self._children):
                return
            if not self._stops:
                self._restart_due()
            self._wake.wait(max(0.0, min(patience, self._patience())))

    def _drain(self) -> None:
        self._keeper.draining = True
        signals.worker_shutting_down.send(self._options.name, sig="SIGTERM", how="Warm", exitcode=self._exit_code)
        running = sum(self._board.read(row).busy for row in range(self._board.slots))
        logger.info(
            "draining: %d running tasks may take up to %.0f s; a second Ctrl-C kills them",
            running,
            self._options.drain_seconds,
        )
        self._signal_all(signal.SIGTERM)

    def _patience(self) -> float:
        """How long nothing can happen that no signal tells."""
        now = time.monotonic()
        if self._stops:
            return min(1.0, max(0.01, self._kill_at - now))
        waits = [child.restart_at - now for child in self._children if not child.pid]
        return max(0.01, min([1.0, *waits]))

    # -- children ----------------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        signals.worker_before_create_process.send(self)
        control = self._control.resting() if self._control is not None else contextlib.nullcontext()
        with self._keeper.resting(), self._locks.resting(), control:
            child.pid = os.fork()
        if child.pid == 0:
            self._child_main(child)
        child.started_at = time.monotonic()

    def _child_main(self, child: Child) -> None:
        """Never returns."""
        code = 70
        try:
            die_with(self._pid)
            wake = WakePipe()
            wake.install()
            process = self._process(child, wake)
            signal.signal(signal.SIGTERM, lambda *_: process.drain())
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everybody; the supervisor decides
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGUSR1, lambda *_: None)  # only to be woken
            signals.worker_process_init.send(None)
            if self._stops == 0:
                process.run()
            code = 0
            signals.worker_process_shutdown.send(None, pid=os.getpid(), exitcode=code)
        except BrokerRefused as error:
            logger.error("%s", error)
        except BaseException:
            logger.exception("a worker process failed; this is a defect of Longshore")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _process(self, child: Child, wake: WakePipe) -> TaskProcess | PooledProcess:
        pens = [self._board.pen(row) for row in child.rows]
        revoked = Revoked(self.revocations.ledger)
        if self._options.execution == "processes":
            return TaskProcess(self._app, self._options, child.owner, pens, wake, self._conditions, revoked)
        from longshore.worker.pooled import PooledProcess

        return PooledProcess(self._app, self._options, child.owner, pens, wake, self._conditions, revoked)

    def _reap(self) -> None:
        """Collect whoever has ended: as process 1 of a container, also what a task's own children have left behind."""
        by_pid = {child.pid: child for child in self._children if child.pid}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if child := by_pid.get(ended[0]):
                    self._ended(child, ended[1])

    def _ended(self, child: Child, status: int) -> None:
        self._settle_death(child, status)
        self._locks.died(child.pid)
        if child.is_leaving:
            self._roster.release(child)
            self._tell_keeper()
            return
        for row in child.rows:
            self._board.clear_run(row)
        planned = status == 0 or child.is_asked or child.condemned is not None
        is_quick = not planned and time.monotonic() - child.started_at < QUICK_DEATH_SECONDS
        child.quick_deaths = child.quick_deaths + 1 if is_quick else 0
        delay = min(MAX_RESTART_DELAY_SECONDS, reconnect_delay(child.quick_deaths)) if child.quick_deaths else 0.0
        child.pid, child.restart_at = 0, time.monotonic() + delay
        child.is_asked, child.condemned = False, None
        child.owner = self._roster.new_owner()
        self._tell_keeper()

    def _settle_death(self, child: Child, status: int) -> None:
        """Say what becomes of what it held."""
        if child.condemned is not None:
            self._enforcement.buried(child, child.condemned)
        elif status != 0:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
            self._enforcement.lost(child, how, by_us=self._stops > 0 and time.monotonic() >= self._kill_at)

    def _restart_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.restart_at <= now:
                self._start(child)

    def _signal_all(self, number: int) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)  # not reaped yet, so the number is still its own
