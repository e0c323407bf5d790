"""Local HTTP servers that speak the protocols of OpenAI and HuggingFace, for their real client libraries to talk to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image


def png(width: int = 64, height: int = 48) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(encoded, "PNG")
    return encoded.getvalue()


@dataclass
class Server:
    """Answers every request with `answer`, and keeps what came."""

    url: str
    answer: Callable[[], Awaitable[web.StreamResponse] | web.StreamResponse]
    requests: list[dict[str, Any]] = field(default_factory=list)
    dribbles: bool = False
    """Instead of an answer: a body of one space every 50 ms, for five seconds."""


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server("", lambda: web.Response(status=500))

    async def handle(request: web.Request) -> web.StreamResponse:
        server.requests.append({"path": request.path, "authorization": request.headers.get("Authorization"), "body": await request.json()})
        if server.dribbles:
            return await _dribble(request)
        answer = server.answer()
        return answer if isinstance(answer, web.StreamResponse) else await answer

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


async def _dribble(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client gave up
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
    return response


def openai_image(data: bytes | None = None, encoded: str | None = None) -> web.Response:
    return web.json_response({"created": 1, "data": [{"b64_json": encoded or base64.b64encode(data or png()).decode()}]})


def openai_error(status: int, code: str | None = None, headers: dict[str, str] | None = None) -> web.Response:
    error = {"message": f"status {status}", "type": "invalid_request_error", "code": code, "param": None}
    return web.json_response({"error": error}, status=status, headers=headers)


def openai_moderation(*, flagged: bool) -> web.Response:
    categories = {"violence": flagged, "self-harm": False}
    scores = {name: 0.9 if hit else 0.1 for name, hit in categories.items()}
    result = {"flagged": flagged, "categories": categories, "category_scores": scores, "category_applied_input_types": {}}
    return web.json_response({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})


def openai_chat(content: str | None, *, refusal: str | None = None, finish_reason: str = "stop") -> web.Response:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    return web.json_response({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
