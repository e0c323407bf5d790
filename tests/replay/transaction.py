"""Runs of the transaction workflow whose histories are kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from temporalio.client import Client

from headrace.store import migrate
from headrace.store.engine import engine
from tests.support.runs import Cases, FakeNotifier, ended
from tests.support.transaction_runs import Fault, FaultyBooks, Handle, Plan, purchase_of, start, workflow_of, working
from workers.transaction.accounts import grant, set_stock
from workers.transaction.books import Books


async def _one(client: Client, plan: Plan, generation: int = 1, **changed: object) -> Handle:
    with tempfile.TemporaryDirectory() as folder:
        database = engine(f"sqlite+aiosqlite:///{Path(folder)}/store.db")
        try:
            await migrate.upgrade(database)
            await grant(database, "ada", 100, "first")
            await set_stock(database, "a lamp", 0)
            books = FaultyBooks(Books(database), client)
            request = purchase_of("ada", **changed)
            books.plans[workflow_of(request)] = plan
            async with working(client, books, FakeNotifier()):
                return await ended(await start(client, request, generation))
        finally:
            await database.dispose()


async def succeeded(client: Client) -> Handle:
    return await _one(client, Plan())


async def declined(client: Client) -> Handle:
    return await _one(client, Plan(), amount=101)


async def compensated(client: Client) -> Handle:
    return await _one(client, Plan((Fault("reserve_resources", "before", 1),)), item="a lamp")


async def cancelled(client: Client) -> Handle:
    return await _one(client, Plan(cancel=("process_request", "after")))


async def second_generation(client: Client) -> Handle:
    return await _one(client, Plan(), generation=2)


CASES: dict[str, Cases] = {
    "TransactionalWorkflow": {
        "succeeded": succeeded,
        "declined": declined,
        "compensated": compensated,
        "cancelled": cancelled,
        "second_generation": second_generation,
    }
}
