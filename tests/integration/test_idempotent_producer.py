"""The producer on a real broker: what poisons an idempotent one and what becomes of it."""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from headrace import kafka
from headrace.idempotent import IdempotentProducer, RecordRefused
from headrace.settings import Settings


async def _topic(settings: Settings, max_bytes: int) -> str:
    name = f"{settings.topic_prefix}{uuid4().hex[:8]}"
    admin = kafka.admin(settings)
    await admin.start()
    configs = {"max.message.bytes": str(max_bytes)}
    await admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=1, topic_configs=configs)])
    await admin.close()
    return name


async def _send(producer: IdempotentProducer, topic: str, value: bytes) -> int:
    return (await producer.send(topic, key=b"k", value=value, headers=[])).offset


async def test_record_too_large_for_the_broker_does_not_poison_the_next_ones(settings: Settings) -> None:
    topic = await _topic(settings, 50_000)
    async with IdempotentProducer(settings) as producer:
        assert await _send(producer, topic, b"before") == 0
        with pytest.raises(RecordRefused, match="refuses a record of 100000 bytes"):
            await _send(producer, topic, os.urandom(100_000))
        assert [await _send(producer, topic, b"after") for _ in range(3)] == [1, 2, 3]


async def test_small_records_in_the_batch_of_a_refused_one_are_not_lost(settings: Settings) -> None:
    topic = await _topic(settings, 4_000)
    async with IdempotentProducer(settings) as producer:
        await _send(producer, topic, b"warm")
        values = [b"small", os.urandom(6_000), b"small", b"small"]
        results = await asyncio.gather(*(_send(producer, topic, value) for value in values), return_exceptions=True)
        assert isinstance(results[1], RecordRefused)
        assert [type(result) for result in (results[0], *results[2:])] == [int] * 3, results


async def test_record_too_large_for_the_client_is_refused_before_it_spends_a_sequence_number(settings: Settings) -> None:
    topic = await _topic(settings, 50_000)
    async with IdempotentProducer(settings) as producer:
        with pytest.raises(RecordRefused):
            await _send(producer, topic, bytes(kafka.MAX_RECORD_BYTES + 1))
        assert await _send(producer, topic, b"after") == 0


async def test_broker_away_at_the_start_is_told_and_leaves_nothing_open(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(KafkaConnectionError):
        async with IdempotentProducer(away):
            pass


async def test_leaving_with_an_unsent_record_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = await _topic(settings, 50_000)
    producer = IdempotentProducer(settings, stop_seconds=0.1)
    await producer.__aenter__()
    await _send(producer, topic, b"first")
    # A broker that no longer answers, which an idempotent producer waits for without end.
    current = producer._current
    assert current is not None
    monkeypatch.setattr(current._sender, "_send_produce_req", lambda *_: asyncio.Event().wait())
    pending = asyncio.create_task(_send(producer, topic, b"stuck"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await producer.__aexit__(None, None, None)
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)


async def test_missing_topic_is_an_error_and_not_an_endless_wait(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with IdempotentProducer(settings) as producer:
        current = producer._current
        assert current is not None
        monkeypatch.setattr(current.client, "_request_timeout_ms", 300)
        with pytest.raises(UnknownTopicOrPartitionError):
            await _send(producer, f"{settings.topic_prefix}nowhere", b"value")
