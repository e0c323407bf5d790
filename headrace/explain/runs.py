"""What Temporal knows of an event: its runs, what signals they had, and how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowHistoryEventFilterType
from temporalio.service import RPCError, RPCStatusCode

from headrace.explain.facts import Fact
from schemas import names
from schemas.errors import bounded
from schemas.ids import workflow_id

_MOST_RUNS = 50
_MOST_EVENTS = 1000
"""Of one run's history; what a signal says lies in it."""
_MOST_CAUSES = 10

_CLOSE_EVENTS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}


@dataclass(frozen=True, slots=True)
class Runs:
    """Of one event."""

    facts: list[Fact] = field(default_factory=list)
    run_ids: frozenset[str] = frozenset()
    request_at: tuple[str, int, int] | None = None
    """Topic, partition and offset of the record that the first run was started from."""
    traceparent: str | None = None


async def runs(client: Client, event_id: UUID, domains: Sequence[str]) -> Runs:
    """Raises `RPCError` and what the client raises when Temporal does not answer."""
    described = asyncio.gather(*(_described(client, workflow_id(domain, event_id)) for domain in domains))
    listed = await _listed(client, event_id)
    named = [run for run in await described if run is not None]
    # By the index, and by their names too: the index comes a moment later.
    found = {run.run_id: run for run in [*listed, *named]}
    told = await asyncio.gather(*(_told(client, run) for run in found.values()))
    return Runs(
        [fact for run in told for fact in run.facts],
        frozenset(found),
        next((run.request_at for run in told if run.request_at), None),
        next((run.traceparent for run in told if run.traceparent), None),
    )


async def _listed(client: Client, event_id: UUID) -> list[WorkflowExecution]:
    query = f"{names.SEARCH_ATTRIBUTE_EVENT_ID} = '{event_id}'"
    try:
        return [run async for run in client.list_workflows(query, limit=_MOST_RUNS)]
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:  # the search attribute is not registered, so no run has it
            return []
        raise


async def _described(client: Client, identity: str) -> WorkflowExecution | None:
    try:
        return await client.get_workflow_handle(identity).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _told(client: Client, run: WorkflowExecution) -> Runs:
    where, status = f"{run.id}/{run.run_id}", run.status.name.lower() if run.status else "unknown"
    history, accepted = await _history(client, run, where, status)
    about = {"workflow": run.workflow_type, "task_queue": run.task_queue, "status": status, "generation": accepted.get("generation", 1)}
    facts = [Fact(run.start_time, "run_started", where, about), *history]
    origin = accepted.get("origin") or {}
    try:
        request_at = (str(origin["topic"]), int(origin["partition"]), int(origin["offset"]))
    except (KeyError, TypeError, ValueError):
        return Runs(facts)
    return Runs(facts, request_at=request_at, traceparent=origin.get("traceparent"))


async def _history(client: Client, run: WorkflowExecution, where: str, status: str) -> tuple[list[Fact], dict[str, Any]]:
    """What the run's history says, and the run's argument."""
    handle = client.get_workflow_handle(run.id, run_id=run.run_id)
    facts: list[Fact] = []
    accepted: dict[str, Any] = {}
    read = 0
    try:
        async for event in handle.fetch_history_events(page_size=_MOST_EVENTS):
            read += 1
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                accepted = await _first(client, event.workflow_execution_started_event_attributes.input.payloads)
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                facts.append(await _signal(client, event, where))
            elif event.event_type in _CLOSE_EVENTS:
                facts.append(await _end(client, event, where, status))
            if read == _MOST_EVENTS:
                facts.append(Fact(None, "history_cut", where, {"events_read": read}))
                break
        if run.close_time is not None and not any(fact.what == "run_ended" for fact in facts):
            last = handle.fetch_history_events(event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT)
            facts += [await _end(client, event, where, status) async for event in last]
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:  # else it was deleted between the list and here
            raise
    return facts, accepted


async def _first(client: Client, payloads: Sequence[Payload]) -> dict[str, Any]:
    """The first argument, as JSON has it; empty when it cannot be read: it is encrypted with a key that is not here, for example."""
    try:
        [value, *_] = await client.data_converter.decode(list(payloads[:1]))
    except Exception:  # noqa: BLE001 - whatever a codec raises; there is less to tell then
        return {}
    return value if isinstance(value, dict) else {}


async def _signal(client: Client, event: HistoryEvent, where: str) -> Fact:
    attributes = event.workflow_execution_signaled_event_attributes
    command = await _first(client, attributes.input.payloads)
    told = {
        "signal": attributes.signal_name,
        "command_event_id": command.get("event_id"),
        "reason": bounded(str(command.get("reason") or "")),
    }
    return Fact(_time(event.event_time), "signal_received", where, told)


async def _end(client: Client, event: HistoryEvent, where: str, status: str) -> Fact:
    told: dict[str, Any] = {"status": status}
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        told["causes"] = await _causes(client, event.workflow_execution_failed_event_attributes.failure)
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
        attributes = event.workflow_execution_terminated_event_attributes
        told |= {"reason": bounded(attributes.reason), "by": bounded(attributes.identity, 200)}
    return Fact(_time(event.event_time), "run_ended", where, told)


async def _causes(client: Client, failure: Failure) -> list[str]:
    """The outermost first: the code and the sentence of each, and the activity that it is of."""
    opened = Failure()
    opened.CopyFrom(failure)
    try:
        if client.data_converter.payload_codec is not None:
            await client.data_converter.payload_codec.decode_failure(opened)
        client.data_converter.failure_converter.from_failure(opened, client.data_converter.payload_converter)
    except Exception:  # noqa: BLE001 - as above
        return ["the failure cannot be read: is its key in HEADRACE_PAYLOAD_KEYS?"]
    found: list[str] = []
    while len(found) < _MOST_CAUSES:
        kind = opened.application_failure_info.type
        activity = opened.activity_failure_info.activity_type.name
        words = bounded(f"{kind}: {opened.message}" if kind else f"{activity}: {opened.message}" if activity else opened.message)
        if words not in found:
            found.append(words)
        if not opened.HasField("cause"):
            break
        opened = opened.cause
    return found


def _time(moment: Timestamp) -> datetime:
    return moment.ToDatetime(UTC)
