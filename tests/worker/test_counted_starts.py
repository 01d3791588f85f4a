"""Each started execution of a task whose processes die counts once, whoever looks at its notes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.address import parse_address
from longshore.brokers.rabbitmq.connection import Connection
from longshore.brokers.rabbitmq.starts import notes_queue_of
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks
from tests.worker.test_worker import killed


@contextmanager
def held_elsewhere(url: str, queue: str) -> Iterator[None]:
    """Somebody has fetched all messages of a queue, and gives them back afterwards."""
    deadline = time.monotonic() + 20
    connection = Connection.open(parse_address(url), "reader", deadline)
    channel = connection.open_channel(deadline)
    while True:
        channel.write(methods.get(channel.number, queue, no_ack=False), deadline)
        if channel.next_answer(deadline).method != frames.BASIC_GET_OK:
            break
    yield
    connection.close_channel(channel, deadline)
    connection.close(deadline)


@pytest.mark.integration
@pytest.mark.parametrize("servers", ["rabbitmq"], indirect=True)
@pytest.mark.parity("F3")
def test_a_start_that_was_noted_before_it_is_not_noted_again_when_its_process_dies(bench):
    """A new process reads the notes while the death of the one before is noted: there seem to be none."""
    go = bench.folder / "go"

    def starts() -> list[str]:
        return [line for line in bench.effects() if line.startswith("start")]

    with bench.worker("-c", "1", "-l", "info") as worker:
        notes = notes_queue_of(bench.queue, tasks.slow.delay("a", str(go)).id)

        def noted() -> int:
            return bench.app.broker.depths([notes])[notes].ready

        def dies(times: int) -> None:
            killed(worker, int(starts()[-1].split()[2]))
            wait_for("the death is noted", lambda: worker.log.count("are back") == times)
            wait_for("it starts again", lambda: len(starts()) == times + 1)

        wait_for("it starts", starts)
        dies(1)
        before = noted()
        with held_elsewhere(bench.broker, notes):
            dies(2)
        wait_for("all notes count again", lambda: noted() > before)
        dies(3)
        go.touch()
        wait_for("it ends", lambda: "end a" in bench.effects())
    assert int(starts()[-1].split()[3]) == before + 1, "the third start, and nothing else"
