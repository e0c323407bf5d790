"""Lag, backlog and dead letters: what waits where, counted from Kafka and Temporal alone."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from headrace import kafka, temporal
from headrace.settings import Settings
from schemas.routes import load_routes
from schemas.topics import Topics


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of records and runs at one moment."""

    lag: int
    """Request records behind the ingress group's committed offsets."""
    dead_letters: int
    """Records in the dead-letter topics."""
    backlog: int
    """Runs that are open."""


async def figures(settings: Settings) -> Figures:
    """Raises what the clients raise when Kafka or Temporal does not answer."""
    topics = Topics(settings.topic_prefix)
    requests = [topics.requests(domain) for domain in load_routes(settings.routes_file).domains()]
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        lag = 0
        for topic in requests:
            ends, begins = await _bounds(consumer, topic)
            for partition, end in ends.items():
                committed = await consumer.committed(partition)
                lag += end - max(begins[partition], committed or 0)
        dead = 0
        for topic in requests:
            ends, begins = await _bounds(consumer, topics.dead_letters(topic))
            dead += sum(end - begins[partition] for partition, end in ends.items())
    finally:
        await consumer.stop()
    client = await temporal.connect(settings)
    counted = await client.count_workflows("ExecutionStatus = 'Running'")
    return Figures(lag, dead, counted.count)


async def _bounds(consumer: AIOKafkaConsumer, topic: str) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    partitions = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
    if not partitions:
        return {}, {}
    return await consumer.end_offsets(partitions), await consumer.beginning_offsets(partitions)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    if topic not in await consumer.topics():
        return []
    return sorted(consumer.partitions_for_topic(topic) or ())
