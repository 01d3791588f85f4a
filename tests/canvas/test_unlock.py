"""Chords where the result backend cannot join them: a task looks again and again, and not for ever."""

from __future__ import annotations

import uuid

import pytest

from longshore import chord
from longshore.core.planning import plan
from longshore.exceptions import ImproperlyConfigured
from longshore.results.rpc import RPCResults
from tests.canvas import tasks_for_tests as tasks
from tests.support.workers import wait_for

WAIT = 30


def polled(bench, header, **kwargs):
    """Send a chord as a client does whose backend cannot join: parts that know of no chord, and the task that looks."""
    made = plan(chord(header, tasks.record.s()), new_id=lambda: str(uuid.uuid4()))
    [start] = made.starts
    results = [list(node) for node in start.header]
    for call in made.calls:
        call.options.pop("chord")
    bench.app.publish([bench.app.canvases.outgoing(call) for call in made.calls])
    looks = {"result": results, "interval": 0.05, **kwargs}
    bench.app.send_task("celery.chord_unlock", (start.group_id, start.body), looks)
    return bench.app.AsyncResult(made.result[0][0])


@pytest.fixture
def servers(tmp_path):
    return f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/results.db"


@pytest.mark.parity("D4", "D6")
def test_the_body_follows_when_every_part_has_ended_and_fails_when_one_did_or_none_comes(bench):
    until = bench.folder / "until"
    with bench.worker("-c", "2"):
        whole = polled(bench, [tasks.add.s(1, 1), tasks.lasting.s("x", str(until))])
        broken = polled(bench, [tasks.add.s(1, 1), tasks.boom.s()])
        endless = polled(bench, [tasks.add.s(1, 1).set(countdown=600)], max_retries=3)
        for result, says in ((broken, "raised ValueError('boom')"), (endless, "have not ended after 3 looks")):
            error = result.get(timeout=WAIT, propagate=False)
            assert type(error).__name__ == "ChordError"
            assert says in str(error)
        until.touch()
        assert whole.get(timeout=WAIT) == [2, "x"]
        wait_for("one body", lambda: "record ([2, 'x'],)" in bench.effects())


def test_a_backend_whose_results_only_their_caller_sees_cannot_join(bench, monkeypatch):
    monkeypatch.setattr(type(bench.app), "backend", RPCResults(lambda: bench.app.broker))
    with pytest.raises(ImproperlyConfigured, match="cannot join chords"):
        chord([tasks.add.s(1, 1)], tasks.total.s()).apply_async()
    assert bench.empty()
