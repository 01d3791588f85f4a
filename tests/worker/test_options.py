"""How many processes a worker has when nobody says: the cgroup's CPUs, never the node's."""

import os

import pytest

from longshore.worker.options import available_cpus, node_name

AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, AFFINITY),
        ({"cpu.max": "max 100000"}, AFFINITY),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, min(2, AFFINITY)),
        ({"cpu.max": "9900000 100000"}, AFFINITY),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, AFFINITY),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "nonsense"}, AFFINITY),
    ],
)
@pytest.mark.parity("A6")
def test_the_cgroups_limit_counts(tmp_path, files, cpus):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "longshore@web.example.org"),
        ("w1@%h", "w1@web.example.org"),
        ("w1@%n", "w1@web"),
        ("w1@%d", "w1@example.org"),
        ("w1%%@%n", "w1%@web"),
        ("w1", "w1@web.example.org"),
        ("celery@here", "celery@here"),
    ],
)
def test_a_workers_name_is_filled_in_as_celerys_is(asked, name):
    assert node_name(asked, "web.example.org") == name
