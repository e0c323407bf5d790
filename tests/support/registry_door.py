"""A door in front of the real registry that remembers what was asked of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
from aiohttp import web


@dataclass
class Door:
    """Forwards to the registry at `behind`."""

    behind: str
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """`METHOD path`, below the registry's own path."""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.raw_path}")
        async with httpx.AsyncClient(trust_env=False) as http:
            headers = {"Content-Type": "application/json"}
            answer = await http.request(request.method, self.behind + request.raw_path, content=await request.read(), headers=headers)
        return web.Response(status=answer.status_code, body=answer.content, content_type="application/json")


@contextlib.asynccontextmanager
async def door(behind: str) -> AsyncIterator[Door]:
    made = Door(behind)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
