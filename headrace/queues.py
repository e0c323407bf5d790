"""The task queues and schedules of this environment: who polls, what waits, what is paused. Temporal says it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, ScheduleActionExecutionStartWorkflow, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from headrace import temporal
from headrace.schedules import SCHEDULES
from headrace.settings import Settings
from headrace.versions import in_vain, versions
from schemas import names
from schemas.routes import Routes, load_routes

_SUCCEEDED_OR_NOT_YET = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.CONTINUED_AS_NEW)


@dataclass(frozen=True, slots=True)
class Queue:
    """One task queue."""

    queue: str
    workers: int
    """Processes that have asked it for tasks within the last minutes, for workflows or for activities."""
    backlog: int
    """Tasks that wait for a worker, of both kinds and all versions; approximate, as the server keeps it."""
    oldest_seconds: float
    """For how long the oldest of them has waited; 0 without a backlog."""
    current: str | None = None
    """The build that new runs are given to; None: workers are unversioned here, or no version is current yet."""
    ramping: str | None = None
    """The build that a share of them is given to."""
    in_vain: tuple[str, ...] = ()
    """Where versions let work wait, or workers go without: why, and what to do."""


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """One schedule that `headrace setup` makes."""

    schedule: str
    there: bool
    paused: bool = False
    note: str = ""
    """What its operator has said about it, on pausing it for example."""
    next_run: datetime | None = None
    last_run: datetime | None = None
    last_failure: str | None = None
    """How the last run ended, when it was not well; while Temporal knows it."""


def names_of(routes: Routes) -> list[str]:
    """Those of the routes, and those that are not a route's own."""
    routed = [route.task_queue for route in routes.all()]
    return sorted({*routed, names.QUEUE_HIGH_PRIORITY, names.QUEUE_SCHEDULED, names.QUEUE_NOTIFICATIONS})


async def queues(settings: Settings) -> list[Queue]:
    """By name. Raises what the client raises when Temporal does not answer."""
    client = await temporal.connect(settings)
    return list(await asyncio.gather(*(_queue(client, name) for name in names_of(load_routes(settings.routes_file)))))


async def schedules(settings: Settings) -> list[ScheduleState]:
    """In the order of `SCHEDULES`. Raises as `queues` does."""
    client = await temporal.connect(settings)
    return list(await asyncio.gather(*(_schedule(client, name) for name in SCHEDULES)))


def describe(queue: Queue) -> str:
    """One line for people."""
    waits = f", {queue.backlog} tasks wait, the oldest for {queue.oldest_seconds:.0f} s" if queue.backlog else ""
    version = f", {queue.current} is current" if queue.current else ""
    ramps = f", {queue.ramping} is ramping" if queue.ramping else ""
    told = "".join(f"; {sentence}" for sentence in queue.in_vain)
    return f"{queue.queue}: {queue.workers or 'no'} worker{'' if queue.workers == 1 else 's'}{waits}{version}{ramps}{told}"


def describe_schedule(state: ScheduleState) -> str:
    """One line for people."""
    if not state.there:
        return f"schedule {state.schedule} is missing: run `headrace setup`"
    paused = f"paused ({state.note})" if state.note else "paused"
    when = paused if state.paused else f"next {state.next_run:%Y-%m-%d %H:%M:%S} UTC" if state.next_run else "has no next run"
    return f"schedule {state.schedule}: {when}{f', its last run {state.last_failure}' if state.last_failure else ''}"


async def _queue(client: Client, name: str) -> Queue:
    kinds = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    answers = await asyncio.gather(
        *(
            client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind, report_stats=True
                )
            )
            for kind in kinds
        )
    )
    found = await versions(client, name, answers)
    return Queue(
        name,
        len({poller.identity for answer in answers for poller in answer.pollers}),
        sum(answer.stats.approximate_backlog_count for answer in answers),
        max(answer.stats.approximate_backlog_age.ToTimedelta().total_seconds() for answer in answers),
        None if found.current is None else found.current.build_id,
        None if found.ramping is None else found.ramping.build_id,
        tuple(in_vain(found)),
    )


async def _schedule(client: Client, name: str) -> ScheduleState:
    try:
        described = await client.get_schedule_handle(name).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return ScheduleState(name, there=False)
        raise
    state, info = described.schedule.state, described.info
    last = info.recent_actions[-1] if info.recent_actions else None
    failure = None
    if last is not None and isinstance(last.action, ScheduleActionExecutionStartWorkflow):
        failure = await _failure(client, last.action)
    return ScheduleState(
        name,
        there=True,
        paused=state.paused,
        note=state.note or "",
        next_run=None if state.paused or not info.next_action_times else info.next_action_times[0],
        last_run=None if last is None else last.started_at,
        last_failure=failure,
    )


async def _failure(client: Client, action: ScheduleActionExecutionStartWorkflow) -> str | None:
    try:
        described = await client.get_workflow_handle(action.workflow_id, run_id=action.first_execution_run_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    status = described.status
    return None if status is None or status in _SUCCEEDED_OR_NOT_YET else f"{described.id} {status.name.lower()}"
