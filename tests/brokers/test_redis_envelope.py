"""The envelope alone: what goes in comes out, and nothing that stands in a list is an error."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.brokers.redis.envelope import UNREADABLE, decode, encode, lane
from longshore.encoding import decoded
from longshore.exceptions import MessageError
from longshore.message import Message

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.text(), json_values, max_size=5)
surrogates_kept_out = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(body=st.binary(), headers=mappings, correlation_id=surrogates_kept_out, priority=st.none() | st.integers(-3, 20))
def test_a_message_comes_out_as_it_went_in(body, headers, correlation_id, priority):
    properties = {"correlation_id": correlation_id, "priority": priority}
    sent = Message(body, headers, properties, "application/x", "binary")
    got, redelivered = decode(encode("q", sent))
    assert (got.body, got.headers, got.content_type, got.content_encoding) == (body, headers, "application/x", "binary")
    assert got.properties == {"delivery_mode": 2, **properties}
    assert not redelivered


@given(st.binary())
def test_any_bytes_are_a_message(element):
    message, _ = decode(element)
    assert message.body == element


@given(json_values)
def test_any_json_is_a_message(value):
    message, _ = decode(json.dumps(value).encode())
    assert message.content_type == UNREADABLE


def test_what_is_unreadable_says_so_when_it_is_loaded():
    with pytest.raises(MessageError, match=UNREADABLE):
        decoded(decode(b"garbage")[0])


@pytest.mark.parametrize(
    ("priority", "step"),
    [
        (None, "0"),
        (0, "0"),
        (2, "0"),
        (3, "3"),
        (5, "3"),
        (6, "6"),
        (8, "6"),
        (9, "9"),
        (99, "9"),
        (-1, "0"),
        ("x", "0"),
    ],
)
def test_a_priority_has_kombus_step(priority, step):
    assert lane(Message(b"", {}, {"priority": priority})) == step


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, b"[]"),
        ({"headers": {"limit": float("nan")}}, b"[]"),
        ({"headers": None}, b"[]"),
        ({"body": "[1]", "properties": {}}, b"[1]"),
        ({"body": "", "properties": {"body_encoding": "base64"}}, b""),
        ({"unknown": 1}, b"[]"),
        ({"headers": {"half": "\ud800"}}, b"[]"),
    ],
)
def test_envelopes_of_others_are_read(changes, body):
    fields = {
        "body": base64.b64encode(b"[]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {},
        "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {"exchange": ""}},
    }
    message, _ = decode(json.dumps({**fields, **changes}).encode())
    assert (message.body, message.content_type) == (body, "application/json")
    assert "delivery_tag" not in message.properties
    again, _ = decode(encode("q", message))
    assert again.body == message.body
    assert again.headers.keys() == message.headers.keys()


@pytest.mark.parametrize("body", ["not base64!", 7, {"a": 1}])
def test_a_body_that_cannot_be_decoded_is_unreadable(body):
    element = json.dumps({"body": body, "properties": {"body_encoding": "base64"}}).encode()
    assert decode(element)[0].content_type == UNREADABLE
