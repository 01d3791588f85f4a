"""Canvases in the caller's process: the worker's decisions without a broker."""

from __future__ import annotations

import pytest

from longshore import chain, chord, group
from longshore.exceptions import ImproperlyConfigured
from tests.canvas import tasks_for_tests as tasks


@pytest.fixture(autouse=True)
def eager(monkeypatch, tmp_path):
    monkeypatch.setitem(tasks.app.conf, "task_always_eager", True)
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    return tmp_path / "effects"


@pytest.mark.parity("C12", "D4")
@pytest.mark.parametrize("name", sorted(tasks.CANVASES))
def test_every_composition_gives_what_it_means(name):
    canvas, expected = tasks.CANVASES[name]
    assert canvas.apply_async().get() == expected
    assert canvas.apply().get() == expected


@pytest.mark.parity("C12")
def test_links_are_called_and_a_failure_spreads(eager):
    tasks.add.apply_async((1, 2), link=tasks.record.s())
    failed = tasks.boom.apply_async(link_error=[tasks.new_style.s(), tasks.old_style.s()])
    broken = chord([tasks.boom.s(), tasks.add.s(1, 1)], tasks.total.s()).apply_async()
    rest = chain(tasks.boom.s(), tasks.add.s(1)).apply_async()
    assert [type(one.get(propagate=False)).__name__ for one in (failed, broken, rest)] == [
        "ValueError",
        "ChordError",
        "ValueError",
    ]
    assert set(eager.read_text().splitlines()) == {
        "record (3,)",
        f"new {failed.id}",
        f"old {failed.id} ValueError('boom') True",
    }


@pytest.mark.parity("C12")
def test_a_failure_is_raised_where_that_is_asked_for(monkeypatch):
    monkeypatch.setitem(tasks.app.conf, "task_eager_propagates", True)
    with pytest.raises(ValueError, match="boom"):
        chain(tasks.add.s(1, 1), tasks.boom.s()).apply_async()
    with pytest.raises(ValueError, match="boom"):
        tasks.app.send_task(tasks.boom.name)


def test_what_cannot_replace_a_task_is_refused():
    with pytest.raises(ImproperlyConfigured, match="outside a run"):
        tasks.becomes_group.run(1)
    with pytest.raises(TypeError, match="a group takes no links"):
        group(tasks.add.s(1, 1)).apply_async(link=tasks.record.s())
    with pytest.raises(TypeError, match=r"task .*add.*missing"):
        chain(tasks.add.s(1), tasks.add.s(1)).apply_async()


@pytest.mark.parity("D2", "D3")
def test_what_signatures_are():
    sig = tasks.add.s(2)
    assert sig(1) == 3
    assert sig.clone((1,)).args == (1, 2)
    assert sig.set(queue="q").options == {"queue": "q"}
    assert tasks.add.si(1, 2).clone((5,)).args == (1, 2)
    assert repr(tasks.add.s(1) | tasks.add.s(2)) == f"{tasks.add.name}(1) | {tasks.add.name}(2)"
    assert sig.replace(args=(7,)).args == (7,)
    assert tasks.add.s(1).delay(2).get() == 3
    assert ~tasks.add.s(1, 2) == 3
    assert (tasks.add.s(1, 1) | group([])).apply_async().get() == 2
    assert chain().apply_async() is None
    assert group().apply_async().get() == []
