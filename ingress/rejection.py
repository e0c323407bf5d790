"""The receipt for a bad request whose event ID can be read: a completion with the status REJECTED.

Its ID is drawn from the event ID and the record's bytes, or the place of those that lie elsewhere. So it is the same one however often
the record is read, and never the completion of an accepted event: not even that of the event whose ID a conflicting record has.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from headrace import tracing
from headrace.registry import SchemaRefusedError
from headrace.wire import Wire
from ingress.decode import RejectedEvent
from schemas import headers
from schemas.completion import Completion, CompletionError, Status, completion_record
from schemas.errors import MAX_MESSAGE, Rejected, Transient, bounded
from schemas.headers import Headers
from schemas.ids import rejection_id
from schemas.request import EventId, Model, Time, milliseconds
from schemas.topics import Topics

_SOURCE = "headrace/ingress"
_LONGEST_USER_ID = 128

_EVENT_ID: TypeAdapter[UUID] = TypeAdapter(EventId)
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Ready to be sent."""

    topic: str
    record: str
    completion: Completion[Model]
    key: bytes | None
    headers: Headers

    def in_words(self) -> str:
        """As the dead letter's header has it: where to find the receipt."""
        return str(self.completion.completion_id)


@dataclass(frozen=True, slots=True)
class NoReceipt:
    """Nobody can be told."""

    outcome: str
    """For the metric: `no_event_id`, `no_completion_record`."""
    why: str

    def in_words(self) -> str:
        return f"none: {self.why}"


class Rejections:
    """Publishes to the completion topic of the record's domain."""

    def __init__(self, producer: AIOKafkaProducer, wire: Wire, topics: Topics) -> None:
        self._producer = producer
        self._wire = wire
        self._topics = topics

    def receipt(self, record: ConsumerRecord, error: Rejected) -> Receipt | NoReceipt:
        """What the sender of a refused record is told. Costs no waiting."""
        if not isinstance(error, RejectedEvent):
            return NoReceipt("no_event_id", "its event ID cannot be read for certain")
        name = completion_record(error.record)
        if not error.record.endswith("Requested") or self._wire.catalog.by_name(name) is None:
            return NoReceipt("no_completion_record", f"no completion record is known for {bounded(error.record, 200)}")
        try:
            event_id = _EVENT_ID.validate_python(error.value.get("event_id"))
        except ValidationError:
            return NoReceipt("no_event_id", "its event ID cannot be read for certain")
        completion = _completion(record, error, event_id)
        sent = headers.cloud_event(
            event_id=completion.completion_id,
            event_type=name,
            source=_SOURCE,
            time=completion.completed_at,
            subject=str(event_id),
            traceparent=tracing.traceparent() or headers.traceparent(record.headers),
        )
        sent += headers.refused(error, topic=record.topic, partition=record.partition, offset=record.offset, first=error.first)
        return Receipt(self._topics.completions(error.record.split(".")[-2]), name, completion, record.key, sent)

    async def send(self, receipt: Receipt) -> None:
        """Returns once Kafka has acknowledged it. Raises `Transient`."""
        try:
            value = await self._wire.encode(receipt.topic, receipt.record, receipt.completion.model_dump())
        except SchemaRefusedError as refused:  # nothing is wrong with the record: an operator sets the registry right
            raise Transient(str(refused)) from refused
        try:
            await self._producer.send_and_wait(receipt.topic, value, key=receipt.key, headers=receipt.headers)
        except KafkaError as failure:
            raise Transient(f"{receipt.topic} cannot be written ({failure!r}): is it there? `headrace setup` makes it") from failure


def _completion(record: ConsumerRecord, error: RejectedEvent, event_id: UUID) -> Completion[Model]:
    """Whatever else is wrong with the request, its sender is told: a field that cannot be read is left empty."""
    place = f" ({record.topic}, partition {record.partition}, offset {record.offset})"
    sent = record.value or next((value for name, value in record.headers if name == headers.CE_DATAREF and value), b"")
    return Completion[Model](
        completion_id=rejection_id(event_id, hashlib.sha256(sent).hexdigest()),
        event_id=event_id,
        user_id=_text(error.value.get("user_id")),
        workflow_id=None,
        run_id=None,
        status=Status.REJECTED,
        result=None,
        error=CompletionError(code=error.reason, message=bounded(error.message, MAX_MESSAGE - len(place)) + place),
        requested_at=_requested_at(record, error.value.get("requested_at")),
        started_at=None,
        completed_at=milliseconds(datetime.now(UTC)),
    )


def _text(value: Any) -> str:
    return bounded(value, _LONGEST_USER_ID) if isinstance(value, str) else ""


def _requested_at(record: ConsumerRecord, value: Any) -> datetime:
    try:
        return milliseconds(_TIME.validate_python(value))
    except ValidationError:
        return datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
