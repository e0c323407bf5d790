"""A transaction worker with the real books in SQL, and faults of each transaction's own around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from schemas import names
from schemas.errors import FailureType
from schemas.request import Accepted
from schemas.transaction import TransactionRequested, TransactionResult
from tests.support import runs
from tests.support.runs import FakeNotifier
from workers.transaction.activities import TransactionActivities
from workers.transaction.models import Purchase, Step

Handle = WorkflowHandle[object, TransactionResult]
When = Literal["before", "after", "late"]
"""Before the step's effect; after it; or the attempt counts as lost, and has its effect when the step was taken back."""

ALWAYS = 10**9


class Kept(Protocol):
    """The books."""

    async def do(self, step: Step, purchase: Purchase) -> int | None: ...

    async def undo(self, step: Step, transaction_id: str) -> bool: ...


@dataclass(frozen=True)
class Fault:
    """A step, or its compensation, that fails so many times."""

    step: Step
    when: When
    times: int = ALWAYS
    compensation: bool = False


@dataclass(frozen=True)
class Plan:
    """What happens to one transaction. It is cancelled in the middle of a step, before or after the effect."""

    faults: tuple[Fault, ...] = ()
    cancel: tuple[Step, Literal["before", "after"]] | None = None


@dataclass
class FaultyBooks:
    """The real books, with a plan for each transaction."""

    books: Kept
    client: Client
    plans: dict[str, Plan] = field(default_factory=dict)
    late: dict[tuple[str, Step], Purchase] = field(default_factory=dict)
    too_late: list[str] = field(default_factory=list)
    """How the late attempts ended."""
    _failed: dict[tuple[str, Fault], int] = field(default_factory=dict)

    async def do(self, step: Step, purchase: Purchase) -> int | None:
        transaction_id = purchase.transaction_id
        await self._cancel(transaction_id, step, "before")
        self._fail(transaction_id, step, "before")
        if self._fails(transaction_id, step, "late"):
            self.late[transaction_id, step] = purchase
            raise TimeoutError(step)
        answer = await self.books.do(step, purchase)
        await self._cancel(transaction_id, step, "after")
        self._fail(transaction_id, step, "after")
        return answer

    async def undo(self, step: Step, transaction_id: str) -> bool:
        self._fail(transaction_id, step, "before", compensation=True)
        undone = await self.books.undo(step, transaction_id)
        if (purchase := self.late.pop((transaction_id, step), None)) is not None:
            try:
                await self.books.do(step, purchase)
            except ApplicationError as error:
                self.too_late.append(error.type or "")
            else:
                self.too_late.append("had its effect")
        self._fail(transaction_id, step, "after", compensation=True)
        return undone

    async def _cancel(self, transaction_id: str, step: Step, when: str) -> None:
        if self.plans.get(transaction_id, Plan()).cancel == (step, when):
            await self.client.get_workflow_handle(transaction_id).cancel()

    def _fail(self, transaction_id: str, step: Step, when: When, *, compensation: bool = False) -> None:
        if self._fails(transaction_id, step, when, compensation=compensation):
            # Days of the policy's own five minutes would be thousands of attempts.
            pause = timedelta(hours=20) if compensation else None
            raise ApplicationError("the database went away", type=FailureType.DATABASE_UNAVAILABLE, next_retry_delay=pause)

    def _fails(self, transaction_id: str, step: Step, when: When, *, compensation: bool = False) -> bool:
        for fault in self.plans.get(transaction_id, Plan()).faults:
            if (fault.step, fault.when, fault.compensation) == (step, when, compensation):
                count = self._failed[transaction_id, fault] = self._failed.get((transaction_id, fault), 0) + 1
                return count <= fault.times
        return False


@contextlib.asynccontextmanager
async def working(client: Client, books: Kept, notifier: FakeNotifier) -> AsyncIterator[None]:
    async with runs.working(client, "transaction", TransactionActivities(books).all(), notifier):
        yield


def purchase_of(user_id: str, **changed: object) -> TransactionRequested:
    fields = {"event_id": uuid4(), "user_id": user_id, "requested_at": datetime.now(UTC), "amount": 10, "item": "a course"}
    return TransactionRequested.model_validate({**fields, **changed})


def workflow_of(request: TransactionRequested) -> str:
    return f"transaction-{request.event_id}"


async def start(client: Client, request: TransactionRequested, generation: int = 1) -> Handle:
    return await client.start_workflow(
        "TransactionalWorkflow",
        Accepted(request=request, origin=runs.origin("transaction.requests"), generation=generation),
        id=workflow_of(request),
        task_queue=names.QUEUE_TRANSACTION,
        result_type=TransactionResult,
    )
