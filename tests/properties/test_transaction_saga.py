"""The saga under any faults and cancels, several transactions of one account at once: the accounts balance, nothing is on hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from headrace.store import migrate
from headrace.store.engine import engine
from schemas.transaction import TransactionRequested
from tests.support.runs import FakeNotifier, ended
from tests.support.transaction_runs import ALWAYS, Fault, FaultyBooks, Plan, purchase_of, start, workflow_of, working
from workers.transaction.accounts import account, grant, set_stock
from workers.transaction.audit import audit
from workers.transaction.books import Books
from workers.transaction.models import Step

STEPS: tuple[Step, ...] = get_args(Step)

every_step = st.sampled_from(STEPS)
faults = st.builds(Fault, every_step, st.sampled_from(["before", "after", "late"]), st.sampled_from([1, ALWAYS]))
compensation_faults = st.builds(
    Fault, every_step, st.sampled_from(["before", "after"]), st.sampled_from([1, 3]), compensation=st.just(True)
)
plans = st.builds(
    Plan,
    st.lists(faults | compensation_faults, max_size=3).map(tuple),
    st.none() | st.tuples(every_step, st.sampled_from(["before", "after"])),
)
EACH_ALONE = [
    *(Plan((Fault(step, when),)) for step in STEPS for when in ("before", "after", "late")),
    *(Plan((), (step, when)) for step in STEPS for when in ("before", "after")),
]


@pytest_asyncio.fixture
async def books(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = engine(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    await migrate.upgrade(made)
    yield made
    await made.dispose()


async def all_at_once(client: Client, books: AsyncEngine, asked: list[Plan]) -> None:
    """One account, one lamp for every second transaction, of which there are fewer than are wanted."""
    notifier, faulty = FakeNotifier(), FaultyBooks(Books(books), client)
    requests = [purchase_of("ada", item="lamp" if number % 2 else "a course") for number in range(len(asked))]
    faulty.plans = {workflow_of(request): plan for request, plan in zip(requests, asked, strict=True)}
    before = await account(books, "ada")
    assert before is not None
    async with working(client, faulty, notifier):
        await asyncio.gather(*[ended(await start(client, request)) for request in requests])
    assert await audit(books) == []
    told = {sent.completion["workflow_id"]: sent.completion["status"] for sent in notifier.completions}
    assert len(notifier.completions) == len(told) == len(asked)
    assert set(faulty.too_late) <= {"TransactionRevoked"}
    found = await account(books, "ada")
    assert found is not None
    assert (found.held, found.balance) == (0, before.balance - sum(_spent(request, told) for request in requests))


def _spent(request: TransactionRequested, told: dict[str, str]) -> int:
    return request.amount if told[workflow_of(request)] == "SUCCEEDED" else 0


async def test_a_fault_or_a_cancel_at_each_point_leaves_the_accounts_balanced(skipping: Client, books: AsyncEngine) -> None:
    await grant(books, "ada", 10_000, "g")
    await set_stock(books, "lamp", 4)
    await all_at_once(skipping, books, EACH_ALONE)


@given(asked=st.lists(plans, min_size=6, max_size=10))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_faults_and_cancels_leave_the_accounts_balanced(skipping: Client, books: AsyncEngine, asked: list[Plan]) -> None:
    await grant(books, "ada", 10_000, "g")
    await set_stock(books, "lamp", 2)
    await all_at_once(skipping, books, asked)
