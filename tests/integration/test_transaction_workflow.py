"""The saga on a real server that skips time, with the books in a real database: how each run ends, what it tells, what it leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from headrace.store import migrate
from headrace.store.engine import engine
from tests.support.runs import COMPENSATION, FakeNotifier, ended
from tests.support.transaction_runs import Fault, FaultyBooks, Handle, Plan, purchase_of, start, workflow_of, working
from workers.transaction.accounts import Account, account, grant, set_stock
from workers.transaction.audit import audit
from workers.transaction.books import Books
from workers.transaction.models import Step

NOTHING_DONE = {"error_code": None, "error_message": None}
RESERVE = {"step": "reserve_resources", "compensation": "release_resources", **NOTHING_DONE}
PROCESS = {"step": "process_request", "compensation": "rollback_processing", **NOTHING_DONE}
COMMIT = {"step": "commit_transaction", "compensation": "rollback_transaction", **NOTHING_DONE}


@pytest_asyncio.fixture
async def books(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = engine(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    await migrate.upgrade(made)
    await grant(made, "ada", 100, "first")
    yield made
    await made.dispose()


async def run(
    client: Client, books: AsyncEngine, plan: Plan | None = None, *, user: str = "ada", **changed: object
) -> tuple[dict[str, Any], Handle]:
    """One transaction to its end; its completion."""
    notifier, faulty = FakeNotifier(), FaultyBooks(Books(books), client)
    request = purchase_of(user, **changed)
    faulty.plans[workflow_of(request)] = plan or Plan()
    async with working(client, faulty, notifier):
        handle = await ended(await start(client, request))
    [sent] = notifier.completions
    assert (sent.domain, sent.record) == ("transaction", "headrace.transaction.TransactionCompleted")
    assert await audit(books) == []
    assert set(faulty.too_late) <= {"TransactionRevoked"}
    return sent.completion, handle


async def test_a_purchase_moves_its_credits_and_tells_the_balance(skipping: Client, books: AsyncEngine) -> None:
    completion, handle = await run(skipping, books, amount=30, reference="invoice 7")
    assert completion["status"] == "SUCCEEDED"
    assert completion["result"] == {
        "transaction_id": handle.id,
        "amount": 30,
        "item": "a course",
        "reference": "invoice 7",
        "balance_after": 70,
        "compensations": [],
    }
    assert await account(books, "ada") == Account("ada", 70, 0)


async def test_too_few_credits_are_told_and_nothing_stays_on_hold(skipping: Client, books: AsyncEngine) -> None:
    completion, _ = await run(skipping, books, amount=101)
    assert (completion["status"], completion["error"]["code"]) == ("FAILED", "InsufficientCredits")
    assert completion["error"]["message"] == "101 credits are asked for, 100 are available"
    assert completion["result"]["compensations"] == [{**RESERVE, "outcome": "nothing_to_undo"}]
    assert await account(books, "ada") == Account("ada", 100, 0)


async def test_an_unknown_account_is_told(skipping: Client, books: AsyncEngine) -> None:
    completion, _ = await run(skipping, books, user="nobody")
    assert (completion["status"], completion["error"]["code"]) == ("FAILED", "UnknownAccount")
    assert await account(books, "nobody") is None


async def test_an_item_that_is_sold_out_gives_the_hold_back(skipping: Client, books: AsyncEngine) -> None:
    await set_stock(books, "the last lamp", 1)
    first, _ = await run(skipping, books, item="the last lamp")
    second, handle = await run(skipping, books, item="the last lamp")
    assert first["status"] == "SUCCEEDED"
    assert (second["status"], second["error"]["code"]) == ("FAILED", "ItemSoldOut")
    assert second["result"]["compensations"] == [{**PROCESS, "outcome": "nothing_to_undo"}, {**RESERVE, "outcome": "compensated"}]
    assert second["result"]["balance_after"] is None
    assert await account(books, "ada") == Account("ada", 90, 0)
    assert (await handle.describe()).typed_search_attributes[COMPENSATION] == "done"


async def test_a_reference_is_paid_once_until_its_purchase_is_taken_back(skipping: Client, books: AsyncEngine) -> None:
    await set_stock(books, "lamp", 0)
    outcomes = [
        await run(skipping, books, item="lamp", reference="invoice 7"),
        await run(skipping, books, reference="invoice 7"),
        await run(skipping, books, reference="invoice 7"),
    ]
    codes = [completion["error"] and completion["error"]["code"] for completion, _ in outcomes]
    assert codes == ["ItemSoldOut", None, "DuplicateReference"]
    assert await account(books, "ada") == Account("ada", 90, 0)


async def test_a_commit_that_times_out_after_its_effect_is_taken_back(skipping: Client, books: AsyncEngine) -> None:
    completion, _ = await run(skipping, books, Plan((Fault("commit_transaction", "after"),)))
    assert (completion["status"], completion["error"]["code"]) == ("FAILED", "DatabaseUnavailable")
    assert completion["result"]["compensations"] == [{**each, "outcome": "compensated"} for each in (COMMIT, PROCESS, RESERVE)]
    assert await account(books, "ada") == Account("ada", 100, 0)


async def test_an_attempt_that_comes_after_its_compensation_has_no_effect(skipping: Client, books: AsyncEngine) -> None:
    completion, _ = await run(skipping, books, Plan((Fault("reserve_resources", "late"),)))
    assert completion["result"]["compensations"] == [{**RESERVE, "outcome": "nothing_to_undo"}]
    assert await account(books, "ada") == Account("ada", 100, 0)


async def test_a_step_that_fails_in_passing_is_tried_as_often_as_the_reference_says(skipping: Client, books: AsyncEngine) -> None:
    faults = (Fault("reserve_resources", "after", 2), Fault("process_request", "before", 2), Fault("commit_transaction", "after", 4))
    completion, _ = await run(skipping, books, Plan(faults))
    assert completion["status"] == "SUCCEEDED"
    assert completion["result"]["balance_after"] == 90
    assert await account(books, "ada") == Account("ada", 90, 0)


async def test_a_cancelled_purchase_is_taken_back_also_when_it_was_committed(skipping: Client, books: AsyncEngine) -> None:
    completion, handle = await run(skipping, books, Plan(cancel=("commit_transaction", "after")))
    assert (completion["status"], completion["error"]["code"]) == ("CANCELLED", "Cancelled")
    assert [each["outcome"] for each in completion["result"]["compensations"]] == ["compensated"] * 3
    assert await account(books, "ada") == Account("ada", 100, 0)
    described = await handle.describe()
    assert described.status is not None
    assert described.status.name == "CANCELED"


async def test_a_purchase_cancelled_before_its_first_step_has_nothing_to_take_back(skipping: Client, books: AsyncEngine) -> None:
    handle = await start(skipping, purchase_of("ada"))
    await handle.cancel()
    notifier = FakeNotifier()
    async with working(skipping, Books(books), notifier):
        await ended(handle)
    [sent] = notifier.completions
    assert sent.completion["status"] == "CANCELLED"
    assert sent.completion["result"]["compensations"] == [{**RESERVE, "outcome": "nothing_to_undo"}]
    assert await account(books, "ada") == Account("ada", 100, 0)


async def test_a_compensation_is_tried_for_days(skipping: Client, books: AsyncEngine) -> None:
    faults = (Fault("process_request", "before"), Fault("reserve_resources", "before", 5, compensation=True))
    completion, handle = await run(skipping, books, Plan(faults))
    described = await handle.describe()
    assert described.close_time is not None
    assert described.close_time - described.start_time >= timedelta(days=4)
    assert completion["result"]["compensations"][1] == {**RESERVE, "outcome": "compensated"}
    assert await account(books, "ada") == Account("ada", 100, 0)


async def test_a_compensation_that_cannot_be_done_is_told_and_the_others_are_tried(skipping: Client, books: AsyncEngine) -> None:
    faults = (Fault("commit_transaction", "before"), Fault("process_request", "before", compensation=True))
    completion, handle = await run(skipping, books, Plan(faults))
    assert completion["error"]["code"] == "DatabaseUnavailable"
    commit, process, reserve = completion["result"]["compensations"]
    assert commit == {**COMMIT, "outcome": "nothing_to_undo"}
    assert (process["outcome"], process["error_code"]) == ("failed", "DatabaseUnavailable")
    assert (reserve["outcome"], reserve["error_code"]) == ("failed", "CompensationBlocked")
    described = await handle.describe()
    assert described.typed_search_attributes[COMPENSATION] == "failed"
    # Nothing is lost: the credits are on hold, and an operator's `undo` gives them back.
    assert await account(books, "ada") == Account("ada", 100, 10)


async def test_a_cancel_that_comes_while_it_compensates_stops_nothing(skipping: Client, books: AsyncEngine) -> None:
    class CancelledAgain(FaultyBooks):
        async def undo(self, step: Step, transaction_id: str) -> bool:
            await self.client.get_workflow_handle(transaction_id).cancel()
            return await super().undo(step, transaction_id)

    notifier, faulty = FakeNotifier(), CancelledAgain(Books(books), skipping)
    request = purchase_of("ada", item="lamp")
    await set_stock(books, "lamp", 0)
    async with working(skipping, faulty, notifier):
        await ended(await start(skipping, request))
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["error"]["code"]) == ("FAILED", "ItemSoldOut")
    assert await account(books, "ada") == Account("ada", 100, 0)
    assert await audit(books) == []
