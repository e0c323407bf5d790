"""The workflows that send again, with activities that only say what a test tells them to."""

from __future__ import annotations

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from schemas import names
from schemas.redrive import Progress, RerunTally
from tests.replay import redrive
from tests.support.eventually import eventually
from tests.support.redrive_runs import FakePages, start, start_rerun, working


async def test_a_redrive_goes_through_its_ranges_and_counts(skipping: Client) -> None:
    pages = FakePages(step=10)
    async with working(skipping, pages):
        handle = await start(skipping)
        done = await handle.result()
        assert await handle.query(names.QUERY_PROGRESS, result_type=Progress) == done
    assert (done.done, done.total, done.sent, done.skipped, done.parked) == (30, 30, 30, 0, 0)
    assert [(page.range.partition, page.range.start) for page in pages.pages] == [(0, 5), (0, 15), (0, 25), (1, 0)]


async def test_a_long_redrive_continues_as_a_new_run_without_losing_count(skipping: Client) -> None:
    pages = FakePages(step=3)
    async with working(skipping, pages):
        handle = await start(skipping, pages_a_run=2)
        done = await handle.result()
    assert (done.done, done.total, done.sent) == (30, 30, 30)
    assert len(pages.pages) == 11
    assert len({page.redrive_id for page in pages.pages}) == 1


async def test_a_page_that_fails_is_tried_until_it_works(skipping: Client) -> None:
    pages = FakePages(step=100, act=lambda call: ApplicationError("Kafka is away") if call <= 20 else None)
    async with working(skipping, pages):
        done = await (await start(skipping)).result()
    assert done.sent == 30
    assert {page.range.start for page in pages.pages[:21]} == {5}


async def test_a_redrive_without_dead_letters_ends_at_once(skipping: Client) -> None:
    async with working(skipping, FakePages()):
        done = await (await start(skipping, ranges=())).result()
    assert (done.done, done.total, done.rate) == (0, 0, 0.0)


async def test_a_cancelled_redrive_ends_as_cancelled(skipping: Client) -> None:
    handle = await redrive.cancelled(skipping)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)


async def test_progress_is_seen_while_a_redrive_waits(skipping: Client) -> None:
    pages = FakePages(step=10, act=lambda call: ApplicationError("stopped") if call > 1 else None)
    async with working(skipping, pages):
        handle = await start(skipping)

        async def one_page() -> bool:
            told: Progress = await handle.query(names.QUERY_PROGRESS, result_type=Progress)
            return told.sent == 10

        await eventually(one_page)
        await handle.terminate()


async def test_a_rerun_adds_up_its_pages(skipping: Client) -> None:
    pages = FakePages()
    async with working(skipping, pages):
        for pages_a_run in (200, 1):
            done = await (await start_rerun(skipping, pages_a_run=pages_a_run)).result()
            assert done == RerunTally(found=4, started=2, superseded=2, codes={"Internal": 2})
    assert pages.tokens == [None, b"next"] * 2
