"""What an operator does with credits: grant them, count stock, look at an account, undo what a terminated run has left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.insert import insert_once
from headrace.store.tables import CREDIT_ACCOUNTS, CREDIT_ENTRIES, CREDIT_STOCK
from schemas.transaction import MAX_CREDITS
from workers.transaction.books import Books, enter, user_account, writing
from workers.transaction.models import Step

GRANTS = "grants"


class Refused(ValueError):  # noqa: N818 - an answer, not an accident
    """It cannot be done as it was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """Credits. `held` is part of the balance."""

    user_id: str
    balance: int
    held: int


async def grant(engine: AsyncEngine, user_id: str, amount: int, reference: str) -> bool:
    """Gives a user credits, once for each reference, and an account with them; False when this grant was there already.

    Raises `Refused` for a reference that another grant has, and for an amount that is none.
    """
    if not 1 <= amount <= MAX_CREDITS:
        raise Refused(f"a grant is of 1 to {MAX_CREDITS} credits, not {amount}")
    if not user_id or not reference:
        raise Refused("a grant needs a user and a reference: by the reference a repeated one is known")
    async with writing(engine) as connection:
        await insert_once(connection, CREDIT_ACCOUNTS, {"user_id": user_id, "balance": 0, "held": 0})
        # The account's row is locked by this: two who give the same grant come one after the other. Of two users with the same
        # reference the second fails at the ledger's key, and finds the first when it is tried again.
        locked = update(CREDIT_ACCOUNTS).filter_by(user_id=user_id).values(held=CREDIT_ACCOUNTS.c.held)
        await connection.execute(locked)
        entries = CREDIT_ENTRIES.c
        found = select(entries.account, entries.amount).where(entries.transfer_id == reference, entries.kind == "grant")
        legs = dict((await connection.execute(found)).all())
        if legs:
            if legs != {GRANTS: -amount, user_account(user_id): amount}:
                raise Refused(f"the reference {reference!r} is of another grant: give each its own")
            return False
        await enter(connection, reference, "grant", {GRANTS: -amount, user_account(user_id): amount})
        await connection.execute(update(CREDIT_ACCOUNTS).filter_by(user_id=user_id).values(balance=CREDIT_ACCOUNTS.c.balance + amount))
        return True


async def set_stock(engine: AsyncEngine, item: str, available: int) -> None:
    """So many of the item are left to be sold from now on. An item that never had a stock can be sold any number of times."""
    if available < 0 or not item:
        raise Refused("a stock is of an item, and 0 or more")
    async with writing(engine) as connection:
        if not await insert_once(connection, CREDIT_STOCK, {"item": item, "available": available}):
            await connection.execute(update(CREDIT_STOCK).filter_by(item=item).values(available=available))


async def account(engine: AsyncEngine, user_id: str) -> Account | None:
    """None for a user without one."""
    async with engine.connect() as connection:
        found = select(CREDIT_ACCOUNTS.c.user_id, CREDIT_ACCOUNTS.c.balance, CREDIT_ACCOUNTS.c.held).filter_by(user_id=user_id)
        row = (await connection.execute(found)).one_or_none()
    return Account(*row) if row else None


async def undo(engine: AsyncEngine, transaction_id: str) -> list[Step]:
    """Takes a whole transaction back, for a run that was terminated or whose compensations were given up.

    The steps that had an effect, which is taken back now or was before.
    """
    books = Books(engine)
    return [step for step in reversed(get_args(Step)) if await books.undo(step, transaction_id)]
