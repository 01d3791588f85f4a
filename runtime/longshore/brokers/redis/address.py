"""From ``redis://user:password@host:port/db?options`` to what a connection needs, in each of the ways to run Redis.

Knows the schemes and options by name and refuses others, so that a typo never becomes a default. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from longshore.brokers.redis.hosts import Node, place_of
from longshore.brokers.schemes import CLUSTERS, SECURE, SENTINELS, SOCKETS
from longshore.exceptions import ImproperlyConfigured, one_url, redact_url

if TYPE_CHECKING:
    from ssl import SSLContext

_OPTIONS = frozenset(
    {
        "priority_order",
        "lease_seconds",
        "visibility_timeout",
        "virtual_host",
        "master",
        "master_name",
        "sentinel_username",
        "sentinel_password",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_check_hostname",
    }
)
_SENTINEL_PORT = 26379
_LEAST_SECONDS = 0.2
_CERTIFICATES = {"required": True, "cert_required": True, "none": False, "cert_none": False}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust the server, and what to show it."""

    verify: bool = True
    check_hostname: bool = True
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> SSLContext:
        """Return the standard library's context for this; a file that is missing raises `OSError`."""
        import ssl

        context = ssl.create_default_context(cafile=self.ca_file)
        context.check_hostname = self.verify and self.check_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and how to speak with it."""

    host: str
    port: int
    database: int
    username: str | None
    password: str | None
    tls: Tls | None
    celery_priorities: bool
    """Pop 0 first, as kombu does; ours is 9 first, as on RabbitMQ."""
    lease_seconds: float
    visibility_timeout: float
    """After how many seconds a message that a Celery worker holds is taken for lost, as kombu's option of that name."""
    shown: str
    """For persons: without the password."""
    path: str | None = None
    """Of a socket file, instead of host and port."""
    sentinels: tuple[Node, ...] = ()
    """Who knows which server is the primary; host and port are not known then."""
    primary: str = ""
    """The name under which the sentinels watch it."""
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    contacts: tuple[Node, ...] = ()
    """Some nodes of a cluster."""
    pinned: str | None = None
    """In a cluster: the key whose node is meant."""
    is_sentinel: bool = False
    """Whether the server is a sentinel itself, which keeps no data."""

    @property
    def is_cluster(self) -> bool:
        """Whether this is a Redis Cluster: only keys of one slot may be in a request."""
        return bool(self.contacts)

    def is_same_server(self, other: Address) -> bool:
        """Whether both lead to one server, as one user; the database may differ. Clusters never are one server."""
        return not self.is_cluster and _where(self) == _where(other)

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def _where(address: Address) -> tuple[object, ...]:
    return (
        address.host, address.port, address.path, frozenset(address.sentinels), address.primary, address.username,
    )  # fmt: skip


def parse(url: str) -> Address:
    """Read an address; whatever is wrong in it is one `ImproperlyConfigured` sentence."""
    parts = urlsplit(one_url(url))
    scheme, shown = parts.scheme.lower(), redact_url(url)
    options = _options(parts.query, shown)
    several = scheme in SENTINELS or scheme in CLUSTERS
    place = place_of(parts.netloc, _SENTINEL_PORT if scheme in SENTINELS else 6379, shown, several=several)
    primary = _primary(scheme, options, shown)
    _only_for(scheme in SOCKETS, "virtual_host", options, shown)
    return Address(
        host="" if several else place.nodes[0][0],
        port=0 if several else place.nodes[0][1],
        database=_database(scheme, parts.path, options, shown),
        username=place.username,
        password=place.password,
        tls=_tls(scheme in SECURE, options, shown),
        celery_priorities=_one_of(options, "priority_order", {"9-first": False, "celery": True}, "9-first", shown),
        lease_seconds=_seconds(options, "lease_seconds", 8.0, 3600, shown),
        visibility_timeout=_seconds(options, "visibility_timeout", 3600.0, 30 * 86400, shown),
        shown=shown.partition("?")[0],
        path=_socket(parts.path, shown) if scheme in SOCKETS else None,
        sentinels=place.nodes if scheme in SENTINELS else (),
        primary=primary,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        contacts=place.nodes if scheme in CLUSTERS else (),
    )


def _primary(scheme: str, options: dict[str, str], shown: str) -> str:
    if scheme not in SENTINELS:
        for name in ("master", "master_name", "sentinel_username", "sentinel_password"):
            _only_for(False, name, options, shown)
        return ""
    primary = options.get("master") or options.get("master_name")
    if not primary:
        raise ImproperlyConfigured(f"address {shown!r} does not say which master the sentinels watch: add ?master=NAME")
    return primary


def _only_for(allowed: bool, name: str, options: dict[str, str], shown: str) -> None:
    if name in options and not allowed:
        needed = "redis+socket://" if name == "virtual_host" else "sentinel://"
        raise ImproperlyConfigured(f"address {shown!r} has the option {name!r}; it needs {needed}")


def _socket(path: str, shown: str) -> str:
    if not path.strip("/"):
        raise ImproperlyConfigured(f"address {shown!r} names no socket file; write redis+socket:///run/redis.sock")
    return path


def _options(query: str, shown: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise ImproperlyConfigured(
            f"address {shown!r} has the unknown option {unknown[0]!r}; known are {', '.join(sorted(_OPTIONS))}"
        )
    return options


def _database(scheme: str, path: str, options: dict[str, str], shown: str) -> int:
    name = options.get("virtual_host", "") if scheme in SOCKETS else path.strip("/")
    if not name:
        return 0
    if not name.isdecimal():
        raise ImproperlyConfigured(f"address {shown!r} names the database {name!r}; Redis has numbers, such as /0")
    if scheme in CLUSTERS and int(name):
        raise ImproperlyConfigured(f"address {shown!r} names the database {name}; a Redis Cluster has 0 only")
    return int(name)


def _tls(wanted: bool, options: dict[str, str], shown: str) -> Tls | None:
    if not wanted:
        for name in options:
            if name.startswith("ssl_"):
                raise ImproperlyConfigured(f"address {shown!r} has the option {name!r}; it needs TLS, as in rediss://")
        return None
    return Tls(
        verify=_one_of(options, "ssl_cert_reqs", _CERTIFICATES, "required", shown),
        check_hostname=_one_of(options, "ssl_check_hostname", _BOOLEANS, "true", shown),
        ca_file=options.get("ssl_ca_certs"),
        certificate=options.get("ssl_certfile"),
        key=options.get("ssl_keyfile"),
    )


def _one_of(options: dict[str, str], name: str, values: dict[str, bool], default: str, shown: str) -> bool:
    value = options.get(name, default).lower()
    if value not in values:
        raise ImproperlyConfigured(f"address {shown!r}: {name}={value!r} is not one of {', '.join(values)}")
    return values[value]


def _seconds(options: dict[str, str], name: str, default: float, most: float, shown: str) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = 0.0
    if not _LEAST_SECONDS <= value <= most:
        raise ImproperlyConfigured(
            f"address {shown!r}: {name} is a number of seconds from {_LEAST_SECONDS} to {most:g}"
        )
    return value
