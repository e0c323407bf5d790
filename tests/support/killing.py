"""SIGKILL of a real worker process in the worst moment of each step: when it has acted, and nobody knows.

A proxy before Temporal keeps back what the worker says of a step: the activity's result, or the workflow task whose commands tell of a
local activity, a child or the run's end. The server takes the step for running, the worker for done. One run for each step waits there
side by side; then one SIGKILL hits all of them, and a second worker has to end each.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import AliasChoices, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from headrace import setup, temporal
from headrace.completions import completions
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.wire import Wire
from notifier.__main__ import main as notifier
from schemas.catalog import Catalog, shipped
from schemas.completion import Status
from schemas.ids import workflow_id
from schemas.request import Accepted
from tests.faults.members import environment
from tests.support import runs
from tests.support.analysis_runs import is_gone
from tests.support.eventually import eventually
from tests.support.holding_proxy import Held, HoldingProxy, Row
from tests.support.temporal_namespace import in_namespace_of_its_own

_CLOSED = {
    Status.SUCCEEDED: WorkflowExecutionStatus.COMPLETED,
    Status.FAILED: WorkflowExecutionStatus.FAILED,
    Status.CANCELLED: WorkflowExecutionStatus.CANCELED,
}
_STARTED = (PendingActivityState.PENDING_ACTIVITY_STATE_STARTED, PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED)


@dataclass
class World:
    """Where the runs of one domain live."""

    settings: Settings
    folder: Path
    """Its state folder too."""
    database: AsyncEngine
    client: Client


class Domain:
    """The runs of one domain, and what has to be true in it afterwards."""

    name: str
    rows: Sequence[Row]
    at_once = 4
    """Runs on their way to their step at one time."""
    first: Mapping[str, str] = {}
    """Variables of the worker that is killed."""

    async def prepare(self, world: World) -> None:
        """Before all runs."""

    async def before(self, world: World, each: Held) -> None:
        """Before one run."""

    async def wrong(self, world: World, told: Mapping[Held, dict[str, Any]]) -> list[str]:  # noqa: ARG002 - what others need
        """A sentence for each thing that is not as it must be; `told`: the completion of each run."""
        return []


async def kill_in_every_step(settings: Settings, folder: Path, domains: Sequence[Domain]) -> list[str]:
    """What is wrong; empty when each run ended as its row says, with one completion, and each domain has its truth.

    The domains go side by side, each with workers of its own: most of the time nothing happens, since a lost step has to be missed first.
    """
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    client, database = await temporal.connect(settings), engine(settings.database_url)
    stop = asyncio.Event()
    telling = asyncio.create_task(notifier(settings, stop))
    try:
        async with asyncio.TaskGroup() as killing:
            tasks = [killing.create_task(_kill(World(settings, folder / each.name, database, client), each)) for each in domains]
        return [sentence for task in tasks for sentence in task.result()]
    finally:
        stop.set()
        await telling
        await database.dispose()


async def _kill(world: World, domain: Domain) -> list[str]:
    world.folder.mkdir()
    held = [Held(row, step) for row in domain.rows for step in reversed(row.steps)]  # the longest way first
    await domain.prepare(world)
    handles = await _killed(world, domain, held)
    async with _worker(world, "second", domain.name, {}), asyncio.timeout(150):
        await asyncio.gather(*(runs.ended(handle) for handle in handles))
    return await _wrong(world, domain, held, handles)


async def _killed(world: World, domain: Domain, held: Sequence[Held]) -> list[WorkflowHandle[Any, Any]]:
    """Runs whose worker was killed in the middle of their steps, all of them at one time; nothing of it is left."""
    room = asyncio.Semaphore(domain.at_once)

    async def bring(each: Held) -> WorkflowHandle[Any, Any]:
        async with room:
            await domain.before(world, each)
            handle = await _start(world.client, domain.name, each)
            if each.row.cancelled_in:
                await eventually(lambda: each.lost, timeout=60)
                await handle.cancel()
            await eventually(lambda: each.tokens, timeout=60)
            return handle

    async with HoldingProxy(lambda: world.settings.temporal_address, held) as proxy:
        variables = {**domain.first, "TEMPORAL_ADDRESS": f"127.0.0.1:{proxy.port}"}
        async with _worker(world, "first", domain.name, variables) as first, proxy.beating(world.settings.temporal_namespace):
            async with asyncio.TaskGroup() as bringing:
                tasks = [bringing.create_task(bring(each)) for each in held]
            handles = [task.result() for task in tasks]
            for each, handle in zip(held, handles, strict=True):
                await eventually(functools.partial(_is_under_way, handle, each), timeout=30)
            children = _children(first.pid)
            first.kill()
            await first.wait()
    await eventually(lambda: all(is_gone(pid) for pid in children), timeout=30)
    return handles


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for each in found for word in each.read_text("ascii").split()]


@contextlib.asynccontextmanager
async def _worker(world: World, name: str, domain: str, variables: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m workers --domain D`; on leaving it is asked to end, and must."""
    log, temporary = world.folder / f"{name}.log", world.folder / "system-tmp"
    temporary.mkdir(exist_ok=True)
    given = environment({**_variables(world.settings), "HEADRACE_STATE_DIR": str(world.folder), "TMPDIR": str(temporary), **variables})
    if world.settings.routes_file is None:
        del given["HEADRACE_ROUTES_FILE"]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers", "--domain", domain),
            env=given,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(lambda: b"worker_started" in log.read_bytes() or process.returncode is not None, timeout=60)
        assert process.returncode is None, log.read_text()
        yield process
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _variables(settings: Settings) -> dict[str, str]:
    """The settings that a test has set, as a process reads them."""
    found = {}
    for name in settings.model_fields_set:
        alias, value = Settings.model_fields[name].validation_alias, getattr(settings, name)
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else alias or f"HEADRACE_{name.upper()}"
        if value is not None:
            found[str(variable)] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


async def _start(client: Client, domain: str, each: Held) -> WorkflowHandle[Any, Any]:
    accepted: Accepted[Any] = Accepted(request=each.row.request(each.event_id), origin=runs.origin(f"{domain}.requests"))
    handle: WorkflowHandle[Any, Any] = await client.start_workflow(
        each.row.workflow,
        accepted,
        id=workflow_id(domain, each.event_id),
        task_queue=each.row.task_queue,
        start_signal=each.row.signal,
    )
    return handle


async def _is_under_way(handle: WorkflowHandle[Any, Any], each: Held) -> bool:
    """Whether Temporal takes the step for running: its activity, here or in a child, or a workflow task."""
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING, str(each)
    for child in described.raw_description.pending_children:
        described = await handle._client.get_workflow_handle(child.workflow_id).describe()
    found = described.raw_description
    pending = [activity.state for activity in found.pending_activities if activity.activity_type.name == each.step]
    return any(state in _STARTED for state in pending) or found.HasField("pending_workflow_task")


async def _wrong(world: World, domain: Domain, held: Sequence[Held], handles: Sequence[WorkflowHandle[Any, Any]]) -> list[str]:
    told: dict[UUID, list[dict[str, Any]]] = {}
    wire = Wire.of(world.settings, Catalog(shipped()))
    async with contextlib.aclosing(completions(world.settings, wire, [domain.name])) as found:
        async for received in found:
            told.setdefault(received.completion["event_id"], []).append(received.completion)
    await wire.close()
    wrong, ended = [], {}
    for each, handle in zip(held, handles, strict=True):
        status = (await handle.describe()).status
        of_it = told.pop(each.event_id, [])
        statuses = [completion["status"] for completion in of_it]
        if statuses != [each.row.ends.value] or status is not _CLOSED[each.row.ends]:
            errors = [completion["error"] for completion in of_it if completion["error"]]
            wrong.append(f"{each}: the run is {status.name if status else None}, it told {statuses} {errors or ''}")
        else:
            [ended[each]] = of_it
    wrong += [f"a completion of {event_id}, which nobody sent" for event_id in told]
    return [*wrong, *await domain.wrong(world, ended)]
