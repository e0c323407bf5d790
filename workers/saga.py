"""A saga: steps that are taken back, the last one first, when a later one fails or the run is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.completion import CompletionError
    from workers.completion import shielded, sort_failure

T = TypeVar("T")

_STATE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_COMPENSATION)
_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class Compensation:
    """The activity that takes a step back, and what it is told."""

    activity: Callable[..., Any]
    argument: Any
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta | None = None
    """For an activity that heartbeats: a killed worker then costs this much and not the whole time-out."""


@dataclass(frozen=True, slots=True)
class Compensated:
    """What became of one compensation."""

    step: str
    compensation: str
    """The name of its function."""
    answer: Any
    """What the compensation gave; None when it could not be done."""
    error: CompletionError | None
    """Why it could not be done."""


class Saga:
    """The steps of one run that have a compensation.

        saga = Saga()
        await concluded(accepted, COMPLETED, saga.run(self._steps(saga)), partial=lambda: Result(undone=saga.compensated))

        async def _steps(self, saga: Saga) -> Result:
            await saga.step(
                "take",
                workflow.execute_activity_method(Shop.take, order, start_to_close_timeout=..., retry_policy=...),
                Compensation(Shop.put_back, order.id, start_to_close_timeout=timedelta(seconds=30)),
            )
            ...

    A step's compensation is noted before the step is tried, and runs whatever became of the step: a step that timed out, or whose
    worker died, may have had its effect, and an attempt that nobody waits for any more may have it later. So a compensation takes back
    what it finds, does nothing where there is nothing, *and keeps the step from having its effect afterwards*: a row with the step's
    identity that both write does all three, see `workers/transaction/books.py`.

    Compensations are shielded from cancellation. Each is tried for `patience`, with pauses of up to five minutes; meanwhile
    `headrace status` shows the run. One that cannot be done does not keep the others from being tried, and is in `compensated` with
    its error.
    """

    def __init__(self, patience: timedelta = timedelta(days=7)) -> None:
        self.compensated: list[Compensated] = []
        """In the order in which they were done: the last step first."""
        self._patience = patience
        self._noted: list[tuple[str, Compensation]] = []

    async def step(self, name: str, doing: Awaitable[T], undo: Compensation) -> T:
        """Awaits a step; from here on its compensation is owed."""
        self._noted.append((name, undo))
        return await doing

    async def run(self, steps: Awaitable[T]) -> T:
        """Awaits the steps. When they fail or are cancelled, compensates, then raises what they raised.

        A fault of the workflow's code is neither: it fails the workflow task, and the run goes on when it is mended.
        """
        try:
            return await steps
        except BaseException as error:
            if self._noted and (isinstance(error, FailureError) or is_cancelled_exception(error)):
                await shielded(self._compensate())
            raise

    async def _compensate(self) -> None:
        workflow.upsert_search_attributes([_STATE.value_set("pending")])
        for step, undo in reversed(self._noted):
            self.compensated.append(await self._undone(step, undo))
        failed = any(each.error for each in self.compensated)
        workflow.upsert_search_attributes([_STATE.value_set("failed" if failed else "done")])

    async def _undone(self, step: str, undo: Compensation) -> Compensated:
        name = undo.activity.__name__
        try:
            answer = await workflow.execute_activity(
                undo.activity,
                undo.argument,
                start_to_close_timeout=undo.start_to_close_timeout,
                heartbeat_timeout=undo.heartbeat_timeout,
                schedule_to_close_timeout=self._patience,
                retry_policy=_RETRY,
            )
        except ActivityError as error:
            _, why = sort_failure(error)
            workflow.logger.error("compensation_failed: %s by %s: %s", step, name, why.code)
            return Compensated(step, name, None, why)
        return Compensated(step, name, answer, None)
