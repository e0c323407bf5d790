"""What a decoded record asks for: a run, or a signal to one. The ingress acts on it, `headrace replay` says it beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas import headers
from schemas.codec import Schema
from schemas.command import COMMAND, WorkflowCommandIssued
from schemas.errors import Reason, Rejected, bounded
from schemas.payload import payload_sha256
from schemas.request import Request, what_is_wrong
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


def lightened(error: Rejected) -> Rejected:
    """The same refusal without the request's own fields and without the traces that hold them: a large request may be freed."""
    if not isinstance(error, RejectedEvent):
        return Rejected(error.reason, error.message)
    common = {name: value for name, value in error.value.items() if name in Request.model_fields}
    short = {name: bounded(value) if isinstance(value, str) else value for name, value in common.items()}
    return RejectedEvent(Rejected(error.reason, error.message), error.record, short, error.first)


@dataclass(frozen=True, slots=True)
class Reader:
    """Routes and models, applied to a decoded value."""

    routes: Routes
    topics: Topics
    command: Schema
    """Of `WorkflowCommandIssued`."""

    def read(self, topic: str, sent: Iterable[tuple[str, bytes | None]], record: str, value: dict[str, Any]) -> Event | Command:
        """What the record asks for on its topic.

        Args:
            topic: Where it was read.
            sent: Its headers.
            record: Full name of the record that it was written as.
            value: Its fields.

        Raises `Rejected`, as `RejectedEvent` when its sender can still be told.

        """
        try:
            is_command = record == COMMAND and topic == self.topics.commands
            found = self._command(value) if is_command else self._event(topic, record, value)
        except Rejected as rejected:
            raise RejectedEvent(rejected, record, value) from rejected
        # Two identities in one record: nobody can be told about either, so this is no RejectedEvent.
        headers.check_event_id(sent, found.request.event_id)
        return found

    def _event(self, topic: str, record: str, value: dict[str, Any]) -> Event:
        route = find_route(self.routes, self.topics, record, topic)
        request = _validate(route.model, value)
        return Event(route, request, payload_sha256(request, route.schema))

    def _command(self, value: dict[str, Any]) -> Command:
        request = _validate(WorkflowCommandIssued, value)
        return Command(request, payload_sha256(request, self.command))


def find_route(routes: Routes, topics: Topics, record: str, topic: str) -> Route:
    """The route of a record on this topic. Raises `Rejected(UNROUTABLE)`."""
    route = routes.find(record)
    if route is None:
        raise Rejected(Reason.UNROUTABLE, f"no route is for the record {record}: add one to the routes, or send a record that has one")
    if topics.requests(route.domain) != topic:
        raise Rejected(Reason.UNROUTABLE, f"the record {record} belongs on {topics.requests(route.domain)}, not on {topic}")
    return route


def _validate(model: type[M], value: dict[str, Any]) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Rejected(Reason.INVALID, what_is_wrong(error)) from error
