"""A later generation of a request does its work, whatever the one before it has left behind: the workflows, with the real books."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from headrace.store.tables import CREDIT_ENTRIES
from schemas.errors import FailureType
from schemas.ids import completion_id
from schemas.transaction import TransactionRequested
from tests.support import analysis_runs, image_runs, learning_runs
from tests.support.analysis_runs import processes
from tests.support.eventually import eventually
from tests.support.image_runs import FakeBackend, FakeStore, start_batch
from tests.support.runs import FakeNotifier, ended
from tests.support.transaction_runs import FaultyBooks, purchase_of, start, workflow_of, working
from workers.analysis.processes import Processes
from workers.transaction.accounts import Account, account, grant, set_stock
from workers.transaction.audit import audit
from workers.transaction.books import Books
from workers.transaction.models import Purchase, Step

__all__ = ["processes"]


class Held(FaultyBooks):
    """Stands still after the effect of one step, once."""

    def __init__(self, books: Books, client: Client, step: Step) -> None:
        super().__init__(books, client)
        self._step = step
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def do(self, step: Step, purchase: Purchase) -> int | None:
        answer = await super().do(step, purchase)
        if step == self._step and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        return answer


async def bought(client: Client, store: AsyncEngine, request: TransactionRequested, generation: int) -> dict[str, Any]:
    """One generation to its end; its completion."""
    notifier = FakeNotifier()
    async with working(client, FaultyBooks(Books(store), client), notifier):
        await ended(await start(client, request, generation))
    [sent] = notifier.completions
    assert sent.completion["completion_id"] == str(completion_id(request.event_id, generation))
    assert await audit(store) == []
    return sent.completion


async def test_a_purchase_that_was_taken_back_is_made_by_its_next_generation(skipping: Client, store: AsyncEngine) -> None:
    await grant(store, "ada", 100, "g")
    await set_stock(store, "lamp", 0)
    request = purchase_of("ada", item="lamp", reference="invoice 7")
    first = await bought(skipping, store, request, 1)
    again = await bought(skipping, store, request, 2)
    await set_stock(store, "lamp", 1)
    third = await bought(skipping, store, request, 3)
    assert [each["error"] and each["error"]["code"] for each in (first, again, third)] == ["ItemSoldOut", "ItemSoldOut", None]
    workflow = workflow_of(request)
    assert [each["result"]["transaction_id"] for each in (first, again, third)] == [workflow, f"{workflow}:2", f"{workflow}:3"]
    assert await account(store, "ada") == Account("ada", 90, 0)


@pytest.mark.parametrize("step", ["reserve_resources", "process_request", "commit_transaction"])
async def test_a_terminated_purchase_is_taken_back_before_its_next_generation_pays(
    skipping: Client, store: AsyncEngine, step: Step
) -> None:
    await grant(store, "ada", 15, "g")
    await set_stock(store, "lamp", 1)
    request = purchase_of("ada", item="lamp", reference="invoice 7")
    books, notifier = Held(Books(store), skipping, step), FakeNotifier()
    async with working(skipping, books, notifier):
        handle = await start(skipping, request)
        await eventually(books.reached.is_set)
        await handle.terminate()
        result = await (await start(skipping, request, 2)).result()
        books.go_on.set()
    assert result.balance_after == 5
    assert await account(store, "ada") == Account("ada", 5, 0)
    assert await audit(store) == []
    async with store.connect() as connection:
        entries = (await connection.execute(select(CREDIT_ENTRIES.c.kind, CREDIT_ENTRIES.c.transfer_id).distinct())).all()
    first = {("payment", handle.id), ("refund", handle.id)} if step == "commit_transaction" else set()
    assert {tuple(entry) for entry in entries} == {("grant", "g"), ("payment", f"{handle.id}:2"), *first}


async def test_a_batch_that_failed_draws_its_prompts_in_its_next_generation(skipping: Client) -> None:
    refused = ApplicationError("check OPENAI_API_KEY", type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True)
    event_id, store = uuid4(), FakeStore()
    async with image_runs.working(skipping, FakeBackend(lambda _: refused), store, FakeNotifier()):
        await ended(await start_batch(skipping, ["A mill", "A lock"], event_id=event_id))
    notifier = FakeNotifier()
    async with image_runs.working(skipping, FakeBackend(), store, notifier):
        handle = await start_batch(skipping, ["A mill", "A lock"], generation=2, event_id=event_id)
        result = await handle.result()
    assert (result.errors, len([image for image in result.images if image])) == ([], 2)
    children = [event.start_child_workflow_execution_initiated_event_attributes for event in (await handle.fetch_history()).events]
    assert {child.workflow_id for child in children if child.workflow_id} == {f"batch-image-{handle.id}:2-{index}" for index in range(2)}
    [sent] = notifier.completions
    assert (sent.completion["completion_id"], sent.generation) == (str(completion_id(event_id, 2)), 2)


async def test_a_path_that_was_saved_before_its_run_failed_is_told_as_it_is_kept(skipping: Client) -> None:
    event_id, paths, notifier = uuid4(), learning_runs.FakePaths(), FakeNotifier()
    nothing = learning_runs.FakeResources(lambda _: [])
    async with learning_runs.working(skipping, FakeNotifier(), paths=paths, resources=nothing):
        before = await (await learning_runs.start(skipping, event_id=event_id)).result()
        await (await learning_runs.start(skipping)).result()
    async with learning_runs.working(skipping, notifier, paths=paths):
        result = await (await learning_runs.start(skipping, generation=2, event_id=event_id)).result()
    assert (result.path_id, result.version) == (before.path_id, before.version)
    assert (before.resources_count, result.resources_count > 0) == (0, True)
    assert paths.saved[0].path == result.model_copy(update={"version": 0})
    assert len(paths.saved) == 2


@pytest.mark.timeout(300)
async def test_an_analysis_of_a_corrected_file_leaves_what_the_first_generation_told(skipping: Client, processes: Processes) -> None:
    event_id, notifier, objects = uuid4(), FakeNotifier(), analysis_runs.uploaded()
    async with analysis_runs.working(skipping, processes, objects, notifier) as analyses:
        before = await (await analysis_runs.start(skipping, event_id=event_id)).result()
        kept = dict(objects.files)
        objects.files[analysis_runs.UPLOAD.removeprefix("s3://")] = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 7) for n in range(50))
        result = await (await analysis_runs.start_generation(skipping, 2, event_id=event_id)).result()
    assert (before.rows, result.rows, result.analysis_id) == (1000, 50, before.analysis_id)
    assert (before.report_key, result.report_key) == (f"analyses/{event_id}/report.html", f"analyses/{event_id}/2/report.html")
    assert all(objects.files[key] == data for key, data in kept.items() if not key.endswith("customers.csv"))
    assert analyses.rows[str(event_id)].key == result.report_key
