"""What a user does wrong at the command line: one line that says what and what to do, and never a traceback."""

from __future__ import annotations

import json
import socket

import pytest

from tests.support.workers import run_command

APP = "tests.worker.tasks_for_tests:app"
SECRET = "s3cr3t-p4ssword"


def complaint(*words, code=2, environ=None, cwd=None):
    done = run_command(*words, environ={"EFFECTS": "/dev/null", **(environ or {})}, cwd=cwd)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert SECRET not in said
    return said


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("no.such.module:app", "does not import: No module named 'no'"),
        ("tests.worker.tasks_for_tests:nothing", "has no app named nothing; it has tests.worker.tasks_for_tests:app"),
        ("tests.worker.tasks_for_tests:add", "is a add, not a Longshore app"),
        (":app", "is not MODULE:ATTRIBUTE"),
        ("broken:app", "SyntaxError"),
        ("raising:app", "ZeroDivisionError: division by zero"),
        ("twice:app", "two tasks are named 'same'"),
        ("typo:app", "unknown setting 'task_ack_late'; did you mean task_acks_late?"),
    ],
)
def test_an_app_that_cannot_be_loaded(app, says, tmp_path):
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")
    (tmp_path / "typo.py").write_text("from longshore import Longshore\napp = Longshore('t', task_ack_late=True)\n")
    (tmp_path / "twice.py").write_text(
        "from longshore import Longshore\napp = Longshore('t')\n"
        "@app.task(name='same')\ndef a(): pass\n@app.task(name='same')\ndef b(): pass\n"
    )
    said = complaint("worker", app, "-b", "sqlite:///x.db", cwd=tmp_path)
    assert says in said
    assert len(said.strip().splitlines()) == 1, said


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        (f"kafka://user:{SECRET}@host/", 2, "unknown scheme 'kafka'; use sqlite://"),
        ("sqlite:////no/such/folder/x.db", 1, "/no/such/folder"),
    ],
)
def test_a_broker_address_that_is_wrong(url, code, says):
    assert says in complaint("worker", APP, "-b", url, code=code)


def test_a_database_file_that_is_not_sqlite(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("this is a shopping list, not a database\n" * 100)
    assert "not" in complaint("worker", APP, "-b", f"sqlite:///{file}", code=1)
    assert file.read_text().startswith("this is a shopping list"), "somebody's file is left as it was"


def test_a_port_that_is_taken_ends_the_worker(tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = complaint("worker", APP, "-b", f"sqlite:///{tmp_path}/x.db", "--http-port", port, "-c", "1", code=1)
    assert f"port {port}" in said
    assert "--http-port" in said


def test_no_broker_at_all(tmp_path):
    (tmp_path / "bare.py").write_text("from longshore import Longshore\napp = Longshore('bare')\n")
    assert "LONGSHORE_BROKER_URL" in complaint("worker", "bare:app", cwd=tmp_path)


@pytest.mark.parametrize("option", ["q", "q=", "q=dead:zero", "q=dead:5:maybe"])
def test_a_dead_letter_option_that_is_wrong(option):
    assert "--dead-letter" in complaint("worker", APP, "-b", "sqlite:///x.db", "--dead-letter", option)


def test_the_worker_explains_every_option_with_its_default():
    said = run_command("worker", "--help").stdout
    options = [line.split()[0].rstrip(",") for line in said.splitlines() if line.startswith("  -")]
    paragraphs = said.split("\n  -")[1:]
    assert len(options) >= 12
    for paragraph in paragraphs:
        assert "default:" in paragraph or "--help" in paragraph or "--dead-letter" in paragraph, paragraph


def test_an_unknown_command_is_refused_and_help_lists_all():
    assert "No such command" in complaint("wrok")
    listed = run_command("--help").stdout
    for command in ("worker", "dev", "call", "queue", "dead"):
        assert command in listed


@pytest.mark.integration
def test_a_wrong_password_of_redis(new_redis):
    server = new_redis(password="right")
    url = f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
    assert "password" in complaint("worker", APP, "-b", url, code=1)


@pytest.mark.integration
def test_a_wrong_password_of_rabbitmq(rabbitmq_server):
    url = rabbitmq_server.url(password=SECRET)
    assert "password" in complaint("worker", APP, "-b", url, code=1)


@pytest.mark.integration
def test_sending_to_a_broker_that_is_down_raises_within_the_deadline():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    said = complaint("call", "a.task", "-b", f"redis://:{SECRET}@127.0.0.1:{port}/0", code=1)
    assert str(port) in said
    said = complaint("call", "a.task", "-b", f"amqp://guest:{SECRET}@127.0.0.1:{port}//", code=1)
    assert str(port) in said


def test_calling_looking_and_replaying_from_the_command_line(tmp_path):
    broker = ("-b", f"sqlite:///{tmp_path}/b.db")
    sent = run_command("call", "shop.add", "-a", "[1, 2]", "-Q", "orders", *broker)
    assert sent.returncode == 0, sent.stderr
    listed = json.loads(run_command("queue", "ls", "orders", "-o", "json", *broker).stdout)
    assert [(row["queue"], row["ready"], row["dead"]) for row in listed] == [("orders", 1, 0)]
    assert sent.stdout.strip() in run_command("queue", "peek", "orders", *broker).stdout
    assert "orders" in run_command("queue", "ls", "orders", *broker).stdout
    assert "dropped: 1" in run_command("queue", "purge", "orders", "--yes", *broker).stdout
    assert "does not exist" in complaint("queue", "purge", "nothing", "--yes", *broker, code=1)
    assert "not JSON" in complaint("call", "shop.add", "-a", "[1,", *broker)
    assert "is not a JSON array" in complaint("call", "shop.add", "-a", "{}", *broker)
