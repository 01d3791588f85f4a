"""Addresses: every wrong one is one sentence with what to do, and none shows its password."""

from __future__ import annotations

import pytest

from longshore.brokers.redis.address import parse
from longshore.exceptions import ImproperlyConfigured


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
        ("redis://:secret@h/0?ssl_cert_reqs=none", "needs rediss://"),
        ("rediss://:secret@h/0?ssl_cert_reqs=sometimes", "is not one of required"),
        ("redis://:secret@h/0?visibility=3600", "unknown option 'visibility'; known are lease_seconds"),
        ("redis://:secret@h/0?sentinel=mymaster", "unknown option 'sentinel'"),
        ("redis://:secret@h/0?priority_order=random", "priority_order"),
        ("redis://:secret@h/0?lease_seconds=soon", "number of seconds"),
        ("redis://:secret@h/0?lease_seconds=0", "number of seconds"),
    ],
)
def test_a_wrong_address_is_one_sentence(url, text):
    with pytest.raises(ImproperlyConfigured, match=text.replace("?", r"\?")) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
