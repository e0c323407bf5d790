"""Reads a run's history: records and dead letters from Kafka, runs from Temporal, rows from the ledger."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headrace import kafka
from headrace.settings import Settings
from headrace.store.tables import LEDGER
from schemas import headers
from tests.faults.history import Letter, Partition, Place, Record, Row, Run, StartCall
from tests.faults.load import NUMBER, Sent
from tests.support.temporal_proxy import START, Call

_AT_ONCE = 16
_VISIBLE_SECONDS = 5.0
_OWN_HEADERS = 7
"""How many a dead letter adds."""


class Reader:
    """Reads topics and committed offsets, without being a member of the group."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._settings = settings
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: Settings) -> AsyncIterator[Reader]:
        consumer = kafka.consumer(settings, group_id=settings.ingress_group, fetch_max_wait_ms=50)
        await consumer.start()
        try:
            yield cls(settings, consumer)
        finally:
            await consumer.stop()

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[Partition, int]:
        return {(each.topic, each.partition): end for each, end in (await self._consumer.end_offsets(partitions)).items()}

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[Partition, int]:
        found = await asyncio.gather(*(self._consumer.committed(each) for each in partitions))
        return {(each.topic, each.partition): offset or 0 for each, offset in zip(partitions, found, strict=True)}

    async def rewind(self, partitions: Sequence[TopicPartition]) -> None:
        """Sets the group back to the beginning; it has no members."""
        self._consumer.assign(partitions)
        await self._consumer.commit(dict.fromkeys(partitions, 0))

    async def read(self, partitions: Sequence[TopicPartition]) -> list[ConsumerRecord]:
        """Every record."""
        if not partitions:
            return []
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        ends = await self._consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await self._consumer.getmany(timeout_ms=100)).values():
                found += records
        return found


def records_of(found: Sequence[ConsumerRecord], sent: Sequence[Sent]) -> list[Record]:
    """Each with what the plan says of its number."""
    made = []
    for each in found:
        number = int(dict(each.headers)[NUMBER] or b"")
        place = Place(each.topic, each.partition, each.offset)
        made.append(Record(place, each.key, each.value, tuple(each.headers), each.timestamp, sent[number].expected))
    return made


def letters_of(found: Sequence[ConsumerRecord]) -> list[Letter]:
    made = []
    for each in found:
        own = dict(each.headers[-_OWN_HEADERS:])
        source = Place(_text(own[headers.DLQ_TOPIC]), int(_text(own[headers.DLQ_PARTITION])), int(_text(own[headers.DLQ_OFFSET])))
        original = tuple(each.headers[:-_OWN_HEADERS])
        made.append(Letter(source, _text(own[headers.DLQ_REASON]), each.key, each.value, original, each.timestamp))
    return made


def _text(value: bytes | None) -> str:
    assert value is not None
    return value.decode()


async def rows_of(engine: AsyncEngine) -> dict[UUID, Row]:
    async with engine.connect() as connection:
        found = (await connection.execute(select(LEDGER))).all()
    return {
        row.event_id: Row(row.event_id, Place(row.topic, row.partition, row.offset), row.disposition, row.workflow_id, row.run_id)
        for row in found
    }


async def runs_of(client: Client, since: float, at_least: int) -> list[Run]:
    """Every run that was started since then, by whatever; waits a while for visibility, which lags behind, to show `at_least` so many."""
    query = f"StartTime >= '{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(since - 1))}'"
    found: set[tuple[str, str]] = set()
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        found |= {(run.id, run.run_id) async for run in client.list_workflows(query) if run.start_time.timestamp() >= since}
        if len(found) >= at_least or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    room = asyncio.Semaphore(_AT_ONCE)

    async def read(workflow_id: str, run_id: str) -> Run | None:
        async with room:
            try:
                history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:  # deleted, and visibility does not know yet
                    return None
                raise
        return _run(workflow_id, run_id, history.events)

    return [run for run in await asyncio.gather(*(read(*each) for each in found)) if run is not None]


def _run(workflow_id: str, run_id: str, events: Sequence[Any]) -> Run:
    first = events[0]
    given = json.loads(first.workflow_execution_started_event_attributes.input.payloads[0].data)
    origin, key = _origin(given)
    signals = tuple(
        UUID(json.loads(event.workflow_execution_signaled_event_attributes.input.payloads[0].data)["event_id"])
        for event in events
        if event.HasField("workflow_execution_signaled_event_attributes")
    )
    return Run(workflow_id, run_id, first.event_time.ToNanoseconds(), origin, key, given["request"]["prompt"], signals)


def calls_of(calls: Sequence[Call]) -> list[StartCall]:
    made = []
    for call in calls:
        if call.method == START:
            origin, key = _origin(json.loads(call.payload))
            made.append(StartCall(call.number, call.workflow_id, origin, key, call.forwarded))
    return made


def _origin(given: dict[str, Any]) -> tuple[Place, bytes | None]:
    origin = given["origin"]
    key = None if origin["key"] is None else urlsafe_b64decode(origin["key"] + "=" * (-len(origin["key"]) % 4))
    return Place(origin["topic"], origin["partition"], origin["offset"]), key
