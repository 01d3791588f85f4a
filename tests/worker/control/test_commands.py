"""A worker answers remote control, whatever it is doing; on every broker, through our own client."""

from __future__ import annotations

import os
import time

import pytest

from longshore import __version__
from longshore.worker.control import looking
from tests.support.workers import is_gone, run_command, wait_for
from tests.worker import tasks_for_tests as tasks

NODE = "w1@here"


def inspect(bench, timeout=5.0):
    """Whoever is asked by name is not waited for longer than he takes."""
    return bench.app.control.inspect([NODE], timeout)


def ask(bench, command, **arguments):
    return inspect(bench).ask(command, **arguments)[NODE]


def there(bench):
    wait_for("the node hears", lambda: bench.app.control.ping([NODE], timeout=0.5))


def test_a_node_says_what_it_is_and_what_it_does(bench):
    with bench.worker("-c", "2", "-n", NODE) as worker:
        there(bench)
        until = bench.folder / "until"
        ids = [tasks.slow.delay(name, str(until)).id for name in "ab"]
        wait_for("both run", lambda: len(bench.effects()) == 2)
        later = tasks.add.apply_async((1, 2), countdown=600, priority=3).id
        sent = time.time()

        active = {task["id"]: task for task in ask(bench, "active")}
        assert active.keys() == set(ids)
        task = active[ids[0]]
        assert (task["name"], task["args"], task["acknowledged"]) == (tasks.slow.name, f"('a', '{until}')", False)
        assert (task["hostname"], task["delivery_info"]["routing_key"]) == (NODE, bench.queue)
        assert task["worker_pid"] in worker.children()
        assert sent - 60 < task["time_start"] <= time.time()

        [scheduled] = ask(bench, "scheduled")
        assert (scheduled["request"]["id"], scheduled["request"]["name"]) == (later, tasks.add.name)
        assert scheduled["eta"] > "2026"
        assert ask(bench, "reserved") == []
        found = ask(bench, "query_task", ids=[ids[0], later, "unknown"])
        assert {task: state for task, (state, _) in found.items()} == {ids[0]: "active", later: "scheduled"}

        stats = ask(bench, "stats")
        assert (stats["pid"], stats["pool"]["max-concurrency"]) == (worker.process.pid, 2)
        assert stats["pool"]["processes"] == sorted(worker.children())
        assert [queue["name"] for queue in ask(bench, "active_queues")] == [bench.queue]
        assert f"{tasks.slow.name} [acks_late=True max_retries=3]" in ask(
            bench, "registered", taskinfoitems=["acks_late", "max_retries", "_secret"]
        )
        assert ask(bench, "report")["ok"].startswith("software -> celery:")
        assert __version__ in ask(bench, "report")["ok"]
        clock = ask(bench, "clock")["clock"]
        assert ask(bench, "clock")["clock"] > clock
        until.touch()
        bench.app.broker.purge(bench.queue)


def test_a_command_that_is_unknown_or_fails_is_answered_and_the_node_lives_on(bench):
    with bench.worker("-c", "1", "-n", NODE) as worker:
        there(bench)
        assert "there is no command 'nonsense'" in ask(bench, "nonsense")["error"]
        assert "n=0" in ask(bench, "pool_grow", n=0)["error"]
        assert "one must stay" in ask(bench, "pool_shrink", n=1)["error"]
        assert "'queue'" in ask(bench, "add_consumer")["error"]
        assert "only queue" in ask(bench, "cancel_consumer", queue=bench.queue)["error"]
        assert ask(bench, "rate_limit", task_name=tasks.add.name, rate_limit="10/m")["ok"]
        assert "unknown task" in ask(bench, "rate_limit", task_name="no", rate_limit="10/m")["error"]
        assert "soon" in ask(bench, "rate_limit", task_name=tasks.add.name, rate_limit="soon")["error"]
        assert "autoscaling" in ask(bench, "autoscale", max=3)["error"]
        control = bench.app.control
        assert control.ping([NODE], timeout=5) == [{NODE: {"ok": "pong"}}]
        assert control.ping(["another@here"], timeout=0.3) == []
        assert control.ping(pattern="w*@here", matcher="glob", limit=1, timeout=5) == [{NODE: {"ok": "pong"}}]
        assert control.ping(pattern="v.*", matcher="pcre", timeout=0.3) == []
        assert control.ping(pattern="(", matcher="pcre", timeout=0.3) == []
        assert ask(bench, "ping") == {"ok": "pong"}
        assert "Traceback" not in worker.log


def test_settings_are_shown_without_their_secrets(bench):
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        conf = ask(bench, "conf")
        assert conf["task_default_queue"] == "q"
        assert "guest:guest" not in str(conf)
        assert "task_acks_late" not in conf
        assert ask(bench, "conf", with_defaults="true")["task_acks_late"] is False


def test_the_pool_grows_and_shrinks_and_ends_no_task_for_it(bench):
    with bench.worker("-c", "1", "-n", NODE) as worker:
        there(bench)
        until = bench.folder / "until"
        first = worker.children()
        tasks.slow.delay("a", str(until))
        wait_for("it runs", bench.effects)
        assert ask(bench, "pool_grow", n=2)["ok"]
        wait_for("three processes", lambda: len(worker.children()) == 3)
        tasks.slow.delay("b", str(until))
        wait_for("both run", lambda: len(bench.effects()) == 2)
        assert ask(bench, "pool_shrink", n=2)["ok"]
        wait_for("an idle one has gone", lambda: len(worker.children()) == 2)
        assert first[0] in worker.children()
        until.touch()
        wait_for("one is left", lambda: len(worker.children()) == 1)
        wait_for("all is done", lambda: len([line for line in bench.effects() if line.startswith("end")]) == 2)
        assert ask(bench, "stats")["pool"]["max-concurrency"] == 1
        assert ask(bench, "pool_grow", n=100_000)["error"]


@pytest.mark.parametrize("execution", ["processes", "threads"])
def test_queues_are_added_and_cancelled_at_run_time(bench, execution):
    other = f"{bench.queue}-other"
    with bench.worker("-c", "2", "-n", NODE, "--execution", execution) as worker:
        there(bench)
        until = bench.folder / "until"
        tasks.slow.delay("a", str(until))
        wait_for("it runs", bench.effects)
        assert ask(bench, "add_consumer", queue=other)["ok"] == f"add consumer {other}"
        assert tasks.add.apply_async((1, 1), queue=other).get(timeout=20) == 2
        assert tasks.add.apply_async((1, 1)).get(timeout=20) == 2
        assert ask(bench, "cancel_consumer", queue=bench.queue)["ok"]
        wait_for("it is told", lambda: [queue["name"] for queue in ask(bench, "active_queues")] == [other])
        until.touch()
        wait_for("the running task ends", lambda: any(line.startswith("end") for line in bench.effects()))
        wait_for("nobody is busy", lambda: not ask(bench, "active"))
        tasks.add.apply_async((7, 7))
        assert tasks.add.apply_async((2, 2), queue=other).get(timeout=20) == 4
        assert "add 7 7" not in bench.effects()
        assert "died" not in worker.log


def test_shutdown_drains(bench):
    with bench.worker("-c", "2", "-n", NODE) as worker:
        there(bench)
        until = bench.folder / "until"
        tasks.slow.delay("a", str(until))
        wait_for("it runs", bench.effects)
        bench.app.control.shutdown([NODE])
        wait_for("it drains", lambda: "draining" in worker.log)
        until.touch()
        assert worker.process.wait(20) == 0
        assert [line.split()[0] for line in bench.effects()] == ["start", "end"]


def test_a_dead_child_is_replaced_while_commands_are_answered(bench):
    """A fork in the middle of a command inherits no lock that nobody will release."""
    with bench.worker("-c", "1", "-n", NODE) as worker:
        there(bench)
        for _ in range(3):
            [pid] = wait_for("a child", worker.children)
            os.kill(pid, 9)
            assert ask(bench, "stats")["pid"] == worker.process.pid
            wait_for("it is gone", lambda pid=pid: is_gone(pid) and pid not in worker.children())
        assert tasks.add.delay(1, 2).get(timeout=30) == 3


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_command_line_shows_it(bench, output):
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        done = run_command("inspect", "ping", "-d", NODE, "-o", output, environ=bench.environ)
        assert done.returncode == 0, done.stderr
        assert NODE in done.stdout
        done = run_command("inspect", "ping", "-d", "nobody@here", "-t", "0.2", environ=bench.environ)
        assert done.returncode == 1
        assert "nobody answered" in done.stderr


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("amqp://u:p@h:5673/v", ("h", 5673, False)),
        ("valkeys://h/1", ("h", None, True)),
        ("sentinel://a:1;b:2/0?master=m", ("a:1;b:2", None, False)),
        ("sentinel://u:p@a:1;sentinel://u:p@b:2/0?master=m", ("a:1;b:2", None, False)),
    ],
)
def test_stats_tells_where_the_broker_is(url, where):
    told = looking._broker(url)
    assert (told["hostname"], told["port"], told["ssl"]) == where
    assert "p" not in str(told["hostname"])
