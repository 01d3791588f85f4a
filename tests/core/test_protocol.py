"""Protocol 2, both ways."""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.protocol import build_message, parse_call
from longshore.exceptions import MessageError
from longshore.message import Message, load_body

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4), st.dictionaries(st.text(), json_values, max_size=4))
def test_arguments_arrive_as_they_were_sent(args, kwargs):
    call = parse_call(build_message("t", args, kwargs, task_id="1"))
    assert (call.args, call.kwargs) == (args, kwargs)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        date(2026, 1, 2),
        time(3, 4, 5),
        Decimal("1.50"),
        uuid.UUID(int=7),
        b"\x00\xff",
    ],
)
def test_special_values_keep_their_type_as_in_kombus_json(value):
    from kombu.utils.json import loads

    message = build_message("t", [value], task_id="1")
    assert parse_call(message).args == [value]
    assert loads(message.body.decode())[0] == [value]


def test_what_json_cannot_hold_fails_at_the_call():
    with pytest.raises(TypeError):
        build_message("t", [object()], task_id="1")


def test_nan_as_celery_clients_send_it_is_read():
    assert load_body(Message(b"[NaN]", {}, {}))[0] != load_body(Message(b"[NaN]", {}, {}))[0]


def test_the_header_table():
    message = build_message("shop.add", [2], {"k": 1}, task_id="id-1", priority=7, origin="gen1@host")
    assert message.headers == {
        "lang": "py", "task": "shop.add", "id": "id-1", "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": "id-1", "parent_id": None,
        "argsrepr": "(2,)", "kwargsrepr": "{'k': 1}", "origin": "gen1@host", "replaced_task_nesting": 0,
        "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    assert message.properties == {"correlation_id": "id-1", "reply_to": "", "delivery_mode": 2, "priority": 7}
    assert message.body == b'[[2],{"k":1},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def test_ignore_result_is_only_on_the_wire_when_the_caller_said_so():
    assert "ignore_result" not in build_message("t", task_id="1").headers
    assert build_message("t", task_id="1", ignore_result=False).headers["ignore_result"] is False


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(b"[[], {}, {}]", {}, {}), "no `task` header"),
        (Message(b"[[], {}, {}]", {"task": "t"}, {}), "no id"),
        (Message(b"not json", {"task": "t", "id": "1"}, {}), "not JSON"),
        (Message(b"\xff\xfe", {"task": "t", "id": "1"}, {}), "not JSON"),
        (Message(b"{}", {"task": "t", "id": "1"}, {}), "not [args, kwargs, embed]"),
        (Message(b"[1, {}, {}]", {"task": "t", "id": "1"}, {}), "args are not a list"),
        (Message(b"x", {"task": "t", "id": "1"}, {}, content_type="application/x-python-serialize"), "not accepted"),
        (Message(b"[[], {}, {}]", {"task": "t", "id": "1", "eta": "soon"}, {}), "`eta` is not"),
        (Message(b"[[], {}, {}]", {"task": "t", "id": "1", "retries": "2"}, {}), "`retries` is not"),
    ],
)
def test_garbage_is_refused_with_a_reason(message, reason):
    with pytest.raises(MessageError, match=reason.replace("[", r"\[")):
        parse_call(message)


@given(
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(["task", "id", "eta", "retries"]), st.text() | st.integers()),
)
def test_no_message_whatever_raises_anything_but_message_error(body, headers):
    with contextlib.suppress(MessageError):
        assert isinstance(parse_call(Message(body, headers, {})).retries, int)
