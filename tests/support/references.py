"""Requests by reference: objects beside their records, as a sender without our checks makes them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from headrace import kafka, s3
from headrace.settings import Settings
from schemas.headers import CE_DATAREF, Headers
from schemas.topics import Topics


async def put(settings: Settings, value: bytes, key: str | None = None) -> str:
    """The reference of an object that was stored now."""
    key = key or f"requests/{uuid4()}"
    await asyncio.to_thread(s3.client(settings).put_object, Bucket=settings.s3_bucket, Key=key, Body=value)
    return f"s3://{settings.s3_bucket}/{key}"


async def refer(
    settings: Settings,
    *references: str,
    value: bytes | None = b"",
    key: bytes | None = b"key",
    partition: int | None = None,
    topic: str | None = None,
    sent: Headers | None = None,
) -> None:
    """Sends one record with these references; a good sender has one."""
    topic = topic or Topics(settings.topic_prefix).requests("image")
    headers: Headers = [*(sent or []), *((CE_DATAREF, each.encode()) for each in references)]
    async with kafka.producer(settings, idempotent=True) as producer:
        await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)
