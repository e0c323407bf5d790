"""Whether the books balance, from their rows alone."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, String, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.tables import CREDIT_ACCOUNTS, CREDIT_ENTRIES, CREDIT_HOLDS, CREDIT_ORDERS

_accounts, _entries, _holds, _orders = CREDIT_ACCOUNTS.c, CREDIT_ENTRIES.c, CREDIT_HOLDS.c, CREDIT_ORDERS.c


async def audit(engine: AsyncEngine) -> list[str]:
    """A sentence for each thing that does not add up, up to 100 of a kind; none for books that are right. They may be in use."""
    async with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN")  # all of it is read at one moment
        else:
            await connection.execution_options(isolation_level="REPEATABLE READ")
        wrong = []
        for question, sentence in _QUESTIONS:
            wrong += [sentence.format(*row) for row in await connection.execute(question.limit(100))]
        await connection.rollback()
    return wrong


def _transfers() -> Select[tuple[str, str, int]]:
    total = func.sum(_entries.amount)
    return select(_entries.transfer_id, _entries.kind, total).group_by(_entries.transfer_id, _entries.kind).having(total != 0)


def _balances() -> Select[tuple[str, int, int]]:
    entered = (
        select(func.coalesce(func.sum(_entries.amount), 0)).where(_entries.account == _ledger_name(_accounts.user_id)).scalar_subquery()
    )
    return select(_accounts.user_id, _accounts.balance, entered).where(_accounts.balance != entered)


def _held() -> Select[tuple[str, int, int]]:
    open_holds = (
        select(func.coalesce(func.sum(_holds.amount), 0))
        .where(_holds.user_id == _accounts.user_id, _holds.state.in_(("held", "spent")))
        .scalar_subquery()
    )
    return select(_accounts.user_id, _accounts.held, open_holds).where(_accounts.held != open_holds)


def _strangers() -> Select[tuple[str]]:
    known = select(_ledger_name(_accounts.user_id))
    return select(_entries.account).where(_entries.account.like("user:%"), _entries.account.not_in(known)).distinct()


def _unlike_orders() -> Select[tuple[str, str, str]]:
    expected = case((_orders.state == "paid", "settled"), (_orders.state == "placed", "spent"), else_="released")
    # A hold is `held` again between the two compensations of an order that is withdrawn.
    right = (_holds.state == expected) | ((_orders.state == "withdrawn") & (_holds.state == "held"))
    joined = CREDIT_ORDERS.join(CREDIT_HOLDS, _orders.transaction_id == _holds.transaction_id)
    return select(_orders.transaction_id, _orders.state, _holds.state).select_from(joined).where(~right)


def _ledger_name(user_id: ColumnElement[str]) -> ColumnElement[str]:
    return literal("user:", String) + user_id


_QUESTIONS: tuple[tuple[Select[tuple[object, ...]], str], ...] = (
    (_transfers(), "the entries of the {1} {0} add up to {2}, not to 0"),
    (_balances(), "{0} has a balance of {1}, the entries add up to {2}"),
    (_held(), "{0} has {1} credits on hold, the open holds add up to {2}"),
    (_strangers(), "there are entries of {0}, which has no account"),
    (_unlike_orders(), "the order of {0} is {1}, its hold is {2}"),
)
