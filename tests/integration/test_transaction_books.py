"""The books on SQLite and on PostgreSQL: what a repetition, a race and a step out of its order must not do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.engine import engine
from workers.transaction.accounts import Account, Refused, account, grant, set_stock, undo
from workers.transaction.audit import audit
from workers.transaction.books import Books
from workers.transaction.models import Purchase, Step

STEPS: tuple[Step, ...] = ("reserve_resources", "process_request", "commit_transaction")


def purchase(**changed: Any) -> Purchase:
    return Purchase.model_validate({"transaction_id": f"t-{uuid4()}", "user_id": "ada", "amount": 10, "item": "a course", **changed})


async def outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except ApplicationError as error:
        return (error.type or "") if error.non_retryable else f"retryable {error.type}"
    return "done"


async def bought(books: Books, what: Purchase) -> str:
    """The whole purchase, taken back where a step fails."""
    for number, step in enumerate(STEPS):
        if (how := await outcome(books.do(step, what))) != "done":
            for again in reversed(STEPS[: number + 1]):
                await books.undo(again, what.transaction_id)
            return how
    return "done"


async def test_purchases_at_once_never_spend_more_than_there_is(store: AsyncEngine) -> None:
    await grant(store, "ada", 75, "g")
    other = engine(store.url.render_as_string(hide_password=False))
    here, there = Books(store), Books(other)
    outcomes = await asyncio.gather(*(bought((here, there)[number % 2], purchase()) for number in range(24)))
    await other.dispose()
    assert Counter(outcomes) == {"done": 7, "InsufficientCredits": 17}
    assert await account(store, "ada") == Account("ada", 5, 0)
    assert await audit(store) == []


async def test_the_last_of_an_item_is_sold_once(store: AsyncEngine) -> None:
    await grant(store, "ada", 1000, "g")
    await set_stock(store, "lamp", 3)
    outcomes = await asyncio.gather(*(bought(Books(store), purchase(item="lamp")) for _ in range(10)))
    assert Counter(outcomes) == {"done": 3, "ItemSoldOut": 7}
    assert await account(store, "ada") == Account("ada", 970, 0)
    assert await audit(store) == []


async def test_of_two_purchases_with_one_reference_one_is_made(store: AsyncEngine) -> None:
    await grant(store, "ada", 1000, "g")
    await grant(store, "bob", 1000, "h")
    asked = [*(purchase(reference="invoice 7") for _ in range(6)), purchase(user_id="bob", reference="invoice 7")]
    outcomes = await asyncio.gather(*(bought(Books(store), each) for each in asked))
    assert Counter(outcomes) == {"done": 2, "DuplicateReference": 5}
    assert await audit(store) == []


@pytest.mark.parametrize("times", [2, 5])
async def test_a_step_that_runs_again_beside_itself_has_one_effect_and_one_answer(store: AsyncEngine, times: int) -> None:
    await grant(store, "ada", 100, "g")
    await set_stock(store, "lamp", 9)
    what, books = purchase(item="lamp"), Books(store)
    answers: list[Sequence[int | None]] = [await asyncio.gather(*(books.do(step, what) for _ in range(times))) for step in STEPS]
    assert answers == [[90] * times, [8] * times, [90] * times]
    undone = [await asyncio.gather(*(books.undo(step, what.transaction_id) for _ in range(times))) for step in reversed(STEPS)]
    assert undone == [[True] * times] * 3
    assert await account(store, "ada") == Account("ada", 100, 0)
    assert await books.do("process_request", await fresh(books, item="lamp")) == 8


async def fresh(books: Books, **changed: Any) -> Purchase:
    what = purchase(**changed)
    await books.do("reserve_resources", what)
    return what


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_comes_after_its_compensation_has_no_effect(store: AsyncEngine, step: Step) -> None:
    await grant(store, "ada", 100, "g")
    what, books = purchase(), Books(store)
    for before in STEPS[: STEPS.index(step)]:
        await books.do(before, what)
    assert await books.undo(step, what.transaction_id) is False
    assert await outcome(books.do(step, what)) == "TransactionRevoked"
    assert await undo(store, what.transaction_id) == list(reversed(STEPS[: STEPS.index(step)]))
    assert await account(store, "ada") == Account("ada", 100, 0)


@pytest.mark.parametrize("step", STEPS)
async def test_a_compensation_whose_worker_is_killed_after_its_effect_does_not_say_that_there_was_nothing(
    store: AsyncEngine, step: Step
) -> None:
    await grant(store, "ada", 100, "g")
    what, books = purchase(), Books(store)
    for done in STEPS[: STEPS.index(step) + 1]:
        await books.do(done, what)
    assert await books.undo(step, what.transaction_id)
    assert await books.undo(step, what.transaction_id)
    for later in STEPS[STEPS.index(step) + 1 :]:
        assert [await books.undo(later, what.transaction_id) for _ in range(2)] == [False, False]
    assert await audit(store) == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_and_its_compensation_that_race_leave_nothing_behind(store: AsyncEngine, step: Step) -> None:
    await grant(store, "ada", 100, "g")
    books, asked = Books(store), [purchase() for _ in range(8)]
    for what in asked:
        for before in STEPS[: STEPS.index(step)]:
            await books.do(before, what)
    await asyncio.gather(*(outcome(books.do(step, what)) for what in asked), *(books.undo(step, what.transaction_id) for what in asked))
    for what in asked:
        await undo(store, what.transaction_id)
    assert await account(store, "ada") == Account("ada", 100, 0)
    assert await audit(store) == []


async def test_a_step_without_the_one_before_it_has_no_effect(store: AsyncEngine) -> None:
    await grant(store, "ada", 100, "g")
    what, books = purchase(), Books(store)
    assert await outcome(books.do("process_request", what)) == "TransactionRevoked"
    await books.do("reserve_resources", what)
    assert await outcome(books.do("commit_transaction", what)) == "TransactionRevoked"
    assert await books.do("process_request", what) is None
    assert await outcome(books.undo("reserve_resources", what.transaction_id)) == "CompensationBlocked"
    assert await account(store, "ada") == Account("ada", 100, 10)
    assert await audit(store) == []


async def test_a_terminated_run_is_taken_back_by_hand(store: AsyncEngine) -> None:
    await grant(store, "ada", 100, "g")
    books = Books(store)
    what = await fresh(books)
    await books.do("process_request", what)
    assert await undo(store, what.transaction_id) == ["process_request", "reserve_resources"]
    assert await undo(store, what.transaction_id) == ["process_request", "reserve_resources"]
    assert await account(store, "ada") == Account("ada", 100, 0)


async def test_a_repeated_grant_gives_credits_once(store: AsyncEngine) -> None:
    given = await asyncio.gather(*(grant(store, "ada", 40, "welcome") for _ in range(5)))
    assert sorted(given) == [False] * 4 + [True]
    assert await account(store, "ada") == Account("ada", 40, 0)
    with pytest.raises(Refused, match="another grant"):
        await grant(store, "ada", 41, "welcome")
    with pytest.raises(Refused, match="another grant"):
        await grant(store, "bob", 40, "welcome")
    assert await account(store, "bob") is None
    assert await audit(store) == []


@pytest.mark.parametrize("amount", [0, -5, 10**9 + 1])
async def test_a_grant_of_no_credits_is_refused(store: AsyncEngine, amount: int) -> None:
    with pytest.raises(Refused):
        await grant(store, "ada", amount, "g")


async def test_a_user_called_revenue_is_not_the_revenue(store: AsyncEngine) -> None:
    for user in ("revenue", "grants", "user:ada", "ada"):
        await grant(store, user, 10, f"for {user}")
        assert await bought(Books(store), purchase(user_id=user, amount=4)) == "done"
        assert await account(store, user) == Account(user, 6, 0)
    assert await audit(store) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE credit_accounts SET balance = balance + 1", "ada has a balance of 91, the entries add up to 90"),
        ("UPDATE credit_accounts SET held = 3", "ada has 3 credits on hold, the open holds add up to 0"),
        ("DELETE FROM credit_entries WHERE kind = 'payment' AND account = 'revenue'", "add up to -10, not to 0"),
        ("DELETE FROM credit_accounts", "there are entries of user:ada, which has no account"),
        ("UPDATE credit_orders SET state = 'placed'", "is placed, its hold is settled"),
    ],
)
async def test_an_audit_that_sees_nothing_wrong_would_be_no_audit(store: AsyncEngine, change: str, said: str) -> None:
    await grant(store, "ada", 100, "g")
    await bought(Books(store), purchase())
    assert await audit(store) == []
    async with store.begin() as connection:
        await connection.execute(text(change))
    assert any(said in line for line in await audit(store))
