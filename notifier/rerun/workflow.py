"""Starts events anew whose run failed, a page at a time."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.redrive import Rerun, RerunPageDone, RerunTally

_PAGE_SECONDS = timedelta(minutes=5)
_HEARTBEAT = timedelta(seconds=15)


@workflow.defn(name=names.RERUN_WORKFLOW)
class RerunFailedWorkflow:
    """Each gets a new generation; asked for twice it is started once."""

    @workflow.init
    def __init__(self, rerun: Rerun) -> None:
        self._rerun = rerun

    @workflow.query(name=names.QUERY_PROGRESS)
    def progress(self) -> RerunTally:
        return self._rerun.tally

    @workflow.run
    async def run(self, _: Rerun) -> RerunTally:
        pages = 0
        while True:
            if pages == self._rerun.pages_a_run:
                workflow.continue_as_new(self._rerun)
            done: RerunPageDone = await workflow.execute_activity(
                names.RERUN_FAILED_RUNS,
                self._rerun,
                result_type=RerunPageDone,
                start_to_close_timeout=_PAGE_SECONDS,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
            self._rerun = self._rerun.model_copy(update={"token": done.token, "tally": self._rerun.tally.plus(done.tally)})
            if done.token is None:
                return self._rerun.tally
            pages += 1
