"""The REST side of the API server: requests with deadlines, errors in the engine's own words, writes behind a guard.

A thin layer on aiohttp, which kopf brings along: the generated client costs 19 MB of memory and rejects template fields
that it does not know. Knows paths and verbs; knows nothing of what the objects mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import aiohttp

from longshore_operator.engine.ports import Conflict, Manifest, Refused, Unreachable
from longshore_operator.kube.access import Access

REQUEST_SECONDS = 5.0
"""Shorter than the Lease's renew deadline: no write of a former leader is still under way when another leads."""

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON = "application/json"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_CONFLICT, _NOT_FOUND, _TOO_MANY, _UNAUTHORIZED, _FORBIDDEN = 409, 404, 429, 401, 403
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500


class NotFound(Exception):
    """There is no such object, or no such kind."""


class Forbidden(Refused):
    """The operator's account may not do this."""


class NotLeading(Unreachable):
    """A write was about to leave though another replica may lead by now: nothing may be written from here."""


class ApiClient:
    """One session to one API server."""

    def __init__(self, access: Access, may_write: Callable[[], bool] = lambda: True) -> None:
        self.access = access
        self.may_write = may_write
        self.requests: dict[str, int] = {}
        self._session: aiohttp.ClientSession | None = None
        self._ssl = access.ssl_context()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, **params: str) -> Manifest:
        """Read one object or a list."""
        return await self.request("GET", path, params=params)

    async def post(self, path: str, body: Manifest, **params: str) -> Manifest:
        """Create an object."""
        return await self.request("POST", path, body, params=params)

    async def put(self, path: str, body: Manifest, **params: str) -> Manifest:
        """Replace an object."""
        return await self.request("PUT", path, body, params=params)

    async def merge(self, path: str, body: Manifest, **params: str) -> Manifest:
        """Change an object by a merge patch."""
        return await self.request("PATCH", path, body, params=params, content_type=MERGE_PATCH)

    async def apply(self, path: str, body: Manifest, **params: str) -> Manifest:
        """Server-side apply."""
        return await self.request("PATCH", path, body, params=params, content_type=APPLY_PATCH)

    async def request(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        guarded: bool = True,
    ) -> Manifest:
        """Send a request; raise `NotFound`, `Conflict`, `Refused`, `Unreachable` or `NotLeading`."""
        if method in WRITES and guarded and not self.may_write():
            raise NotLeading(f"{method} {path}")
        self.requests[method] = self.requests.get(method, 0) + 1
        try:
            async with self._open().request(
                method,
                f"{self.access.server}{path}",
                params=params,
                data=None if body is None else json.dumps(body),
                headers=self._headers(content_type),
                ssl=self._ssl if self._ssl is not None else True,
            ) as response:
                return self._read(response.status, await response.read(), f"{method} {path}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"API server {self.access.server}: {str(error) or type(error).__name__}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS))
        return self._session

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": "longshore-operator"}
        bearer = self.access.bearer()
        return {**headers, "Authorization": f"Bearer {bearer}"} if bearer else headers

    def _read(self, status: int, body: bytes, what: str) -> Manifest:
        if status < _FIRST_ERROR:
            found: Manifest = json.loads(body)
            return found
        message = _message(body) or f"HTTP {status}"
        if status == _NOT_FOUND:
            raise NotFound(f"{what}: {message}")
        if status == _CONFLICT:
            raise Conflict(f"{what}: {message}")
        if status in {_TOO_MANY, _UNAUTHORIZED} or status >= _FIRST_SERVER_ERROR:
            raise Unreachable(f"{what}: {message}")
        raise (Forbidden if status == _FORBIDDEN else Refused)(message)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")
