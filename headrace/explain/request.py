"""The request's record, read at a known place: one record, no topic is searched."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError

from headrace import reading
from headrace.explain.facts import Fact, place
from headrace.references import References
from headrace.settings import Settings
from schemas import headers
from schemas.errors import Rejected, Transient, bounded

_POLL_MS = 1000
_S3_SECONDS = 2.0


async def request(settings: Settings, event_id: UUID, at: tuple[str, int, int]) -> tuple[Fact | None, str | None]:
    """The record's line and its `traceparent`; nothing when Kafka no longer has it, or has another record there.

    Raises `KafkaError`, and `TimeoutError` by whoever bounds it.
    """
    topic, partition, offset = at
    where = TopicPartition(topic, partition)
    async with reading.consumer(settings) as consumer:
        consumer.assign([where])
        begin, end = (await consumer.beginning_offsets([where]))[where], (await consumer.end_offsets([where]))[where]
        if not begin <= offset < end:
            return None, None
        consumer.seek(where, offset)
        try:
            found = (await consumer.getmany(where, timeout_ms=_POLL_MS, max_records=1)).get(where) or []
        except (OffsetOutOfRangeError, UnknownTopicOrPartitionError):
            return None, None
    # A topic that was made anew has other records at the places of the old ones.
    if not found or found[0].offset != offset:
        return None, None
    record = found[0]
    told = {"key": None if record.key is None else bounded(record.key.decode("utf-8", "replace"), 200), "bytes": len(record.value or b"")}
    wanted = str(event_id).encode()
    elsewhere = b"\n".join(value for name, value in record.headers if name in {headers.CE_ID, headers.CE_DATAREF} and value)
    if wanted not in (record.value or elsewhere).lower():
        return None, None
    if not record.value:
        told |= await _object(settings, record)
    written = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
    return Fact(written, "requested", place(topic, partition, offset), told), headers.traceparent(record.headers)


async def _object(settings: Settings, record: ConsumerRecord) -> dict[str, Any]:
    """What is known of a value that lies in S3, which is not read."""
    references, told = References(settings), dict[str, Any]()
    try:
        reference = headers.dataref(record.value, record.headers)
        if reference is None:
            return {}
        told["dataref"] = bounded(reference, 500)
        async with asyncio.timeout(_S3_SECONDS):
            return {**told, "bytes": await references.size(reference)}
    except TimeoutError:
        return {**told, "not_readable": f"S3 does not answer within {_S3_SECONDS:g} s"}
    except (Rejected, Transient) as error:
        return {**told, "not_readable": str(error)}
    finally:
        references.close()
