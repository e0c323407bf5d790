"""The transaction activities. Light to import: the books are handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from temporalio import activity

from workers.heartbeat import heartbeat
from workers.transaction.models import Committed, Compensate, Compensated, Processed, Purchase, Reserved, Step


class Books(Protocol):
    """Where credits are kept. Each raises `ApplicationError` with a `FailureType`, and may be called again at any time."""

    async def do(self, step: Step, purchase: Purchase) -> int | None: ...

    async def undo(self, step: Step, transaction_id: str) -> bool: ...


class TransactionActivities:
    def __init__(self, books: Books) -> None:
        self._books = books

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.reserve_resources,
            self.process_request,
            self.commit_transaction,
            self.release_resources,
            self.rollback_processing,
            self.rollback_transaction,
        ]

    @activity.defn(name="reserve_resources")
    async def reserve_resources(self, purchase: Purchase) -> Reserved:
        """Puts credits on hold."""
        async with heartbeat():
            return Reserved(available=_number(await self._books.do("reserve_resources", purchase)))

    @activity.defn(name="process_request")
    async def process_request(self, purchase: Purchase) -> Processed:
        """Spends the hold on the item: the order."""
        async with heartbeat():
            return Processed(left=await self._books.do("process_request", purchase))

    @activity.defn(name="commit_transaction")
    async def commit_transaction(self, purchase: Purchase) -> Committed:
        """Moves the credits in the ledger, from the user to the revenue."""
        async with heartbeat():
            return Committed(balance_after=_number(await self._books.do("commit_transaction", purchase)))

    @activity.defn(name="release_resources")
    async def release_resources(self, what: Compensate) -> Compensated:
        async with heartbeat():
            return Compensated(had_effect=await self._books.undo("reserve_resources", what.transaction_id))

    @activity.defn(name="rollback_processing")
    async def rollback_processing(self, what: Compensate) -> Compensated:
        async with heartbeat():
            return Compensated(had_effect=await self._books.undo("process_request", what.transaction_id))

    @activity.defn(name="rollback_transaction")
    async def rollback_transaction(self, what: Compensate) -> Compensated:
        async with heartbeat():
            return Compensated(had_effect=await self._books.undo("commit_transaction", what.transaction_id))


def _number(answer: int | None) -> int:
    assert answer is not None  # noqa: S101 - only process_request may answer None
    return answer
