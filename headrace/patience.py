"""Waiting for a part that is away when a process starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from headrace import temporal_refusals
from headrace.store import away
from schemas.errors import bounded

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Stopped(Exception):  # noqa: N818 - not an error
    """The process was told to stop while it waited for a part."""


async def until_there(part: str, attempt: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
    """The first answer of a part, asked again with growing pauses. Raises `Stopped` when `stop` is set meanwhile."""
    pause = _FIRST_PAUSE
    while not stop.is_set():
        try:
            return await attempt()
        except (KafkaError, RuntimeError, RPCError, SQLAlchemyError, OSError) as error:
            log.warning("waiting_for", part=part, error=_words(error), again_in_seconds=pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise Stopped


def _words(error: Exception) -> str:
    if isinstance(error, SQLAlchemyError):
        return away.why(error)
    return temporal_refusals.why(error) if isinstance(error, RPCError) else bounded(str(error), 300)
