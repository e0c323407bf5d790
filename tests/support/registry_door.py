"""A door in front of the real registry: it asks for a key and secret, remembers what was asked, and speaks TLS with a certificate."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiohttp import web

WRITER, READER = ("writer", "w:secret@1"), ("reader", "r%secret")
"""Keys and their secrets, with signs that a URL has to quote."""
_READING_POSTS = ("/subjects/", "/compatibility/")


@dataclass
class Door:
    """Forwards to the registry at `behind`."""

    behind: str
    scheme: str
    port: int = 0
    asks_for_a_key: bool = True
    asked: list[str] = field(default_factory=list)
    """`METHOD path`, below the registry's own path."""

    def url(self, key: str = "", secret: str = "") -> str:
        user = f"{httpx.URL(username=key, password=secret).userinfo.decode()}@" if key else ""
        return f"{self.scheme}://{user}127.0.0.1:{self.port}/registry"

    async def handle(self, request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix("/registry")
        self.asked.append(f"{request.method} {path}")
        who = request.headers.get("Authorization", "").removeprefix("Basic ")
        if self.asks_for_a_key and who not in (_basic(*WRITER), _basic(*READER)):
            return web.json_response({"error_code": 401, "message": "Unauthorized"}, status=401)
        if who == _basic(*READER) and _writes(request.method, path):
            return web.json_response({"error_code": 40301, "message": "User is denied operation Write"}, status=403)
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.request(
                request.method, self.behind + path, content=await request.read(), headers={"Content-Type": "application/json"}
            )
        return web.Response(status=answer.status_code, body=answer.content, content_type="application/json")


def _basic(key: str, secret: str) -> str:
    return base64.b64encode(f"{key}:{secret}".encode()).decode()


def _writes(method: str, path: str) -> bool:
    looks_up = method == "POST" and not path.endswith("/versions") and path.startswith(_READING_POSTS)
    return method != "GET" and not looks_up


@contextlib.asynccontextmanager
async def door(behind: str, certificate: Path | None = None, *, asks_for_a_key: bool = True) -> AsyncIterator[Door]:
    """`certificate` is a file with a certificate and its key."""
    made = Door(behind, "https" if certificate else "http", asks_for_a_key=asks_for_a_key)
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
