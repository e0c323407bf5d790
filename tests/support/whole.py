"""Ingress, the image workers and the notifier in the test's own process, on the shared stack."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from headrace import setup
from headrace.settings import Settings
from ingress.__main__ import main as ingress
from notifier.__main__ import main as notifier
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.__main__ import serve as workers


@contextlib.asynccontextmanager
async def whole(settings: Settings) -> AsyncIterator[Settings]:
    """Set up and running, in a namespace of its own: the settings of it. Ended as SIGTERM would end it."""
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    stop = asyncio.Event()
    services = [asyncio.create_task(each) for each in (ingress(settings, stop), notifier(settings, stop), workers(settings, stop, "image"))]
    try:
        yield settings
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*services), 60)
