"""Records that can never be processed: kept byte for byte, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from schemas import headers
from schemas.errors import Rejected, Transient, bounded
from schemas.topics import Topics


class DeadLetters:
    """Writes to `<request topic>.dlq` with a producer that is not idempotent: a refused record must not poison it for the next."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics) -> None:
        self._producer = producer
        self._topics = topics

    async def send(self, record: ConsumerRecord, error: Rejected, receipt: str) -> None:
        """Returns once Kafka has acknowledged it: only then may the record's offset be committed. Raises `Transient`.

        `receipt` says where its sender is told, or why nowhere.
        """
        topic = self._topics.dead_letters(record.topic)
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        added = headers.dead_letter(record.headers, error, **place, time=datetime.now(UTC), receipt=receipt)
        try:
            if record.key is None and record.value is None:
                await self._send_empty(topic, record.timestamp, added)
            else:
                await self._producer.send_and_wait(
                    topic, record.value, key=record.key, timestamp_ms=record.timestamp if record.timestamp >= 0 else None, headers=added
                )
        except KafkaError as failure:
            raise Transient(
                f"{topic} cannot be written ({bounded(repr(failure), 200)}): is it there? `headrace setup` makes it"
            ) from failure

    async def _send_empty(self, topic: str, timestamp: int, added: headers.Headers) -> None:
        # aiokafka's send() asserts a key or a value; a batch takes neither.
        partitions = await self._producer.partitions_for(topic)
        batch = self._producer.create_batch()
        batch.append(key=None, value=None, timestamp=timestamp, headers=added)
        batch.close()
        await (await self._producer.send_batch(batch, topic, partition=min(partitions)))
