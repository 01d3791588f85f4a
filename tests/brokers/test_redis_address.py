"""Addresses: every wrong one is one sentence with what to do, and none shows its password."""

from __future__ import annotations

import re

import pytest

from longshore.brokers.redis.address import parse
from longshore.exceptions import ImproperlyConfigured, redact_url


def test_what_is_not_said_has_a_default():
    address = parse("redis://")
    assert (address.host, address.port, address.database, address.username, address.password) == (
        "127.0.0.1", 6379, 0, None, None,
    )  # fmt: skip
    assert (address.tls, address.celery_priorities, address.lease_seconds) == (None, False, 8.0)


def test_everything_can_be_said():
    url = "rediss://us%40er:p%2Fw@host:7000/3?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem&priority_order=celery&lease_seconds=3"
    address = parse(url)
    assert (address.host, address.port, address.database) == ("host", 7000, 3)
    assert (address.username, address.password) == ("us@er", "p/w")
    assert address.tls is not None
    assert (address.tls.verify, address.tls.ca_file) == (False, "/ca.pem")
    assert (address.celery_priorities, address.lease_seconds) == (True, 3.0)


@pytest.mark.parametrize("url", ["redis://u:secret@h/0", "rediss://:secret@h/0?ssl_cert_reqs=none"])
def test_a_password_is_not_shown(url):
    assert "secret" not in repr(parse(url))
    assert "secret" not in parse(url).shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:secret@h/tasks", "names the database 'tasks'; Redis has numbers"),
        ("redis://:secret@h:99999/0", "port"),
        ("redis://:secret@h/0?ssl_cert_reqs=none", "needs TLS, as in rediss://"),
        ("rediss://:secret@h/0?ssl_cert_reqs=sometimes", "is not one of required"),
        ("redis://:secret@h/0?visibility=3600", "unknown option 'visibility'; known are lease_seconds"),
        ("redis://:secret@h/0?sentinel=mymaster", "unknown option 'sentinel'"),
        ("redis://:secret@h/0?priority_order=random", "priority_order"),
        ("redis://:secret@a:1,b:2/0", "names several servers"),
        ("redis://:secret@h/0?master=m", "it needs sentinel://"),
        ("redis://:secret@h/0?virtual_host=1", "it needs redis+socket://"),
        ("sentinel://:secret@h/0", "add ?master=NAME"),
        ("redis+socket://:secret@", "names no socket file"),
        ("redis+cluster://:secret@h/1", "a Redis Cluster has 0 only"),
        ("redis://:secret@h/0?lease_seconds=soon", "number of seconds"),
        ("redis://:secret@h/0?lease_seconds=0", "number of seconds"),
    ],
)
def test_a_wrong_address_is_one_sentence(url, text):
    with pytest.raises(ImproperlyConfigured, match=re.escape(text)) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_valkey_is_spelled_as_redis_is(scheme):
    assert parse(f"{scheme}://u:p@h:7000/2").tls is None
    assert parse(f"{'rediss' if scheme == 'redis' else 'valkeys'}://h").tls is not None
    assert parse(f"{scheme}+socket:///run/x.sock?virtual_host=3").database == 3
    assert parse(f"{scheme}+cluster://a,b:7001").contacts == (("a", 6379), ("b", 7001))


def test_a_socket_file():
    address = parse("redis+socket://us:secret@/run/redis.sock")
    assert (address.path, address.database, address.username, address.password) == (
        "/run/redis.sock",
        0,
        "us",
        "secret",
    )


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://u:secret@a:1;b/2?master=m",
        "sentinel://u:secret@a:1,b:26379/2?master_name=m",
        "sentinel://u:secret@a:1;sentinel://u:secret@b:26379/2?master_name=m",
        "sentinel://a:1;sentinel://u:secret@b/2?master=m",
    ],
)
def test_sentinels_as_ours_and_as_kombus(url):
    address = parse(url)
    assert (address.sentinels, address.primary, address.database) == ((("a", 1), ("b", 26379)), "m", 2)
    assert (address.username, address.password) == ("u", "secret")
    assert "secret" not in address.shown
    assert "secret" not in redact_url(url)


def test_which_addresses_are_one_server():
    def same(one: str, other: str) -> bool:
        return parse(one).is_same_server(parse(other))

    assert same("redis://h/0", "redis://h:6379/1?lease_seconds=3")
    assert same("sentinel://a,b/0?master=m", "sentinel://b,a/1?master=m")
    assert not same("sentinel://a,b/0?master=m", "sentinel://a,b/0?master=n")
    assert not same("redis://h/0", "redis://u@h/0")
    assert not same("redis+socket:///a", "redis+socket:///b")
    assert not same("redis+cluster://h", "redis+cluster://h")
