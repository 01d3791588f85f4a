"""Probes and metrics of a worker over HTTP, from the supervisor: they depend neither on the broker nor on a task's GIL.

Imported only where a port is asked for: a worker on a laptop pays nothing. The text format is written here, because
`prometheus_client` would cost a supervisor 4.6 MB and 60 ms for a dozen lines, and all it keeps is on the board.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from longshore.worker.board import Board
from longshore.worker.options import WorkerOptions
from longshore.worker.tally import STATES

if TYPE_CHECKING:
    from longshore.worker.keeper import Keeper


class HealthServer:
    """Serves ``/healthz`` (the supervisor lives), ``/readyz`` (a process claims), ``/metrics`` (Prometheus text)."""

    def __init__(self, options: WorkerOptions, board: Board, keeper: Keeper) -> None:
        self._options = options
        self._board = board
        self._keeper = keeper
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, body = health.answer(self.path)
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes every second are no news."""

        self._server = ThreadingHTTPServer(("", options.http_port or 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/healthz":
            return 200, b"ok\n"
        if path == "/readyz":
            return self._readiness()
        if path == "/metrics":
            return 200, self._metrics().encode()
        return 404, b"there is /healthz, /readyz and /metrics\n"

    def _readiness(self) -> tuple[int, bytes]:
        if self._keeper.draining:
            return 503, b"draining\n"
        ready = any(self._board.read(index).ready for index in range(self._board.slots))
        return (200, b"ok\n") if ready else (503, b"no process claims yet\n")

    def _metrics(self) -> str:
        slots = [self._board.read(index) for index in range(self._board.slots)]
        rows = (
            ("longshore_worker_slots", "gauge", "Tasks that run at a time", self._board.capacity),
            ("longshore_worker_busy_slots", "gauge", "Processes that run a task", sum(s.busy for s in slots)),
            ("longshore_worker_held_messages", "gauge", "Claims, running ones included", sum(s.held for s in slots)),
            ("longshore_tasks_run_total", "counter", "Runs that ended", sum(s.processed for s in slots)),
            ("longshore_tasks_failed_total", "counter", "Runs that failed", sum(s.failed for s in slots)),
            ("longshore_worker_draining", "gauge", "1 while draining", int(self._keeper.draining)),
        )
        plain = "".join(f"# HELP {n} {text}\n# TYPE {n} {kind}\n{n} {value}\n" for n, kind, text, value in rows)
        return plain + self._task_metrics()

    def _task_metrics(self) -> str:
        """By task; what has overhead above its run seconds is too small for its messages."""
        totals = self._board.tallies.totals(self._board.slots) if self._board.tallies is not None else []
        runs = [
            (f'task="{_label(total.task)}",state="{state}"', count)
            for total in totals
            for state, count in zip(STATES, total.runs, strict=True)
            if count
        ]
        rows = (
            ("longshore_task_runs_total", "Runs that ended, by task and state", runs),
            ("longshore_task_run_seconds_total", "Seconds that runs took, by task",
             [(f'task="{_label(total.task)}"', total.run_seconds) for total in totals]),
            ("longshore_task_overhead_seconds_total", "Seconds besides the runs, by task (mode processes)",
             [(f'task="{_label(total.task)}"', total.overhead_seconds) for total in totals]),
        )  # fmt: skip
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} counter\n"
            + "".join(f"{name}{{{labels}}} {value}\n" for labels, value in values)
            for name, text, values in rows
        )

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _label(value: str) -> str:
    """A label's value, as the text format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
