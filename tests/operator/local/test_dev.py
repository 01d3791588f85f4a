"""`longshore dev` with real processes: it does the work, drains, kills, leaves nothing running and loses nothing."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from longshore.app import Longshore
from tests.operator.local.running import MANIFESTS, TASKS, shop_in, wait_until_gone
from tests.support.workers import run_command, wait_for


@pytest.fixture
def shop(tmp_path):
    with shop_in(tmp_path) as shop:
        yield shop


def test_does_all_that_is_there_and_ends_with_figures(shop):
    shop.send("note", *((f"word{n}",) for n in range(15)))
    shop.send("fail", (), ())
    summary = shop.finish()
    assert sorted(shop.words("done")) == sorted(f"word{n}" for n in range(15))
    assert summary["tasks"] == 17
    assert summary["dead"] == {"RuntimeError": 2}
    assert (summary["ending"], summary["failed"]) == ("Idle", 2)
    assert (summary["peak_workers"], summary["peak_slots"]) == (1, 2)
    assert summary["tasks_per_second"] > 0
    assert shop.processes() == []


def test_nothing_to_do_ends_at_once_and_starts_no_worker(shop):
    summary = shop.finish()
    assert (summary["tasks"], summary["peak_workers"]) == (0, 0)
    assert not list((shop.state / "logs").glob("shop-*.log"))


def test_ctrl_c_drains_and_the_next_run_goes_on(shop):
    shop.send("note", *((f"word{n}", 20) for n in range(6)))
    process = shop.start()
    wait_for("two tasks run", lambda: len(shop.words("started")) == 2)
    shop.interrupt()
    wait_for("it says so", lambda: "draining 1 worker: what runs may finish; Ctrl-C again kills" in shop.said())
    wait_for("the worker drains", lambda: "draining: 2 running tasks" in shop.log())
    workers = shop.processes()
    assert workers
    (shop.folder / "go").touch()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output.startswith("drained after")
    assert len(shop.words("started")) == len(shop.words("done")) == 2, "what ran has finished, and no more was started"
    wait_until_gone(workers, 0)
    depth = shop.depth()
    assert (depth.ready, depth.leased) == (4, 0)
    shop.finish()
    assert sorted(shop.words("done")) == [f"word{n}" for n in range(6)], "each exactly once"


def test_what_workers_end_while_they_drain_is_counted(shop):
    shop.send("note", *((f"word{n}", 600) for n in range(6)))
    process = shop.start("--output", "json")
    wait_for("two tasks run", lambda: len(shop.words("started")) == 2)
    shop.interrupt()
    wait_for("the worker drains", lambda: "draining: 2 running tasks" in shop.log())
    (shop.folder / "go").touch()
    output, _ = process.communicate(timeout=30)
    assert len(shop.words("done")) == 2
    assert json.loads(output)["tasks"] == 2, "though both ended after the worker's last report"


def test_what_ran_before_a_worker_was_scaled_away_is_counted_once(shop):
    shop.send("note", *((f"word{n}",) for n in range(7)))
    process = shop.start("--output", "json")
    wait_for("the worker has come and gone", lambda: "from 1 to 0" in shop.said() and not shop.processes())
    shop.send("note", *((f"more{n}",) for n in range(5)))
    wait_for("all done", lambda: len(shop.words("done")) == 12)
    shop.interrupt()
    output, _ = process.communicate(timeout=30)
    assert json.loads(output)["tasks"] == 12


def test_a_second_ctrl_c_kills_and_nothing_is_lost(shop):
    shop.send("note", ("word", 600))
    process = shop.start()
    wait_for("the task runs", lambda: shop.words("started"))
    workers = shop.processes()
    shop.interrupt()
    wait_for("it drains", lambda: "draining" in shop.said())
    shop.interrupt()
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 1
    assert output.startswith("killed after")
    wait_until_gone(workers, 0)
    (shop.folder / "go").touch()
    shop.finish()
    assert shop.words("done") == ["word"]


def test_kill_9_leaves_nothing_running_and_loses_nothing(shop):
    shop.send("note", *((f"word{n}", 600) for n in range(4)))
    process = shop.start()
    wait_for("two tasks run", lambda: len(shop.words("started")) == 2)
    workers = shop.processes()
    assert len(workers) >= 3
    process.kill()
    process.wait()
    wait_until_gone(workers)
    (shop.folder / "go").touch()
    summary = shop.finish()
    assert sorted(shop.words("done")) == [f"word{n}" for n in range(4)]
    assert summary["tasks"] == 4


def test_a_worker_that_is_killed_is_replaced(shop):
    shop.send("note", *((f"word{n}", 600) for n in range(4)))
    process = shop.start("--until-idle")
    wait_for("two tasks run", lambda: len(shop.words("started")) == 2)
    supervisor = shop.processes()[0]
    os.kill(supervisor, signal.SIGKILL)
    (shop.folder / "go").touch()
    assert process.wait(60) == 0
    assert set(shop.words("done")) == {f"word{n}" for n in range(4)}


def test_goes_back_to_zero(shop):
    shop.send("note", ("word",))
    shop.start()
    wait_for("the task is done", lambda: shop.words("done"))
    wait_for("no worker is left", lambda: shop.process.poll() is None and not shop.processes())
    shop.send("note", ("again",))
    wait_for("it comes back", lambda: shop.words("done") == ["word", "again"])
    shop.interrupt()
    assert shop.process.wait(30) == 0
    assert "WorkerPool/shop Scaled: from 1 to 0" in shop.said()


def test_a_schedule_ticks(shop):
    schedule = """---
apiVersion: longshore.dev/v1alpha1
kind: CronSchedule
metadata: {name: often}
spec: {everySeconds: 1, task: shop_tasks.note, args: [tick], queue: orders}
"""
    (shop.folder / "all.yaml").write_text(MANIFESTS + schedule)
    summary = shop.finish()
    assert summary["ticks"] >= 1
    assert set(shop.words("done")) == {"tick"}
    assert summary["ticks"] == len(shop.words("done"))


def test_the_environment_comes_from_the_manifests(shop):
    template = """
  template:
    spec:
      containers:
        - name: worker
          env: [{name: GREETING, valueFrom: {secretKeyRef: {name: texts, key: hello}}}]
"""
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: texts}\nstringData: {hello: good morning}\n"
    shop.send("show", ("GREETING",))
    (shop.folder / "all.yaml").write_text(MANIFESTS + template)
    assert shop.run("--until-idle") == 1
    assert "pool shop: Secret texts is not among the manifests; give `longshore dev` its file too" in shop.output
    (shop.folder / "all.yaml").write_text(MANIFESTS + template + secret)
    shop.finish()
    assert (shop.folder / "GREETING").read_text() == "good morning"


def test_follows_the_manifests_to_their_broker(shop):
    elsewhere = f"sqlite:///{shop.folder / 'elsewhere.db'}"
    secret = f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: broker}}\nstringData: {{url: '{elsewhere}'}}\n"
    queue = MANIFESTS.replace("spec: {dead", "spec: {broker: {urlFrom: {secretKeyRef: {name: broker}}}, dead")
    (shop.folder / "all.yaml").write_text(queue + secret)
    with contextlib.closing(Longshore("client", broker=elsewhere, set_as_current=False)) as app:
        app.send_task("shop_tasks.note", ("word",), queue="orders")
    assert shop.run("--until-idle", "--broker", "manifest") == 0, shop.output
    assert shop.words("done") == ["word"]
    assert not (shop.state / "broker.db").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "app 'shop_tasks:app' does not import: No module named 'shop_tasks'"),
        ("app = 3", "app 'shop_tasks:app': 'app' is a int, not a Longshore app"),
        ("1/0", "app 'shop_tasks:app' does not import: ZeroDivisionError: division by zero"),
    ],
)
def test_an_app_that_does_not_import_ends_the_run_with_its_line(shop, code, said):
    file = shop.folder / "shop_tasks.py"
    file.unlink() if code is None else file.write_text(code)
    shop.send("note", ("word",))
    assert shop.run("--until-idle") == 1
    assert f"pool shop: {said}" in shop.output
    log = shop.log()
    assert log.count(said) == 1, "no restart storm"
    assert "Traceback" not in log + shop.said() + shop.output
    file.write_text(TASKS)
    shop.finish()
    assert shop.words("done") == ["word"]


def test_a_task_that_the_app_does_not_have_ends_the_run_with_its_name_and_waits_for_the_code(shop):
    shop.send("note", ("word",))
    shop.send("notte", ("typo",))
    assert shop.run("--until-idle", "--timeout", "60") == 1
    assert "no worker here has: " in shop.output
    assert "notte" in shop.output
    assert shop.words("done") == ["word"]


def test_a_time_limit_says_what_is_not_done(shop):
    schedule = MANIFESTS.replace("minReplicas: 0", "minReplicas: 0\n    suspend: true")
    (shop.folder / "all.yaml").write_text(schedule)
    shop.send("note", ("word",))
    assert shop.run("--until-idle", "--timeout", "1") == 1
    assert shop.output.startswith("timed out after 1.")
    assert "not done: queue orders: 1 ready" in shop.output


def test_a_terminal_of_80_columns_shows_a_live_table(shop):
    shop.send("note", *((f"word{n}",) for n in range(5)))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    command = [sys.executable, "-m", "longshore", "dev", "all.yaml", "--until-idle"]
    shop.process = subprocess.Popen(
        command, cwd=shop.folder, env={**os.environ, "TERM": "xterm"}, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    drawn = _read_all(ours)
    output, _ = shop.process.communicate(timeout=30)
    assert (shop.process.returncode, output[:8]) == (0, "all done")
    lines = [re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", line).rstrip() for line in re.split(r"[\r\n]+", drawn)]
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("QUEUE")) :]
    assert max(map(len, table)) <= 80
    assert any(re.match(r"shop +1/1 +\d/2 +\d", line) for line in table)
    assert "  shop: Backlog: 5 tasks at 10 a replica" in table


def _read_all(terminal: int) -> str:
    drawn = b""
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as stream:  # EIO: the other end is closed
        while chunk := stream.read(65536):
            drawn += chunk
    return drawn.decode()


# -- what a user does wrong ------------------------------------------------------------------------------------------


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    return lines[0]


def test_a_second_run_on_the_same_folder_names_the_first(shop):
    process = shop.start()
    wait_for("it runs", lambda: "broker sqlite" in shop.said())
    result = run_command("dev", "all.yaml", cwd=shop.folder)
    assert result.returncode == 1
    assert f"is in use by another `longshore dev` (pid {process.pid})" in one_line(result)


def test_a_database_that_is_not_sqlite(shop):
    shop.state.mkdir()
    (shop.state / "broker.db").write_text("these are my notes, not a database, and long enough to see that" * 20)
    result = run_command("dev", "all.yaml", cwd=shop.folder)
    assert result.returncode == 1
    assert "broker.db" in one_line(result)
    assert "not a" in one_line(result).lower()


@pytest.mark.parametrize(
    ("broker", "code", "said"),
    [
        ("redsi://:geheim@host/0", 2, "unknown scheme 'redsi'"),
        ("redis://:geheim@127.0.0.1:1/0", 1, "127.0.0.1:1"),
    ],
)
def test_a_broker_that_is_not_there(shop, broker, code, said):
    result = run_command("dev", "all.yaml", "--broker", broker, cwd=shop.folder)
    assert result.returncode == code
    assert said in one_line(result)
    assert "geheim" not in result.stderr


def test_a_bad_manifest_is_wrong_usage(shop):
    (shop.folder / "all.yaml").write_text(MANIFESTS.replace("concurrency", "concurency"))
    result = run_command("dev", "all.yaml", cwd=shop.folder)
    assert result.returncode == 2
    assert one_line(result) == "all.yaml:13: spec.concurency: is not a known field; did you mean concurrency?"


def test_help_explains_every_option_with_its_default():
    result = run_command("dev", "--help")
    options = result.stdout.partition("Options:")[2]
    assert result.returncode == 0
    named = [line.split()[0].rstrip(",") for line in options.splitlines() if line.startswith("  -")]
    assert len(named) == 8
    assert options.count("[default: ") == len(named) - 1, "all but --help"


def test_needs_nothing_of_kubernetes():
    code = (
        "import sys, longshore_operator.local.command, longshore_operator.local.run;"
        "sys.exit(' '.join({'kopf', 'kubernetes', 'aiohttp'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
