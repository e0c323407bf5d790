"""From a reference to the value that it stands for; Kafka holds only the place of what is too large for it."""

from __future__ import annotations

import time
from typing import Protocol

from aiokafka import ConsumerRecord

from headrace.references import check_size
from ingress import metrics
from ingress.gate import Gate
from ingress.room import Load, Room
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.topics import Topics


class Objects(Protocol):
    """`headrace.references.References`."""

    def key(self, reference: str) -> str: ...
    async def size(self, reference: str) -> int: ...
    async def fetch(self, reference: str, most: int) -> bytes: ...


class Fetcher:
    """Measures an object before it reads it: its bytes count as those of a record do."""

    def __init__(self, objects: Objects, room: Room, topics: Topics) -> None:
        self._objects = objects
        self._room = room
        self._topics = topics
        self._s3 = Gate("s3")

    def load(self, record: ConsumerRecord) -> Load | None:
        """Of a record that was just read; None for one that carries its value. Costs no waiting. Raises `Rejected(REFERENCE_REFUSED)`."""
        reference = headers.dataref(record.value, record.headers)
        if reference is None:
            return None
        if record.topic == self._topics.commands:
            raise Rejected(Reason.REFERENCE_REFUSED, f"a command is sent by value, not by {headers.CE_DATAREF}")
        self._objects.key(reference)
        return self._room.load(reference)

    async def measure(self, load: Load) -> int:
        """Bytes of the object. Raises `Rejected` (REFERENCE_MISSING, TOO_LARGE) and `Transient`."""
        size = await self._s3.through(lambda: self._objects.size(load.reference))
        check_size(load.reference, size, self._room.most)
        return size

    async def fetch(self, record: ConsumerRecord, load: Load) -> bytes:
        """The object, for which there is room now. Raises `Rejected` (also for one that has grown since) and `Transient`."""
        began = time.perf_counter()
        value = await self._s3.through(lambda: self._objects.fetch(load.reference, load.size))
        metrics.FETCH_SECONDS.observe(time.perf_counter() - began)
        metrics.FETCHED_BYTES.labels(record.topic).inc(len(value))
        return value
