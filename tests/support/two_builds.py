"""Two builds of one workflow, as two releases of a team's module have it: they wait for a signal, then do not do the same."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from schemas.maintenance import MaintenanceRequested, MaintenanceResult
    from schemas.request import Accepted
    from workers.completion import concluded

COMPLETED = "headrace.maintenance.MaintenanceCompleted"
QUEUE, OTHER_QUEUE = "two-builds", "two-builds-children"
"""Both of one domain, as the image domain has two: children run on the other."""


@activity.defn(name="step_of_build_2")
async def step_of_build_2() -> int:
    return 2


class _Waits:
    def __init__(self) -> None:
        self._told = False

    @workflow.signal(name="go")
    async def go(self) -> None:
        self._told = True

    async def told(self) -> None:
        await workflow.wait_condition(lambda: self._told)

    async def child(self) -> int:
        found: int = await workflow.execute_child_workflow("Child", task_queue=OTHER_QUEUE, result_type=int)
        return found


@workflow.defn(name="Child")
class ChildOfBuild1:
    @workflow.run
    async def run(self) -> int:
        return 1


@workflow.defn(name="Child")
class ChildOfBuild2:
    @workflow.run
    async def run(self) -> int:
        return 2


@workflow.defn(name="TwoBuilds")
class Build1(_Waits):
    """Continues as new when it is told to go on: what it continues as is of the same build."""

    @workflow.run
    async def run(self, accepted: Accepted[MaintenanceRequested], again: bool = True) -> MaintenanceResult:
        if again:
            await self.told()
            workflow.continue_as_new(args=[accepted, False])
        return await concluded(accepted, COMPLETED, self._work())

    async def _work(self) -> MaintenanceResult:
        return MaintenanceResult(files_cleaned=1, records_archived=await self.child())


@workflow.defn(name="TwoBuilds")
class Build2(_Waits):
    """No run of build 1 would replay on it: its first step comes before the signal."""

    @workflow.run
    async def run(self, accepted: Accepted[MaintenanceRequested]) -> MaintenanceResult:
        return await concluded(accepted, COMPLETED, self._work())

    async def _work(self) -> MaintenanceResult:
        build = await workflow.execute_activity(step_of_build_2, start_to_close_timeout=timedelta(seconds=10))
        await self.told()
        return MaintenanceResult(files_cleaned=build, records_archived=await self.child())
