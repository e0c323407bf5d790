"""Temporal schedules that Headrace keeps: made by `headrace setup`, and brought up to date by it."""

from __future__ import annotations

from temporalio.client import Client, Schedule, ScheduleAlreadyRunningError, ScheduleUpdate, ScheduleUpdateInput

SCHEDULES: dict[str, Schedule] = {}
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
