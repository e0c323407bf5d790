"""Reading a request topic again: what each record would do, said by the ledger and by Temporal before anything is done."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from headrace import kafka
from headrace.reading import records
from headrace.references import References
from headrace.settings import Settings
from headrace.store.tables import LEDGER
from headrace.wire import Wire
from schemas import names
from schemas.errors import Rejected
from schemas.event import Reader
from schemas.redrive import Range

_AT_ONCE = 500
_ASKED_AT_ONCE = 50
"""Event IDs in one query of Temporal's visibility."""
_NOT_YET = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""What a broker answers that has just started, or has not had a group before."""
_COORDINATOR_SECONDS = 10.0
_NOT_ACCEPTED = ("pending", "rejected")
"""Dispositions of the ledger under which an event is started when it comes again."""


class Outcome(StrEnum):
    """What a record would do if the ingress read it again."""

    START = "start"
    """Its event was never started."""
    DUPLICATE = "duplicate"
    CHANGED = "changed"
    """Its event ID is that of another event, or of the same one with other values: an `id_conflict`."""
    REFUSED = "refused"
    """It would be dead-lettered."""
    WAITING = "waiting"
    """The ingress has not come to it yet, and will."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A record and what it would do."""

    record: ConsumerRecord
    outcome: Outcome
    event_id: UUID | None = None
    why: str | None = None
    name: str = ""
    """Full name of its Avro record; empty when it cannot be read."""
    payload_sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Replay:
    """What planning asks."""

    settings: Settings
    wire: Wire
    reader: Reader
    database: AsyncEngine
    client: Client
    references: References

    async def plan(self, wanted: Sequence[Range], committed: Mapping[TopicPartition, int]) -> AsyncGenerator[list[Planned], None]:
        """Every record of the ranges, some hundreds at a time, and what it would do.

        Args:
            wanted: What is read.
            committed: Where the ingress goes on, by partition; what is not there it has not begun.

        Raises as Kafka's, the database's and Temporal's clients do, and `schemas.errors.Transient` while the schema registry or S3 is away.

        """
        # Of the events that would start: the second record of one in the range does not.
        starting: dict[UUID, bytes] = {}
        chunk: list[Planned] = []
        async with contextlib.aclosing(records(self.settings, wanted)) as found:
            async for record in found:
                chunk.append(await self._read(record, committed))
                if len(chunk) == _AT_ONCE:
                    yield await self._judged(chunk, starting)
                    chunk = []
        if chunk:
            yield await self._judged(chunk, starting)

    async def _read(self, record: ConsumerRecord, committed: Mapping[TopicPartition, int]) -> Planned:
        if record.offset >= committed.get(TopicPartition(record.topic, record.partition), 0):
            return Planned(record, Outcome.WAITING)
        try:
            decoded = await self.wire.decode(await self.references.value(record))
            event = self.reader.read(record.topic, record.headers, decoded.record, decoded.value)
        except Rejected as error:
            return Planned(record, Outcome.REFUSED, why=str(error))
        return Planned(record, Outcome.START, event.request.event_id, name=event.record, payload_sha256=event.payload_sha256)

    async def _judged(self, chunk: Sequence[Planned], starting: dict[UUID, bytes]) -> list[Planned]:
        open_ = {each.event_id for each in chunk if each.event_id is not None}
        ledger = await self._ledger(open_)
        accepted = {event_id for event_id, (disposition, _, _) in ledger.items() if disposition not in _NOT_ACCEPTED}
        known = await self._known_to_temporal(open_ - accepted)
        return [self._outcome(each, ledger, known, starting) for each in chunk]

    def _outcome(
        self, planned: Planned, ledger: Mapping[UUID, tuple[str, str, bytes]], known: set[UUID], starting: dict[UUID, bytes]
    ) -> Planned:
        event_id = planned.event_id
        if event_id is None:
            return planned
        disposition, name, payload = ledger.get(event_id, ("rejected", "", b""))
        if disposition != "rejected" and (name, payload) != (planned.name, planned.payload_sha256):
            return replace(planned, outcome=Outcome.CHANGED, why="the ledger has its event ID with other values")
        if disposition not in _NOT_ACCEPTED:
            return replace(planned, outcome=Outcome.DUPLICATE)
        if event_id in known:
            return replace(planned, outcome=Outcome.DUPLICATE, why="Temporal has its run, the ledger has not")
        return _in_range(planned, event_id, starting)

    async def _ledger(self, event_ids: set[UUID]) -> dict[UUID, tuple[str, str, bytes]]:
        row = LEDGER.c
        async with self.database.connect() as connection:
            found = await connection.execute(
                select(row.event_id, row.disposition, row.record, row.payload_sha256).where(row.event_id.in_(event_ids))
            )
            return {event_id: (disposition, record, payload) for event_id, disposition, record, payload in found}

    async def _known_to_temporal(self, event_ids: set[UUID]) -> set[UUID]:
        known: set[UUID] = set()
        asked = sorted(event_ids)
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            some = {str(event_id): event_id for event_id in asked[start : start + _ASKED_AT_ONCE]}
            query = f"{names.SEARCH_ATTRIBUTE_EVENT_ID} IN ({', '.join(repr(each) for each in some)})"
            async for run in self.client.list_workflows(query):
                known.update(event_id for text, event_id in some.items() if run.id.endswith(text))
        return known


def _in_range(planned: Planned, event_id: UUID, starting: dict[UUID, bytes]) -> Planned:
    if event_id not in starting:
        starting[event_id] = planned.payload_sha256
        return planned
    if starting[event_id] == planned.payload_sha256:
        return replace(planned, outcome=Outcome.DUPLICATE, why="an earlier record of the range is the same event")
    return replace(planned, outcome=Outcome.CHANGED, why="an earlier record of the range has its event ID with other values")


async def committed(settings: Settings) -> dict[TopicPartition, int]:
    """Where the ingress's group goes on. Raises `KafkaError`."""
    admin = kafka.admin(settings)
    try:
        await admin.start()
        offsets = await _offsets(admin, settings.ingress_group)
    finally:
        await admin.close()
    return {partition: found.offset for partition, found in offsets.items() if found.offset >= 0}


async def _offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
        except _NOT_YET:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return found
