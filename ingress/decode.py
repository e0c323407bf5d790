"""From a Kafka record to what it asks for: a run, or a signal to one."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from headrace.wire import Decoded, Wire
from schemas import headers
from schemas.command import COMMAND
from schemas.errors import Reason, Rejected
from schemas.event import Command, Event, Reader, RejectedEvent
from schemas.routes import Routes
from schemas.topics import Topics

__all__ = ["Command", "Decoder", "Event", "RejectedEvent"]


class Decoder:
    """Wire, routes and models, applied in this order."""

    def __init__(self, wire: Wire, routes: Routes, topics: Topics) -> None:
        self._wire = wire
        self._reader = Reader(routes, topics, wire.catalog.named(COMMAND))

    def decode_at_once(self, record: ConsumerRecord) -> Event | Command | None:
        """What a record asks for; None when the schema registry has to be asked first. Raises `Rejected` as `decode` does."""
        _check_frame(record)
        decoded = self._wire.decode_at_once(record.value)
        return None if decoded is None else self._read(record, decoded)

    async def decode(self, record: ConsumerRecord, value: bytes | None) -> Event | Command:
        """What a record asks for whose value is this one, wherever it lay.

        Raises `Rejected`, as `RejectedEvent` when the value could be read; `Transient` while the schema registry does not answer.
        """
        _check_frame(record)
        return self._read(record, await self._wire.decode(value))

    def _read(self, record: ConsumerRecord, decoded: Decoded) -> Event | Command:
        return self._reader.read(record.topic, record.headers, decoded.record, decoded.value)


def _check_frame(record: ConsumerRecord) -> None:
    """Without a frame a value may begin with any bytes, also with those of another frame. Raises `Rejected`."""
    if any(name == headers.VALUE_SCHEMA for name, _ in record.headers):
        raise Rejected(
            Reason.UNDECODABLE,
            f"its schema is named in the header {headers.VALUE_SCHEMA}, and Headrace reads schema IDs in front of the value only:"
            " leave schema.id.serializer of the sender's serializer at its default, prefix_schema_id_serializer",
        )
