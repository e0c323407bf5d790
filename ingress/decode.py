"""From a Kafka record to what it asks for: a run, or a signal to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from headrace.wire import Decoded, Wire
from ingress.payload import payload_sha256
from ingress.route import find_route
from schemas import headers
from schemas.command import COMMAND, WorkflowCommandIssued
from schemas.errors import Reason, Rejected
from schemas.request import Request
from schemas.routes import Route, Routes
from schemas.topics import Topics

M = TypeVar("M", bound=Request)


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded, routed and validated request."""

    route: Route
    request: Request
    payload_sha256: bytes

    @property
    def record(self) -> str:
        return self.route.record


@dataclass(frozen=True, slots=True)
class Command:
    """A signal to the run of another event."""

    request: WorkflowCommandIssued
    payload_sha256: bytes
    record: str = COMMAND


class RejectedEvent(Rejected):
    """The record was read, but its request is refused: its sender can still be told."""

    def __init__(self, rejected: Rejected, record: str, value: dict[str, Any], first: tuple[str, int, int] | None = None) -> None:
        super().__init__(rejected.reason, rejected.message)
        self.record = record
        self.value = value
        self.first = first
        """Topic, partition and offset of the record that it is in conflict with."""


class Decoder:
    """Wire, routes and models, applied in this order."""

    def __init__(self, wire: Wire, routes: Routes, topics: Topics) -> None:
        self._wire = wire
        self._routes = routes
        self._topics = topics

    def decode_at_once(self, record: ConsumerRecord) -> Event | Command | None:
        """What a record asks for; None when the schema registry has to be asked first. Raises `Rejected` as `decode` does."""
        decoded = self._wire.decode_at_once(record.value)
        return None if decoded is None else self._read(record, decoded)

    async def decode(self, record: ConsumerRecord) -> Event | Command:
        """What a record asks for.

        Raises `Rejected`, as `RejectedEvent` when the value could be read; `Transient` while the schema registry does not answer.
        """
        return self._read(record, await self._wire.decode(record.value))

    def _read(self, record: ConsumerRecord, decoded: Decoded) -> Event | Command:
        try:
            is_command = decoded.record == COMMAND and record.topic == self._topics.commands
            found = self._command(decoded) if is_command else self._event(record, decoded)
        except Rejected as rejected:
            raise RejectedEvent(rejected, decoded.record, decoded.value) from rejected
        # Two identities in one record: nobody can be told about either, so this is no RejectedEvent.
        headers.check_event_id(record.headers, found.request.event_id)
        return found

    def _event(self, record: ConsumerRecord, decoded: Decoded) -> Event:
        route = find_route(self._routes, self._topics, decoded.record, record.topic)
        request = _validate(route.model, decoded.value)
        return Event(route, request, payload_sha256(request, route.schema))

    def _command(self, decoded: Decoded) -> Command:
        request = _validate(WorkflowCommandIssued, decoded.value)
        return Command(request, payload_sha256(request, self._wire.catalog.named(COMMAND)))


def _validate(model: type[M], value: dict[str, Any]) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # `include_input=False`: a dead letter's header names what is wrong, it does not repeat the payload.
        wrong = "; ".join(
            f"{'.'.join(map(str, found['loc'])) or 'request'}: {found['msg']}"
            for found in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise Rejected(Reason.INVALID, wrong) from error
