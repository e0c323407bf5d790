"""Producers compress as they like: what they send is read."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from headrace import setup
from headrace.settings import Settings
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed, ledger, running


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_producers_compression_is_its_own_choice(settings: Settings, codec: str) -> None:
    await setup.run(settings, lambda _: None)
    event_id = uuid4()
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "compression.type": codec})
    producer.produce(f"{settings.topic_prefix}image.requests", framed(fields(event_id=event_id, prompt="A mill " * 100)))
    assert await asyncio.to_thread(producer.flush, 30) == 0
    async with running(settings) as task:

        async def started() -> bool:
            assert not task.done(), task.exception()
            return bool(await ledger(settings))

        await eventually(started, timeout=40)
