"""The real client libraries against servers that speak their protocols: what comes back, and what happens next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from headrace.settings import Settings
from tests.support import ai_servers
from tests.support.ai_servers import Server, openai_error, openai_image, openai_moderation
from workers import openai_client
from workers.image.activities import ImageBackend
from workers.image.backends import openai
from workers.image.backends.huggingface import HuggingFaceBackend
from workers.image.backends.local import LocalBackend
from workers.image.models import Drawing

DRAWING = Drawing(prompt="A mill", negative_prompt="people", style="sketch", size="1024x1024")
KEY = "secret-key"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    async with ai_servers.serving() as running:
        yield running


def keyed(server: Server) -> Settings:
    key = SecretStr(KEY)
    return Settings(openai_api_key=key, openai_base_url=f"{server.url}/v1", huggingface_token=key, huggingface_base_url=server.url)


async def backend(name: str, server: Server, seconds: float = 20.0) -> tuple[ImageBackend, Callable[[], web.Response]]:
    """The backend, and its server's good answer."""
    if name == "huggingface":
        return HuggingFaceBackend(keyed(server), seconds=seconds), lambda: web.Response(body=ai_servers.png(), content_type="image/png")
    return openai.OpenAIBackend(openai_client.client(keyed(server), seconds=seconds), "gpt-image-2.6-flare", seconds=seconds), openai_image


async def failure(name: str, server: Server, answer: Callable[[], object], seconds: float = 20.0) -> ApplicationError:
    server.answer = answer  # type: ignore[assignment]
    made, _ = await backend(name, server, seconds)
    with pytest.raises(ApplicationError) as raised:
        await made.generate(DRAWING)
    await close(made)
    assert len(server.requests) == 1, "the client retried, and Temporal is the one owner of retries"
    assert KEY not in str(raised.value)
    return raised.value


async def close(made: ImageBackend) -> None:
    if isinstance(made, openai.OpenAIBackend) and made._client is not None:
        await made._client.close()


BOTH = pytest.mark.parametrize("name", ["huggingface", "openai"])


@BOTH
async def test_a_picture_comes_back_with_its_size_and_the_key_is_sent(server: Server, name: str) -> None:
    made, server.answer = await backend(name, server)
    picture = await made.generate(DRAWING)
    await close(made)
    assert (picture.width, picture.height, picture.content_type) == (64, 48, "image/png")
    [request] = server.requests
    assert request["authorization"] == f"Bearer {KEY}"
    assert "A mill" in str(request["body"])


async def test_openai_is_asked_for_the_size_and_the_quality_of_the_style(server: Server) -> None:
    made, server.answer = await backend("openai", server)
    await made.generate(DRAWING)
    await close(made)
    body = server.requests[0]["body"]
    assert (server.requests[0]["path"], body["model"], body["size"], body["quality"]) == (
        "/v1/images/generations",
        "gpt-image-2.6-flare",
        "1024x1024",
        "medium",
    )


async def test_huggingface_is_told_the_size_and_what_not_to_show(server: Server) -> None:
    made, server.answer = await backend("huggingface", server)
    await made.generate(DRAWING)
    parameters = server.requests[0]["body"]["parameters"]
    assert (parameters["width"], parameters["height"], parameters["negative_prompt"]) == (1024, 1024, "people")


@BOTH
async def test_a_rate_limit_is_retried_when_the_server_says(server: Server, name: str) -> None:
    error = await failure(name, server, lambda: openai_error(429, headers={"Retry-After": "17"}))
    assert (error.type, error.non_retryable, error.next_retry_delay) == ("BackendRateLimited", False, timedelta(seconds=17))


@BOTH
async def test_a_retry_after_date_is_understood_and_bounded(server: Server, name: str) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)
    error = await failure(name, server, lambda: openai_error(429, headers={"Retry-After": soon}))
    assert error.next_retry_delay == timedelta(minutes=5)


@BOTH
async def test_a_server_error_is_retried(server: Server, name: str) -> None:
    error = await failure(name, server, lambda: openai_error(500))
    assert (error.type, error.non_retryable) == ("BackendUnavailable", False)


@BOTH
async def test_a_bad_key_is_not_retried_and_names_its_setting(server: Server, name: str) -> None:
    error = await failure(name, server, lambda: openai_error(401, "invalid_api_key"))
    assert (error.type, error.non_retryable) == ("BackendCredentialsRefused", True)
    assert {"huggingface": "HF_TOKEN", "openai": "OPENAI_API_KEY"}[name] in error.message


@BOTH
async def test_a_request_that_the_backend_calls_wrong_is_not_retried(server: Server, name: str) -> None:
    error = await failure(name, server, lambda: openai_error(400, "invalid_value"))
    assert (error.type, error.non_retryable) == ("BackendRefused", True)


@pytest.mark.parametrize("code", ["content_policy_violation", "moderation_blocked"])
async def test_a_prompt_against_the_policy_is_not_retried(server: Server, code: str) -> None:
    error = await failure("openai", server, lambda: openai_error(400, code))
    assert (error.type, error.non_retryable) == ("ContentPolicyViolation", True)


@BOTH
async def test_a_slow_server_is_given_up_before_the_activity_is(server: Server, name: str) -> None:
    async def slow() -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    error = await failure(name, server, slow, seconds=0.3)
    assert (error.type, error.non_retryable) == ("BackendUnavailable", False)


@BOTH
async def test_an_answer_that_dribbles_in_is_given_up_before_the_activity_is(server: Server, name: str) -> None:
    server.dribbles = True
    made, _ = await backend(name, server, 0.5)
    began = time.monotonic()
    with pytest.raises(ApplicationError, match=r"within 0\.5 s"):
        await made.generate(DRAWING)
    await close(made)
    assert time.monotonic() - began < 3


@BOTH
async def test_a_backend_that_is_not_reached_is_tried_again(name: str) -> None:
    nobody = Server("http://127.0.0.1:1", web.Response)
    made, _ = await backend(name, nobody)
    with pytest.raises(ApplicationError) as raised:
        await made.generate(DRAWING)
    await close(made)
    assert (raised.value.type, raised.value.non_retryable) == ("BackendUnavailable", False)


async def test_a_slow_hub_does_not_stop_the_workers_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_hub(*_: object, **__: object) -> None:
        time.sleep(0.6)  # what the library does
        raise ValueError("No provider mapping found")

    monkeypatch.setattr("huggingface_hub.hf_api.HfApi.model_info", slow_hub)
    made = HuggingFaceBackend(Settings(huggingface_token=SecretStr(KEY), huggingface_image_model="nobody/has-this"))
    asked = asyncio.create_task(made.generate(DRAWING))
    longest = 0.0
    while not asked.done():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - began)
    with pytest.raises(ApplicationError, match="HEADRACE_HUGGINGFACE_IMAGE_MODEL") as raised:
        await asked
    assert (raised.value.type, raised.value.non_retryable) == ("BackendRefused", True)
    assert longest < 0.5, "the look-up ran on the event loop: every heartbeat of the worker stops with it"


async def test_an_account_without_credit_is_not_asked_again(server: Server) -> None:
    error = await failure("openai", server, lambda: openai_error(429, "insufficient_quota"))
    assert (error.type, error.non_retryable) == ("BackendCredentialsRefused", True)
    assert "OPENAI_API_KEY" in error.message


@BOTH
async def test_a_refusal_that_quotes_the_key_is_not_passed_on(server: Server, name: str) -> None:
    quoted = {"error": {"message": "Incorrect API key provided: sk-abc***xyz", "code": "invalid_api_key"}}
    error = await failure(name, server, lambda: web.json_response(quoted, status=401))
    assert "sk-abc" not in error.message


BROKEN = {
    "huggingface": [
        lambda: web.Response(body=b"no image at all", content_type="image/png"),
        lambda: web.Response(body=ai_servers.png(512, 512)[:-300], content_type="image/png"),
    ],
    "openai": [
        lambda: web.Response(text="<html>a proxy's page</html>", content_type="text/html"),
        lambda: web.Response(text='{"data": [{"b64_json"', content_type="application/json"),
        lambda: web.json_response({"created": 1, "data": []}),
        lambda: openai_image(encoded="not base64!"),
        lambda: openai_image(b"bytes that are no image"),
        lambda: openai_image(ai_servers.png(512, 512)[:-300]),
    ],
}


@pytest.mark.parametrize(("name", "number"), [(name, number) for name, answers in BROKEN.items() for number in range(len(answers))])
async def test_a_broken_body_is_retried(server: Server, name: str, number: int) -> None:
    error = await failure(name, server, BROKEN[name][number])
    assert (error.type, error.non_retryable) == ("BackendUnavailable", False)


@BOTH
async def test_without_a_key_nothing_is_asked_and_the_setting_is_named(server: Server, name: str) -> None:
    made: ImageBackend = (
        HuggingFaceBackend(Settings()) if name == "huggingface" else openai.OpenAIBackend(openai_client.client(Settings()), "m")
    )
    with pytest.raises(ApplicationError, match="HF_TOKEN" if name == "huggingface" else "OPENAI_API_KEY") as raised:
        await made.generate(DRAWING)
    assert (raised.value.type, raised.value.non_retryable) == ("BackendNotConfigured", True)
    assert not server.requests


async def test_moderation_gives_its_categories_as_the_reason(server: Server) -> None:
    client = openai_client.client(keyed(server))
    assert client is not None
    async with client:
        moderation = openai.OpenAIModeration(client)
        server.answer = lambda: openai_moderation(flagged=True)
        refused = await moderation.screen("a prompt")
        server.answer = lambda: openai_moderation(flagged=False)
        fine = await moderation.screen("a prompt")
        server.answer = lambda: openai_error(503)
        with pytest.raises(ApplicationError) as raised:
            await moderation.screen("a prompt")
    assert (refused.safe, refused.reason) == (False, "OpenAI's moderation: violence")
    assert fine.safe
    assert not raised.value.non_retryable


@pytest.mark.parametrize(
    ("text", "kind"), [("<html>", "text/html"), ('{"results', "application/json"), ('{"id": "m", "results": []}', "application/json")]
)
async def test_a_moderation_that_cannot_be_read_is_no_pass(server: Server, text: str, kind: str) -> None:
    client = openai_client.client(keyed(server))
    assert client is not None
    server.answer = lambda: web.Response(text=text, content_type=kind)
    async with client:
        with pytest.raises(ApplicationError) as raised:
            await openai.OpenAIModeration(client).screen("a prompt")
    assert (raised.value.type, raised.value.non_retryable) == ("BackendUnavailable", False)


async def test_the_local_backend_draws_the_same_bytes_for_the_same_request() -> None:
    first, again = await LocalBackend().generate(DRAWING), await LocalBackend().generate(DRAWING)
    other = await LocalBackend().generate(DRAWING.model_copy(update={"prompt": "Another mill"}))
    assert first == again
    assert (first.width, first.height) == (1024, 1024)
    assert first.data != other.data
