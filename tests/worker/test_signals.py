"""The signals of a worker's life, in the processes where they belong."""

import os

from tests.support.workers import SOURCES, running_worker, wait_for

PROGRAM = """
import os
from longshore import Longshore, signals

app = Longshore("life", task_default_queue="life")

def note(signal, **_):
    where = "child" if os.getppid() == int(os.environ.get("SUPERVISOR", "0")) else "supervisor"
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(f"{where} {signal.name}\\n")

@signals.worker_init.connect
def remember(**_):
    os.environ["SUPERVISOR"] = str(os.getpid())

for name in ("celeryd_after_setup", "worker_init", "worker_before_create_process", "worker_process_init",
             "worker_ready", "task_received", "worker_shutting_down", "worker_process_shutdown", "worker_shutdown"):
    getattr(signals, name).connect(note, weak=False)

@app.task(name="nothing")
def nothing():
    pass
"""


def test_a_worker_tells_its_life_in_order(tmp_path):
    (tmp_path / "lived.py").write_text(PROGRAM)
    broker, effects = f"sqlite:///{tmp_path}/b.db", tmp_path / "effects"
    environ = {"EFFECTS": str(effects), "PYTHONPATH": os.pathsep.join([str(tmp_path), SOURCES])}
    options = ("-c", "1", "-Q", "life")
    with running_worker("lived:app", *options, broker=broker, log=tmp_path / "log", environ=environ) as worker:
        wait_for("the child", lambda: effects.exists() and "worker_process_init" in effects.read_text())
        worker.ready()
        assert worker.terminate() == 0
    told = effects.read_text().splitlines()
    assert [line for line in told if line.startswith("child")] == [
        "child worker_process_init",
        "child worker_process_shutdown",
    ]
    assert [line.split()[1] for line in told if line.startswith("supervisor")] == [
        "celeryd_after_setup",
        "worker_init",
        "worker_before_create_process",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
    ]
