"""From ``redis://user:password@host:port/db?options`` to what a connection needs.

Knows the options by name and refuses others, so that a typo never becomes a default. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from longshore.exceptions import ImproperlyConfigured, redact_url

if TYPE_CHECKING:
    from ssl import SSLContext

_OPTIONS = frozenset(
    {
        "priority_order",
        "lease_seconds",
        "visibility_timeout",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_check_hostname",
    }
)
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

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def parse(url: str) -> Address:
    """Read an address; whatever is wrong in it is one `ImproperlyConfigured` sentence."""
    parts = urlsplit(url)
    shown = redact_url(url)
    options = _options(parts.query, shown)
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=_port(parts, shown),
        database=_database(parts.path, shown),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=_tls(parts.scheme.lower() == "rediss", options, shown),
        celery_priorities=_one_of(options, "priority_order", {"9-first": False, "celery": True}, "9-first", shown),
        lease_seconds=_seconds(options, "lease_seconds", 8.0, 3600, shown),
        visibility_timeout=_seconds(options, "visibility_timeout", 3600.0, 30 * 86400, shown),
        shown=shown.partition("?")[0],
    )


def _options(query: str, shown: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise ImproperlyConfigured(
            f"address {shown!r} has the unknown option {unknown[0]!r}; known are {', '.join(sorted(_OPTIONS))}"
        )
    return options


def _port(parts: SplitResult, shown: str) -> int:
    try:
        return parts.port or 6379
    except ValueError:
        raise ImproperlyConfigured(f"address {shown!r} has a port that is not a number up to 65535") from None


def _database(path: str, shown: str) -> int:
    name = path.strip("/")
    if not name:
        return 0
    if not name.isdecimal():
        raise ImproperlyConfigured(f"address {shown!r} names the database {name!r}; Redis has numbers, such as /0")
    return int(name)


def _tls(wanted: bool, options: dict[str, str], shown: str) -> Tls | None:
    if not wanted:
        for name in options:
            if name.startswith("ssl_"):
                raise ImproperlyConfigured(f"address {shown!r} has the option {name!r}; it needs rediss://")
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
