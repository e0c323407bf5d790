"""What this process may do, found out without leaving anything behind: `headrace doctor` asks."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, kafka_security, s3
from headrace.settings import Settings
from headrace.store.tables import METADATA
from schemas.objects import TEMPORARY

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_DENIED = TopicAuthorizationFailedError.errno
_PROBES = f"{TEMPORARY}doctor/"
"""Of objects that live for a moment; what a killed doctor leaves there maintenance removes."""


async def may_not_write(settings: Settings, topics: Collection[str]) -> list[str]:
    """Of the topics those that this process may not produce to. Raises `KafkaError`.

    The request has no record batch at all: a broker looks at the rights first, and then refuses it (INVALID_RECORD). Nothing is written.
    """
    async with _leaders(settings, topics) as (client, by_leader):
        answers = [
            await client.send(node, ProduceRequest(None, -1, 5000, [(topic, [(0, b"")]) for topic in led]))
            for node, led in by_leader.items()
        ]
    return sorted(topic for answer in answers for topic, partitions in answer.topics if partitions[0][1] == _DENIED)


async def may_not_read(settings: Settings, topics: Collection[str]) -> list[str]:
    """Of the topics those that this process may not consume. Raises `KafkaError`."""
    async with _leaders(settings, topics) as (client, by_leader):
        answers = [
            # At an offset that no partition reaches soon: there is nothing to be sent.
            await client.send(node, FetchRequest(0, 0, 1, 0, [(topic, [(0, 2**62, 1)]) for topic in led]))
            for node, led in by_leader.items()
        ]
    return sorted(topic for answer in answers for topic, partitions in answer.topics if partitions[0][1] == _DENIED)


async def may_use_group(settings: Settings, topic: str) -> bool:
    """Whether the ingress group's offsets can be seen, without joining it. Raises `KafkaError`."""
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        await consumer.committed(TopicPartition(topic, 0))
    except GroupAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()
    return True


@contextlib.asynccontextmanager
async def _leaders(settings: Settings, topics: Collection[str]) -> AsyncIterator[tuple[AIOKafkaClient, dict[int, list[str]]]]:
    """A client, and the topics by the broker that leads their first partition."""
    client = AIOKafkaClient(bootstrap_servers=settings.kafka_bootstrap_servers, **kafka_security.options(settings))
    try:
        await client.bootstrap()
        await client.set_topics(list(topics))
        led: dict[int, list[str]] = {}
        for topic in topics:
            leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
            if leader is None or leader < 0:
                raise UnknownTopicOrPartitionError(f"{topic} is missing, has no leader, or may not be described: run `headrace setup`")
            led.setdefault(leader, []).append(topic)
        yield client, led
    finally:
        await client.close()


async def s3_round_trip(settings: Settings) -> float:
    """Puts, gets and deletes an object of a few bytes; by how many seconds S3's clock is ahead of this machine's.

    Raises what boto3 raises for the step that is refused.
    """
    client = s3.client(settings)
    try:
        return await asyncio.to_thread(_put_get_delete, client, settings.s3_bucket)
    finally:
        client.close()


def _put_get_delete(client: S3Client, bucket: str) -> float:
    key = f"{_PROBES}{uuid4()}"
    answer = client.put_object(Bucket=bucket, Key=key, Body=b"headrace doctor")
    now = time.time()
    try:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
    finally:
        client.delete_object(Bucket=bucket, Key=key)
    dated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return 0.0 if dated is None else parsedate_to_datetime(dated).timestamp() - now


async def database_refuses(engine: AsyncEngine) -> list[str]:
    """What the database does not permit, in words; empty when tables may be made and all of ours be written. Writes nothing."""
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Takes the write lock, which a file that may not be written does not give.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await connection.exec_driver_sql(
                f"PRAGMA user_version = {(await connection.exec_driver_sql('PRAGMA user_version')).scalar_one()}"
            )
            await connection.rollback()
            return []
        refused = []
        if not (await connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))).scalar_one():
            refused.append("CREATE in its schema (which `headrace setup` needs)")
        privileges = text("SELECT has_table_privilege(to_regclass(:name), CAST(:right AS text))")  # null without the table
        for table in METADATA.tables:
            lacking = [
                right
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
                if (await connection.execute(privileges, {"name": table, "right": right})).scalar_one() is False
            ]
            if lacking:
                refused.append(f"{', '.join(lacking)} on {table}")
        return refused


async def database_ahead(engine: AsyncEngine) -> float:
    """By how many seconds the database's clock is ahead of this machine's; 0 for SQLite, which has none."""
    if engine.dialect.name == "sqlite":
        return 0.0
    async with engine.connect() as connection:
        before = time.time()
        there: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        after = time.time()
    return there.astimezone(UTC).timestamp() - (before + after) / 2
