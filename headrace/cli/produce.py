"""`headrace produce`."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

from aiokafka.errors import KafkaError
from anyio import to_thread
from pydantic import ValidationError

from headrace.cli.errors import CommandError, Exit
from headrace.producer import RequestProducer
from headrace.references import NotStored
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.codec import encode_body
from schemas.errors import Transient
from schemas.from_json import from_json
from schemas.models import REQUESTS
from schemas.request import Request, what_is_wrong
from schemas.routes import Route, Routes, load_routes


async def send(settings: Settings, record: str, source: str, *, key: str | None, event_id: UUID | None) -> None:
    """Sends each line's request and prints its event ID once Kafka has acknowledged it.

    Raises `CommandError`: 2 for a line that is no such request (what came before it is sent), 4 when Kafka does not answer.
    """
    routes = load_routes(settings.routes_file)
    route = route_called(routes, record)
    with open_lines(source) as lines:
        async with opened(settings, routes) as producer:
            number = 0
            while line := await to_thread.run_sync(lines.readline):
                number += 1
                if not line.strip():
                    continue
                if event_id is not None and number > 1:
                    raise CommandError(Exit.USAGE, "--event-id is for one request, and there is a second line")
                request = _request(route, line, number, event_id)
                await producer.send(request, record=route.record, key=key)
                print(request.event_id, flush=True)


def route_called(routes: Routes, record: str) -> Route:
    """The route of a record, with or without its namespace. Raises `CommandError`: 2 there is none."""
    route = routes.called(record)
    if route is None:
        known = ", ".join(route.record for route in routes.all())
        raise CommandError(Exit.USAGE, f"no route is for the record {record!r}; there are: {known}")
    return route


def open_lines(source: str) -> IO[str]:
    """A file, or `-` for standard input. Raises `CommandError`: 2 it cannot be read."""
    if source == "-":
        # A descriptor of its own: closing it must not close the process's standard input.
        return open(sys.stdin.fileno(), encoding="utf-8", closefd=False)
    try:
        return Path(source).open(encoding="utf-8")
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{source} cannot be read: {error.strerror}") from error


def fields_of(line: str, number: int, event_id: UUID | None = None) -> dict[str, Any]:
    """A request's fields as JSON, those that each has filled in. Raises `CommandError`: 2 they are none."""
    try:
        fields: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise CommandError(Exit.USAGE, f"line {number} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CommandError(Exit.USAGE, f"line {number} is not a JSON object")
    fields.setdefault("event_id", str(uuid4()))
    fields.setdefault("requested_at", datetime.now(UTC).isoformat())
    if event_id is not None:
        fields["event_id"] = str(event_id)
    return fields


def _request(route: Route, line: str, number: int, event_id: UUID | None) -> Request:
    fields = fields_of(line, number, event_id)
    try:
        if route.record in REQUESTS:
            request = route.model.model_validate_json(json.dumps(fields), extra="forbid")
        else:  # the model knows little of its fields: the schema says what a string stands for
            request = route.model.model_validate(from_json(route.schema, fields))
        encode_body(route.schema, request.model_dump())
    except ValidationError as error:
        raise CommandError(Exit.USAGE, f"line {number} is no {route.record}: {what_is_wrong(error)}") from error
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"line {number}: {error}") from error
    return request


@asynccontextmanager
async def opened(settings: Settings, routes: Routes) -> AsyncIterator[RequestProducer]:
    """A producer; its errors end the command with 4."""
    wire = Wire.of(settings, routes.catalog())
    try:
        async with RequestProducer(settings, wire) as producer:
            yield producer
    except NotStored as error:
        raise CommandError(Exit.FAILED, str(error)) from error
    except Transient as error:
        raise CommandError(Exit.UNREACHABLE, f"the request is not sent: {error}") from error
    except KafkaError as error:
        raise CommandError(
            Exit.UNREACHABLE, f"Kafka at {settings.kafka_bootstrap_servers} does not take the request ({error}): `headrace status`"
        ) from error
    finally:
        await wire.close()
