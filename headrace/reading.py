"""Reading parts of topics: from one offset to another, in no group and without a commit, a fetch at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from headrace import kafka
from headrace.settings import Settings
from schemas.redrive import Range

_POLL_MS = 500
_STUCK_SECONDS = 30.0
_STOP_SECONDS = 5.0


@contextlib.asynccontextmanager
async def consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, and without partitions yet. Raises `KafkaError` when no broker answers."""
    made = kafka.consumer(settings, request_timeout_ms=20_000)
    try:
        await made.start()
        yield made
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(made.stop(), _STOP_SECONDS)


async def ranges(settings: Settings, topics: Sequence[str]) -> list[Range]:
    """All that the topics hold now; partitions that hold nothing are left out. Raises `KafkaError`, also for a topic that is not there."""
    partitions = await kafka.partitions(settings, list(topics))
    async with consumer(settings) as asking:
        begin, end = await asking.beginning_offsets(partitions), await asking.end_offsets(partitions)
    return [
        Range(topic=each.topic, partition=each.partition, start=begin[each], end=end[each])
        for each in sorted(partitions)
        if begin[each] < end[each]
    ]


async def records(settings: Settings, wanted: Sequence[Range]) -> AsyncGenerator[ConsumerRecord, None]:
    """The records of the ranges, each partition's in order. Wrap it in `contextlib.aclosing` when you may leave it early.

    Raises `KafkaError`, `KafkaTimeoutError` when Kafka goes away meanwhile.
    """
    if not wanted:
        return
    async with consumer(settings) as reading, contextlib.aclosing(read(reading, wanted)) as found:
        async for record in found:
            yield record


async def read(reading: AIOKafkaConsumer, wanted: Sequence[Range]) -> AsyncGenerator[ConsumerRecord, None]:
    """The same with a consumer that is there; one range for each partition."""
    ends = {TopicPartition(each.topic, each.partition): each.end for each in wanted if each.start < each.end}
    reading.assign(list(ends))
    for each in wanted:
        if each.start < each.end:
            reading.seek(TopicPartition(each.topic, each.partition), each.start)
    moved = time.monotonic()
    while ends:
        batch = await reading.getmany(*ends, timeout_ms=_POLL_MS)
        for partition, found in batch.items():
            for record in found:
                if record.offset < ends[partition]:
                    yield record
        if batch:
            moved = time.monotonic()
        elif time.monotonic() - moved > _STUCK_SECONDS:
            raise KafkaTimeoutError(f"no record for {_STUCK_SECONDS:g} s, and {len(ends)} partitions are not read to their end")
        # The position, not the last record's offset: what ends a range may be a transaction's marker.
        ends = {partition: end for partition, end in ends.items() if await reading.position(partition) < end}
