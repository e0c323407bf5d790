"""Kafka clients, all made here so that they agree."""

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

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
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metadata_max_age_ms=30_000,
        **options,
    )


def admin(settings: Settings) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
