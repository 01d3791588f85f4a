"""The cache ends up with the newest of what it was told, in whatever order it was told."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.engine.ports import Key
from longshore_operator.kube.cache import Cache


def item(name: str, version: int, *, uid: str | None = None, **more: Any) -> dict[str, Any]:
    meta = {"namespace": "shop", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), **more}
    return {"apiVersion": "v1", "kind": "K", "metadata": meta, "spec": {"version": version}}


def version_of(cache: Cache, name: str, kind: str = "TaskQueue") -> int | None:
    found = cache.get(kind, "shop", name)
    return None if found is None else int(found["metadata"]["resourceVersion"])


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache()
    assert cache.put("TaskQueue", item("a", 5))
    assert not cache.put("TaskQueue", item("a", 4))
    assert not cache.put("TaskQueue", item("a", 5))
    assert version_of(cache, "a") == 5


def test_versions_are_numbers_not_texts() -> None:
    cache = Cache()
    cache.put("TaskQueue", item("a", 9))
    cache.put("TaskQueue", item("a", 10))
    assert version_of(cache, "a") == 10


def test_what_is_gone_does_not_come_back_by_an_older_list() -> None:
    cache = Cache()
    cache.put("TaskQueue", item("a", 5))
    cache.drop("TaskQueue", item("a", 8))
    cache.replace("TaskQueue", [item("a", 5)], "7")
    assert version_of(cache, "a") is None
    cache.put("TaskQueue", item("a", 9, uid="new"))
    assert version_of(cache, "a") == 9


def test_a_late_deletion_does_not_hit_the_successor_of_the_same_name() -> None:
    cache = Cache()
    cache.put("TaskQueue", item("a", 9, uid="new"))
    cache.drop("TaskQueue", item("a", 8, uid="old"))
    assert version_of(cache, "a") == 9


def test_a_list_repairs_a_missed_deletion_but_not_what_is_newer_than_the_list() -> None:
    cache = Cache()
    for name, version in (("missed", 3), ("kept", 4), ("fresh", 12)):
        cache.put("TaskQueue", item(name, version))
    cache.replace("TaskQueue", [item("kept", 4)], "10")
    assert [version_of(cache, name) for name in ("missed", "kept", "fresh")] == [None, 4, 12]


def test_whom_a_change_concerns() -> None:
    told: list[Key] = []
    cache = Cache(told.extend)
    labels = {"longshore.dev/worker-pool": "web"}
    cache.put("CronSchedule", item("report", 1))
    cache.put("Deployment", item("web", 2, labels=labels))
    cache.put("Pod", item("web-abc", 3, labels=labels))
    cache.drop("Pod", item("web-abc", 4, labels=labels))
    assert told == [Key("CronSchedule", "shop", "report"), *([Key("WorkerPool", "shop", "web")] * 3)]


def test_pods_are_found_by_their_pool_and_kept_small() -> None:
    cache = Cache()
    labels = {"longshore.dev/worker-pool": "web"}
    cache.put("Pod", item("a", 1, labels=labels, managedFields=[{"manager": "kubelet"}]))
    cache.put("Pod", item("b", 2, labels={"longshore.dev/worker-pool": "other"}))
    assert [pod.name for pod in cache.pods("shop", "web")] == ["a"]
    stored = cache.get("Pod", "shop", "a")
    assert stored is not None
    assert "spec" not in stored
    assert "managedFields" not in stored["metadata"]
    cache.drop("Pod", item("a", 3, labels=labels))
    assert cache.pods("shop", "web") == ()


def test_noise_is_dropped() -> None:
    cache = Cache()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "kept"}
    cache.put("WorkerPool", item("web", 1, annotations=annotations, managedFields=[{}]))
    stored = cache.get("WorkerPool", "shop", "web")
    assert stored is not None
    assert stored["metadata"]["annotations"] == {"note": "kept"}
    assert "managedFields" not in stored["metadata"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=20), st.randoms())
def test_the_order_of_news_does_not_matter(history: list[tuple[str, bool]], chance: random.Random) -> None:
    """Each object lives under one UID; its versions and its deletion arrive in any order, some of them twice."""
    news: list[tuple[str, dict[str, Any]]] = []
    truth: dict[str, int | None] = {}
    for version, (name, deleted) in enumerate(history, start=1):
        if truth.get(name, 0) is None:
            continue
        truth[name] = None if deleted else version
        news.append(("drop" if deleted else "put", item(name, version)))
    first = {name: next(one for _, one in news if one["metadata"]["name"] == name) for name in truth}
    cache = Cache()
    for one in first.values():
        cache.put("TaskQueue", one)
    shuffled = [*news, *news[::2]]
    chance.shuffle(shuffled)
    for what, one in shuffled:
        getattr(cache, what)("TaskQueue", one)
    for name, version in truth.items():
        assert version_of(cache, name) == version
