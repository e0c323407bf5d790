"""OpenAI's image and moderation APIs through `openai`."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable
from typing import Any, TypeVar

import openai
from openai.types import ImagesResponse, ModerationCreateResponse
from temporalio.exceptions import ApplicationError

from headrace.settings import Settings
from schemas.errors import FailureType, bounded
from workers.image.activities import Picture
from workers.image.backends.pictures import not_configured, read_picture, sort_answer, unavailable
from workers.image.logic import styled
from workers.image.models import Drawing, Screening

_SETTING = "OPENAI_API_KEY"
_SECONDS = 55.0
"""Less than the activity's 60: our own error says more than its time-out."""
_MODERATION_SECONDS = 8.0
_MODERATION_MODEL = "omni-moderation-latest"
_POLICY_CODES = ("content_policy_violation", "moderation_blocked")
_NO_CREDIT = "insufficient_quota"

T = TypeVar("T")


def client(settings: Settings, *, seconds: float = _SECONDS) -> openai.AsyncOpenAI | None:
    """A client that never retries by itself, None without a key."""
    if settings.openai_api_key is None:
        return None
    return openai.AsyncOpenAI(
        api_key=settings.openai_api_key.get_secret_value(), base_url=settings.openai_base_url, max_retries=0, timeout=seconds
    )


class OpenAIBackend:
    """Without a key every request fails, and says so."""

    def __init__(self, made: openai.AsyncOpenAI | None, model: str, *, seconds: float = _SECONDS) -> None:
        self._client = made
        self._model = model
        self._seconds = seconds

    async def generate(self, drawing: Drawing) -> Picture:
        if self._client is None:
            raise not_configured("openai", _SETTING)
        answer = await _answer(
            self._client.images.generate(
                model=self._model, prompt=styled(drawing.prompt, drawing.style), n=1, size=drawing.size, **_quality(self._model, drawing)
            ),
            self._seconds,
        )
        # A body of another content type comes back as text, whatever the annotation says.
        if not isinstance(answer, ImagesResponse) or not answer.data or not (encoded := answer.data[0].b64_json):
            raise unavailable("the answer of openai has no image")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise unavailable(f"the image of openai is not base64: {error}") from error
        return await asyncio.to_thread(read_picture, data, self._model)


class OpenAIModeration:
    """Asks the moderation endpoint; its failures are the activity's to retry."""

    def __init__(self, made: openai.AsyncOpenAI) -> None:
        self._client = made

    async def screen(self, prompt: str) -> Screening:
        answer = await _answer(self._client.moderations.create(model=_MODERATION_MODEL, input=prompt), _MODERATION_SECONDS)
        if not isinstance(answer, ModerationCreateResponse) or not answer.results:  # as above
            raise unavailable("the answer of OpenAI's moderation cannot be read")
        flagged = [name for result in answer.results if result.flagged for name, hit in result.categories.model_dump().items() if hit]
        if any(result.flagged for result in answer.results):
            return Screening(safe=False, reason=f"OpenAI's moderation: {', '.join(sorted(flagged)) or 'flagged'}")
        return Screening(safe=True)


def _quality(model: str, drawing: Drawing) -> dict[str, Any]:
    detailed = drawing.style == "photorealistic"
    if model.startswith("dall-e"):
        return {"quality": "hd" if detailed else "standard", "response_format": "b64_json"}
    return {"quality": "high" if detailed else "medium"}


async def _answer(asked: Awaitable[T], seconds: float) -> T:
    """The answer within so many seconds in all: the client's own time-out is for each read, and a body may dribble in."""
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except openai.OpenAIError as error:
        raise _sort(error) from error
    except TimeoutError as error:
        raise unavailable(f"openai did not answer within {seconds:g} s") from error
    except ValueError as error:  # a body that is not JSON
        raise unavailable(f"the answer of openai cannot be read: {bounded(str(error), 200)}") from error


def _sort(error: openai.OpenAIError) -> ApplicationError:
    if isinstance(error, openai.APIStatusError):
        if error.code == _NO_CREDIT:  # a 429 like a rate limit, but waiting does not help
            return ApplicationError(
                f"the account of {_SETTING} has no credit left", type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True
            )
        if error.code in _POLICY_CODES:
            return ApplicationError(
                f"openai refuses the prompt: {bounded(error.message, 300)}", type=FailureType.CONTENT_POLICY_VIOLATION, non_retryable=True
            )
        return sort_answer("openai", _SETTING, error.status_code, error.response.headers, error.message)
    if isinstance(error, openai.APITimeoutError):
        return unavailable("openai did not answer in time")
    return unavailable(f"openai is not reached or its answer cannot be read: {bounded(str(error), 200)}")
