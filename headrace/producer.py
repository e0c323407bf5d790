"""The Python producer of requests and commands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from headrace import tracing
from headrace.idempotent import IdempotentProducer, RecordTooLarge
from headrace.references import References
from headrace.settings import Settings
from headrace.wire import Wire
from schemas import headers, models
from schemas.command import WorkflowCommandIssued
from schemas.completion import Published
from schemas.request import Request
from schemas.topics import Topics

_RECORDS: dict[type[Request], str] = {model: record for record, model in {**models.REQUESTS, **models.COMMANDS}.items()}
_AT_ONCE = 500


class RequestProducer:
    """Sends requests, and commands to their workflows, as the ingress takes them.

        wire = Wire.of(settings, Catalog(shipped()))
        async with RequestProducer(settings, wire) as producer:
            await producer.send(ImageGenerationRequested(...))

    Entering raises aiokafka's `KafkaConnectionError` when no broker answers.
    """

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self._wire = wire
        self._topics = Topics(settings.topic_prefix)
        self._producer = IdempotentProducer(settings)
        self._references = References(settings)
        self._refused: dict[str, int] = {}
        """The smallest value that was too large, by topic: topics have limits of their own, and few clients may ask for them."""

    async def __aenter__(self) -> Self:
        await self._producer.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._references.close()
        await self._producer.__aexit__(kind, error, trace)

    async def send(
        self,
        request: Request,
        *,
        record: str | None = None,
        key: bytes | str | None = None,
        traceparent: str | None = None,
        source: str = "headrace/producer",
    ) -> Published:
        """Where Kafka acknowledged the request; the completion will carry its event ID and its key. A command has none.

        Args:
            request: What to send.
            record: Full name of its record; needed only for one that does not ship with Headrace.
            key: Requests of the same key are started in order; unless given the user ID, or the target of a command.
            traceparent: W3C trace context of the caller; that of the current span unless given.
            source: CloudEvents' `source`.

        It waits for as long as the broker is away, and a wait that is cut off does not call the request back: send it again with the same
        event ID, which is the same request. A request that is too large for its topic goes by reference: its value is stored in the bucket,
        then the record is sent with the place in its header `ce_dataref`.

        Raises `ValueError` for a request that does not fit its record, `schemas.errors.Transient` while the schema registry is away, or S3
        for a request that goes by reference, `headrace.references.NotStored` for one that cannot, and `aiokafka.errors.KafkaError`.
        """
        record = record or record_of(request)
        if isinstance(request, WorkflowCommandIssued):
            # The commands of one target keep their order.
            topic, default = self._topics.commands, str(request.target_event_id)
        else:
            topic, default = self._topics.requests(record.split(".")[-2]), request.user_id
        if key is None:
            key = default
        key = key.encode() if isinstance(key, str) else key
        value = await self._wire.encode(topic, record, request.model_dump())
        sent = headers.cloud_event(
            event_id=request.event_id,
            event_type=record,
            source=source,
            time=datetime.now(UTC),
            traceparent=traceparent or tracing.traceparent(),
        )
        if len(value) < self._refused.get(topic, len(value) + 1):
            try:
                return await self._producer.send(topic, key=key, value=value, headers=sent)
            except RecordTooLarge:
                if topic == self._topics.commands:
                    raise
                self._refused[topic] = len(value)
        # The object first: who reads the record must find it.
        reference = await self._references.store(topic, request.event_id, value)
        return await self._producer.send(topic, key=key, value=b"", headers=[*sent, (headers.CE_DATAREF, reference.encode())])

    async def send_many(self, requests: Sequence[Request], *, record: str | None = None) -> list[Published]:
        """Sends all of them, some hundreds at a time; the answers are in the order of the requests. Raises the first error of `send`."""
        published: list[Published] = []
        for start in range(0, len(requests), _AT_ONCE):
            chunk = requests[start : start + _AT_ONCE]
            published += await asyncio.gather(*(self.send(request, record=record) for request in chunk))
        return published


def record_of(request: Request) -> str:
    """Raises `ValueError` for a class that does not ship with Headrace."""
    record = _RECORDS.get(type(request))
    if record is None:
        raise ValueError(f"{type(request).__name__} belongs to no record that ships with Headrace: pass record=")
    return record
