"""The reconciler's two steps, started by the schedule `headrace-reconcile`; while a run of it goes on no other is started."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.reconcile import Noted, Reconcile, Reconciled, ReconcileReport

_HEARTBEAT = timedelta(seconds=60)
_RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=30))


@workflow.defn(name=names.RECONCILE)
class ReconcileCompletions:
    """Notes what the ledger has and no completion tells of, then looks at what is due."""

    @workflow.run
    async def run(self, asked: Reconcile) -> ReconcileReport:
        noted = await workflow.execute_activity(
            names.NOTE_OPEN_EVENTS,
            asked,
            result_type=Noted,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRIES,
        )
        reconciled = await workflow.execute_activity(
            names.COMPLETE_ENDED_RUNS,
            asked,
            result_type=Reconciled,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRIES,
        )
        return ReconcileReport(noted=noted, reconciled=reconciled)
