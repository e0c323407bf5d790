"""The receipt for a bad request that can still be read: a completion with the status REJECTED."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from headrace import tracing
from headrace.wire import Wire
from ingress.decode import RejectedEvent
from schemas import headers
from schemas.completion import Completion, CompletionError, Status, completion_record
from schemas.errors import Transient
from schemas.ids import rejection_id
from schemas.request import Model, OpenRequest, Request, milliseconds
from schemas.topics import Topics

_SOURCE = "headrace/ingress"


class Rejections:
    """Publishes to the completion topic of the record's domain."""

    def __init__(self, producer: AIOKafkaProducer, wire: Wire, topics: Topics) -> None:
        self._producer = producer
        self._wire = wire
        self._topics = topics

    async def send(self, record: ConsumerRecord, error: RejectedEvent) -> None:
        """Returns once Kafka has acknowledged it; does nothing when nobody can be told. Raises `Transient`."""
        name = completion_record(error.record)
        if not error.record.endswith("Requested") or self._wire.catalog.by_name(name) is None:
            return
        try:
            request: Request = OpenRequest.model_validate(error.value)
        except ValidationError:
            return  # without an identity there is nobody to answer to
        now = milliseconds(datetime.now(UTC))
        completion = Completion[Model](
            completion_id=rejection_id(request.event_id, hashlib.sha256(record.value or b"").hexdigest()),
            event_id=request.event_id,
            user_id=request.user_id,
            workflow_id=None,
            run_id=None,
            status=Status.REJECTED,
            result=None,
            error=CompletionError(code=error.reason, message=error.message),
            requested_at=request.requested_at,
            started_at=None,
            completed_at=now,
        )
        topic = self._topics.completions(error.record.split(".")[-2])
        value = await self._wire.encode(topic, name, completion.model_dump())
        sent = headers.cloud_event(
            event_id=completion.completion_id,
            event_type=name,
            source=_SOURCE,
            time=now,
            subject=str(request.event_id),
            traceparent=tracing.traceparent() or headers.traceparent(record.headers),
        )
        try:
            await self._producer.send_and_wait(topic, value, key=record.key, headers=sent)
        except KafkaError as failure:
            raise Transient(f"{topic} cannot be written ({failure!r}): is it there? `headrace setup` makes it") from failure
