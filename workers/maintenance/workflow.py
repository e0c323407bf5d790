"""The daily maintenance, on its schedule or on request."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.maintenance import DAYS_OLD, MaintenanceRequested, MaintenanceResult
    from schemas.request import Accepted
    from workers.completion import concluded
    from workers.maintenance.activities import MaintenanceActivities
    from workers.maintenance.models import ArchiveOrder

_COMPLETED = "headrace.maintenance.MaintenanceCompleted"

# Time-outs and retries are the reference's; the heartbeat is ours, so that a killed worker costs ten seconds and not an hour.
_HEARTBEAT = timedelta(seconds=10)
_RETRY = RetryPolicy(maximum_attempts=3)
# A cancelled run ends when its step has ended, and tells all that was done.
_CANCEL = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


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
        cleaned = await workflow.execute_activity_method(
            MaintenanceActivities.cleanup_temp_files,
            start_to_close_timeout=timedelta(minutes=30),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=_CANCEL,
        )
        self._note(files_cleaned=cleaned.count, bytes_freed=cleaned.bytes_freed)
        archived = await workflow.execute_activity_method(
            MaintenanceActivities.archive_old_history,
            ArchiveOrder(days_old=days_old, today=workflow.now().date()),
            start_to_close_timeout=timedelta(minutes=60),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=_CANCEL,
        )
        self._note(
            records_archived=archived.count,
            archives_written=archived.archives,
            archive_bytes=archived.size_bytes,
            archive_keys=list(archived.keys),
        )
        analysed = await workflow.execute_activity_method(
            MaintenanceActivities.update_daily_analytics,
            start_to_close_timeout=timedelta(minutes=15),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            cancellation_type=_CANCEL,
        )
        self._note(
            analytics_updated=analysed.success,
            days_recomputed=analysed.days_recomputed,
            days_left_out=[day.isoformat() for day in analysed.days_left_out],
        )
        return self._done

    def _note(self, **fields: object) -> None:
        self._done = self._done.model_copy(update=fields)
