"""Resources from a search over HTTP; docs/workflows.md has its protocol."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, get_args

import httpx
from pydantic import BaseModel, Field, ValidationError, field_validator
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from schemas.learning import LearningResource, ResourceKind
from workers.answers import retry_after
from workers.learning.logic import key
from workers.learning.models import ResourceQuery

_SECONDS = 10.0
"""For the whole answer; the activity has 45."""
_MOST_BYTES = 256 * 1024
_ASKED_FOR = 8
"""More than are kept: those that suit the learning style come first."""
_KEPT_SECONDS = 3600.0
_KEPT_ANSWERS = 1024
_OK, _NOT_FOUND, _TIMEOUT, _TOO_MANY, _SERVER_ERROR = 200, 404, 408, 429, 500


class _Found(BaseModel):
    """One resource of an answer. Fields that are not known are ignored; one that is wrong makes the resource ignored, not the answer."""

    title: str = Field(min_length=1)
    url: str = Field(pattern=r"^https?://[!-~]+$", max_length=300)
    provider: str = ""
    kind: str = "article"

    @field_validator("title", "provider")
    @classmethod
    def _bounded_line(cls, text: str) -> str:
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:120]

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        return kind if kind in get_args(ResourceKind) else "article"


class HttpResources:
    """Asks with GET, keeps good answers for an hour, and never tries again by itself."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, *, seconds: float = _SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._url = httpx.URL(url)
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, list[LearningResource]]] = OrderedDict()

    async def find(self, query: ResourceQuery) -> list[LearningResource]:
        about = (key(query.category), key(query.topic), query.difficulty)
        kept = self._kept.get(about)
        if kept is not None and self._now() - kept[0] < _KEPT_SECONDS:
            self._kept.move_to_end(about)
            return kept[1]
        found = await self._ask(query)
        self._kept[about] = (self._now(), found)
        self._kept.move_to_end(about)
        while len(self._kept) > _KEPT_ANSWERS:
            self._kept.popitem(last=False)
        return found

    async def _ask(self, query: ResourceQuery) -> list[LearningResource]:
        asked = {"q": query.topic, "category": query.category, "level": query.difficulty, "limit": str(_ASKED_FOR)}
        try:
            async with (
                # The client's own time-outs are for each read: a body may dribble in.
                asyncio.timeout(self._seconds),
                self._client.stream("GET", self._url.copy_merge_params(asked), headers={"Accept": "application/json"}) as response,
            ):
                if response.status_code == _NOT_FOUND:
                    return []
                if response.status_code != _OK:
                    raise _sort(response)
                return _parse(await _body(response))
        except (TimeoutError, httpx.TimeoutException):
            raise _unavailable(f"the search for resources did not answer within {self._seconds:g} s") from None
        except httpx.HTTPError as error:
            # Without the client's words, which have the address and what may be secret in it.
            raise _unavailable(f"the search for resources is not reached: {type(error).__name__}") from None


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _refused(f"the answer of the search for resources is larger than {_MOST_BYTES // 1024} KiB")
    return bytes(body)


def _parse(body: bytes) -> list[LearningResource]:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _unavailable("the answer of the search for resources is not JSON") from error
    offered = answer.get("resources") if isinstance(answer, dict) else None
    if not isinstance(offered, list):
        raise _refused('the answer of the search for resources is no object with a list of "resources"')
    found = []
    for one in offered:
        try:
            found.append(LearningResource(**_Found.model_validate(one).model_dump()))
        except ValidationError:
            continue
    return found


def _sort(response: httpx.Response) -> ApplicationError:
    status = response.status_code
    said = f"the search for resources answers {status}"
    if status in (_TIMEOUT, _TOO_MANY) or status >= _SERVER_ERROR:
        return ApplicationError(said, type=FailureType.RESOURCES_UNAVAILABLE, next_retry_delay=retry_after(response.headers))
    return _refused(said)


def _unavailable(message: str) -> ApplicationError:
    return ApplicationError(message, type=FailureType.RESOURCES_UNAVAILABLE)


def _refused(message: str) -> ApplicationError:
    return ApplicationError(message, type=FailureType.RESOURCES_UNAVAILABLE, non_retryable=True)
