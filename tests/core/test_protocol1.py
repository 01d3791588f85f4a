import json

import pytest

from longshore.core.protocol import parse_call
from longshore.core.protocol1 import upgraded
from longshore.exceptions import MessageError
from longshore.message import Message

FIRST = {
    "task": "shop.add",
    "id": "1",
    "args": [2],
    "kwargs": {"y": 3},
    "group": None,
    "retries": 1,
    "eta": "2026-11-21T10:00:00+00:00",
    "expires": None,
    "utc": True,
    "callbacks": [{"task": "shop.next", "args": [], "kwargs": {}, "options": {}}],
    "errbacks": None,
    "timelimit": [10, 5],
    "taskset": "group-1",
    "chord": None,
}


def message(**changes):
    return Message(json.dumps({**FIRST, **changes}).encode(), {}, {"correlation_id": "1"})


def test_a_message_of_protocol_1_becomes_one_of_protocol_2():
    made = upgraded(message())
    call = parse_call(made)
    assert (call.name, call.id, call.args, call.kwargs, call.retries) == ("shop.add", "1", [2], {"y": 3}, 1)
    assert call.eta is not None
    assert call.eta.isoformat() == FIRST["eta"]
    assert call.group == "group-1"
    assert call.root_id == "1"
    assert call.embed == {"callbacks": FIRST["callbacks"], "errbacks": None, "chord": None, "chain": None}
    assert made.headers["timelimit"] == [10, 5]


def test_what_a_client_leaves_out_is_filled():
    bare = Message(json.dumps({"task": "t", "id": "2"}).encode(), {}, {})
    call = parse_call(upgraded(bare))
    assert (call.args, call.kwargs, call.retries, call.eta) == ([], {}, 0, None)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"task": "t"}', b'{"task": 1, "id": "1"}', b'"text"', b"garbage"])
def test_what_is_no_tasks_message_is_refused(body):
    with pytest.raises(MessageError, match=r"protocol 1 body|not JSON"):
        upgraded(Message(body, {}, {}))


@pytest.mark.parametrize("changes", [{"args": 1}, {"kwargs": [1]}, {"retries": "many"}, {"eta": "soon"}])
def test_wrong_types_in_it_are_found_when_it_is_read(changes):
    with pytest.raises(MessageError):
        parse_call(upgraded(message(**changes)))
