"""Kafka clients, all made here so that they agree."""

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from headrace import kafka_security
from headrace.settings import Settings

MAX_RECORD_BYTES = 2 * 1024 * 1024
"""A dead letter is its record and some headers, so it may be larger than what the request topic took (1 MiB unless configured)."""


def producer(settings: Settings, *, idempotent: bool) -> AIOKafkaProducer:
    """An `acks=all` producer.

    Not idempotent where other people's bytes are forwarded: one record that the broker refuses (too large, bad timestamp) spends a
    sequence number, and every later record of that partition is refused too.
    """
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        **kafka_security.options(settings),
        acks="all",
        enable_idempotence=idempotent,
        max_request_size=MAX_RECORD_BYTES,
        request_timeout_ms=10_000,
    )


def consumer(settings: Settings, *topics: str, **options: Any) -> AIOKafkaConsumer:
    """A consumer that never commits by itself; `options` are aiokafka's."""
    return AIOKafkaConsumer(
        *topics,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        **kafka_security.options(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metadata_max_age_ms=30_000,
        **options,
    )


def admin(settings: Settings) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers, **kafka_security.options(settings))


async def partitions(settings: Settings, topics: list[str]) -> list[TopicPartition]:
    """Every partition of the topics. Raises `UnknownTopicOrPartitionError` for a topic that is not there."""
    client = admin(settings)
    try:
        await client.start()
        # All of them: asking for one by its name would create it on a broker that creates topics by itself.
        known = {found["topic"]: found["partitions"] for found in await client.describe_topics()}
    finally:
        await client.close()
    for topic in topics:
        if topic not in known:
            raise UnknownTopicOrPartitionError(f"there is no topic {topic}: run `headrace setup`")
    return [TopicPartition(topic, each["partition"]) for topic in topics for each in known[topic]]
