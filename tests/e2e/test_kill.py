"""SIGKILL of one service or part while 200 requests are under way: all 200 complete once the supervisor has it up again."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.stack import control
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from tests.e2e.conftest import System
from tests.support.eventually import eventually

REQUESTS = 200


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", ["ingress", "workers", "notifier", "temporal", "kafka", "s3"])
async def test_kill_9_under_load_completes_every_request(system: System, part: str) -> None:
    wire = Wire.of(system.settings, Catalog(shipped()))
    wanted: set[UUID] = set()
    statuses: dict[UUID, str] = {}
    under_way = asyncio.Event()

    async def receive() -> None:
        async for received in completions(system.settings, wire, ["image"], follow=True):
            if (event_id := received.completion["event_id"]) in wanted:
                statuses[event_id] = received.completion["status"]
                if len(statuses) >= REQUESTS // 10:
                    under_way.set()
                if len(statuses) == REQUESTS:
                    return

    receiving = asyncio.create_task(receive())
    try:
        async with RequestProducer(system.settings, wire) as producer:
            for number in range(REQUESTS):
                event_id = uuid4()
                wanted.add(event_id)
                await producer.send(
                    ImageGenerationRequested(
                        event_id=event_id,
                        user_id=f"user-{number % 7}",
                        requested_at=datetime.now(UTC),
                        prompt=f"Ripple number {number}",
                        size="64x64",
                        backend="local",
                    )
                )
        await asyncio.wait_for(under_way.wait(), 60)
        before = {state.part: state.pid for state in control.read_state(system.folder)}[part]
        assert before is not None
        assert len(statuses) < REQUESTS
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(150):
            await receiving
    finally:
        receiving.cancel()
        await wire.close()
    assert list(statuses.values()) == ["SUCCEEDED"] * REQUESTS

    async def healthy() -> bool:
        states = control.read_state(system.folder)
        return all([await control.probe(state) == "healthy" for state in states]) and before not in [state.pid for state in states]

    await eventually(healthy, timeout=30)
