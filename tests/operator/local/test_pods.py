"""A pod starts, is restarted with back-off when it crashes, and ends when it is told to.

The process is scripted: what is tested is what its ends lead to. Real ones are in `test_dev.py`.
"""

import pytest

from longshore_operator.local.pods import KILL_GRACE_SECONDS, CannotStart, LocalPod, crash_delay
from longshore_operator.local.process import LastWords, last_words, readable


class ScriptedProcess:
    def __init__(self):
        self.code = None
        self.signals = []
        self.words = None

    def poll(self):
        return self.code

    def drain(self):
        self.signals.append("TERM")

    def kill(self):
        self.signals.append("KILL")

    def last_line(self):
        return "the last words"

    def last_words(self):
        return self.words


class Script:
    """Starts processes and keeps them."""

    def __init__(self):
        self.started = []

    def __call__(self, pod):
        self.started.append(ScriptedProcess())
        return self.started[-1]


def new_pod(start) -> LocalPod:
    return LocalPod("default", "shop", "shop-0", "r1", start, created_at=0.0, drain_seconds=60.0)


@pytest.mark.parametrize(("crashes", "delay"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (6, 16), (7, 30), (99, 30)])
def test_back_off(crashes, delay):
    assert crash_delay(crashes) == delay


def test_starts_once_and_is_ready_when_its_worker_reports():
    script = Script()
    pod = new_pod(script)
    assert pod.step(1.0)
    assert not pod.step(2.0)
    assert len(script.started) == 1
    assert (pod.view().phase, pod.view().ready) == ("Running", False)
    pod.see_ready(3.0)
    assert pod.view().ready


def test_a_worker_that_ran_well_is_restarted_at_once():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    pod.see_ready(1.0)
    script.started[0].code = -9
    pod.step(100.0)
    pod.step(100.0)
    assert len(script.started) == 2
    assert (pod.restarts, pod.hopeless) == (1, False)


def test_a_worker_that_keeps_crashing_is_started_ever_more_seldom():
    script = Script()
    pod = new_pod(script)
    for tick in range(60):
        pod.step(float(tick))
        if script.started[-1].code is None:
            script.started[-1].code = 1
            pod.step(float(tick))
    assert len(script.started) <= 8
    assert pod.hopeless
    assert pod.view().waiting_reason == "CrashLoopBackOff"
    assert pod.view().waiting_message == "the last words"


def test_a_worker_that_is_killed_again_and_again_is_not_given_up():
    script = Script()
    pod = new_pod(script)
    for tick in range(200):
        pod.step(float(tick))
        pod.see_ready(float(tick))
        if tick % 7 == 0:
            script.started[-1].code = -9
            pod.step(float(tick))
            assert not pod.hopeless
            assert pod.error == "ended by signal 9"


def test_a_wrong_usage_is_hopeless_at_once_and_no_restart_storm():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    script.started[0].code = 2
    for tick in range(1, 30):
        pod.step(float(tick))
    assert len(script.started) == 1
    assert pod.hopeless


def test_what_cannot_start_says_why_and_is_tried_again_later():
    def refuse(pod):
        raise CannotStart("Secret db is not among the manifests")

    pod = new_pod(refuse)
    assert pod.step(0.0)
    assert not pod.step(1.0)
    assert pod.view().waiting_reason == "CreateContainerConfigError"
    assert pod.view().waiting_message == "Secret db is not among the manifests"
    assert pod.hopeless


def test_drains_and_is_gone_when_the_process_is():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    pod.drain(1.0)
    pod.drain(2.0)
    assert script.started[0].signals == ["TERM"]
    assert not pod.step(3.0)
    script.started[0].code = 0
    assert pod.step(4.0)
    assert pod.gone


def test_keeps_the_last_words_of_each_of_its_workers():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    script.started[0].words, script.started[0].code = LastWords("u.1", 3), 0
    pod.step(1.0)
    pod.step(1.0)
    script.started[1].code = -9
    pod.step(2.0)
    assert pod.last_words == [LastWords("u.1", 3)], "who was killed has said nothing"


def test_is_killed_when_it_does_not_drain_in_time():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    pod.drain(1.0)
    pod.step(1.0 + 60.0 + KILL_GRACE_SECONDS - 0.1)
    assert script.started[0].signals == ["TERM"]
    pod.step(1.0 + 60.0 + KILL_GRACE_SECONDS)
    assert script.started[0].signals == ["TERM", "KILL"]


def test_is_not_started_again_while_it_ends():
    script = Script()
    pod = new_pod(script)
    pod.step(0.0)
    script.started[0].code = 1
    pod.drain(0.5)
    pod.step(1.0)
    pod.step(2.0)
    assert pod.gone
    assert len(script.started) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"level": "error", "message": "no such file"}', "no such file"),
        ("longshore: app 'x:app' does not import", "app 'x:app' does not import"),
        ("  plain  ", "plain"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_last_words_are_readable(line, said):
    assert readable(line) == said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"logger": "longshore.worker", "message": "worker w ended", "worker": "u.1", "processed": 0, "failed": 0}',
         LastWords("u.1", 0)),
        ('{"logger": "shop", "message": "worker w ended", "worker": "u.1", "processed": 9}', None),
        ('{"logger": "longshore.worker", "message": "draining"}', None),
        ("12:00:00.000 INFO    worker w ended", None),
        ("[1, 2]", None),
        ("", None),
    ],
)  # fmt: skip
def test_figures_come_from_the_line_that_ends_a_log(line, words):
    assert last_words(line) == words
