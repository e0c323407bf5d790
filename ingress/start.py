"""From an event to a workflow: the one call to Temporal, and what its answers mean."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from aiokafka import ConsumerRecord
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from headrace.temporal_refusals import why
from ingress.decode import Event
from ingress.disposition import Duplicate, Started
from ingress.errors import Busy, sort
from schemas import headers, names
from schemas.errors import Reason, Rejected, Transient
from schemas.ids import workflow_id
from schemas.request import Accepted, Origin

_EVENT_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
_USER_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_USER_ID)
_EVENT_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_TYPE)

_MAX_FAIRNESS_KEY_BYTES = 64
_MAX_GROWTH = 8
"""Bytes of a workflow's argument, which is JSON, for each byte of the record: six for a control character."""


class Starter:
    """Starts one workflow for each event ID."""

    def __init__(self, client: Client, seconds: float, max_payload_bytes: int) -> None:
        self._client = client
        self._seconds = seconds
        self._max_payload_bytes = max_payload_bytes

    async def start(self, record: ConsumerRecord, event: Event) -> Started | Duplicate:
        """Raises `Rejected` (TOO_LARGE, REJECTED_BY_TEMPORAL), `Transient` (`Busy`), and `NotSetUp`."""
        route, request = event.route, event.request
        identity = workflow_id(route.domain, request.event_id)
        origin = Origin(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            traceparent=headers.traceparent(record.headers),
        )
        accepted: Accepted[Any] = Accepted(request=request, origin=origin)
        if len(record.value) > self._max_payload_bytes // _MAX_GROWTH:
            check_size(accepted, self._max_payload_bytes)
        try:
            # The client's own time-out bounds an attempt, not the call.
            async with asyncio.timeout(self._seconds):
                handle: WorkflowHandle[Any, Any] = await self._client.start_workflow(
                    route.workflow,
                    accepted,
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
            raise Busy(f"Temporal did not answer a start within {self._seconds:g} s") from error
        except RuntimeError as error:  # a client that has never been connected, or S3 for a payload that is to lie there
            raise Transient(f"Temporal, or S3 for a large payload, is not reached: {why(error)}") from error
        return Started(request.event_id, identity, handle.result_run_id)


def check_size(accepted: Accepted[Any], most: int) -> None:
    """Before the call: beyond gRPC's own limit the server would answer RESOURCE_EXHAUSTED, as if it were busy."""
    size = len(accepted.model_dump_json())
    if size > most:
        raise Rejected(Reason.TOO_LARGE, f"its workflow's argument has {size} bytes, and Temporal takes {most}: send a reference")


def fairness_key(user_id: str) -> str:
    """Temporal takes 64 bytes: a longer user ID is hashed."""
    return user_id if len(user_id.encode()) <= _MAX_FAIRNESS_KEY_BYTES else hashlib.sha256(user_id.encode()).hexdigest()
