"""Looking at a queue from the command line, on every broker."""

from __future__ import annotations

import json

from tests.support.workers import run_command, wait_for
from tests.worker import tasks_for_tests as tasks


def test_a_queue_is_shown_with_what_waits_and_who_works_on_it(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1", "-n", "celery@here"):
        tasks.slow.delay("long", str(go))
        wait_for("it has started", bench.effects)
        for number in range(3):
            tasks.add.delay(number, 0)
        tasks.fails.delay("late")

        def shown():
            said = json.loads(run_command("queue", "show", bench.queue, "-b", bench.broker, "-o", "json").stdout)
            return said if said["workers"] == ["celery@here: 1 of 1 busy, 0 done"] else None

        said = wait_for("the worker has reported", shown)
        assert said["ready"] == 4
        assert said["next_tasks"] == [
            "3 x tests.worker.tasks_for_tests.add",
            "1 x tests.worker.tasks_for_tests.fails",
        ]
        text = run_command("queue", "show", bench.queue, "-b", bench.broker).stdout
        assert "ready:            4\n" in text
        assert "                  1 x tests.worker.tasks_for_tests.fails\n" in text
        go.touch()


def test_a_queue_that_is_not_there_is_said(bench):
    done = run_command("queue", "show", "nowhere", "-b", bench.broker)
    assert done.returncode == 1
    assert done.stderr.strip() == "longshore: queue 'nowhere' does not exist on this broker"
