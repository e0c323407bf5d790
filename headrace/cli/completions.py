"""`headrace completions`."""

from __future__ import annotations

import contextlib
import json
from uuid import UUID

from aiokafka.errors import KafkaError
from pydantic_core import to_jsonable_python

from headrace.cli.errors import CommandError, Exit
from headrace.cli.printing import printable
from headrace.completions import Received, completions
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.completion import Status
from schemas.errors import Reason, Transient
from schemas.ids import completion_id
from schemas.routes import load_routes


async def show(settings: Settings, domain: str | None, *, event_id: UUID | None, follow: bool, as_json: bool) -> None:
    """Prints each completion once. Raises `CommandError`: 2 unknown domain, 3 none for the event ID, 4 Kafka away."""
    routes = load_routes(settings.routes_file)
    known = routes.domains()
    if domain is not None and domain not in known:
        raise CommandError(Exit.USAGE, f"no route is of the domain {domain!r}; there are: {', '.join(known)}")
    wire = Wire.of(settings, routes.catalog())
    seen = 0
    try:
        found = completions(settings, wire, [domain] if domain else known, event_id=event_id, follow=follow)
        async with contextlib.aclosing(found):
            async for received in found:
                seen += 1
                print(_json(received) if as_json else _line(received), flush=True)
                if event_id is not None and follow and _is_the_end(received):
                    break
    except (KafkaError, Transient) as error:
        raise CommandError(
            Exit.UNREACHABLE, f"Kafka at {settings.kafka_bootstrap_servers} does not answer ({error}): is it up? `headrace status`"
        ) from error
    finally:
        await wire.close()
    if event_id is not None and not seen:
        raise CommandError(Exit.NOT_FOUND, f"no completion of {event_id} yet; --follow waits for it")


def _is_the_end(received: Received) -> bool:
    """Whether nothing more is to come of the event: its own completion, or the receipt of a request that was refused.

    Not the receipt of another request that had borrowed its ID: that one says nothing of this event.
    """
    completion = received.completion
    if completion["completion_id"] == completion_id(completion["event_id"]):
        return True
    refused: bool = completion["status"] == Status.REJECTED and completion["error"]["code"] != Reason.ID_CONFLICT
    return refused


def _json(received: Received) -> str:
    return json.dumps(to_jsonable_python(received.completion))


def _line(received: Received) -> str:
    completion = received.completion
    error, result = completion["error"], completion["result"]
    # What an error says may quote what a stranger has sent, and anybody who may produce to the topic may have written it.
    outcome = printable(f"{error['code']}: {error['message']}" if error else str((result or {}).get("url", "")))
    return f"{completion['completed_at']:%Y-%m-%d %H:%M:%S}  {completion['status']:<10}  {completion['event_id']}  {outcome}"
