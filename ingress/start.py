"""From an event to a workflow: the one call to Temporal, and what its answers mean."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import ConsumerRecord
from pydantic import TypeAdapter
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from headrace import payloads
from headrace.settings import Settings
from headrace.temporal_refusals import why
from ingress.decode import Event
from ingress.disposition import Duplicate, Started
from ingress.errors import Busy, StorageAway, sort
from schemas import headers, names
from schemas.errors import Reason, Rejected, Transient, bounded
from schemas.ids import workflow_id
from schemas.request import Accepted, Origin

_EVENT_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
_USER_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_USER_ID)
_EVENT_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_TYPE)

_ACCEPTED: TypeAdapter[Accepted[Any]] = TypeAdapter(Accepted[Any])

_MAX_FAIRNESS_KEY_BYTES = 64
_MAX_GROWTH = 8
"""Bytes of a workflow's argument, which is JSON, for each byte of the record: six for a control character."""
_STORED_BYTES_IN_A_SECOND = 1024 * 1024
"""A start that stores its argument first may take so much longer."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a workflow's argument may have, in bytes."""

    in_temporal: int
    in_s3_above: int | None
    """Larger ones lie in S3; None: none do."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.temporal_max_payload_bytes, settings.payload_s3_bytes)


class Starter:
    """Starts one workflow for each event ID."""

    def __init__(self, client: Client, seconds: float, sizes: Sizes) -> None:
        self._client = client
        self._seconds = seconds
        self._sizes = sizes

    async def start(self, record: ConsumerRecord, event: Event) -> Started | Duplicate:
        """Raises `Rejected` (TOO_LARGE, REJECTED_BY_TEMPORAL), `Transient` (`Busy`, `StorageAway`), and `NotSetUp`."""
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
        seconds = self._seconds
        # What came by reference has no value here, and is large.
        if not record.value or len(record.value) > self._sizes.in_temporal // _MAX_GROWTH:
            seconds += check_size(accepted, self._sizes) / _STORED_BYTES_IN_A_SECOND
        try:
            # The client's own time-out bounds an attempt, not the call.
            async with asyncio.timeout(seconds):
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
            raise Busy(f"Temporal did not answer a start within {seconds:g} s") from error
        except RuntimeError as error:
            if (storage := payloads.storage_failure(error)) is not None:
                raise StorageAway(f"S3 does not take a workflow's argument: {bounded(storage, 300)}") from error
            # A client that has never been connected.
            raise Transient(f"Temporal is not reached: {why(error)}") from error
        return Started(request.event_id, identity, handle.result_run_id)


def check_size(accepted: Accepted[Any], sizes: Sizes) -> int:
    """How many bytes of it will lie in S3. Raises `Rejected(TOO_LARGE)`.

    Before the call: beyond gRPC's own limit the server would answer RESOURCE_EXHAUSTED, as if it were busy. Encryption adds some hundred
    bytes, of which the server tells itself.
    """
    # In bytes; model_dump_json would give characters, of which a byte is not enough for many.
    size, above = len(_ACCEPTED.dump_json(accepted)), sizes.in_s3_above
    if above is not None and size > above:
        if size > payloads.MOST_IN_S3:
            raise Rejected(Reason.TOO_LARGE, f"its workflow's argument has {size} bytes, and {payloads.MOST_IN_S3} are taken")
        return size
    if size > sizes.in_temporal:
        raise Rejected(
            Reason.TOO_LARGE,
            f"its workflow's argument has {size} bytes, and Temporal takes {sizes.in_temporal}: send a reference, or let payloads lie in S3"
            " (HEADRACE_PAYLOAD_S3_BYTES, of every service)",
        )
    return 0


def fairness_key(user_id: str) -> str:
    """Temporal takes 64 bytes: a longer user ID is hashed."""
    return user_id if len(user_id.encode()) <= _MAX_FAIRNESS_KEY_BYTES else hashlib.sha256(user_id.encode()).hexdigest()
