"""One purchase for one request: credits on hold, the order, the entry in the books, or all of it taken back."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas.ids import transaction_id
    from schemas.request import Accepted
    from schemas.transaction import CompensationOutcome, TransactionRequested, TransactionResult
    from workers.completion import concluded
    from workers.saga import Compensated as Undone
    from workers.saga import Compensation, Saga
    from workers.transaction.activities import TransactionActivities
    from workers.transaction.models import Compensate, Purchase

_COMPLETED = "headrace.transaction.TransactionCompleted"

# The reference's time-outs and retries, except that compensations have no limit of attempts: after its five a saga would leave credits
# on hold because the database was away for a minute. The heartbeat is ours, so that a killed worker costs ten seconds and not minutes.
_HEARTBEAT = timedelta(seconds=10)
_SECONDS_30 = timedelta(seconds=30)


@workflow.defn(name="TransactionalWorkflow")
class TransactionalWorkflow:
    """Reserves, processes, commits; compensates in reverse when one fails or the run is cancelled; then tells, whatever happened."""

    @workflow.run
    async def run(self, accepted: Accepted[TransactionRequested]) -> TransactionResult:
        request, saga = accepted.request, Saga()
        workflow_id = workflow.info().workflow_id
        purchase = Purchase(
            transaction_id=transaction_id(workflow_id, accepted.generation),
            user_id=request.user_id,
            amount=request.amount,
            item=request.item,
            reference=request.reference,
        )
        earlier = [transaction_id(workflow_id, generation) for generation in range(1, accepted.generation)]
        return await concluded(
            accepted, _COMPLETED, saga.run(self._steps(saga, purchase, earlier)), partial=lambda: _result(purchase, undone=saga.compensated)
        )

    async def _steps(self, saga: Saga, purchase: Purchase, earlier: list[str]) -> TransactionResult:
        for each in earlier:
            await _take_back(each)
        release, withdraw, refund = _compensations(purchase.transaction_id)
        await saga.step(
            "reserve_resources",
            workflow.execute_activity_method(
                TransactionActivities.reserve_resources,
                purchase,
                start_to_close_timeout=_SECONDS_30,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_attempts=3),
            ),
            release,
        )
        await saga.step(
            "process_request",
            workflow.execute_activity_method(
                TransactionActivities.process_request,
                purchase,
                start_to_close_timeout=timedelta(minutes=5),
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_attempts=3),
            ),
            withdraw,
        )
        committed = await saga.step(
            "commit_transaction",
            workflow.execute_activity_method(
                TransactionActivities.commit_transaction,
                purchase,
                start_to_close_timeout=_SECONDS_30,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_attempts=5),
            ),
            refund,
        )
        return _result(purchase, balance_after=committed.balance_after)


async def _take_back(earlier: str) -> None:
    """An earlier generation that was terminated has taken nothing back, and may have been paid; one that has finds nothing more to do."""
    for undo in reversed(_compensations(earlier)):
        await workflow.execute_activity(
            undo.activity,
            undo.argument,
            start_to_close_timeout=undo.start_to_close_timeout,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=5)),
        )


def _compensations(of: str) -> tuple[Compensation, Compensation, Compensation]:
    """Of the steps, the first one first."""
    undo = Compensate(transaction_id=of)
    return (
        Compensation(TransactionActivities.release_resources, undo, _SECONDS_30, _HEARTBEAT),
        Compensation(TransactionActivities.rollback_processing, undo, timedelta(minutes=2), _HEARTBEAT),
        Compensation(TransactionActivities.rollback_transaction, undo, _SECONDS_30, _HEARTBEAT),
    )


def _result(purchase: Purchase, *, balance_after: int | None = None, undone: list[Undone] | None = None) -> TransactionResult:
    return TransactionResult(
        **purchase.model_dump(exclude={"user_id"}),
        balance_after=balance_after,
        compensations=[_outcome(each) for each in undone or []],
    )


def _outcome(undone: Undone) -> CompensationOutcome:
    step = {"step": undone.step, "compensation": undone.compensation}
    if undone.error is not None:
        return CompensationOutcome(**step, outcome="failed", error_code=undone.error.code, error_message=undone.error.message)
    return CompensationOutcome(**step, outcome="compensated" if undone.answer.had_effect else "nothing_to_undo")
