"""Canvases on real workers, on every broker."""

from __future__ import annotations

import json

import pytest

from longshore import GroupResult, chain, chord, group, signature
from longshore.exceptions import NoResultBackend, WouldBlock
from longshore.stamping import StampingVisitor
from tests.canvas import tasks_for_tests as tasks
from tests.support.workers import wait_for

WAIT = 30


@pytest.mark.parity("D1", "D3", "D4")
def test_every_composition_gives_what_it_means(bench):
    with bench.worker("-c", "2"):
        sent = {name: canvas.apply_async() for name, (canvas, _) in tasks.CANVASES.items()}
        texts = {name: json.dumps(canvas) for name, (canvas, _) in tasks.CANVASES.items() if name != "chunks"}
        again = {name: signature(json.loads(text), app=bench.app).delay() for name, text in texts.items()}
        expected = {name: value for name, (_, value) in tasks.CANVASES.items()}
        assert {name: result.get(timeout=WAIT) for name, result in sent.items()} == expected
        assert {name: result.get(timeout=WAIT) for name, result in again.items()} == {n: expected[n] for n in again}
        wait_for("the queue is empty", bench.empty)
    assert not bench.dead()


@pytest.mark.parity("D4")
def test_what_follows_knows_its_family_and_error_links_are_called(bench):
    with bench.worker("-c", "1"):
        steps = chain(tasks.who.s(), tasks.who.s()).apply_async()
        second, first = steps.get(timeout=WAIT), steps.parent.get(timeout=WAIT)
        assert (first["id"], first["root"], first["parent"]) == (steps.parent.id, steps.parent.id, None)
        assert (second["id"], second["root"], second["parent"]) == (steps.id, first["id"], first["id"])
        members = group(tasks.who.s(), tasks.who.s()).apply_async()
        assert [(one["group"], one["index"]) for one in members.get(timeout=WAIT)] == [(members.id, 0), (members.id, 1)]
        replaced = tasks.becomes_who.delay(3)
        assert (found := replaced.get(timeout=WAIT))["id"] == replaced.id
        assert found["nesting"] == 3

        failed = tasks.boom.apply_async(link_error=[tasks.new_style.s(), tasks.old_style.s()], link=tasks.record.s())
        linked = tasks.add.apply_async((1, 2), link=[tasks.record.s(), tasks.add.s(5) | tasks.record.s("second")])
        broken = chain(tasks.boom.s(), tasks.add.s(1), tasks.add.s(2)).apply_async()
        for node in (failed, broken.parent.parent, broken.parent, broken):
            with pytest.raises(ValueError, match="boom"):
                node.get(timeout=WAIT)
        rejected = chain(tasks.refuse.s(), tasks.add.s(1)).apply_async()
        assert type(rejected.get(timeout=WAIT, propagate=False)).__name__ == "Reject"
        assert linked.get(timeout=WAIT) == 3
        wanted = {
            f"new {failed.id}",
            f"old {failed.id} ValueError('boom') True",
            "record (3,)",
            "record (8, 'second')",
        }
        wait_for("links", lambda: set(bench.effects()) >= wanted)
        assert set(bench.effects()) == wanted

        parent = tasks.has_children.delay()
        parent.get(timeout=WAIT)
        assert sorted(child.get(timeout=WAIT) for child in parent.children) == [2, 4]
        assert next(value for _, value in linked.collect(timeout=WAIT)) == 3


@pytest.mark.parity("D4", "D6")
def test_a_failed_part_fails_the_body_and_all_that_waits_for_it(bench):
    with bench.worker("-c", "2"):
        header = [tasks.add.s(1, 1), tasks.boom.s() | tasks.add.s(1)]
        body = tasks.record.s().on_error(tasks.new_style.s()).on_error(tasks.old_style.s())
        result = (chord(header, body) | tasks.add.s(1)).apply_async()
        for node in (result, result.parent):
            error = node.get(timeout=WAIT, propagate=False)
            assert (type(error).__name__, "raised ValueError('boom')" in str(error)) == ("ChordError", True)
        assert result.parent.parent.results[0].get(timeout=WAIT) == 2
        outer = chord([chord([tasks.boom.s(), tasks.add.s(1, 1)], tasks.total.s()), tasks.add.s(1, 1)], tasks.total.s())
        assert type(outer.apply_async().get(timeout=WAIT, propagate=False)).__name__ == "ChordError"
        grouped = chord([tasks.boom.s()], group(tasks.total.s(), tasks.total.s())).apply_async()
        assert [type(one).__name__ for one in grouped.get(timeout=WAIT, propagate=False)] == ["ChordError"] * 2
        wait_for("errbacks", lambda: len(bench.effects()) >= 2)
    assert sorted(line.split()[0] for line in bench.effects()) == ["new", "old"]


@pytest.mark.parity("D4")
def test_a_part_may_add_parts_to_its_chord(bench):
    with bench.worker("-c", "1"):
        result = chord([tasks.adds_to_chord.s(1), tasks.add.s(2, 2)], tasks.total.s()).apply_async()
        assert result.get(timeout=WAIT) == 1 + 4 + 101


@pytest.mark.parity("D5")
def test_a_task_that_waits_for_another_is_told_not_to_unless_it_insists(bench):
    with bench.worker("-c", "2"):
        error = tasks.waits_for_another.delay().get(timeout=WAIT, propagate=False)
        assert isinstance(error, WouldBlock)
        assert tasks.waits_all_the_same.delay().get(timeout=WAIT) == 2


class Visitor(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"monitoring": "m1"}

    def on_chain_start(self, chain, **headers):
        return {"order": 7}

    def on_chord_body(self, sig, **headers):
        return {"is_body": True}


@pytest.mark.parity("D4")
def test_stamps_travel_with_every_task(bench):
    with bench.worker("-c", "1"):
        canvas = tasks.who.s() | tasks.becomes_who.si(1) | chord([tasks.who.si()], tasks.who.s())
        canvas.stamp(Visitor(), team="blue")
        result = canvas.apply_async()
        body = result.get(timeout=WAIT)
        part = result.parent.results[0].get(timeout=WAIT)
        first = result.parent.parent.parent.get(timeout=WAIT)
    assert first["stamps"] == part["stamps"] == {"monitoring": "m1", "order": 7, "team": "blue"}
    assert body["stamps"] == {**first["stamps"], "is_body": True}


@pytest.mark.parity("G3")
def test_a_group_is_saved_and_found_again_and_results_can_be_awaited(bench):
    import asyncio

    async def both(*results):
        return [await result for result in results]

    with bench.worker("-c", "1"):
        result = group(tasks.add.s(1, 1), tasks.add.s(2, 2)).apply_async()
        result.save()
        found = GroupResult.restore(result.id, app=bench.app)
        assert found == result
        assert found.join(timeout=WAIT) == [2, 4]
        assert (found.ready(), found.successful(), found.failed(), found.completed_count()) == (True, True, False, 2)
        assert asyncio.run(both(result, result[0], tasks.add.delay(4, 4))) == [[2, 4], 2, 8]
        result.delete()
        assert GroupResult.restore(result.id, app=bench.app) is None


def test_a_chord_without_results_is_refused_before_anything_is_sent(bench, monkeypatch):
    monkeypatch.delenv("LONGSHORE_RESULT_BACKEND")
    bench.app.close()
    with pytest.raises(NoResultBackend, match="a chord needs a result backend"):
        chord([tasks.add.s(1, 1)], tasks.total.s()).apply_async()
    assert bench.empty()
