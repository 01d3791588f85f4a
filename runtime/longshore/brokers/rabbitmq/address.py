"""A broker's address, taken apart: ``amqp://user:password@host:port/vhost?option=value``.

Pure but for TLS files, which are read when a connection is opened. The options are those of RabbitMQ's own URI
specification: heartbeat, connection_timeout (ms), and for amqps cacertfile, certfile, keyfile, verify,
server_name_indication; and two of ours: confirm_publish (true by default), and consumer_timeout (ms), which tells what
the broker's own setting of that name is where it is not 30 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from longshore.exceptions import ImproperlyConfigured, redact_url

if TYPE_CHECKING:
    import ssl

HEARTBEAT_SECONDS = 3
"""RabbitMQ gives a silent connection up after two to three heartbeats: in nine seconds at most, as measured."""
CONNECT_SECONDS = 5.0
CONSUMER_TIMEOUT_SECONDS = 1800.0
_TLS_OPTIONS = frozenset({"cacertfile", "certfile", "keyfile", "verify", "server_name_indication"})
_OPTIONS = _TLS_OPTIONS | {"heartbeat", "connection_timeout", "confirm_publish", "consumer_timeout"}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is and who we are there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    heartbeat: int = HEARTBEAT_SECONDS
    connect_timeout: float = CONNECT_SECONDS
    tls: tuple[tuple[str, str], ...] | None = None
    confirm: bool = True
    """Whether a send waits until the broker has confirmed it."""
    consumer_timeout: float = CONSUMER_TIMEOUT_SECONDS
    """How long the broker lets a message be unacknowledged; 0 is without end."""

    @property
    def label(self) -> str:
        """What messages for a person call the broker."""
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings: certificates are verified unless ``verify=verify_none``."""
        import ssl

        options = dict(self.tls or ())
        try:
            context = ssl.create_default_context(cafile=options.get("cacertfile"))
            if "certfile" in options:
                context.load_cert_chain(options["certfile"], options.get("keyfile"))
        except OSError as error:
            raise ImproperlyConfigured(f"a TLS file of the broker address cannot be used: {error}") from error
        if options.get("verify") == "verify_none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def server_name(self) -> str:
        """The name that the broker's certificate must carry."""
        return dict(self.tls or ()).get("server_name_indication", self.host)


def parse_address(url: str) -> Address:
    """Return the parts of an address; what is wrong in it is `ImproperlyConfigured`, without the password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        known = ", ".join(sorted(_OPTIONS))
        raise ImproperlyConfigured(f"broker address {redact_url(url)!r}: unknown option {unknown[0]!r}; known: {known}")
    secure = parts.scheme.lower() == "amqps"
    try:
        return Address(
            host=parts.hostname or "localhost",
            port=parts.port or (5671 if secure else 5672),
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password if parts.password is not None else "guest"),
            vhost=_vhost(parts.path),
            heartbeat=int(options.get("heartbeat", HEARTBEAT_SECONDS)),
            connect_timeout=float(options.get("connection_timeout", CONNECT_SECONDS * 1000)) / 1000,
            tls=tuple((key, options[key]) for key in sorted(_TLS_OPTIONS & set(options))) if secure else None,
            consumer_timeout=float(options.get("consumer_timeout", CONSUMER_TIMEOUT_SECONDS * 1000)) / 1000,
            confirm=_truth(options.get("confirm_publish", "true")),
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"broker address {redact_url(url)!r} is not valid: {error}") from error


def _truth(value: str) -> bool:
    if value.lower() not in _TRUTH:
        raise ValueError(f"confirm_publish is true or false, not {value!r}")
    return _TRUTH[value.lower()]


def _vhost(path: str) -> str:
    """As kombu has it: no path, ``/`` and ``/%2F`` are the default vhost; ``//shop`` is the vhost ``/shop``."""
    return unquote(path.removeprefix("/")) or "/"
