"""The AMQP codec and the decisions around it: pure, so tables and hypothesis, with py-amqp as the second opinion."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from amqp import serialization
from amqp.basic_message import Message as AmqpMessage
from hypothesis import given
from hypothesis import strategies as st

from longshore.brokers.port import Outgoing
from longshore.brokers.rabbitmq import delays, frames, methods, tables
from longshore.brokers.rabbitmq.address import parse_address
from longshore.brokers.rabbitmq.confirms import Confirms, Fate
from longshore.brokers.rabbitmq.frames import FrameError, FrameReader
from longshore.brokers.rabbitmq.layouts import Layouts
from longshore.brokers.rabbitmq.letters import letter, opened
from longshore.brokers.rabbitmq.parcels import Job
from longshore.brokers.rabbitmq.prefetch import next_prefetch
from longshore.brokers.rabbitmq.starts import notes_queue_of
from longshore.brokers.rabbitmq.unacked import Unacked
from longshore.brokers.rabbitmq.unstarted import MOST, Unstarted
from longshore.exceptions import ImproperlyConfigured, MessageError, UnsupportedByBroker
from longshore.message import Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXT,
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda moment: moment.replace(microsecond=0)
    ),
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
TABLE = st.dictionaries(TEXT, VALUE, max_size=8)


# -- field tables ----------------------------------------------------------------------------------------------------


@given(TABLE)
def test_a_table_comes_back_as_it_was_written(values: dict[str, object]) -> None:
    encoded = tables.table(values)
    assert tables.read_table(encoded, 0) == (values, len(encoded))


@given(TABLE)
def test_what_py_amqp_writes_we_read(values: dict[str, object]) -> None:
    encoded = serialization.dumps("F", [values])
    assert tables.read_table(encoded, 0)[0] == values


@given(TABLE)
def test_what_we_write_py_amqp_reads(values: dict[str, object]) -> None:
    [read], _ = serialization.loads("F", tables.table(values), 0)
    assert naive(read) == naive(values)


def naive(value: object) -> object:
    """py-amqp's timestamps have no zone."""
    if isinstance(value, dict):
        return {key: naive(each) for key, each in value.items()}
    if isinstance(value, list):
        return [naive(each) for each in value]
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


@pytest.mark.parametrize("value", [Decimal("1.25"), Decimal(-7), b"\xff\x00", (1, 2)])
def test_other_types_travel_too(value: object) -> None:
    [read] = tables.read_table(tables.table({"key": value}), 0)[0].values()
    assert read == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"when": object()}, "'when' holds a object"),
        ({"big": 2**64}, "'big' holds an integer of more than 64 bits"),
        ({"k" * 256: 1}, "longer than the 255 bytes"),
    ],
)
def test_what_amqp_cannot_carry_is_said_with_its_name(headers: dict[str, object], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        tables.table(headers)


# -- layouts ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(TABLE, TEXT.filter(lambda text: len(text.encode()) < 256)), min_size=1, max_size=4))
def test_what_was_learned_of_one_list_never_changes_another(lists: list[tuple[dict[str, object], str]]) -> None:
    layouts = Layouts()
    for headers, identity in lists * 3:
        encoded = tables.properties({"headers": headers, "correlation_id": identity, "delivery_mode": 2})
        assert layouts.read(encoded) == tables.read_properties(encoded)


def task_properties(n: int, **headers: object) -> bytes:
    task_id = f"{n:036}"
    written = {
        "task": "t",
        "id": task_id,
        "root_id": task_id,
        "retries": n % 3,
        "timelimit": [None, None],
        "stamps": {},
    }
    return tables.properties({"headers": written | headers, "correlation_id": task_id, "priority": n % 10})


def test_messages_alike_are_told_apart_and_share_nothing() -> None:
    layouts = Layouts()
    read = [layouts.read(task_properties(n)) for n in range(50)]
    assert read == [tables.read_properties(task_properties(n)) for n in range(50)]
    read[7]["headers"]["timelimit"].append(1)
    read[7]["headers"]["stamps"]["s"] = 1
    assert layouts.read(task_properties(8)) == tables.read_properties(task_properties(8))


def test_layouts_that_never_repeat_cost_little_and_stay_few() -> None:
    layouts = Layouts()
    for n in range(500):
        encoded = task_properties(n, note="x" * n)
        assert layouts.read(encoded) == tables.read_properties(encoded)
    assert len(layouts._known) <= 64


def test_raw_bytes_in_a_string_that_was_text_before_are_read_as_bytes() -> None:
    layouts = Layouts()
    text = task_properties(1, blob="abcd")
    assert layouts.read(text)["headers"]["blob"] == "abcd"
    raw = text.replace(b"abcd", b"\xff\xfe\xfd\xfc")
    assert layouts.read(raw)["headers"]["blob"] == b"\xff\xfe\xfd\xfc"


# -- frames ----------------------------------------------------------------------------------------------------------


def delivered(body: bytes, headers: dict[str, object], *, frame_max: int = 131_072) -> bytes:
    """A delivery as RabbitMQ writes it: a publish's frames with another method."""
    arguments = tables.short_string("c1") + tables.LONGLONG.pack(7) + b"\x01" + b"\x00" + tables.short_string("orders")
    properties = tables.properties({"headers": headers, "correlation_id": "a"})
    published = frames.publish_frames(3, "", "orders", properties, body, mandatory=False, frame_max=frame_max)
    method = frames.method_frame(3, frames.BASIC_PUBLISH, b"\x00\x00\x00" + tables.short_string("orders") + b"\x00")
    assert published.startswith(method)
    return frames.method_frame(3, frames.BASIC_DELIVER, arguments) + published[len(method) :]


@given(st.binary(max_size=300), st.lists(st.integers(1, 400), max_size=6), st.integers(30, 200))
def test_a_stream_in_any_pieces_gives_the_same_methods(body: bytes, cuts: list[int], frame_max: int) -> None:
    stream = delivered(body, {"k": 1}, frame_max=frame_max) + frames.HEARTBEAT + methods.ack(3, 9, multiple=True)
    reader, got = FrameReader(), []
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, stop in pairwise(edges):
        got += reader.feed(stream[start:stop])
    assert [received.method for received in got] == [frames.BASIC_DELIVER, frames.BASIC_ACK]
    assert got[0].body == body
    assert methods.read_delivery(got[0].arguments) == ("c1", 7, True)
    assert opened(got[0].properties, got[0].body)[0].headers == {"k": 1}


def test_a_stream_that_is_no_amqp_is_refused() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(b"\x01\x00\x00\x00\x00\x00\x01ab")


# -- letters ---------------------------------------------------------------------------------------------------------


def test_py_amqp_reads_our_properties() -> None:
    message = Message(b"[]", {"task": "t", "retries": 0}, {"correlation_id": "a", "priority": 7, "reply_to": "r"})
    read = AmqpMessage()
    read._load_properties(60, letter(message, "", "q").properties, 0)
    assert read.properties == {
        "content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 7,
        "correlation_id": "a", "reply_to": "r", "application_headers": {"task": "t", "retries": 0},
    }  # fmt: skip


def test_what_the_broker_added_on_the_way_is_not_sent_again() -> None:
    """A message with an x-death of the ladder would be dropped there as one that goes round in circles."""
    message = Message(
        b"", {"task": "t", "x-death": [{"queue": "q"}], "x-first-death-queue": "q", "x-delivery-count": 3},
        {"user_id": "somebody", "expiration": "1000"},
    )  # fmt: skip
    sent, _ = opened(letter(message, "", "q").properties, b"")
    assert (sent.headers, sent.properties) == ({"task": "t"}, {"expiration": "1000", "delivery_mode": 2})
    delayed, _ = opened(letter(message, "", "q", delayed=True).properties, b"")
    assert "expiration" not in delayed.properties


def test_headers_beyond_a_frame_are_refused_before_the_broker_closes_the_connection() -> None:
    with pytest.raises(MessageError, match="headers of a take"):
        letter(Message(b"", {"id": "a", "blob": "x" * 130_000}, {}), "", "q")


# -- delays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.0, 1), (0.1, 1), (0.125, 2), (0.3, 3), (1.0, 9), (5.0, 41), (86_400, 691_201)]
)
def test_a_delay_is_rounded_up(seconds: float, steps: int) -> None:
    assert delays.steps(seconds) == steps


@given(st.floats(0, delays.LONGEST_SECONDS))
def test_the_levels_of_a_delay_add_up_to_it_and_little_more(seconds: float) -> None:
    digits = delays.routing_key("orders", seconds).split(".")[: delays.LEVELS]
    waits = [
        delays.level_arguments(delays.LEVELS - 1 - n, at_least_once=True)
        for n, digit in enumerate(digits)
        if digit == "1"
    ]
    milliseconds = sum(int(str(each["x-message-ttl"])) for each in waits)
    assert seconds * 1000 <= milliseconds <= seconds * 1000 + 128


@given(st.floats(0, delays.LONGEST_SECONDS))
def test_a_delay_enters_at_its_highest_level(seconds: float) -> None:
    digits = delays.routing_key("orders", seconds).split(".")[: delays.LEVELS]
    assert delays.entry(seconds) == delays.level(delays.LEVELS - 1 - digits.index("1"))


def test_a_delay_beyond_the_ladder_is_refused() -> None:
    with pytest.raises(UnsupportedByBroker, match=r"8\.5 years"):
        delays.steps(2**28)


@pytest.mark.parametrize("queue", ["a.*", "#", "x" * 200])
def test_a_queue_that_a_topic_cannot_name_is_refused(queue: str) -> None:
    with pytest.raises(UnsupportedByBroker):
        delays.routing_key(queue, 1)


# -- confirms --------------------------------------------------------------------------------------------------------


def test_confirms_are_told_apart() -> None:
    confirms: Confirms[str] = Confirms()
    for queue in ("a", "b", "missing", "c", "d"):
        confirms.published("", queue, queue.upper())
    confirms.returned("", "missing")
    told = confirms.answered(3, multiple=True, accepted=True) + confirms.answered(4, multiple=False, accepted=False)
    assert told == [("A", Fate.CONFIRMED), ("B", Fate.CONFIRMED), ("MISSING", Fate.RETURNED), ("C", Fate.REFUSED)]
    assert len(confirms) == 1
    assert confirms.answered(4, multiple=True, accepted=True) == [], "twice is once"


def test_a_queue_that_was_missing_once_is_not_missing_for_ever() -> None:
    confirms: Confirms[int] = Confirms()
    for n in range(3):
        confirms.published("", "q", n)
    confirms.returned("", "q")
    assert confirms.answered(1, multiple=False, accepted=True) == [(0, Fate.RETURNED)]
    assert confirms.answered(3, multiple=True, accepted=True) == [(1, Fate.CONFIRMED), (2, Fate.CONFIRMED)]


# -- acknowledgements ------------------------------------------------------------------------------------------------


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.permutations(range(1, n + 1)), st.integers(0, n))))
def test_acknowledgements_cover_exactly_what_is_settled(case: tuple[int, list[int], int]) -> None:
    count, order, settled = case
    unacked = Unacked()
    for tag in range(1, count + 1):
        unacked.delivered(tag)
    held, acked = set(range(1, count + 1)), set()
    for tag in order[:settled]:
        unacked.settled(tag)
    for tag, multiple in unacked.take():
        covered = {each for each in held if each <= tag} if multiple else {tag}
        acked |= covered
        held -= covered
    assert acked == set(order[:settled])
    assert len(unacked) == count - settled
    assert unacked.take() == []


def test_what_was_given_back_does_not_keep_others_from_being_acknowledged_together() -> None:
    unacked = Unacked()
    for tag in (1, 2, 3, 4):
        unacked.delivered(tag)
    unacked.given_back(2)
    for tag in (1, 3):
        unacked.settled(tag)
    assert unacked.take() == [(3, True)]


@given(st.integers(0, 300), st.integers(0, 100), st.integers(1, 100))
def test_a_prefetch_never_allows_more_than_was_asked_for(current: int, outstanding: int, limit: int) -> None:
    wanted = next_prefetch(current, outstanding, limit)
    assert wanted <= outstanding + limit
    assert wanted > outstanding


def test_what_came_back_from_here_alone_is_known_to_be_unstarted() -> None:
    unstarted = Unstarted()
    unstarted.record("a")
    assert unstarted.recall("a", 0)
    assert not unstarted.recall("a", 0), "a classic queue does not say who had it since: once"
    unstarted.record("b")
    unstarted.record("b")
    assert unstarted.recall("b", 2)
    assert not unstarted.recall("b", 3), "a quorum queue says that somebody else had it too"
    assert not unstarted.recall("c", 1)
    assert not unstarted.recall(None, 0)
    for n in range(MOST + 1):
        unstarted.record(str(n))
    assert not unstarted.recall("0", 0)
    assert unstarted.recall("1", 0)


def test_a_prefetch_follows_great_changes_only() -> None:
    assert [next_prefetch(37, 0, limit) for limit in (37, 41, 50, 60, 30, 1)] == [37, 37, 37, 60, 22, 1]


# -- names and addresses ---------------------------------------------------------------------------------------------


def test_notes_of_long_names_are_hashed() -> None:
    assert notes_queue_of("orders", "a-1") == "longshore.starts.v1.orders.a-1"
    assert len(notes_queue_of("q" * 200, "i" * 200)) <= 255


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost"),
    [
        ("amqp://", "localhost", 5672, "/"),
        ("amqp://host/", "host", 5672, "/"),
        ("pyamqp://u:p@host:1234/shop", "host", 1234, "shop"),
        ("amqps://host//shop", "host", 5671, "/shop"),
        ("amqp://host/%2Fshop%20two", "host", 5672, "/shop two"),
    ],
)
def test_an_address_is_read_as_kombu_reads_it(url: str, host: str, port: int, vhost: str) -> None:
    address = parse_address(url)
    assert (address.host, address.port, address.vhost) == (host, port, vhost)


def test_credentials_are_decoded_and_never_shown() -> None:
    address = parse_address("amqp://us%40er:se%2Fcret@host/?heartbeat=9&connection_timeout=1500")
    assert (address.user, address.password, address.heartbeat, address.connect_timeout) == ("us@er", "se/cret", 9, 1.5)
    assert "cret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:secret@host/?hartbeat=5", "unknown option 'hartbeat'"),
        ("amqp://u:secret@host:port/", "is not valid"),
        ("amqp://u:secret@host/?heartbeat=soon", "is not valid"),
    ],
)
def test_a_wrong_address_is_said_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fates", "answered", "in_doubt"),
    [
        ([Fate.CONFIRMED], True, False),
        ([Fate.RETURNED, Fate.CONFIRMED], True, False),
        ([Fate.UNKNOWN], False, True),
        ([Fate.CONFIRMED, Fate.UNKNOWN], False, True),
        ([Fate.REFUSED], False, True),
        ([None], False, False),
    ],
)
def test_a_broken_connection_leaves_in_doubt_what_was_written_and_not_answered(
    fates: list[Fate | None], answered: bool, in_doubt: bool
) -> None:
    job = Job()
    for fate in fates:
        job.add(Outgoing("q", Message(b"", {"id": "a", "task": "t"}, {})), 0.0)
        job.parcels[-1].written, job.parcels[-1].fate = fate is not None, fate or Fate.UNKNOWN
    assert (job.answered, job.in_doubt) == (answered, in_doubt)
