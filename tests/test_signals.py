import gc
import logging

import pytest

from longshore import Longshore, signals
from longshore.exceptions import Ignore
from longshore.request import Request
from longshore.signals import Signal


class Heard(list):
    """Notes what a receiver was called with."""

    def __call__(self, sender=None, signal=None, **arguments):
        self.append((signal.name, sender, arguments))
        return len(self)


@pytest.fixture
def signal():
    return Signal("news")


@pytest.fixture
def app():
    return Longshore("shop", set_as_current=False, broker="sqlite://")


@pytest.fixture
def hear():
    """Connect a receiver for the time of a test."""
    connected = []

    def connect(*listened, **options):
        heard = Heard()
        for each in listened:
            each.connect(heard.__call__, weak=False, dispatch_uid=id(heard), **options)
            connected.append((each, id(heard), options.get("sender")))
        return heard

    yield connect
    for each, uid, sender in connected:
        assert each.disconnect(dispatch_uid=uid, sender=sender)


def test_receivers_are_called_with_sender_signal_and_arguments_and_their_answers_returned(signal):
    @signal.connect
    def double(sender, signal, number):
        return (sender, signal.name, number * 2)

    assert signal.send("me", number=4) == [(double, ("me", "news", 8))]


def test_a_receiver_of_one_sender_hears_no_other(signal):
    @signal.connect(sender="me")
    def hear(**_):
        return 1

    assert len(signal.send("me")) == 1
    assert signal.send("you") == []


def test_a_task_is_known_by_its_name(signal, app):
    @app.task(name="add")
    def add():
        return 1

    @signal.connect(sender=add)
    def hear(**_):
        return 1

    assert len(signal.send(app.tasks["add"])) == len(signal.send("add")) == 1


def test_the_same_receiver_connects_once_and_disconnects(signal):
    def hear(**_):
        return 1

    signal.connect(hear)
    signal.connect(hear)
    assert len(signal.send(None)) == 1
    assert signal.disconnect(hear)
    assert not signal.disconnect(hear)
    assert signal.send(None) == []


def test_receivers_are_held_weakly_unless_said_otherwise(signal):
    def connect(**options):
        def hear(**_):
            return 1

        signal.connect(hear, **options)

    connect()
    connect(weak=False)
    gc.collect()
    assert len(signal.send(None)) == 1


def test_a_bound_method_lives_as_long_as_its_object(signal):
    class Listener:
        def hear(self, **_):
            return 1

    listener = Listener()
    signal.connect(listener.hear)
    assert len(signal.send(None)) == 1
    del listener
    gc.collect()
    assert signal.send(None) == []


def test_what_a_receiver_raises_is_logged_and_the_others_are_called(signal, caplog):
    @signal.connect
    def fail(**_):
        raise ValueError("broken")

    @signal.connect
    def hear(**_):
        return 1

    with caplog.at_level(logging.ERROR):
        answers = signal.send(None)
    assert [type(answer) for _, answer in answers] == [ValueError, int]
    assert "a receiver of the signal news raised" in caplog.text


RUN = (signals.task_prerun, signals.task_success, signals.task_failure, signals.task_retry, signals.task_postrun)


def test_a_run_that_returns_tells_prerun_success_postrun(app, hear):
    @app.task(name="add")
    def add(x, y):
        return x + y

    heard = hear(*RUN)
    result = add.apply((1, 2))
    assert [name for name, _, _ in heard] == ["task_prerun", "task_success", "task_postrun"]
    assert all(sender is add for _, sender, _ in heard)
    assert heard[0][2] == {"task_id": result.id, "task": add, "args": [1, 2], "kwargs": {}}
    assert heard[1][2] == {"result": 3}
    assert heard[2][2]["retval"] == 3
    assert heard[2][2]["state"] == "SUCCESS"


def test_a_run_that_fails_tells_the_exception_and_its_traceback(app, hear):
    @app.task(name="fail")
    def fail():
        raise KeyError("nothing")

    heard = hear(*RUN)
    fail.apply()
    assert [name for name, _, _ in heard] == ["task_prerun", "task_failure", "task_postrun"]
    told = heard[1][2]
    assert isinstance(told["exception"], KeyError)
    assert "KeyError: 'nothing'" in str(told["einfo"])
    assert told["traceback"] is not None
    assert heard[2][2]["state"] == "FAILURE"


def test_a_run_that_is_retried_tells_the_reason(app, hear):
    @app.task(name="again", bind=True, default_retry_delay=0)
    def again(self):
        if self.request.retries == 0:
            raise self.retry(exc=OSError("gone"))

    heard = hear(*RUN)
    again.apply()
    names = [name for name, _, _ in heard]
    assert names == ["task_prerun", "task_retry", "task_postrun", "task_prerun", "task_success", "task_postrun"]
    assert isinstance(heard[1][2]["reason"].exc, OSError)
    assert heard[1][2]["request"].retries == 0


def test_a_run_that_ignores_tells_postrun_too(app, hear):
    @app.task(name="ignore")
    def ignore():
        raise Ignore

    heard = hear(*RUN)
    ignore.apply()
    assert [name for name, _, _ in heard] == ["task_prerun", "task_postrun"]


def test_before_a_send_the_headers_may_be_changed(tmp_path, hear):
    app = Longshore("shop", set_as_current=False, broker=f"sqlite:///{tmp_path}/b.db")

    def trace(headers=None, **_):
        headers["traceparent"] = "00-1-2-01"

    signals.before_task_publish.connect(trace, sender="shop.buy")
    heard = hear(signals.before_task_publish, signals.after_task_publish)
    app.send_task("shop.buy", (1,), queue="orders")
    app.send_task("shop.sell", (1,), queue="orders")
    bought, sold = app.broker.peek("orders", 2)
    app.close()
    assert bought.headers["traceparent"] == "00-1-2-01"
    assert "traceparent" not in sold.headers
    assert [(name, sender) for name, sender, _ in heard[:2]] == [
        ("before_task_publish", "shop.buy"),
        ("after_task_publish", "shop.buy"),
    ]
    assert heard[0][2]["routing_key"] == "orders"
    assert heard[0][2]["body"][0] == [1]


class Counting(Request):
    """A request class of one's own."""

    ended: list = []  # noqa: RUF012 - one list for the test

    @property
    def tenant(self):
        return self.headers.get("tenant")

    def on_success(self, retval):
        self.ended.append(("success", retval))

    def on_failure(self, einfo):
        self.ended.append(("failure", repr(einfo.exception)))


@pytest.mark.parity("B7")
def test_a_task_may_have_its_own_request_class_which_is_told_how_runs_end(app, monkeypatch):
    monkeypatch.setattr(Counting, "ended", [])

    @app.task(name="who", bind=True, Request=Counting)
    def who(self, fail):
        if fail:
            raise ValueError("no")
        return type(self.request).__name__

    assert who.apply((False,)).get() == "Counting"
    assert who.apply((True,)).failed()
    assert Counting.ended == [("success", "Counting"), ("failure", "ValueError('no')")]
