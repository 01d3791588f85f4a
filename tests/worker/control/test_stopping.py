"""Tasks are stopped by remote control: before they begin, and while they run; on every broker."""

from __future__ import annotations

import pytest

from longshore.brokers.port import Outgoing
from longshore.exceptions import TaskRevokedError
from tests.support.workers import run_command, wait_for
from tests.worker import tasks_for_tests as tasks
from tests.worker.control.test_commands import NODE, ask, there


def test_a_revoked_task_does_not_run_and_its_state_is_stored_at_once(bench):
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        until = bench.folder / "until"
        running = tasks.slow.delay("a", str(until))
        wait_for("it runs", bench.effects)
        waiting, another = tasks.add.delay(1, 1), tasks.add.delay(2, 2)
        assert waiting.id in ask(bench, "revoke", task_id=waiting.id)["ok"]
        assert waiting.state == "REVOKED"
        with pytest.raises(TaskRevokedError):
            waiting.get(timeout=5)
        ask(bench, "revoke", task_id=[running.id])
        assert running.state == "PENDING"
        assert ask(bench, "revoked") == [waiting.id, running.id]
        until.touch()
        assert another.get(timeout=20) == 4
        assert running.get(timeout=20) == "a"
        assert "add 1 1" not in bench.effects()


def test_a_running_task_is_terminated(bench):
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        running = tasks.slow.delay("a", str(bench.folder / "never"))
        wait_for("it runs", bench.effects)
        assert "unknown signal" in ask(bench, "terminate", task_id=running.id, signal="NONSENSE")["error"]
        assert ask(bench, "terminate", task_id=running.id, signal="KILL")["ok"] == f"terminate: {running.id}"
        with pytest.raises(TaskRevokedError):
            running.get(timeout=20)
        assert ask(bench, "terminate", task_id="unknown", signal=15)["ok"] == "terminate: tasks unknown"
        assert tasks.add.delay(1, 2).get(timeout=20) == 3
        assert len(bench.effects()) == 2


def test_tasks_are_stopped_by_their_stamps(bench):
    stamped = {"stamped_headers": ["customer"], "stamps": {"customer": ["c-1"]}}
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        plain = bench.app.outgoing(tasks.slow.name, ("a", str(bench.folder / "never")), {})
        bench.app.broker.send([Outgoing(bench.queue, plain.message.with_headers(stamped))])
        running = bench.app.AsyncResult(plain.message.id)
        wait_for("it runs", bench.effects)
        assert (
            "were not terminated"
            in ask(bench, "revoke_by_stamped_headers", headers={"customer": "c-2"}, terminate=True)["ok"]
        )
        assert "not terminated" in ask(bench, "revoke_by_stamped_headers", headers=["customer=c-3"])["ok"]
        ask(bench, "revoke_by_stamped_headers", headers={"customer": "c-1"}, terminate=True)
        with pytest.raises(TaskRevokedError):
            running.get(timeout=20)


def test_time_limits_change_at_run_time(bench):
    with bench.worker("-c", "1", "-n", NODE) as worker:
        there(bench)
        before = worker.children()
        assert "unknown task" in ask(bench, "time_limit", task_name="no", hard=1)["error"]
        assert "less than" in ask(bench, "time_limit", task_name=tasks.slow.name, soft=5, hard=1)["error"]
        assert ask(bench, "time_limit", task_name=tasks.slow.name, hard=0.5)["ok"]
        wait_for("another process", lambda: worker.children() and worker.children() != before)
        limited = tasks.slow.delay("a", str(bench.folder / "never"))
        wait_for("it is ended", lambda: limited.state == "FAILURE")


def test_the_command_line_stops_and_shows_tasks(bench):
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        running = tasks.slow.delay("a", str(bench.folder / "never")).id
        wait_for("it runs", bench.effects)
        shown = run_command("task", "show", running, environ=bench.environ)
        assert "active" in shown.stdout
        assert tasks.slow.name in shown.stdout
        done = run_command("task", "revoke", running, "--terminate", "-t", "2", environ=bench.environ)
        assert f"terminate: {running}" in done.stdout, done.stderr
        wait_for("its end", lambda: bench.app.AsyncResult(running).state == "REVOKED")
        assert "REVOKED" in run_command("task", "show", running, "-o", "json", environ=bench.environ).stdout
        missing = run_command("task", "show", "unknown", "-t", "0.2", environ=bench.environ)
        assert (missing.returncode, "Traceback" in missing.stderr) == (1, False)
