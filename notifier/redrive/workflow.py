"""Sends dead letters again, a page at a time."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.redrive import Page, PageDone, Progress, Range, Redrive

_PAGE_SECONDS = timedelta(minutes=5)
# A notifier that was killed is noticed by its silence.
_HEARTBEAT = timedelta(seconds=15)


@workflow.defn(name=names.REDRIVE_WORKFLOW)
class RedriveWorkflow:
    """What holds a page up (Kafka, the database, a route that is stopped) is tried again until it works, or the redrive is cancelled."""

    @workflow.init
    def __init__(self, redrive: Redrive) -> None:
        began_at = redrive.began_at or workflow.now()
        self._redrive = redrive.model_copy(update={"began_at": began_at})
        self._seconds = (workflow.now() - began_at).total_seconds()

    @workflow.query(name=names.QUERY_PROGRESS)
    def progress(self) -> Progress:
        tally = self._redrive.tally
        rate = round(tally.sent / self._seconds, 3) if self._seconds > 0 else 0.0
        return Progress(total=tally.done + self._redrive.left, rate=rate, **tally.model_dump())

    @workflow.run
    async def run(self, _: Redrive) -> Progress:
        pages = 0
        while self._redrive.ranges:
            if pages == self._redrive.pages_a_run:
                workflow.continue_as_new(self._redrive)
            await self._redrive_page(*self._redrive.ranges)
            pages += 1
        return self.progress()

    async def _redrive_page(self, first: Range, *others: Range) -> None:
        redrive = self._redrive
        page = Page(
            range=first, **redrive.model_dump(include={"redrive_id", "parked", "max_redrives", "rate"}), selection=redrive.selection
        )
        done: PageDone = await workflow.execute_activity(
            names.REDRIVE_DEAD_LETTERS,
            page,
            result_type=PageDone,
            start_to_close_timeout=_PAGE_SECONDS,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            # What it is sending when the redrive is cancelled is written down first.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        rest = first.model_copy(update={"start": done.next})
        ranges = (rest, *others) if rest.start < rest.end else others
        self._redrive = redrive.model_copy(update={"ranges": ranges, "tally": redrive.tally.plus(done.tally)})
        assert redrive.began_at is not None  # noqa: S101 - set when it began
        self._seconds = (workflow.now() - redrive.began_at).total_seconds()
