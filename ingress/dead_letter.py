"""Records that can never be processed: kept byte for byte, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from ingress.ledger_rows import Burial
from ingress.rejection import NoReceipt, Receipt
from schemas import headers
from schemas.errors import Rejected, Transient, bounded
from schemas.event import RejectedEvent
from schemas.topics import Topics


class DeadLetters:
    """Writes to `<request topic>.dlq` with a producer that is not idempotent: a refused record must not poison it for the next."""

    def __init__(self, producer: AIOKafkaProducer, topics: Topics) -> None:
        self._producer = producer
        self._topics = topics

    async def send(self, record: ConsumerRecord, error: Rejected, receipt: str) -> RecordMetadata:
        """Where it is, once Kafka has acknowledged it: only then may the record's offset be committed. Raises `Transient`.

        `receipt` says where its sender is told, or why nowhere.
        """
        topic = self._topics.dead_letters(record.topic)
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        added = headers.dead_letter(record.headers, error, **place, time=datetime.now(UTC), receipt=receipt)
        try:
            if record.key is None and record.value is None:
                return await self._send_empty(topic, record.timestamp, added)
            return await self._producer.send_and_wait(
                topic, record.value, key=record.key, timestamp_ms=record.timestamp if record.timestamp >= 0 else None, headers=added
            )
        except KafkaError as failure:
            raise Transient(
                f"{topic} cannot be written ({bounded(repr(failure), 200)}): is it there? `headrace setup` makes it"
            ) from failure

    async def _send_empty(self, topic: str, timestamp: int, added: headers.Headers) -> RecordMetadata:
        # aiokafka's send() asserts a key or a value; a batch takes neither.
        partitions = await self._producer.partitions_for(topic)
        batch = self._producer.create_batch()
        batch.append(key=None, value=None, timestamp=timestamp, headers=added)
        batch.close()
        return await (await self._producer.send_batch(batch, topic, partition=min(partitions)))


def burial(record: ConsumerRecord, error: Rejected, dead: RecordMetadata, receipt: Receipt | NoReceipt) -> Burial:
    """What is kept of a dead letter at `dead`, for those who ask what became of an event."""
    return Burial(
        record.topic,
        record.partition,
        record.offset,
        _event_id(record, error),
        error.reason.value,
        # PostgreSQL keeps no NUL in a text, and no text that is not UTF-8: such a row would never be written.
        error.message.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode(),
        dead.topic,
        dead.partition,
        dead.offset,
        receipt.completion.completion_id if isinstance(receipt, Receipt) else None,
    )


def _event_id(record: ConsumerRecord, error: Rejected) -> UUID | None:
    """The value's, else that of the header `ce_id`: as `headrace dlq list` shows it."""
    found = error.value.get("event_id") if isinstance(error, RejectedEvent) else None
    if found is None:
        found = headers.ce_id(record.headers)
    try:
        return None if found is None else UUID(str(found))
    except ValueError:
        return None
