"""The search for resources over HTTP, against a server that answers well, slowly, wrongly and too much."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from temporalio.exceptions import ApplicationError

from schemas.learning import LearningResource
from workers.learning.models import ResourceQuery
from workers.learning.search import HttpResources

QUERY = ResourceQuery(category="Python", topic="Loops & more", difficulty="beginner", learning_style="balanced")
GOOD = {"title": "A book", "url": "https://example.org/b", "provider": "Example", "kind": "book"}


@dataclass
class Search:
    """Answers with `answer`, and keeps what was asked."""

    url: str = ""
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = field(default=lambda _: _json({"resources": [GOOD]}))
    asked: list[dict[str, str]] = field(default_factory=list)


async def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.StreamResponse:
    return web.json_response(value, status=status, headers=headers)


@pytest_asyncio.fixture
async def search() -> AsyncIterator[Search]:
    served = Search()

    async def handle(request: web.Request) -> web.StreamResponse:
        served.asked.append(dict(request.query))
        return await served.answer(request)

    app = web.Application()
    app.router.add_get("/find", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/find?token=secret-token"
        yield served
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(search: Search, seconds: float = 10.0, now: Callable[[], float] = lambda: 0.0) -> AsyncIterator[HttpResources]:
    async with httpx.AsyncClient() as client:
        yield HttpResources(client, search.url, seconds=seconds, now=now)


async def find(search: Search) -> list[LearningResource]:
    async with asking(search) as resources:
        return await resources.find(QUERY)


async def failure(search: Search, seconds: float = 10.0) -> ApplicationError:
    async with asking(search, seconds) as resources:
        with pytest.raises(ApplicationError) as raised:
            await resources.find(QUERY)
    assert raised.value.type == "ResourcesUnavailable"
    assert "secret-token" not in str(raised.value)
    assert len(search.asked) <= 1, "the search is asked again by Temporal, not by the client"
    return raised.value


async def test_the_topic_is_asked_for_and_the_addresses_own_parameters_are_kept(search: Search) -> None:
    assert await find(search) == [LearningResource.model_validate(GOOD)]
    assert search.asked == [{"token": "secret-token", "q": "Loops & more", "category": "Python", "level": "beginner", "limit": "8"}]


async def test_a_wrong_resource_is_left_out_and_the_others_are_kept(search: Search) -> None:
    offered = [
        GOOD,
        {"title": "A script", "url": "javascript:alert(1)"},
        {"title": "", "url": "https://example.org/untitled"},
        {"title": "With spaces", "url": "https://example.org/a b"},
        {"title": "Far too long", "url": "https://example.org/" + "x" * 400},
        {"url": "https://example.org/none"},
        "no object",
        None,
        {"title": "T\n\x1b[31m" + "x" * 500, "url": "https://example.org/t", "kind": "hologram", "rating": 5},
    ]
    search.answer = lambda _: _json({"resources": offered})
    first, second = await find(search)
    assert first.url == GOOD["url"]
    assert (second.kind, second.provider, len(second.title)) == ("article", "", 120)
    assert second.title.isprintable()


@pytest.mark.parametrize("given", [lambda _: _json({"resources": []}), lambda _: _json({"error": "no such topic"}, 404)])
async def test_nothing_found_is_no_error(search: Search, given: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
    search.answer = given
    assert await find(search) == []


async def test_a_good_answer_is_kept_for_an_hour_and_a_failure_is_not(search: Search) -> None:
    clock = [0.0]
    async with asking(search, now=lambda: clock[0]) as resources:
        good, search.answer = search.answer, lambda _: _json({}, 500)
        with pytest.raises(ApplicationError):
            await resources.find(QUERY)
        search.answer = good
        for topic in ("Loops & more", "loops  MORE", "Loops & more"):
            await resources.find(QUERY.model_copy(update={"topic": topic}))
        assert len(search.asked) == 2
        clock[0] = 3599.0
        await resources.find(QUERY)
        assert len(search.asked) == 2
        clock[0] = 3600.0
        await resources.find(QUERY)
        await resources.find(QUERY.model_copy(update={"difficulty": "advanced"}))
        assert len(search.asked) == 4


async def test_the_cache_is_bounded(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.learning.search._KEPT_ANSWERS", 2)
    async with asking(search) as resources:
        for topic in ("a", "b", "a", "c", "a", "b"):
            await resources.find(QUERY.model_copy(update={"topic": topic}))
    assert [asked["q"] for asked in search.asked] == ["a", "b", "c", "b"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_a_server_in_trouble_is_asked_again_when_it_says(search: Search, status: int) -> None:
    search.answer = lambda _: _json({}, status, {"Retry-After": "7"})
    error = await failure(search)
    assert (error.non_retryable, error.next_retry_delay) == (False, timedelta(seconds=7))
    assert str(status) in error.message


@pytest.mark.parametrize("status", [400, 401, 403, 302])
async def test_a_refusal_is_not_asked_again(search: Search, status: int) -> None:
    search.answer = lambda _: _json({}, status, {"Location": "http://127.0.0.1:1/"})
    assert (await failure(search)).non_retryable


async def test_a_slow_server_is_given_up(search: Search) -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    search.answer = slow
    error = await failure(search, 0.3)
    assert not error.non_retryable
    assert "within 0.3 s" in error.message


async def test_an_answer_that_dribbles_in_is_given_up(search: Search) -> None:
    async def dribble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client gave up
            for _ in range(100):
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    search.answer = dribble
    assert "within 0.5 s" in (await failure(search, 0.5)).message


async def test_an_answer_without_an_end_is_not_read_to_its_end(search: Search) -> None:
    written = [0]

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client gave up
            for _ in range(1024):
                await response.write(b" " * 65536)
                written[0] += 65536
        return response

    search.answer = endless
    error = await failure(search)
    assert error.non_retryable
    assert "larger than 256 KiB" in error.message
    assert written[0] < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "final"),
    [
        ("<html>", False),
        ("", False),
        ('{"resources": [', False),
        ("[" * 100_000, False),
        ("[]", True),
        ('{"results": []}', True),
        ('{"resources": {}}', True),
    ],
)
async def test_garbage_is_told_from_an_answer(search: Search, body: str, final: bool) -> None:
    async def given(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    search.answer = given
    assert (await failure(search)).non_retryable == final


async def test_bytes_that_are_not_what_their_header_says_are_garbage(search: Search) -> None:
    async def given(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"})

    search.answer = given
    assert not (await failure(search)).non_retryable


async def test_a_search_that_is_not_reached_is_asked_again() -> None:
    nobody = Search("http://127.0.0.1:1/find?token=secret-token")
    assert not (await failure(nobody)).non_retryable
