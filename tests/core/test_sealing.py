"""Encrypted bodies: unreadable on the way, readable for whoever has a key, dead letters for whoever has not."""

from __future__ import annotations

import pytest

from longshore import sealing
from longshore.core.protocol import build_message, parse_call
from longshore.core.settle import next_try
from longshore.exceptions import ImproperlyConfigured, MessageError
from longshore.message import dump_body

fernet = pytest.importorskip("cryptography.fernet")
pytestmark = pytest.mark.parity("C10")
OLD, NEW = (fernet.Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture
def keys(monkeypatch):
    def set_keys(*keys: str) -> None:
        monkeypatch.setenv(sealing.KEYS, ",".join(keys))
        sealing.keyring.cache_clear()

    yield set_keys
    monkeypatch.undo()
    sealing.keyring.cache_clear()


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"serializer": "msgpack"}])
def test_a_sealed_message_shows_nothing_and_arrives_whole(keys, options):
    keys(NEW)
    message = build_message("t", ["hunter2"], {"k": "hunter3"}, task_id="a", **options)
    assert "hunter" not in repr(message)
    call = parse_call(message, frozenset({message.content_type}))
    assert (call.args, call.kwargs) == (["hunter2"], {"k": "hunter3"})


def test_what_the_caller_wants_shown_is_shown(keys):
    keys(NEW)
    assert build_message("t", ["x"], {}, task_id="a", argsrepr="(…,)").headers["argsrepr"] == "(…,)"


def test_a_new_key_in_front_opens_what_the_old_one_sealed(keys):
    keys(OLD)
    message = build_message("t", [1], {}, task_id="a")
    keys(NEW, OLD)
    assert parse_call(message).args == [1]
    keys(NEW)
    with pytest.raises(MessageError, match="key that is not in LONGSHORE_PAYLOAD_KEYS"):
        parse_call(message)


def test_a_worker_without_keys_says_so_and_reads_what_is_open(keys):
    keys(NEW)
    message = build_message("t", [1], {}, task_id="a")
    keys()
    with pytest.raises(MessageError, match="LONGSHORE_PAYLOAD_KEYS is not set here"):
        parse_call(message)
    keys(NEW)
    keys()
    opened = build_message("t", [1], {}, task_id="a")
    keys(NEW)
    assert parse_call(opened).args == [1], "from a Celery client, for instance"


def test_a_retry_stays_sealed_with_old_or_new_arguments(keys):
    keys(NEW)
    message = build_message("t", ["hunter2"], {}, task_id="a")
    call = parse_call(message)
    same = next_try(message, call, None)
    other = next_try(message, call, None, body=dump_body([["hunter4"], {}, {}]))
    assert [parse_call(one).args for one in (same, other)] == [["hunter2"], ["hunter4"]]
    assert "hunter" not in repr((same, other))


def test_garbage_as_a_key_is_told_with_the_remedy(keys):
    keys("not a key")
    with pytest.raises(ImproperlyConfigured, match="generate_key"):
        build_message("t", [], {}, task_id="a")
