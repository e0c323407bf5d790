"""The daily maintenance, on its schedule or on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError  # noqa: A004 - Temporal's own

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.maintenance import DAYS_OLD, MaintenanceRequested, MaintenanceResult
    from schemas.request import Accepted
    from workers.completion import concluded
    from workers.maintenance.activities import MaintenanceActivities as Acts
    from workers.maintenance.models import ArchiveOrder

T = TypeVar("T")

_COMPLETED = "headrace.maintenance.MaintenanceCompleted"

# Time-outs and retries are the reference's; the heartbeat is ours, so that a killed worker costs ten seconds and not an hour.
_HEARTBEAT = timedelta(seconds=10)
_RETRY = RetryPolicy(maximum_attempts=3)


@workflow.defn(name=names.WORKFLOW_MAINTENANCE)
class MaintenanceWorkflow:
    """Cleans up, archives, counts. Archived days are counted too, so the order loses nothing."""

    def __init__(self) -> None:
        self._done = MaintenanceResult()

    @workflow.run
    async def run(self, accepted: Accepted[MaintenanceRequested] | None = None) -> MaintenanceResult:
        """Without a request it tells nobody: the result of a scheduled run is in Temporal."""
        days_old = DAYS_OLD if accepted is None else accepted.request.days_old
        return await concluded(accepted, _COMPLETED, self._maintain(days_old), partial=lambda: self._done)

    async def _maintain(self, days_old: int) -> MaintenanceResult:
        cleaned = await _step(Acts.cleanup_temp_files, timedelta(minutes=30))
        self._note(files_cleaned=cleaned.count, bytes_freed=cleaned.bytes_freed)
        order = ArchiveOrder(days_old=days_old, today=workflow.now().date())
        archived = await _step(Acts.archive_old_history, timedelta(minutes=60), order)
        self._note(
            records_archived=archived.count,
            archives_written=archived.archives,
            archive_bytes=archived.size_bytes,
            archive_keys=list(archived.keys),
        )
        analysed = await _step(Acts.update_daily_analytics, timedelta(minutes=15))
        self._note(
            analytics_updated=analysed.success,
            days_recomputed=analysed.days_recomputed,
            days_left_out=[day.isoformat() for day in analysed.days_left_out],
        )
        return self._done

    def _note(self, **fields: object) -> None:
        self._done = self._done.model_copy(update=fields)


async def _step(method: Callable[..., Coroutine[Any, Any, T]], start_to_close: timedelta, *given: object) -> T:
    """A cancelled run ends when its step has ended, and tells all that was done.

    A worker that is killed in the meantime never says that the step has ended: the heartbeat's time-out does, and the run is cancelled
    all the same.
    """
    try:
        return await workflow.execute_activity_method(
            method,
            args=given,
            start_to_close_timeout=start_to_close,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except ActivityError as error:
        if isinstance(error.cause, TimeoutError) and workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError from error
        raise
