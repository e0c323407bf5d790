"""Puts the demo's records into Kafka."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from headrace import kafka
from headrace.demo.plan import Case
from headrace.producer import RequestProducer, record_of
from headrace.settings import Settings
from headrace.wire import Wire
from schemas import codec, headers
from schemas.command import WorkflowCommandIssued
from schemas.names import Action
from schemas.request import milliseconds
from schemas.topics import Topics


class Sender:
    """The public producer, and a plain one for what that would not send: it refuses what the ingress would refuse."""

    def __init__(self, settings: Settings, wire: Wire, producer: RequestProducer, plain: AIOKafkaProducer) -> None:
        self._topics, self._wire, self._producer, self._plain = Topics(settings.topic_prefix), wire, producer, plain

    async def send(self, case: Case) -> None:
        case.sent()
        if case.request is not None and case.kind in ("request", "repeat"):
            await self._producer.send(case.request, source="headrace/demo")
            return
        topic = self._topics.requests(case.domain)
        await self._plain.send_and_wait(topic, self._value(case), key=case.user.encode(), headers=_headers(case))

    async def command(self, case: Case, action: Action) -> None:
        """Tells a case's run something, through `workflow.commands`. It may come before the request: it waits for it."""
        if case.event_id is None:
            raise ValueError("a record without an event ID has no run")
        command = WorkflowCommandIssued(
            event_id=uuid4(),
            user_id=case.user,
            requested_at=milliseconds(datetime.now(UTC)),
            target_event_id=case.event_id,
            command=action,
            reason="the demo",
        )
        await self._producer.send(command, source="headrace/demo")

    def _value(self, case: Case) -> bytes:
        if case.request is None:
            return case.value or b""
        schema = self._wire.catalog.named(record_of(case.request))
        return codec.frame_single_object(schema, codec.encode_body(schema, case.request.model_dump()))


def _headers(case: Case) -> headers.Headers:
    if case.request is None:
        return []
    return headers.cloud_event(
        event_id=case.request.event_id, event_type=record_of(case.request), source="headrace/demo", time=case.request.requested_at
    )


@contextlib.asynccontextmanager
async def sender(settings: Settings, wire: Wire) -> AsyncIterator[Sender]:
    """Raises `aiokafka.errors.KafkaConnectionError` when no broker answers."""
    plain = kafka.producer(settings, idempotent=False)
    await plain.start()
    try:
        async with RequestProducer(settings, wire) as producer:
            yield Sender(settings, wire, producer, plain)
    finally:
        await plain.stop()
