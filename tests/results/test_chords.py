"""Chords and saved groups in real backends: they do what the pure join does, and on Redis in Celery's own keys."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longshore.core.chord import Over, Part, Progress, Taken, Waiting, Whole
from longshore.results import open_results


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("redis_cluster", marks=pytest.mark.integration),
        "sql-sqlite",
        pytest.param("postgres", marks=pytest.mark.integration),
    ]
)
def results(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/results.db"
    elif request.param == "sql-sqlite":
        pytest.importorskip("sqlalchemy")
        url = f"db+sqlite:///{tmp_path}/results.db"
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    results = open_results(url)
    yield results
    results.close()


def part(gid, index, task_id=None, value=None, status="SUCCESS"):
    return Part(gid, task_id or f"t{index}", index, status, value)


events = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 3), st.sampled_from(["a", "b"])),
    st.tuples(st.just("start"), st.integers(1, 4), st.none()),
    st.tuples(st.just("grow"), st.integers(1, 2), st.none()),
    st.tuples(st.just("finish"), st.integers(0, 3), st.none()),
)


@pytest.mark.parity("D6")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events, max_size=15))
def test_a_backend_joins_as_the_pure_join_does(results, story):
    gid, model = uuid.uuid4().hex, Progress()
    for number, (event, n, name) in enumerate(story):
        one = part(gid, n, name or f"t{n}", number)
        if event == "count":
            model, expected = model.count(one, 0.0)
            assert results.count_parts([one], expires=60) == [expected]
        elif event == "start":
            model = model.start(n)
            results.start_chords({gid: n}, anew=False, expires=60)
        elif event == "grow":
            model = model.grow(f"added{n}")
            results.grow_chord(gid, f"added{n}", expires=60)
        else:
            holder = Part(gid, "a", n, "SUCCESS").claimant
            model = model.finish(holder)
            results.finish_chord(gid, holder, expires=60)


def test_many_parts_at_once_of_several_chords(results):
    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    results.start_chords({one: 2, two: 1}, anew=True, expires=None)
    failed = part(two, 0, value={"exc_type": "E", "exc_message": ["x"], "exc_module": "m"}, status="FAILURE")
    answers = results.count_parts([part(one, 1, value=[1, None]), failed, part(one, 0, value="é")], expires=None)
    assert answers[0] == Waiting()
    assert answers[1].parts == (failed,)
    assert [one.result for one in answers[2].parts] == ["é", [1, None]]


def test_a_chord_that_is_started_anew_forgets_what_was(results):
    gid = uuid.uuid4().hex
    results.start_chords({gid: 1}, anew=False, expires=60)
    results.count_parts([part(gid, 0)], expires=60)
    results.finish_chord(gid, part(gid, 0).claimant, expires=60)
    results.start_chords({gid: 2}, anew=False, expires=60)
    assert results.count_parts([part(gid, 0)], expires=60) == [Over()]
    results.start_chords({gid: 2}, anew=True, expires=60)
    assert results.count_parts([part(gid, 0)], expires=60) == [Waiting()]


def test_a_group_is_kept_until_it_is_deleted(results):
    gid = uuid.uuid4().hex
    assert results.restore_group(gid) is None
    saved = [[gid, None], [[["a", None], None], [["b", None], None]]]
    results.save_group(gid, saved, expires=60)
    assert results.restore_group(gid) == saved
    results.delete_group(gid)
    assert results.restore_group(gid) is None


@pytest.mark.integration
class TestBesideCelery:
    """The same chord, with parts that Celery's workers counted."""

    @pytest.fixture
    def results(self, redis_url):
        results = open_results(redis_url)
        yield results
        results.close()

    def celery_counts(self, redis_client, gid, index, task_id, value, *, version):
        key = f"celery-taskset-meta-{gid}"
        redis_client.zadd(f"{key}.j", {json.dumps([1, task_id, "SUCCESS", value]): index})
        if version == "5.7":
            redis_client.sadd(f"{key}.d", f"{task_id}:{index}")

    @pytest.mark.parametrize("version", ["5.6", "5.7"])
    def test_parts_of_both_make_it_whole(self, results, redis_client, version):
        gid = uuid.uuid4().hex
        redis_client.set(f"celery-taskset-meta-{gid}.s", 3)
        self.celery_counts(redis_client, gid, 1, "c", "celery's", version=version)
        assert results.count_parts([part(gid, 0, value="ours")], expires=60) == [Waiting()]
        redis_client.incr(f"celery-taskset-meta-{gid}.t", 1)
        [waiting, whole] = results.count_parts([part(gid, 2), part(gid, 3)], expires=60)
        assert waiting == Waiting()
        assert [one.result for one in whole.parts] == ["ours", "celery's", None, None]
        assert redis_client.ttl(f"celery-taskset-meta-{gid}.j") > 0

    def test_a_part_that_ran_twice_on_celery_5_6_counts_once(self, results, redis_client):
        gid = uuid.uuid4().hex
        results.start_chords({gid: 3}, anew=True, expires=60)
        for value in ("first", "second"):
            self.celery_counts(redis_client, gid, 0, "c", value, version="5.6")
        assert results.count_parts([part(gid, 1)], expires=60) == [Waiting()]
        [whole] = results.count_parts([part(gid, 2)], expires=60)
        assert [one.task_id for one in whole.parts] == ["c", "t1", "t2"]

    def test_a_dispatch_that_a_celery_worker_claimed_is_waited_for(self, results, redis_client):
        gid = uuid.uuid4().hex
        results.start_chords({gid: 1}, anew=True, expires=60)
        redis_client.set(f"celery-taskset-meta-{gid}.c", "a token of Celery's", ex=60)
        assert results.count_parts([part(gid, 0)], expires=60) == [Taken()]
        redis_client.delete(f"celery-taskset-meta-{gid}.c")
        assert isinstance(results.count_parts([part(gid, 0)], expires=60)[0], Whole)
        redis_client.set(f"celery-taskset-meta-{gid}.c", "done")
        assert results.count_parts([part(gid, 0)], expires=60) == [Over()]

    def test_a_header_of_results_within_results_comes_with_the_parts(self, results, redis_client):
        gid = uuid.uuid4().hex
        header = [[gid, None], [[["a", None], None]]]
        redis_client.set(f"celery-taskset-meta-{gid}", json.dumps({"result": header}))
        results.start_chords({gid: 1}, anew=True, expires=60)
        assert results.count_parts([part(gid, 0)], expires=60)[0].header == header
