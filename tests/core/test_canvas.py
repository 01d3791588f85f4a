"""Canvases without a broker: what is sent for them, and what comes out when it runs."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.core.aftermath import Place, after_replacing
from longshore.core.canvas import make_chain, make_chord, make_group, make_signature, merged, steps_of
from longshore.core.planning import freeze, plan
from tests.core.interpreter import Interpreter


def boom(*args):
    raise ValueError("boom")


FUNCTIONS = {
    "add": lambda x, y: x + y,
    "total": sum,
    "pack": lambda *args: list(args),
    "boom": boom,
    "note": lambda *args: None,
    "celery.accumulate": lambda *args, index=None: args if index is None else args[index],
}


def s(task, *args, **options):
    immutable = options.pop("immutable", False)
    return make_signature(task, args, None, options, immutable=immutable)


def add(*args, **options):
    return s("add", *args, **options)


def total():
    return s("total")


CANVASES = [
    (add(2, 3), 5),
    (make_chain([add(2, 3), add(10)]), 15),
    (make_chain([add(1, 1), add(1), make_chain([add(1), add(1)])]), 5),
    (make_chain([add(2, 3), add(7, 8, immutable=True)]), 15),
    (make_group([add(1, 1), add(2, 2)]), [2, 4]),
    (make_group([]), []),
    (make_group([make_group([add(1, 1)]), make_group([add(2, 2), add(3, 3)])]), [2, 4, 6]),
    (make_chord([add(1, 1), add(2, 2)], total()), 6),
    (make_chord([], total()), 0),
    (make_chain([make_group([add(1, 1), add(2, 2)]), total()]), 6),
    (make_chain([make_group([add(1, 1), add(2, 2)]), total(), add(10)]), 16),
    (make_chain([add(1, 1), make_group([add(1), add(2)])]), [3, 4]),
    (make_chain([add(1, 1), make_group([add(1), add(2)]), total()]), 7),
    (make_chain([make_group([add(1, 1), add(2, 2)]), make_group([total(), s("pack", "x")])]), [6, [[2, 4], "x"]]),
    (make_chain([make_group([add(1, 1), add(2, 2)]), make_group([total(), total()]), total()]), 12),
    (make_chain([make_group([add(1, 1)]), add(5)]), 7),
    (make_chord([make_chain([add(1, 1), add(1)]), add(2, 2)], total()), 7),
    (make_chord([make_chord([add(1, 1), add(2, 2)], total()), add(2, 2)], total()), 10),
    (make_chord([make_chain([add(1, 1), make_group([add(1), add(2)])]), add(2, 2)], s("pack")), [[[3, 4], 4]]),
    (make_chord([make_group([add(1, 1), add(2, 2)]), add(3, 3)], total()), 12),
    (make_chord([add(1, 1), add(2, 2)], make_chain([total(), add(1)])), 7),
    (make_chord([add(1, 1), add(2, 2)], make_group([total(), total()])), [6, 6]),
    (make_chain([make_chord([add(1, 1), add(2, 2)], make_group([total(), total()])), total()]), 12),
    (make_chord([add(1, 1)], make_chord([s("pack", "a"), s("pack", "b")], s("pack"))), [[[[2], "a"], [[2], "b"]]]),
    (make_chain([add(1, 1), make_chord([add(1), add(2)], total()), add(100)]), 107),
    (make_group([make_chain([add(1, 1), make_group([add(1), add(2)])]), add(9, 9)]), [[3, 4], 18]),
]


@pytest.mark.parity("D4")
@pytest.mark.parametrize(("canvas", "expected"), CANVASES)
def test_what_comes_out_of_a_canvas(canvas, expected):
    run = Interpreter(FUNCTIONS)
    assert run.value(run.apply(canvas)) == expected


@pytest.mark.parity("D1")
@pytest.mark.parametrize(("canvas", "expected"), CANVASES)
def test_a_canvas_is_the_same_after_json_and_after_its_ids_were_given(canvas, expected):
    numbers = itertools.count()
    frozen, node = freeze(json.loads(json.dumps(canvas)), lambda: f"frozen{next(numbers)}")
    run = Interpreter(FUNCTIONS)
    result = run.apply(json.loads(json.dumps(frozen)))
    assert run.value(result) == run.value(node) == expected


def test_a_canvas_whose_ids_are_given_keeps_them():
    numbers = itertools.count()

    def new_id():
        return f"n{next(numbers)}"

    for canvas, _ in CANVASES:
        frozen, node = freeze(canvas, new_id)
        again, same = freeze(frozen, new_id)
        assert json.loads(json.dumps(same)) == json.loads(json.dumps(node))
        assert plan(again, new_id=new_id).result == node


@pytest.mark.parity("D2")
def test_partials_take_new_arguments_first_and_new_keywords_win():
    sig = make_signature("t", (2,), {"a": 1, "b": 1}, {"queue": "q", "group_id": "g"})
    assert merged(sig, (1,), {"b": 2}, {"queue": "r", "group_id": "h"}) == (
        (1, 2),
        {"a": 1, "b": 2},
        {"queue": "r", "group_id": "g"},
    )
    fixed = {**sig, "immutable": True}
    assert merged(fixed, (1,), {"b": 2}, {"queue": "r"})[:2] == ((2,), {"a": 1, "b": 1})
    assert merged(fixed, (1,), {"b": 2}, force=True)[:2] == ((1, 2), {"a": 1, "b": 2})


def test_stamps_are_not_overridden():
    sig = make_signature("t", options={"stamped_headers": ["who"], "who": "me"})
    assert merged(sig, options={"who": "you", "queue": "q"})[2] == {
        "stamped_headers": ["who"],
        "who": "me",
        "queue": "q",
    }


@pytest.mark.parity("D4")
def test_callbacks_get_the_value_and_error_callbacks_the_id():
    run = Interpreter(FUNCTIONS)
    run.apply(add(1, 1, link=[s("note")], link_error=[s("note", "bad")]))
    assert run.ran == [("add", (1, 1)), ("note", (2,))]
    run = Interpreter(FUNCTIONS)
    node = run.apply(s("boom", link=[s("note")], link_error=[s("note", "bad")]))
    assert run.ran == [("boom", ()), ("note", (node[0][0], "bad"))]


@pytest.mark.parity("D4")
def test_a_failed_step_fails_the_rest_of_its_chain_and_the_chord_that_waits_for_it():
    chain = make_chain([s("boom"), add(1), add(2)])
    run = Interpreter(FUNCTIONS)
    node = run.apply(make_chord([chain, add(1, 1)], total()), link_error=[s("note")])
    body_id = node[0][0]
    status, error = run.results[body_id]
    assert (status, error["exc_type"], error["exc_module"]) == ("FAILURE", "ChordError", "celery.exceptions")
    assert error["exc_message"][0].endswith("raised ValueError('boom')")
    assert ("note", (body_id,)) in run.ran
    assert [status for status, _ in run.results.values()].count("FAILURE") == 4
    assert not any(task == "total" for task, _ in run.ran)


def test_a_failed_chord_within_a_chord_fails_the_outer_one_too():
    inner = make_chord([s("boom"), add(1, 1)], make_group([total(), total()]))
    run = Interpreter(FUNCTIONS)
    node = run.apply(make_chain([make_chord([inner, add(1, 1)], total()), add(1)]))
    assert run.results[node[0][0]][0] == "FAILURE"
    assert not any(task == "total" for task, _ in run.ran)


def test_nobody_waits_for_the_members_of_a_group_that_will_never_run():
    run = Interpreter(FUNCTIONS)
    node = run.apply(make_chain([s("boom"), make_group([add(1), make_chord([add(1), add(2)], total())])]))
    assert {run.results[member[0][0]][0] for member in node[1]} == {"FAILURE"}


def test_links_of_a_chain_hang_on_its_end_and_its_error_links_on_every_step():
    made = plan(make_chain([add(1, 1), add(1), add(1)]), options={"link": [s("l")], "link_error": [s("e")]},
                new_id=iter("abcdef").__next__)  # fmt: skip
    [call] = made.calls
    last, second = call.options["chain"]
    assert call.options["link_error"] == second["options"]["link_error"] == last["options"]["link_error"] == [s("e")]
    assert last["options"]["link"] == [s("l")]
    assert "link" not in call.options
    assert "link" not in second["options"]


def test_the_rest_of_a_chain_is_reversed_and_knows_its_ids():
    made = plan(make_chain([add(1, 1), add(2), add(3)]), options={"queue": "q"}, new_id=iter("abc").__next__)
    [call] = made.calls
    assert (call.args, call.options["task_id"], call.options["queue"]) == ((1, 1), "a", "q")
    assert [step["options"]["task_id"] for step in call.options["chain"]] == ["c", "b"]
    assert made.result == (("c", (("b", (("a", None), None)), None)), None)


def test_a_chord_is_noted_with_its_size_before_its_parts_and_each_part_has_its_index_and_the_body():
    made = plan(make_chord([add(1, 1), make_chain([add(2, 2), add(1)])], total()), new_id=iter("ghijkl").__next__)
    [start] = made.starts
    assert start.size == 2
    first, second = made.calls
    assert (first.options["group_id"], first.options["group_index"]) == (start.group_id, 0)
    [rest] = second.options["chain"]
    assert (rest["options"]["group_id"], rest["options"]["group_index"]) == (start.group_id, 1)
    assert "chord" not in second.options
    assert first.options["chord"] == rest["options"]["chord"] == start.body


def test_the_body_of_a_waiting_chord_is_not_copied_into_its_header():
    """Each would hold all that follows, and a chain of chords would grow without bound."""
    steps = [make_group([add(1), add(2)]) if n % 2 else total() for n in range(1, 60)]
    made = plan(make_chain(steps), ([1],), new_id=map(str, itertools.count()).__next__)
    assert len(json.dumps(made.calls[0].options["chain"])) < 200_000 if made.calls[0].options.get("chain") else True
    assert len(json.dumps([call.options for call in made.calls])) < 200_000


def test_an_empty_chain_is_nothing():
    assert plan(make_chain([]), new_id=str).result is None
    assert plan(make_chain([make_chain([])]), new_id=str).calls == []


def test_empty_groups_vanish_from_a_chain():
    assert steps_of(make_chain([make_group([]), add(1, 1), make_group([]), add(2)])) == [add(1, 1), add(2)]
    run = Interpreter(FUNCTIONS)
    assert run.value(run.apply(make_chain([make_group([]), add(1), make_group([])]), 4)) == 5


@pytest.mark.parity("D4")
@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        (add(1, 2), 3),
        (make_chain([add(1, 2), add(3)]), 6),
        (make_group([add(1, 1), add(2, 2)]), [2, 4]),
        (make_chain([add(1, 1), make_group([add(1), add(2)])]), [3, 4]),
        (make_chord([add(1, 1), add(2, 2)], total()), 6),
    ],
)
def test_a_replacement_has_the_id_of_what_it_replaces_and_goes_on_where_that_would(replacement, expected):
    numbers = itertools.count()
    chain, _ = freeze(make_chain([s("pack", immutable=False)]), lambda: f"c{next(numbers)}")
    embed = {"callbacks": [s("note")], "chain": list(chain["kwargs"]["tasks"])}
    after = after_replacing(Place("mine", "root", embed=embed), replacement)
    run = Interpreter(FUNCTIONS)
    run._follow(after)
    while run.queue:
        run._run(run.queue.popleft())
    assert run.results["mine"][1] == expected
    assert run.results["c0"][1] == [expected]
    assert ("note", (expected,)) in run.ran


def test_a_part_of_a_chord_may_be_replaced():
    embed = {"chord": {**total(), "options": {"task_id": "body"}}}
    run = Interpreter(FUNCTIONS)
    run.chords["g"] = __import__("longshore.core.chord", fromlist=["Progress"]).Progress().start(1)
    run._follow(after_replacing(Place("mine", "root", "g", 0, embed), make_chain([add(1, 1), add(3)])))
    while run.queue:
        run._run(run.queue.popleft())
    assert run.results["body"] == ("SUCCESS", 5)


def test_the_same_end_asks_for_the_same_messages():
    from longshore.core.aftermath import after_success

    embed = {"callbacks": [s("note"), make_chord([add(1), add(2)], total())], "chain": [total()]}
    first, second = (after_success(Place("t", "r", embed=embed), 1) for _ in range(2))
    assert first == second
    ids = [call.options["task_id"] for call in first.calls]
    assert len(set(ids)) == len(ids) == 4


# -- any canvas whatever ---------------------------------------------------------------------------------------------

leaves = st.builds(lambda n: s("pack", n), st.integers(0, 99))
canvases = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(make_chain),
        st.lists(inner, min_size=2, max_size=3).map(make_group),
        st.tuples(st.lists(inner, min_size=1, max_size=3), inner).map(lambda pair: make_chord(*pair)),
    ),
    max_leaves=8,
)
NOTHING = object()


def meaning(sig, given=NOTHING):
    """What a canvas means, said by recursion."""
    args = [] if given is NOTHING else [given]
    match sig["subtask_type"]:
        case "group":
            return list(itertools.chain.from_iterable(members(member, given) for member in sig["kwargs"]["tasks"]))
        case "chord":
            header = [m for part in sig["kwargs"]["header"] for m in members(part, given)]
            return meaning(sig["kwargs"]["body"], header)
        case "chain":
            for step in steps(sig):
                given = meaning(step, given)
            return given
        case _:
            return [*args, *sig["args"]]


def steps(chain):
    return list(
        itertools.chain.from_iterable(
            steps(step) if step["subtask_type"] == "chain" else [step] for step in chain["kwargs"]["tasks"]
        )
    )


def members(part, given):
    return meaning(part, given) if part["subtask_type"] == "group" else [meaning(part, given)]


@settings(max_examples=150, deadline=None)
@given(canvases)
def test_any_canvas_means_what_its_parts_mean(canvas):
    run = Interpreter(FUNCTIONS)
    assert run.value(run.apply(canvas)) == meaning(canvas)
