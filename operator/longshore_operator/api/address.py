"""Where a broker or a result backend is: by a Secret, by a name that the operator knows, or in plain text.

A password may only ever be in a Secret; an address in a spec that holds one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field, StringConstraints

from longshore_operator.api.base import ResourceName, SpecModel
from longshore_operator.api.rules import Rule

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_PASSWORD = re.compile(r"://[^/@]*:[^@]*@")
_SECRET_OPTION = re.compile(r"[?&][^=&]*(pass|secret|token)[^=&]*=", re.IGNORECASE)

_NO_PASSWORD = "must not hold a password: put the whole address into a Secret and use urlFrom"  # noqa: S105 - a message


def _url_rule(message: str, *, holds: Callable[[str], bool], cel: str) -> Rule:
    return Rule(
        message,
        holds=lambda address: address.url is None or holds(address.url),
        cel=f"!has(self.url) || {cel}",
        field="url",
        reason="FieldValueForbidden",
    )


class SecretKeyRef(SpecModel):
    """One key of a Secret in the same namespace."""

    name: ResourceName = Field(description="Name of the Secret.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        default="url", description="Key within the Secret; its value is the whole address, password included."
    )


class UrlFrom(SpecModel):
    """Where the address is read from."""

    secret_key_ref: SecretKeyRef = Field(description="The key of a Secret that holds the address.")


class Address(SpecModel):
    """An address: exactly one of `urlFrom`, `name` and `url`."""

    rules = (
        Rule(
            "set exactly one of urlFrom, name and url",
            holds=lambda a: sum(one is not None for one in (a.url_from, a.name, a.url)) == 1,
            cel="[has(self.urlFrom), has(self.name), has(self.url)].filter(isSet, isSet).size() == 1",
        ),
        # Said of the whole, as forbidden: of a field that is invalid the server prints the value, here a password.
        _url_rule(
            "must be an address with a scheme, such as redis://redis:6379/0 or amqp://rabbitmq:5672/",
            holds=lambda url: _SCHEME.match(url) is not None,
            cel="self.url.matches('^[a-z][a-z0-9+.-]*://')",
        ),
        _url_rule(
            _NO_PASSWORD,
            holds=lambda url: _PASSWORD.search(url) is None,
            cel="!self.url.matches('://[^/@]*:[^@]*@')",
        ),
        _url_rule(
            _NO_PASSWORD,
            holds=lambda url: _SECRET_OPTION.search(url) is None,
            cel="!self.url.matches('(?i)[?&][^=&]*(pass|secret|token)[^=&]*=')",
        ),
    )

    url_from: UrlFrom | None = Field(
        default=None,
        description="Read the whole address from a Secret of this namespace. A rotated Secret rolls the pools.",
    )
    name: ResourceName | None = Field(
        default=None,
        description="One of the addresses that the operator was installed with. It says which namespaces may use it.",
    )
    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        default=None, description="The address itself, without a password, such as `redis://redis:6379/0`."
    )
