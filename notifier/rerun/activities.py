"""The activity that starts a page of events anew whose run failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.common import Priority, SearchAttributeKey, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from notifier.producer import database_error
from notifier.rerun.rows import Generation, RerunRows
from schemas import names
from schemas.errors import FailureType, bounded
from schemas.redrive import Rerun, RerunPageDone, RerunTally, RunSelection
from schemas.request import Accepted, OpenRequest, Origin

log = structlog.get_logger(__name__)

_PAGE = 50
_OWN_ATTRIBUTES = {names.SEARCH_ATTRIBUTE_EVENT_ID, names.SEARCH_ATTRIBUTE_USER_ID, names.SEARCH_ATTRIBUTE_EVENT_TYPE}
_EVENT_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_TYPE)
_ENDED = {
    WorkflowExecutionStatus.TIMED_OUT: FailureType.TIMED_OUT.value,
    WorkflowExecutionStatus.TERMINATED: "Terminated",
}


Outcome = Literal["started", "superseded", "other_code", "not_told"]
"""A field of `RerunTally`."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A run that failed."""

    accepted: Accepted[OpenRequest]
    attributes: WorkflowExecutionStartedEventAttributes
    code: str
    record: str
    origin: Origin


class RerunActivities:
    """A failed run is started anew under its workflow ID, with its argument and the next generation."""

    def __init__(self, client: Client, engine: AsyncEngine) -> None:
        self._client = client
        self._rows = RerunRows(engine)

    @activity.defn(name=names.RERUN_FAILED_RUNS)
    async def rerun_failed_runs(self, rerun: Rerun) -> RerunPageDone:
        """Raises `ApplicationError`, always retryable: the page begins anew, and what it has started is found in its rows."""
        page = self._client.list_workflows(query(rerun.selection), page_size=_PAGE, next_page_token=rerun.token)
        tally = RerunTally()
        try:
            await page.fetch_next_page()
            for found in page.current_page or ():
                activity.heartbeat()
                done = await self._rerun(rerun, found)
                tally = tally.plus(done)
                if rerun.rate is not None and done.started and not rerun.dry_run:
                    await asyncio.sleep(done.started / rerun.rate)
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error) from error
        except RPCError as error:
            raise ApplicationError(f"Temporal: {bounded(error.message, 300)}", type=FailureType.INTERNAL) from error
        return RerunPageDone(token=page.next_page_token or None, tally=tally)

    async def _rerun(self, rerun: Rerun, run: WorkflowExecution) -> RerunTally:
        failed = await self._look(run)
        if failed is None:
            return RerunTally(found=1, not_ours=1)
        outcome = await self._outcome(rerun, run, failed)
        return RerunTally(found=1, **{outcome: 1}, codes={failed.code: 1} if outcome == "started" else {})

    async def _look(self, run: WorkflowExecution) -> _Failed | None:
        """None for a run that no record has asked for, or whose history is gone."""
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        try:
            accepted, attributes = await self._first(handle)
            code = await _code(handle, run)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise
        record = run.typed_search_attributes.get(_EVENT_TYPE)
        if accepted is None or accepted.origin is None or record is None:
            return None
        return _Failed(accepted, attributes, code, record, accepted.origin)

    async def _outcome(self, rerun: Rerun, run: WorkflowExecution, failed: _Failed) -> Outcome:
        if rerun.selection.codes and failed.code not in rerun.selection.codes:
            return "other_code"
        latest = await self._client.get_workflow_handle(run.id).describe()
        if latest.run_id != run.run_id:
            return await self._outcome_of_another(rerun, run, latest.run_id)
        event_id, generation = failed.accepted.request.event_id, failed.accepted.generation
        if not await self._rows.is_told(event_id, generation):
            return "not_told"
        if rerun.dry_run:
            return "started"
        wanted = Generation(event_id, generation + 1, run.id, run.run_id, failed.record, failed.origin)
        if not await self._rows.claim(rerun.rerun_id, wanted):
            return "superseded"
        run_id = await self._start(run, failed)
        await self._rows.settle(run.run_id, run_id)
        log.info("event_rerun", event_id=str(event_id), workflow_id=run.id, run_id=run_id, generation=generation + 1)
        return "started"

    async def _outcome_of_another(self, rerun: Rerun, run: WorkflowExecution, latest: str) -> Outcome:
        """The failed run is not the latest: this rerun has started that one and did not hear of it, or somebody else has."""
        if rerun.dry_run or not await self._rows.has_claimed(rerun.rerun_id, run.run_id):
            return "superseded"
        await self._rows.settle(run.run_id, latest)
        return "started"

    async def _first(
        self, handle: WorkflowHandle[Any, Any]
    ) -> tuple[Accepted[OpenRequest] | None, WorkflowExecutionStartedEventAttributes]:
        """What the event's workflow was started with: a run that continued as a new one has another argument than the first."""
        attributes = (await _event(handle)).workflow_execution_started_event_attributes
        first_run = attributes.first_execution_run_id
        if first_run and first_run != handle.run_id:
            first = self._client.get_workflow_handle(handle.id, run_id=first_run)
            attributes = (await _event(first)).workflow_execution_started_event_attributes
        try:
            arguments = await self._client.data_converter.decode(attributes.input.payloads)
            return Accepted[OpenRequest].model_validate(arguments[0]), attributes
        except (ValidationError, IndexError):
            return None, attributes

    async def _start(self, run: WorkflowExecution, failed: _Failed) -> str:
        """The new run's ID. Only this rerun may start this generation, so that a run which is there already is it."""
        attributes, priority = failed.attributes, failed.attributes.priority
        try:
            handle: WorkflowHandle[Any, Any] = await self._client.start_workflow(
                attributes.workflow_type.name,
                failed.accepted.model_copy(update={"generation": failed.accepted.generation + 1}),
                id=run.id,
                task_queue=attributes.task_queue.name,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                execution_timeout=attributes.workflow_execution_timeout.ToTimedelta() or None,
                search_attributes=TypedSearchAttributes([pair for pair in run.typed_search_attributes if pair.key.name in _OWN_ATTRIBUTES]),
                priority=Priority(priority_key=priority.priority_key or None, fairness_key=priority.fairness_key or None),
            )
        except WorkflowAlreadyStartedError as error:
            return error.run_id or ""
        return handle.result_run_id or ""


def query(selection: RunSelection) -> str:
    """Temporal's visibility query of the failed runs."""
    clauses = [
        "ExecutionStatus IN ('Failed', 'TimedOut', 'Terminated')",
        f"CloseTime < '{_moment(selection.until)}'",
        f"{names.SEARCH_ATTRIBUTE_EVENT_TYPE} IN ({_quoted(selection.records)})",
    ]
    if selection.since is not None:
        clauses.append(f"CloseTime >= '{_moment(selection.since)}'")
    if selection.event_ids:
        clauses.append(f"{names.SEARCH_ATTRIBUTE_EVENT_ID} IN ({_quoted(map(str, sorted(selection.event_ids)))})")
    return " AND ".join(clauses)


async def _event(handle: WorkflowHandle[Any, Any]) -> HistoryEvent:
    """The run's first event."""
    async for event in handle.fetch_history_events(page_size=1):
        return event
    raise RPCError("the run has no history", RPCStatusCode.NOT_FOUND, b"")


async def _code(handle: WorkflowHandle[Any, Any], run: WorkflowExecution) -> str:
    """The completion's `error.code` of a failed run."""
    if run.status in _ENDED:
        return _ENDED[run.status]
    async for event in handle.fetch_history_events(event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return event.workflow_execution_failed_event_attributes.failure.application_failure_info.type or FailureType.INTERNAL.value
    return FailureType.INTERNAL.value


def _moment(time: datetime) -> str:
    return time.isoformat()


def _quoted(words: Iterable[str]) -> str:
    """Names of records and UUIDs have no quotes of their own."""
    return ", ".join(f"'{word}'" for word in words)
