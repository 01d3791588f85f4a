"""The operator's own /healthz, /readyz and /metrics.

Health is about this process alone: a broker or an API server that is away is no reason to restart it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

Figures = Callable[[], Mapping[str, float]]


class Probes:
    """A small HTTP server; `ready` and `figures` are asked at each request."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool], figures: Figures) -> None:
        self._host = host
        self._port = port
        self._ready = ready
        self._figures = figures
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; an `OSError` says why not."""
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """End."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        if self._ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the caches are not filled yet\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        lines = [f"{name} {value:g}" for name, value in self._figures().items()]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain", charset="utf-8")
