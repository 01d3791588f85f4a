"""What can be wrong with the file, its folder and its disk: one line each time that says what, where and what to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore.brokers.port import Broker, Outgoing, Owner, QueueSpec, Settlement
from longshore.brokers.registry import open_broker
from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.files import RESERVE_BYTES, check_place, filesystem
from longshore.exceptions import (
    BrokerError,
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    ImproperlyConfigured,
    MessageError,
)

from .children import Child, Say
from .contract import claim_one, claim_some, ids, message, send, settle, worker_name

Q = "orders"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def connect() -> Iterator[Callable[..., Broker]]:
    brokers: list[Broker] = []

    def connect(path: Path, options: str = "") -> Broker:
        brokers.append(open_broker(f"sqlite:///{path}{options}"))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


Connect = Callable[..., Broker]

# -- addresses -------------------------------------------------------------------------------------------------------


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_address("sqlite:///tasks.db").path == f"{tmp_path}/tasks.db"
    assert parse_address("sqlite:///sub/../tasks.db").path == f"{tmp_path}/tasks.db"
    assert parse_address("sqlite:////var/tasks.db").path == "/var/tasks.db"
    assert parse_address("sqlite:////var/my%20tasks.db").path == "/var/my tasks.db"


def test_a_relative_address_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = connect(Path("tasks.db"))
    monkeypatch.chdir("/")
    send(broker, Q, "a")
    assert (tmp_path / "tasks.db").exists()


def test_options_of_the_address(connect: Connect, path: Path) -> None:
    address = parse_address("sqlite:///tasks.db?durability=full&timeout=2.5")
    assert (address.durability, address.timeout) == ("full", 2.5)
    assert (parse_address("sqlite:///t.db").durability, parse_address("sqlite:///t.db").timeout) == ("normal", 5.0)
    for option, synchronous in (("", 1), ("?durability=full", 2)):
        broker = connect(path, option)
        broker.declare([QueueSpec(Q)])
        assert broker.database.peek("PRAGMA synchronous") == [(synchronous,)]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://tasks.db", "names a host.*sqlite:///relative.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "cannot share memory"),
        ("sqlite:///t.db?durabilty=full", "unknown option durabilty; there are durability and timeout"),
        ("sqlite:///t.db?durability=high", "it is normal or full"),
        ("sqlite:///t.db?timeout=soon", "number of seconds"),
        ("sqlite:///t.db?timeout=-1", "number of seconds"),
    ],
)
def test_a_wrong_address_is_told_how_to_be_right(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        open_broker(url)


# -- files that are not ours -----------------------------------------------------------------------------------------


def refused(connect: Connect, path: Path, says: str, kind: type[BrokerError] = BrokerRefused) -> None:
    with pytest.raises(kind, match=says) as caught:
        send(connect(path), Q, "a")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_file_that_is_no_database_is_left_as_it_is(connect: Connect, path: Path) -> None:
    path.write_text("a letter to grandmother " * 100)
    refused(connect, path, r"tasks\.db is not an SQLite database; name another file")
    assert path.read_text() == "a letter to grandmother " * 100


def test_another_programs_database_is_left_as_it_is(connect: Connect, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE django_migrations(id)")
    before = path.read_bytes()
    refused(connect, path, "another program's database; name a file of its own")
    assert path.read_bytes() == before


def test_a_newer_schema_asks_for_an_upgrade(connect: Connect, path: Path) -> None:
    connect(path).declare([QueueSpec(Q)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    refused(connect, path, "newer Longshore.*99.*upgrade")


def test_a_damaged_database_says_what_to_do(connect: Connect, path: Path) -> None:
    broker = connect(path)
    send(broker, Q, *map(str, range(2000)))
    broker.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    refused(connect, path, "damaged.*recover")


def test_an_empty_file_becomes_a_database(connect: Connect, path: Path) -> None:
    path.touch()
    broker = connect(path)
    send(broker, Q, "a")
    assert broker.depths([Q])[Q] is not None


# -- places ----------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named(connect: Connect, tmp_path: Path) -> None:
    refused(connect, tmp_path / "no" / "such" / "tasks.db", r"folder .*/no/such does not exist; make it")


def test_a_folder_is_no_file(connect: Connect, tmp_path: Path) -> None:
    refused(connect, tmp_path, "is a folder; name a file in it")


def as_nobody(work: Callable[[], object]) -> str:
    """Run work as an ordinary user; return its error."""

    def drop(say: Say) -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            work()
            say("nothing raised")
        except BrokerError as error:
            say(f"{type(error).__name__}: {error}")

    child = Child(drop)
    child.reap()
    return child.said()[0]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_no_permission_is_said(tmp_path: Path, what: str) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    file = place / "tasks.db"
    file.touch()
    file.chmod(0o444 if what == "file" else 0o666)
    place.chmod(0o555 if what == "folder" else 0o777)
    said = as_nobody(lambda: send(open_broker(f"sqlite:///{file}"), Q, "a"))
    assert said.startswith("BrokerRefused: no permission to write")
    assert str(file if what == "file" else place) in said


@needs_root
def test_a_read_only_file_system_is_named(connect: Connect, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(connect, small_disk / "tasks.db", "read-only file system")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_network_file_systems_are_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:50 / {tmp_path}/net\\040work rw - {kind} server:/share rw\n"
    )
    share = tmp_path / "net work"
    share.mkdir()
    assert filesystem(str(share), str(mounts)) == kind
    assert filesystem(str(tmp_path), str(mounts)) == "ext4"
    monkeypatch.setattr("longshore.brokers.sqlite.files.filesystem", lambda _: kind)
    with pytest.raises(BrokerRefused, match=f"network file system \\({kind}\\).*use a local disk, or Redis"):
        check_place(str(share / "tasks.db"))


# -- locks -----------------------------------------------------------------------------------------------------------


def test_a_stuck_holder_of_the_gate_is_named_within_the_deadline(connect: Connect, path: Path) -> None:
    broker = connect(path)
    broker.declare([QueueSpec(Q)])

    def hold(say: Say) -> None:
        fd = os.open(f"{path}-run/gate", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        say("held")
        signal.pause()

    child = Child(hold)
    child.wait_for(1)
    started = time.monotonic()
    try:
        with pytest.raises(BrokerUnavailable, match=f"held for 0.2 s by process {child.pid} .*end or resume"):
            broker.send([Outgoing(Q, message("a"))], deadline=0.2)
    finally:
        child.kill()
    assert time.monotonic() - started < 2.0
    send(broker, Q, "a")


@contextlib.contextmanager
def the_gate_held(path: Path) -> Iterator[None]:
    with Path(f"{path}-run/gate").open("r+") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def test_what_could_not_be_acknowledged_in_time_is_not_started_and_not_lost(connect: Connect, path: Path) -> None:
    """Early acknowledgment: a settlement that leaves later would lose a task that nobody ran."""
    broker = connect(path, "?timeout=0.1")
    send(broker, Q, "a")
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    claim = claim_one(consumer)
    with the_gate_held(path), pytest.raises(BrokerUnavailable):
        consumer.acknowledge_now([claim])
    consumer.abandon()
    assert consumer.flush() == 0
    assert ids([claim_one(consumer)]) == ["a"]
    consumer.close()


def test_a_settlement_is_carried_out_when_the_file_can_be_written_again(connect: Connect, path: Path) -> None:
    broker = connect(path, "?timeout=0.1")
    send(broker, Q, "a")
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    claim = claim_one(consumer)
    with the_gate_held(path):
        consumer.settle(Settlement(claim, sends=(Outgoing("never named before", message("letter")),)))
        with pytest.raises(BrokerUnavailable):
            consumer.flush()
    assert consumer.flush() == 0
    depths = broker.depths([Q, "never named before"])
    assert [depth and depth.ready for depth in depths.values()] == [None, 1]
    consumer.close()


def test_a_message_that_cannot_be_stored_is_told_to_its_sender(connect: Connect, path: Path) -> None:
    broker = connect(path)
    with pytest.raises(MessageError, match="message a has a header or property that cannot be stored"):
        broker.send([Outgoing(Q, message("a").with_headers({"callback": object()}))])


def test_a_foreign_program_that_locks_the_file_is_guessed_at(connect: Connect, path: Path) -> None:
    connect(path).declare([QueueSpec(Q)])
    with contextlib.closing(sqlite3.connect(path)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        broker = connect(path, "?timeout=0.2")
        with pytest.raises(BrokerUnavailable, match="locked by a program that is not Longshore"):
            send(broker, Q, "a")
        foreign.execute("ROLLBACK")
    send(broker, Q, "a")


# -- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(broker: Broker) -> list[str]:
    """Send until there is no room; return what was accepted."""
    accepted: list[str] = []
    while (names := offer(broker, f"{len(accepted)}")) is not None:
        accepted += names
    return accepted


def offer(broker: Broker, prefix: str) -> list[str] | None:
    """Send some; return what was accepted, or none where there was no room."""
    names = [f"{prefix}-{n}-{'x' * 2000}" for n in range(20)]
    with contextlib.suppress(BrokerFull):
        send(broker, Q, *names)
        return names
    return None


@needs_root
@pytest.mark.parametrize("portion", [1, 100])
def test_a_full_disk_refuses_senders_and_lets_workers_drain(connect: Connect, small_disk: Path, portion: int) -> None:
    broker = connect(small_disk / "tasks.db")
    accepted = fill(broker)
    broker.close()
    other = connect(small_disk / "tasks.db")
    consumer = other.consumer(Owner(worker_name(), 0), [Q])
    drained: list[str] = []
    while claims := consumer.claim(portion, 0.0):
        drained += map(str, ids(claims))
        settle(consumer, *claims)
        if len(drained) < 2000:
            accepted += offer(broker, f"meanwhile-{len(drained)}") or []
    assert drained == accepted
    consumer.close()
    time.sleep(0.03)
    assert offer(other, "again") is not None, "what was drained is room again"


@needs_root
def test_while_the_reserve_is_spent_nobody_sends(connect: Connect, small_disk: Path) -> None:
    broker = connect(small_disk / "tasks.db")
    fill(broker)
    (small_disk / "tasks.db-run" / "reserve").unlink()
    (small_disk / "ballast").write_bytes(b"x" * RESERVE_BYTES)
    time.sleep(0.03)
    assert offer(broker, "late") is None
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    assert ids(consumer.claim(1, 0.0)), "workers go on with the room of the log"
    consumer.close()


@needs_root
def test_room_that_somebody_frees_is_used_again(connect: Connect, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (6 << 20))
    broker = connect(small_disk / "tasks.db")
    fill(broker)
    (small_disk / "tasks.db-run" / "reserve").unlink()
    ballast.unlink()
    time.sleep(0.03)
    send(broker, Q, "after")
    assert (small_disk / "tasks.db-run" / "reserve").stat().st_size == RESERVE_BYTES


def test_a_file_size_limit_is_a_full_disk_too(path: Path) -> None:
    def work() -> None:
        broker = open_broker(f"sqlite:///{path}")
        broker.declare([QueueSpec(Q)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
        for _ in range(1000):
            send(broker, Q, *("x" * 1000 for _ in range(20)))

    assert as_nobody_or_self(work).startswith("BrokerFull: no room to write")


def as_nobody_or_self(work: Callable[[], object]) -> str:
    def run(say: Say) -> None:
        try:
            work()
        except BrokerError as error:
            say(f"{type(error).__name__}: {error}")

    child = Child(run)
    child.reap()
    return child.said()[0]


# -- the file lives on -----------------------------------------------------------------------------------------------


def test_everything_is_there_after_all_have_closed(connect: Connect, path: Path) -> None:
    broker = connect(path)
    send(broker, Q, "a", "b")
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    claim_one(consumer)
    consumer.close()
    broker.close()
    again = connect(path)
    assert [message.id for message in again.peek(Q, 10)] == ["a", "b"]


def test_the_run_folder_may_be_removed_between_runs(connect: Connect, path: Path) -> None:
    broker = connect(path)
    send(broker, Q, "a")
    broker.close()
    subprocess.run(["rm", "-r", f"{path}-run"], check=True)
    assert [message.id for message in connect(path).peek(Q, 10)] == ["a"]


def test_a_database_that_was_removed_in_use_is_an_error_until_the_restart(connect: Connect, path: Path) -> None:
    broker = connect(path)
    send(broker, Q, "a")
    path.unlink()
    time.sleep(0.03)
    for use in (lambda: send(broker, Q, "b"), lambda: broker.sweep([Q])):
        with pytest.raises(BrokerUnavailable, match="removed or replaced while it was in use; restart"):
            use()
    broker.close()
    send(broker, Q, "b")
    assert [message.id for message in connect(path).peek(Q, 10)] == ["b"]


def test_a_row_that_cannot_be_read_reaches_the_worker_as_it_is(connect: Connect, path: Path) -> None:
    broker = connect(path)
    send(broker, Q, "a")
    broker.database.write(lambda connection: connection.execute("UPDATE messages SET body = x'c1'"))
    consumer = broker.consumer(Owner(worker_name(), 0), [Q])
    [claim] = claim_some(consumer)
    assert (claim.message.body, claim.message.content_type) == (b"\xc1", "application/octet-stream")
    consumer.close()
