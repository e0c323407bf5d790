"""The request's record, read at a known place: one record, no topic is searched."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError

from headrace import reading
from headrace.explain.facts import Fact, place
from headrace.settings import Settings
from schemas import headers
from schemas.errors import bounded

_POLL_MS = 1000


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
    if not found or found[0].offset != offset or str(event_id).encode() not in (found[0].value or b"").lower():
        return None, None
    record = found[0]
    told = {"key": None if record.key is None else bounded(record.key.decode("utf-8", "replace"), 200), "bytes": len(record.value)}
    written = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
    return Fact(written, "requested", place(topic, partition, offset), told), headers.traceparent(record.headers)
