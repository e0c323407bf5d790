"""Temporal schedules that Headrace keeps: made by `headrace setup`, and brought up to date by it."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from schemas import names
from schemas.reconcile import Reconcile

SCHEDULES: dict[str, Schedule] = {
    names.SCHEDULE_MAINTENANCE: Schedule(
        action=ScheduleActionStartWorkflow(
            # Temporal appends the scheduled time: maintenance-2026-11-25T02:00:00Z.
            names.WORKFLOW_MAINTENANCE,
            id=names.WORKFLOW_ID_MAINTENANCE,
            task_queue=names.QUEUE_SCHEDULED,
        ),
        spec=ScheduleSpec(cron_expressions=["0 2 * * *"]),
        # A run that was missed because Temporal was away is made up for within the same day: the next one does its work as well.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(hours=12)),
    ),
    names.RECONCILE_SCHEDULE: Schedule(
        action=ScheduleActionStartWorkflow(
            names.RECONCILE,
            Reconcile(),
            id=names.RECONCILE_SCHEDULE,
            task_queue=names.QUEUE_NOTIFICATIONS,
            execution_timeout=timedelta(minutes=30),
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(minutes=1))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    ),
}
"""By schedule ID."""


async def upsert(client: Client, name: str, schedule: Schedule) -> bool:
    """Makes the schedule, or gives the one that is there this spec, action and policy; whether it was made.

    What an operator has done to it stays: one that is paused stays paused. Raises `temporalio.service.RPCError`.
    """
    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:
        pass
    else:
        return True

    def changed(found: ScheduleUpdateInput) -> ScheduleUpdate:
        state = found.description.schedule.state
        return ScheduleUpdate(Schedule(action=schedule.action, spec=schedule.spec, policy=schedule.policy, state=state))

    await client.get_schedule_handle(name).update(changed)
    return False


async def ensure(client: Client, name: str) -> bool:
    """Makes the schedule if it is not there, and leaves one that is as it is; whether it was made. Raises `RPCError`."""
    try:
        await client.create_schedule(name, SCHEDULES[name])
    except ScheduleAlreadyRunningError:
        return False
    return True
