"""Runs of the reconciler whose histories are kept. It never continues as new: each round is a run of its schedule."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from notifier.__main__ import build_worker
from notifier.reconcile.workflow import ReconcileCompletions
from schemas import names
from schemas.errors import FailureType
from schemas.reconcile import Noted, Reconcile, Reconciled
from tests.support.runs import Cases, ended

Handle = WorkflowHandle[Any, Any]


class _Fake:
    """Fails in passing the first time, and for good when it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails
        self._calls = 0

    @activity.defn(name=names.NOTE_OPEN_EVENTS)
    async def note(self, _: Reconcile) -> Noted:
        self._calls += 1
        if self._calls == 1:
            raise ApplicationError("the database does not answer", type=FailureType.DATABASE_UNAVAILABLE)
        return Noted(read=3, noted=2)

    @activity.defn(name=names.COMPLETE_ENDED_RUNS)
    async def complete(self, _: Reconcile) -> Reconciled:
        if self._fails:
            raise ApplicationError("a fault", type=FailureType.INTERNAL, non_retryable=True)
        return Reconciled(checked=2, completed={"TERMINATED": 1}, still_open=1, calls=4)


async def _one(client: Client, fake: _Fake) -> Handle:
    async with build_worker(client, names.QUEUE_NOTIFICATIONS, [fake.note, fake.complete], [ReconcileCompletions]):
        handle = await client.start_workflow(
            names.RECONCILE, Reconcile(), id=f"{names.RECONCILE}-{uuid4()}", task_queue=names.QUEUE_NOTIFICATIONS
        )
        return await ended(handle)


async def succeeded(client: Client) -> Handle:
    return await _one(client, _Fake())


async def failed(client: Client) -> Handle:
    return await _one(client, _Fake(fails=True))


CASES: dict[str, Cases] = {names.RECONCILE: {"succeeded": succeeded, "failed": failed}}
