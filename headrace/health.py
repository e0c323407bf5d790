"""`/healthz`, `/readyz` and `/metrics` of a service, on loopback unless told otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headrace.settings import Settings

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def serve(settings: Settings, ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Serves while the block runs; gives the port, which is a free one for 0.

    `/readyz` answers 200 while `ready()` holds and 503 otherwise; `/healthz` answers 200 as long as the event loop turns.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.health_host, settings.health_port)
        await site.start()
        bound = int(runner.addresses[0][1])
        log.info("health_served", port=bound)
        yield bound
    finally:
        await runner.cleanup()
