"""What Temporal knows of runs: asked in batches through visibility, which lags behind, and one by one in their histories, which do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter
from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from notifier.reconcile.verdict import Ending, announced, ending, next_run
from schemas.completion import SendCompletion
from schemas.request import Accepted, OpenRequest

CALLS = Counter("headrace_notifier_reconciler_calls", "Calls of the reconciler to Temporal.", ["call"])

_LISTS_A_SECOND, _HISTORIES_A_SECOND = 10.0, 100.0
"""Well below what a namespace has (`frontend.namespaceRPS`, `frontend.namespaceRPS.visibility`): others have to live."""
_PAGE = 1000
_EVENTS = 200
_LONGEST_CHAIN = 100
_IDS_IN_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Running:
    """It has not ended."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Temporal does not know it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last run of its chain is closed."""

    run_id: str
    started_at: datetime
    ending: Ending
    accepted: Accepted[OpenRequest] | None
    """What it was started with; None when that is not there or is something else."""
    announced: SendCompletion | None
    """The completion that the run itself has published, when its history has it."""


class Rate:
    """Lets so many through in a second."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        at = max(self._next, now)
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)


class Runs:
    """Every method raises `RPCError` while Temporal is away or too busy for the client's own patience."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lists = Rate(_LISTS_A_SECOND)
        self._histories = Rate(_HISTORIES_A_SECOND)
        self.calls = 0

    async def ended_from_outside(self, since: datetime) -> AsyncIterator[list[str]]:
        """Workflow IDs of the runs that were terminated or timed out since a moment, so far as visibility knows, page by page."""
        query = f"ExecutionStatus IN ('Terminated', 'TimedOut') AND CloseTime >= '{since.astimezone(UTC).isoformat()}'"
        found = self._client.list_workflows(query, page_size=_PAGE)
        more = True
        while more:
            await self._count("list", self._lists)
            await found.fetch_next_page()
            yield [run.id for run in found.current_page or []]
            more = found.next_page_token is not None

    async def running(self, workflow_ids: Collection[str]) -> dict[str, str]:
        """The run of each of which visibility says that it runs; of the others it says that they have ended, or nothing."""
        ids = sorted(workflow_ids)
        running: dict[str, str] = {}
        for begin in range(0, len(ids), _IDS_IN_A_QUERY):
            some = ", ".join(f"'{each}'" for each in ids[begin : begin + _IDS_IN_A_QUERY])
            await self._count("list", self._lists)
            found = self._client.list_workflows(f"WorkflowId IN ({some}) AND ExecutionStatus = 'Running'", page_size=_PAGE)
            await found.fetch_next_page()
            running.update((run.id, run.run_id) for run in found.current_page or [] if run.status is WorkflowExecutionStatus.RUNNING)
        return running

    async def look(self, workflow_id: str, run_id: str | None = None, generation: int = 1) -> Running | Gone | Ended:
        """What the history says, of the last run of the chain (continue-as-new, retries, resets) that a run is in.

        Without a run ID, of the workflow's latest run, if it is of the generation.
        """
        events = await self._own(workflow_id, run_id, generation)
        for _ in range(_LONGEST_CHAIN):
            if events is None:
                return Gone()
            found = ending(events[-1])
            if found is None:
                return Running()
            if not (following := next_run(events[-1])):
                return await self._ended(workflow_id, events, found)
            events = await self._events(workflow_id, following)
        return Running()

    async def _own(self, workflow_id: str, run_id: str | None, generation: int) -> list[HistoryEvent] | None:
        """The latest run if it is in the chain, else the run itself: a run that was reset does not name the one that goes on for it."""
        latest = await self._events(workflow_id, "")
        if latest is not None and run_id is not None:
            started = latest[0].workflow_execution_started_event_attributes
            if run_id in (started.first_execution_run_id, started.original_execution_run_id):
                return latest
        own = None if run_id is None else await self._events(workflow_id, run_id)
        if own is not None or latest is None:
            return own
        # It is not known, or its retention has passed while those that followed it go on.
        accepted = await self._accepted(workflow_id, latest)
        return latest if (1 if accepted is None else accepted.generation) == generation else None

    async def _events(self, workflow_id: str, run_id: str) -> list[HistoryEvent] | None:
        """The first events and the last one; None for a run that is gone."""
        try:
            return await self._first_and_last(workflow_id, run_id)
        except RPCError as error:
            if _is_gone(error):
                return None
            raise

    async def _first_and_last(self, workflow_id: str, run_id: str) -> list[HistoryEvent]:
        events, more = await self._history(workflow_id, run_id, HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
        if more:
            last, _ = await self._history(workflow_id, run_id, HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
            events += last
        return events

    async def _history(self, workflow_id: str, run_id: str, kind: HistoryEventFilterType.ValueType) -> tuple[list[HistoryEvent], bool]:
        await self._count("history", self._histories)
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            maximum_page_size=_EVENTS,
            history_event_filter_type=kind,
        )
        answer = await self._client.workflow_service.get_workflow_execution_history(request, retry=True)
        return list(answer.history.events), bool(answer.next_page_token)

    async def _ended(self, workflow_id: str, events: list[HistoryEvent], found: Ending) -> Ended:
        accepted = await self._accepted(workflow_id, events)
        sent = announced(events)
        command = None if sent is None else await self._decode(sent, SendCompletion)
        own = events[0].workflow_execution_started_event_attributes.original_execution_run_id
        return Ended(own, events[0].event_time.ToDatetime(UTC), found, accepted, command)

    async def _accepted(self, workflow_id: str, events: list[HistoryEvent]) -> Accepted[OpenRequest] | None:
        started = events[0].workflow_execution_started_event_attributes
        accepted: Accepted[OpenRequest] | None = await self._decode(started.input, Accepted[OpenRequest])
        if accepted is None and started.first_execution_run_id not in ("", started.original_execution_run_id):
            accepted = await self._first_of_chain(workflow_id, started.first_execution_run_id)
        return accepted

    async def _first_of_chain(self, workflow_id: str, run_id: str) -> Accepted[OpenRequest] | None:
        """A run that continued as new may hand over something else than it was given."""
        try:
            events, _ = await self._history(workflow_id, run_id, HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
        except RPCError as error:
            if _is_gone(error):
                return None
            raise
        first: Accepted[OpenRequest] | None = await self._decode(
            events[0].workflow_execution_started_event_attributes.input, Accepted[OpenRequest]
        )
        return first

    async def _decode(self, payloads: Payloads, kind: Any) -> Any:
        try:
            values = await self._client.data_converter.decode(payloads.payloads[:1], [kind])
        except (ValidationError, ValueError, TypeError, RuntimeError):  # another team's argument, or a codec that this process lacks
            return None
        return values[0] if values else None

    async def _count(self, call: str, rate: Rate) -> None:
        await rate.wait()
        self.calls += 1
        CALLS.labels(call).inc()


def _is_gone(error: RPCError) -> bool:
    """A namespace that is not there says nothing of its runs."""
    return error.status == RPCStatusCode.NOT_FOUND and not any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )
