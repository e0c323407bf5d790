"""The client for OpenAI's API, or a server that speaks it, and what its failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import openai
from temporalio.exceptions import ApplicationError

from headrace.settings import Settings
from schemas.errors import FailureType, bounded
from workers.answers import sort_answer, unavailable, without_key

SETTING = "OPENAI_API_KEY"
SECONDS = 55.0
"""Less than the 60 that an activity has: our own error says more than its time-out."""

_POLICY_CODES = ("content_policy_violation", "moderation_blocked")
_NO_CREDIT = "insufficient_quota"

T = TypeVar("T")


def client(settings: Settings, *, seconds: float = SECONDS) -> openai.AsyncOpenAI | None:
    """A client that never retries by itself, None without a key."""
    if settings.openai_api_key is None:
        return None
    return openai.AsyncOpenAI(
        api_key=settings.openai_api_key.get_secret_value(), base_url=settings.openai_base_url, max_retries=0, timeout=seconds
    )


async def answered(asked: Awaitable[T], seconds: float) -> T:
    """The answer within so many seconds in all: the client's own time-out is for each read, and a body may dribble in."""
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except openai.OpenAIError as error:
        raise _sort(error) from None
    except TimeoutError as error:
        raise unavailable(f"openai did not answer within {seconds:g} s") from error
    except ValueError as error:  # a body that is not JSON
        raise unavailable(f"the answer of openai cannot be read: {bounded(str(error), 200)}") from error


def _sort(error: openai.OpenAIError) -> ApplicationError:
    if isinstance(error, openai.APIStatusError):
        if error.code == _NO_CREDIT:  # a 429 like a rate limit, but waiting does not help
            return ApplicationError(
                f"the account of {SETTING} has no credit left", type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True
            )
        if error.code in _POLICY_CODES:
            return ApplicationError(
                f"openai refuses the prompt: {bounded(without_key(error.message, error.request.headers), 300)}",
                type=FailureType.CONTENT_POLICY_VIOLATION,
                non_retryable=True,
            )
        return sort_answer("openai", SETTING, error.status_code, error.response.headers, error.message, error.request.headers)
    if isinstance(error, openai.APITimeoutError):
        return unavailable("openai did not answer in time")
    return unavailable(f"openai is not reached or its answer cannot be read: {bounded(str(error), 200)}")
