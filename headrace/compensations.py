"""The sagas that take their steps back, and those that could not: what Temporal knows of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from temporalio.client import Client, WorkflowExecution

from headrace import temporal
from headrace.settings import Settings
from schemas import names
from schemas.errors import bounded

MOST = 20
"""So many are looked at; more have one cause."""

_STATE = names.SEARCH_ATTRIBUTE_COMPENSATION
_FAILURE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Compensating:
    """One run."""

    workflow_id: str
    run_id: str
    state: str
    """`pending`: it is being tried; `failed`: it was given up, and the run's completion says which step."""
    activity: str | None = None
    """The compensation that is being tried."""
    attempt: int | None = None
    failure: str | None = None
    """Why the attempt before did not do."""


async def compensations(settings: Settings) -> list[Compensating]:
    """Up to `MOST` of each state. Raises what the client raises when Temporal does not answer, or does not know the search attribute."""
    client = await temporal.connect(settings)
    pending = [await _tried(client, run) async for run in _listed(client, f"{_STATE} = 'pending' AND ExecutionStatus = 'Running'")]
    failed = [Compensating(run.id, run.run_id, "failed") async for run in _listed(client, f"{_STATE} = 'failed'")]
    return pending + failed


def describe(run: Compensating) -> str:
    """One line for people."""
    if run.state == "failed":
        return f"{run.workflow_id} could not be taken back: its completion says which step; somebody must see to it"
    tried = f": {run.activity}, attempt {run.attempt}" if run.activity else ""
    return f"{run.workflow_id} is being taken back{tried}{f', {run.failure}' if run.failure else ''}"


def _listed(client: Client, query: str) -> AsyncIterator[WorkflowExecution]:
    return client.list_workflows(query, limit=MOST)


async def _tried(client: Client, run: WorkflowExecution) -> Compensating:
    described = await client.get_workflow_handle(run.id, run_id=run.run_id).describe()
    for activity in described.raw_description.pending_activities:
        failure = bounded(activity.last_failure.message, _FAILURE_CHARACTERS) or None
        return Compensating(run.id, run.run_id, "pending", activity.activity_type.name, activity.attempt, failure)
    return Compensating(run.id, run.run_id, "pending")
