"""What `headrace status` says of sagas, on a real server."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from headrace import setup, temporal
from headrace.compensations import Compensating, compensations, describe
from headrace.settings import Settings
from tests.support.eventually import eventually
from tests.support.runs import ended
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.saga import Compensation, Saga

_SECOND = timedelta(seconds=1)


@activity.defn(name="break_it")
async def break_it(_: str) -> None:
    raise ApplicationError("broken", type="BackendRefused", non_retryable=True)


@activity.defn(name="mend_it")
async def mend_it(how: str) -> None:
    if how != "mended":
        raise ApplicationError("no glue", type="BackendRefused", non_retryable=how == "given up")


@workflow.defn(name="BreakingWorkflow", sandboxed=False)
class BreakingWorkflow:
    @workflow.run
    async def run(self, how: str) -> None:
        saga = Saga()
        await saga.run(self._steps(saga, how))

    async def _steps(self, saga: Saga, how: str) -> None:
        doing = workflow.execute_activity(break_it, how, start_to_close_timeout=_SECOND * 9, retry_policy=RetryPolicy(maximum_attempts=1))
        await saga.step("break_it", doing, Compensation(mend_it, how, _SECOND * 9))


async def test_a_compensation_that_waits_or_was_given_up_shows_in_status(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    client = await temporal.connect(settings)
    queue = f"q-{uuid4()}"
    async with Worker(client, task_queue=queue, workflows=[BreakingWorkflow], activities=[break_it, mend_it]):
        for how in ("mended", "given up"):
            await ended(await client.start_workflow("BreakingWorkflow", how, id=how, task_queue=queue))
        waiting = await client.start_workflow("BreakingWorkflow", "later", id="later", task_queue=queue)

        async def shown() -> list[Compensating]:
            found = await compensations(settings)
            return found if len(found) == 2 and (found[0].attempt or 0) > 1 and found[0].failure else []

        pending, failed = await eventually(shown, timeout=30)
        await waiting.terminate()
    assert (pending.workflow_id, pending.state, pending.activity, pending.failure) == ("later", "pending", "mend_it", "no glue")
    assert "later is being taken back: mend_it, attempt" in describe(pending)
    assert (failed.workflow_id, failed.state) == ("given up", "failed")
    assert "given up could not be taken back" in describe(failed)

    async def gone() -> bool:
        return [run.workflow_id for run in await compensations(settings)] == ["given up"]

    await eventually(gone, timeout=30)
