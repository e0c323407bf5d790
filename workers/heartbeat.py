"""Heartbeats of activities that wait for something else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio import activity

_SECONDS = 2.0


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[None]:
    """Tells Temporal that the work goes on: a killed worker is noticed by the silence, and a cancelled run reaches the work."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
