"""Heartbeats of activities that wait for something else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from temporalio import activity

_SECONDS = 2.0


@contextlib.asynccontextmanager
async def heartbeat(details: Callable[[], Sequence[Any]] = tuple) -> AsyncIterator[None]:
    """Tells Temporal that the work goes on: a killed worker is noticed by the silence, and a cancelled run reaches the work.

    The next attempt finds what `details` gave last in `activity.info().heartbeat_details`.
    """

    async def beat() -> None:
        while True:
            activity.heartbeat(*details())
            await asyncio.sleep(_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
