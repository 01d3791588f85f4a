"""Bodies in other encodings; kombu is the second opinion."""

import contextlib
import zlib

import kombu.compression
import kombu.serialization
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore import Longshore, encoding
from longshore.core.protocol import build_message, parse_call
from longshore.encoding import CONTENT_TYPES, decoded
from longshore.exceptions import ImproperlyConfigured, MessageError
from longshore.message import JSON, Message

ALL = frozenset(CONTENT_TYPES.values())
HEADERS = {"task": "t", "id": "1"}
BODY = [[1, "zwei", None], {"drei": [3.0, True]}, {"callbacks": None}]
letters = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | letters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parity("C2")
@pytest.mark.parametrize("serializer", CONTENT_TYPES)
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "lzma", "zlib", "application/x-gzip"])
def test_what_is_sent_is_read_by_kombu(serializer, compression):
    message = build_message("t", [1, "zwei"], {"k": [2]}, task_id="1", serializer=serializer, compression=compression)
    body = message.body
    if compression:
        body = kombu.compression.decompress(body, message.headers["compression"])
    read = kombu.serialization.loads(
        body, message.content_type, message.content_encoding, accept=[message.content_type]
    )
    assert read[:2] == [[1, "zwei"], {"k": [2]}]
    call = parse_call(message, ALL)
    assert (call.args, call.kwargs) == ([1, "zwei"], {"k": [2]})


@pytest.mark.parametrize("serializer", ["json", "yaml"])
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "lzma"])
def test_what_kombu_sends_is_read(serializer, compression):
    content_type, content_encoding, body = kombu.serialization.dumps(BODY, serializer=serializer)
    headers = dict(HEADERS)
    body = body.encode() if isinstance(body, str) else body
    if compression:
        body, headers["compression"] = kombu.compression.compress(body, compression)
    assert decoded(Message(body, headers, {}, content_type, content_encoding), ALL) == BODY


@given(plain, st.sampled_from(sorted(CONTENT_TYPES)), st.sampled_from([None, *encoding.COMPRESSIONS]))
def test_arguments_come_back_as_they_were(value, serializer, compression):
    message = build_message("t", [value], task_id="1", serializer=serializer, compression=compression)
    assert parse_call(message, ALL).args == [value]


@pytest.mark.parametrize("serializer", CONTENT_TYPES)
def test_an_argument_that_cannot_be_sent_fails_at_the_call(serializer):
    with pytest.raises(TypeError):
        build_message("t", [object()], task_id="1", serializer=serializer)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(b"- 1", HEADERS, {}, "application/x-yaml"), "'application/x-yaml' is not accepted here"),
        (Message(b"x", {**HEADERS, "compression": "application/x-snappy"}, {}), "there is gzip, bzip2, lzma"),
        (Message(b"xyz", {**HEADERS, "compression": "application/x-gzip"}, {}), "is not application/x-gzip"),
        (Message(b"x", {**HEADERS, "compression": "application/x-bz2"}, {}), "is not application/x-bz2"),
        (Message(b"x", {**HEADERS, "compression": "application/x-lzma"}, {}), "is not application/x-lzma"),
        (Message(b"x", {**HEADERS, "compression": 7}, {}), "there is gzip"),
        (Message(zlib.compress(b"[" * 99)[:-9], {**HEADERS, "compression": "application/x-gzip"}, {}), "cut short"),
        (Message(b"[" * 200_000, HEADERS, {}), "not JSON|not readable"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(message, reason):
    with pytest.raises(MessageError, match=reason):
        parse_call(message)


def test_a_bomb_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(encoding, "LARGEST_BODY", 1000)
    bomb = Message(zlib.compress(b" " * 1_000_000), {**HEADERS, "compression": "application/x-gzip"}, {})
    with pytest.raises(MessageError, match="more than 1000 bytes unpacked"):
        decoded(bomb)


@given(st.binary(max_size=40), st.sampled_from(sorted(ALL)), st.sampled_from([None, *encoding.COMPRESSIONS.values()]))
def test_no_body_whatever_raises_anything_but_message_error(body, content_type, compression):
    headers = HEADERS if compression is None else {**HEADERS, "compression": compression}
    with contextlib.suppress(MessageError):
        parse_call(Message(body, headers, {}, content_type), ALL)


def test_a_task_an_app_or_a_call_chooses(tmp_path):
    app = Longshore("e", broker=f"sqlite:///{tmp_path}/b.db", set_as_current=False, task_compression="bzip2")
    app.conf.task_serializer = "application/x-msgpack"
    noted = app.task(lambda x: x, name="noted", serializer="yaml")
    noted.apply_async((1,), queue="q")
    app.send_task("t", (1,), queue="q")
    app.send_task("t", (1,), queue="q", serializer="json", compression="gzip")
    sent = [(m.content_type, m.headers["compression"]) for m in app.broker.peek("q", 3)]
    app.close()
    assert sent == [
        ("application/x-yaml", "application/x-bz2"),
        ("application/x-msgpack", "application/x-bz2"),
        (JSON, "application/x-gzip"),
    ]


def test_settings_say_what_there_is():
    app = Longshore("e", set_as_current=False)
    app.conf.accept_content = ["json", "application/x-yaml"]
    assert app.conf.accept_content == ("json", "yaml")
    with pytest.raises(ImproperlyConfigured, match="pickle and others are refused"):
        app.conf.accept_content = ["pickle"]
    with pytest.raises(ImproperlyConfigured, match="there is gzip, bzip2, lzma"):
        app.conf.task_compression = "rar"
