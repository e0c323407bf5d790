"""From produce to completion at a steady rate, and what the idle stack weighs."""

from __future__ import annotations

import asyncio
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from uuid import UUID, uuid4

from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.stack import control
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested


def memory(state_dir: Path) -> dict[str, float]:
    """Resident MiB of each part, shared pages counted in each."""
    rss: dict[str, float] = {}
    for part in control.read_state(state_dir):
        if part.part != "temporal-ui" and part.pid is not None:
            asked = subprocess.run(["ps", "-o", "rss=", "-p", str(part.pid)], capture_output=True, text=True, check=True)  # noqa: S603, S607
            rss[part.part] = int(asked.stdout) / 1024
    return rss


async def latency(settings: Settings, *, rate: float, seconds: float) -> dict[str, float]:
    """Seconds from before the send to the completion in hand, `local` backend, 512x512."""
    wire = Wire.of(settings, Catalog(shipped()))
    sent: dict[UUID, float] = {}
    took: dict[UUID, float] = {}
    total = int(rate * seconds)

    async def receive() -> None:
        async for received in completions(settings, wire, ["image"], follow=True):
            event_id = received.completion["event_id"]
            if event_id in sent:
                assert received.completion["status"] == "SUCCEEDED", received.completion
                took[event_id] = time.monotonic() - sent[event_id]
                if len(took) == total:
                    return

    receiving = asyncio.create_task(receive())
    try:
        async with RequestProducer(settings, wire) as producer:
            began = time.monotonic()
            for number in range(total):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                event_id = uuid4()
                sent[event_id] = time.monotonic()
                await producer.send(
                    ImageGenerationRequested(
                        event_id=event_id,
                        user_id=f"user-{number % 10}",
                        requested_at=datetime.now(UTC),
                        prompt=f"Picture number {number} of a mill race",
                        size="512x512",
                        backend="local",
                    )
                )
            async with asyncio.timeout(60):
                await receiving
    finally:
        receiving.cancel()
        await wire.close()
    cuts = quantiles(took.values(), n=100)
    return {
        "requests": total,
        "rate_per_second": rate,
        "p50_ms": cuts[49] * 1000,
        "p99_ms": cuts[98] * 1000,
        "max_ms": max(took.values()) * 1000,
    }
