"""From an event to a workflow: the one call to Temporal, and what its answers mean."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from aiokafka import ConsumerRecord
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from ingress.decode import Event
from ingress.disposition import Duplicate, Started
from schemas import headers, names
from schemas.errors import Reason, Rejected, Transient, bounded
from schemas.ids import workflow_id
from schemas.request import Accepted, Origin

_EVENT_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
_USER_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_USER_ID)
_EVENT_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_TYPE)

_MAX_FAIRNESS_KEY_BYTES = 64


class NotSetUp(Exception):  # noqa: N818 - what to mend, not what crashed
    """The environment lacks what every start needs. Fatal: a dead letter for each event would drain the topic."""


class Starter:
    """Starts one workflow for each event ID."""

    def __init__(self, client: Client, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    async def start(self, record: ConsumerRecord, event: Event) -> Started | Duplicate:
        """Raises `Rejected(REJECTED_BY_TEMPORAL)`, `Transient`, and `NotSetUp`."""
        route, request = event.route, event.request
        identity = workflow_id(route.domain, request.event_id)
        origin = Origin(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            traceparent=headers.traceparent(record.headers),
        )
        try:
            # The client's own time-out bounds an attempt, not the call.
            async with asyncio.timeout(self._seconds):
                handle: WorkflowHandle[Any, Any] = await self._client.start_workflow(
                    route.workflow,
                    Accepted(request=request, origin=origin),
                    id=identity,
                    task_queue=route.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=TypedSearchAttributes(
                        [
                            SearchAttributePair(_EVENT_ID, str(request.event_id)),
                            SearchAttributePair(_USER_ID, request.user_id),
                            SearchAttributePair(_EVENT_TYPE, route.record),
                        ]
                    ),
                    priority=Priority(priority_key=route.priority, fairness_key=fairness_key(request.user_id)),
                )
        except WorkflowAlreadyStartedError as error:
            return Duplicate(request.event_id, identity, error.run_id)
        except RPCError as error:
            raise sort(error.status, error.message) from error
        except TimeoutError as error:
            raise Transient(f"Temporal did not answer a start within {self._seconds:g} s") from error
        except RuntimeError as error:  # a client that has never been connected
            raise Transient(f"Temporal is not reached: {bounded(str(error), 200)}") from error
        return Started(request.event_id, identity, handle.result_run_id)


def sort(status: RPCStatusCode, message: str) -> Rejected | Transient | NotSetUp:
    """What an answer other than OK means. Only INVALID_ARGUMENT speaks of this event; everything else passes or is mended by people."""
    if status == RPCStatusCode.INVALID_ARGUMENT:
        if "no mapping defined" in message:
            return NotSetUp(
                f"Temporal lacks a search attribute, and would refuse every event: run `headrace setup` ({bounded(message, 200)})"
            )
        return Rejected(Reason.REJECTED_BY_TEMPORAL, message)
    if status == RPCStatusCode.NOT_FOUND:
        return NotSetUp(f"Temporal has no such namespace: create it or set TEMPORAL_NAMESPACE ({bounded(message, 200)})")
    return Transient(f"Temporal answers {status.name}: {bounded(message, 200)}")


def fairness_key(user_id: str) -> str:
    """Temporal takes 64 bytes: a longer user ID is hashed."""
    return user_id if len(user_id.encode()) <= _MAX_FAIRNESS_KEY_BYTES else hashlib.sha256(user_id.encode()).hexdigest()
