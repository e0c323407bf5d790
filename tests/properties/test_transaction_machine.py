"""The books under any order of steps, compensations, repetitions and races: no credit and no item is made, lost or left on hold."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar, get_args
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.tables import CREDIT_ORDERS, CREDIT_STOCK
from workers.transaction.accounts import account, grant, set_stock, undo
from workers.transaction.audit import audit
from workers.transaction.books import Books
from workers.transaction.models import Purchase, Step

T = TypeVar("T")

STEPS: tuple[Step, ...] = get_args(Step)
LAMPS, GRANTED = 2, 100

steps = st.sampled_from(STEPS)
transactions = st.integers(0, 5)
amounts = st.sampled_from([1, 30, 60, 101])
calls = st.tuples(st.booleans(), transactions, steps)


class BooksMachine(RuleBasedStateMachine):
    """Six transactions of one user, each with its amount, of which half buy what there are two of, two under one reference."""

    def __init__(self, loop: asyncio.AbstractEventLoop, database: AsyncEngine) -> None:
        super().__init__()
        self._loop, self._database, self._books = loop, database, Books(database)
        self._name = uuid4().hex

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, 30))

    @initialize(amounts=st.lists(amounts, min_size=6, max_size=6))
    def begin(self, amounts: list[int]) -> None:
        self._purchases = [
            Purchase(
                transaction_id=f"{self._name}-{number}",
                user_id=self._name,
                amount=amount,
                item=f"lamp {self._name}" if number % 2 else "a course",
                reference="one" if number in (0, 1) else "",
            )
            for number, amount in enumerate(amounts)
        ]
        self._run(grant(self._database, self._name, GRANTED, self._name))
        self._run(set_stock(self._database, f"lamp {self._name}", LAMPS))

    async def _call(self, call: tuple[bool, int, Step]) -> None:
        undoing, number, step = call
        try:
            if undoing:
                await self._books.undo(step, self._purchases[number].transaction_id)
            else:
                await self._books.do(step, self._purchases[number])
        except ApplicationError as error:
            assert error.non_retryable, error.message  # noqa: PT017 - the database answers

    @rule(call=calls)
    def one(self, call: tuple[bool, int, Step]) -> None:
        self._run(self._call(call))

    @rule(number=transactions)
    def all_steps(self, number: int) -> None:
        for step in STEPS:
            self._run(self._call((False, number, step)))

    @rule(several=st.lists(calls, min_size=2, max_size=6))
    def at_once(self, several: list[tuple[bool, int, Step]]) -> None:
        async def gathered() -> None:
            await asyncio.gather(*map(self._call, several))

        self._run(gathered())

    @rule(number=transactions)
    def by_hand(self, number: int) -> None:
        self._run(undo(self._database, self._purchases[number].transaction_id))

    @invariant()
    def the_books_balance(self) -> None:
        assert self._run(audit(self._database)) == []

    def teardown(self) -> None:
        """Whatever is not paid in the end is taken back: then nothing is on hold, and every credit and lamp is accounted for."""
        if hasattr(self, "_purchases"):
            self._run(self._end())

    async def _end(self) -> None:
        paid = await self._paid()
        for number, each in enumerate(self._purchases):
            if each.transaction_id not in paid:
                await undo(self._database, each.transaction_id)
                for step in STEPS:  # attempts that nobody waits for any more
                    await self._call((False, number, step))
        found = await account(self._database, self._name)
        assert found is not None
        assert (found.held, found.balance) == (0, GRANTED - sum(each.amount for each in self._purchases if each.transaction_id in paid))
        assert sum(each.reference == "one" for each in self._purchases if each.transaction_id in paid) <= 1
        async with self._database.connect() as connection:
            left = await connection.execute(CREDIT_STOCK.select().filter_by(item=f"lamp {self._name}"))
            assert left.one().available == LAMPS - sum("lamp" in each.item for each in self._purchases if each.transaction_id in paid)

    async def _paid(self) -> set[str]:
        async with self._database.connect() as connection:
            rows = await connection.execute(CREDIT_ORDERS.select().filter_by(user_id=self._name, state="paid"))
            return {row.transaction_id for row in rows}


def test_no_order_of_steps_makes_loses_or_holds_a_credit(database_url: str) -> None:
    loop = asyncio.new_event_loop()
    database = engine(database_url)
    machine = partial(BooksMachine, loop, database)
    few = settings(max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    try:
        loop.run_until_complete(migrate.upgrade(database))
        run_state_machine_as_test(machine, settings=few)  # type: ignore[arg-type]  # it takes any callable
    finally:
        loop.run_until_complete(database.dispose())
        loop.close()
