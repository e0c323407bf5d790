"""The books in SQL: each step of a transaction and its compensation is one database transaction.

What makes them safe to repeat, to cut off and to reorder is the row in `credit_steps`. A step writes its row with its effect; its
compensation turns that row over, or writes it in advance where there is none. An attempt that wakes up after its compensation (the
worker stood still, the time-out passed) finds the row and has no effect.

Locks are taken in one order, so that no two transactions wait for each other: step, hold, account, stock.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.away import why
from headrace.store.insert import insert_once
from headrace.store.tables import CREDIT_ACCOUNTS, CREDIT_ENTRIES, CREDIT_HOLDS, CREDIT_ORDERS, CREDIT_STEPS, CREDIT_STOCK
from schemas.errors import FailureType
from workers.transaction.models import Purchase, Step

REVENUE = "revenue"


def user_account(user_id: str) -> str:
    """The user's account in the ledger; the prefix keeps a user called `revenue` apart from the revenue."""
    return f"user:{user_id}"


@contextlib.asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that is going to write. Raises `ApplicationError(DATABASE_UNAVAILABLE)`, which is worth another attempt."""
    try:
        async with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Here and not at the first write: a transaction that has read before it writes is refused when another wrote in between.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise ApplicationError(f"the database does not answer as it must: {why(error)}", type=FailureType.DATABASE_UNAVAILABLE) from error


class Books:
    """Every method may be called any number of times, in any order, by several processes at once."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def do(self, step: Step, purchase: Purchase) -> int | None:
        """Has the step's effect once; the answer of the first time, again: credits available, items left, or the balance.

        Raises `ApplicationError`: UNKNOWN_ACCOUNT, INSUFFICIENT_CREDITS, DUPLICATE_REFERENCE, ITEM_SOLD_OUT, TRANSACTION_REVOKED for
        what is final and without effect; DATABASE_UNAVAILABLE, after which the effect may be there or not.
        """
        key = {"transaction_id": purchase.transaction_id, "step": step}
        async with writing(self._engine) as connection:
            # Whoever else is about the same step waits here until this transaction has ended.
            if not await insert_once(connection, CREDIT_STEPS, {**key, "state": "done", "changed_at": datetime.now(UTC)}):
                found = await connection.execute(select(CREDIT_STEPS.c.state, CREDIT_STEPS.c.answer).filter_by(**key))
                state, before = found.one()
                if state != "done":
                    raise _revoked(step, purchase.transaction_id)
                return None if before is None else int(before)
            answer = await _DO[step](connection, purchase)
            await connection.execute(update(CREDIT_STEPS).filter_by(**key).values(answer=answer))
            return answer

    async def undo(self, step: Step, transaction_id: str) -> bool:
        """Takes the step's effect back and keeps it from having one later; whether there was any, also when it was taken back before.

        Raises `ApplicationError`: DATABASE_UNAVAILABLE, and as final COMPENSATION_BLOCKED while the step after it is not undone.
        """
        key = {"transaction_id": transaction_id, "step": step}
        now = datetime.now(UTC)
        async with writing(self._engine) as connection:
            if await insert_once(connection, CREDIT_STEPS, {**key, "state": "prevented", "changed_at": now}):
                return False
            turned = update(CREDIT_STEPS).filter_by(**key, state="done").values(state="undone", changed_at=now)
            done = (await connection.execute(turned.returning(CREDIT_STEPS.c.answer))).one_or_none()
            if done is None:
                # An attempt before this one got here: what it found is told again, since nobody may have heard it.
                found = await connection.execute(select(CREDIT_STEPS.c.state).filter_by(**key))
                return bool(found.scalar_one() == "undone")
            await _UNDO[step](connection, transaction_id, done.answer)
            return True


async def _reserve(connection: AsyncConnection, purchase: Purchase) -> int:
    about = purchase.model_dump(include={"transaction_id", "user_id", "amount", "reference"})
    if not await insert_once(connection, CREDIT_HOLDS, {**about, "state": "held", "held_at": datetime.now(UTC)}):
        raise ApplicationError(
            f"{purchase.user_id} has another purchase of the reference {purchase.reference!r}: it is under way or done",
            type=FailureType.DUPLICATE_REFERENCE,
            non_retryable=True,
        )
    accounts = CREDIT_ACCOUNTS.c
    # Checked and written in one statement: of two that race for the last credits one finds them gone.
    held = (
        update(CREDIT_ACCOUNTS)
        .where(accounts.user_id == purchase.user_id, accounts.balance - accounts.held >= purchase.amount)
        .values(held=accounts.held + purchase.amount)
        .returning(accounts.balance - accounts.held)
    )
    available = (await connection.execute(held)).scalar_one_or_none()
    if available is not None:
        return int(available)
    there = await connection.execute(select(accounts.balance - accounts.held).filter_by(user_id=purchase.user_id))
    if (has := there.scalar_one_or_none()) is None:
        raise ApplicationError(
            f"{purchase.user_id} has no account: credits must be granted first", type=FailureType.UNKNOWN_ACCOUNT, non_retryable=True
        )
    raise ApplicationError(
        f"{purchase.amount} credits are asked for, {has} are available", type=FailureType.INSUFFICIENT_CREDITS, non_retryable=True
    )


async def _release(connection: AsyncConnection, transaction_id: str, _: int | None) -> None:
    hold = await _moved(connection, CREDIT_HOLDS, transaction_id, "held", "released")
    await _change(connection, hold.user_id, held=-hold.amount)


async def _process(connection: AsyncConnection, purchase: Purchase) -> int | None:
    if await _move(connection, CREDIT_HOLDS, purchase.transaction_id, "held", "spent") is None:
        raise _revoked("process_request", purchase.transaction_id)
    about = purchase.model_dump(include={"transaction_id", "user_id", "item", "amount"})
    await insert_once(connection, CREDIT_ORDERS, {**about, "state": "placed", "ordered_at": datetime.now(UTC)})
    stock = CREDIT_STOCK.c
    taken = update(CREDIT_STOCK).where(stock.item == purchase.item, stock.available > 0).values(available=stock.available - 1)
    left = (await connection.execute(taken.returning(stock.available))).scalar_one_or_none()
    if left is None and (await connection.execute(select(stock.item).filter_by(item=purchase.item))).first() is not None:
        raise ApplicationError(f"{purchase.item!r} is sold out", type=FailureType.ITEM_SOLD_OUT, non_retryable=True)
    return None if left is None else int(left)


async def _withdraw(connection: AsyncConnection, transaction_id: str, left: int | None) -> None:
    await _moved(connection, CREDIT_HOLDS, transaction_id, "spent", "held")
    order = await _moved(connection, CREDIT_ORDERS, transaction_id, "placed", "withdrawn")
    if left is not None:
        await connection.execute(update(CREDIT_STOCK).filter_by(item=order.item).values(available=CREDIT_STOCK.c.available + 1))


async def _commit(connection: AsyncConnection, purchase: Purchase) -> int:
    hold = await _move(connection, CREDIT_HOLDS, purchase.transaction_id, "spent", "settled")
    if hold is None:
        raise _revoked("commit_transaction", purchase.transaction_id)
    await _moved(connection, CREDIT_ORDERS, purchase.transaction_id, "placed", "paid")
    balance = await _change(connection, hold.user_id, balance=-hold.amount, held=-hold.amount)
    await enter(connection, purchase.transaction_id, "payment", {user_account(hold.user_id): -hold.amount, REVENUE: hold.amount})
    return balance


async def _refund(connection: AsyncConnection, transaction_id: str, _: int | None) -> None:
    hold = await _moved(connection, CREDIT_HOLDS, transaction_id, "settled", "spent")
    await _moved(connection, CREDIT_ORDERS, transaction_id, "paid", "placed")
    await _change(connection, hold.user_id, balance=hold.amount, held=hold.amount)
    await enter(connection, transaction_id, "refund", {user_account(hold.user_id): hold.amount, REVENUE: -hold.amount})


_DO: dict[Step, Callable[[AsyncConnection, Purchase], Awaitable[int | None]]] = {
    "reserve_resources": _reserve,
    "process_request": _process,
    "commit_transaction": _commit,
}
_UNDO: dict[Step, Callable[[AsyncConnection, str, int | None], Awaitable[None]]] = {
    "reserve_resources": _release,
    "process_request": _withdraw,
    "commit_transaction": _refund,
}


async def enter(connection: AsyncConnection, transfer_id: str, kind: str, legs: dict[str, int]) -> None:
    """Writes the legs of one transfer into the ledger. They add up to zero; a leg that is there already is an error."""
    now = datetime.now(UTC)
    rows = [
        {"transfer_id": transfer_id, "kind": kind, "account": account, "amount": amount, "entered_at": now}
        for account, amount in legs.items()
    ]
    await connection.execute(CREDIT_ENTRIES.insert(), rows)


async def _change(connection: AsyncConnection, user_id: str, *, balance: int = 0, held: int = 0) -> int:
    """Changes an account that has a hold, so it exists; its new balance."""
    accounts = CREDIT_ACCOUNTS.c
    changed = (
        update(CREDIT_ACCOUNTS)
        .where(accounts.user_id == user_id)
        .values(balance=accounts.balance + balance, held=accounts.held + held)
        .returning(accounts.balance)
    )
    return int((await connection.execute(changed)).scalar_one())


async def _move(connection: AsyncConnection, table: Table, transaction_id: str, before: str, after: str) -> Row[Any] | None:
    """Changes the state of a hold or an order; its row, or None when it was not in the state before."""
    moved = update(table).where(table.c.transaction_id == transaction_id, table.c.state == before).values(state=after)
    return (await connection.execute(moved.returning(*table.c))).one_or_none()


async def _moved(connection: AsyncConnection, table: Table, transaction_id: str, before: str, after: str) -> Row[Any]:
    """The same for one that is in the state before, unless steps are undone out of their order."""
    row = await _move(connection, table, transaction_id, before, after)
    if row is None:
        # A saga undoes the later step first and asks for this one when that was given up: asking again would not help.
        raise ApplicationError(
            f"a later step of it is not undone: `python -m workers.transaction undo {transaction_id}` undoes them all",
            type=FailureType.COMPENSATION_BLOCKED,
            non_retryable=True,
        )
    return row


def _revoked(step: str, transaction_id: str) -> ApplicationError:
    return ApplicationError(
        f"{step} of {transaction_id} was taken back, or has nothing to go on from", type=FailureType.TRANSACTION_REVOKED, non_retryable=True
    )
