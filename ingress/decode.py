"""From a Kafka record to a request that a workflow can be started with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from headrace.wire import Wire
from ingress.route import find_route
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.request import Request
from schemas.routes import Route, Routes
from schemas.topics import Topics


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded, routed and validated request."""

    route: Route
    request: Request


class RejectedEvent(Rejected):
    """The record was read, but its request is refused: its sender can still be told."""

    def __init__(self, rejected: Rejected, record: str, value: dict[str, Any]) -> None:
        super().__init__(rejected.reason, rejected.message)
        self.record = record
        self.value = value


class Decoder:
    """Wire, routes and models, applied in this order."""

    def __init__(self, wire: Wire, routes: Routes, topics: Topics) -> None:
        self._wire = wire
        self._routes = routes
        self._topics = topics

    async def decode(self, record: ConsumerRecord) -> Event:
        """The event in a record.

        Raises `Rejected`, as `RejectedEvent` when the value could be read; `Transient` while the schema registry does not answer.
        """
        decoded = await self._wire.decode(record.value)
        try:
            route = find_route(self._routes, self._topics, decoded.record, record.topic)
            request = _validate(route, decoded.value)
        except Rejected as rejected:
            raise RejectedEvent(rejected, decoded.record, decoded.value) from rejected
        # Two identities in one record: nobody can be told about either, so this is no RejectedEvent.
        headers.check_event_id(record.headers, request.event_id)
        return Event(route, request)


def _validate(route: Route, value: dict[str, Any]) -> Request:
    try:
        return route.model.model_validate(value)
    except ValidationError as error:
        # `include_input=False`: a dead letter's header names what is wrong, it does not repeat the payload.
        wrong = "; ".join(
            f"{'.'.join(map(str, found['loc'])) or 'request'}: {found['msg']}"
            for found in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise Rejected(Reason.INVALID, wrong) from error
