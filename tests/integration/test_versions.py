"""Worker versions on a real Temporal: a run ends on the build that it began on, new runs begin on the current one, and none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from headrace import queues, temporal
from headrace.check_rights import Doubtful, workers_poll
from headrace.queues import Queue
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from schemas import names
from schemas.maintenance import MaintenanceRequested, MaintenanceResult
from schemas.request import Accepted
from tests.support import runs
from tests.support.eventually import eventually
from tests.support.runs import FakeNotifier
from tests.support.temporal_namespace import in_namespace_of_its_own
from tests.support.two_builds import OTHER_QUEUE, QUEUE, Build1, Build2, ChildOfBuild1, ChildOfBuild2, step_of_build_2
from workers import versions
from workers.__main__ import build_workers, serve
from workers.domain import Domain

DEPLOYMENT = "fleet-two"
BUILDS: dict[str | None, list[type]] = {
    "1.0.0": [Build1, ChildOfBuild1],
    "1.0.1": [Build1, ChildOfBuild1],
    "2.0.0": [Build2, ChildOfBuild2],
    None: [Build2, ChildOfBuild2],
}
CLI = str(Path(sys.executable).parent / "temporal")


@dataclass
class Fleet:
    """The workers of one domain, of several builds; a notifier beside them that knows of no versions."""

    client: Client
    settings: Settings
    notifier: FakeNotifier

    @contextlib.asynccontextmanager
    async def build(self, build: str | None) -> AsyncIterator[None]:
        """Workers of a build; None: of an unversioned fleet."""
        settings = self.settings.model_copy(update={"worker_deployment": build and "fleet", "worker_build_id": build})
        domain = Domain({QUEUE: BUILDS[build], OTHER_QUEUE: BUILDS[build]}, lambda _: contextlib.nullcontext([]))
        async with contextlib.AsyncExitStack() as running:
            for worker in build_workers(self.client, domain, [step_of_build_2], deployment=versions.deployment(settings, "two")):
                await running.enter_async_context(worker)
            yield

    async def start(self) -> WorkflowHandle[Any, MaintenanceResult]:
        request = MaintenanceRequested(event_id=uuid4(), user_id="u", requested_at=datetime.now(UTC))
        return await self.client.start_workflow(
            "TwoBuilds",
            Accepted(request=request, origin=runs.origin("maintenance.requests")),
            id=f"two-{request.event_id}",
            task_queue=QUEUE,
            result_type=MaintenanceResult,
        )

    async def temporal(self, *words: str) -> str:
        """What an operator types."""
        address = self.client.service_client.config.target_host
        process = await asyncio.create_subprocess_exec(
            *(CLI, *words, "--address", address, "--namespace", self.client.namespace),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def set_current(self, *chosen: str) -> None:
        words = ("worker", "deployment", "set-current-version", "--deployment-name", DEPLOYMENT, "--yes", *chosen)

        async def accepted() -> bool:
            try:
                await self.temporal(*words)
            except AssertionError:  # Temporal does not know of the build yet: its workers have only just asked
                return False
            return True

        await eventually(accepted, timeout=30)

    async def drained(self, build: str) -> bool:
        """Whether an operator may stop its workers."""
        said = await self.temporal(
            "worker", "deployment", "describe-version", "--deployment-name", DEPLOYMENT, "--build-id", build, "-o", "json"
        )
        status: str = json.loads(said)["drainageInfo"]["drainageStatus"]
        return status == "drained"

    async def queue(self) -> Queue:
        return await queues._queue(self.client, QUEUE)

    async def told(self) -> list[str]:
        return list((await self.queue()).in_vain)


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[str]:
    """The address of a Temporal of this module's own, which finds out within a second or two that a version is drained, not in minutes."""
    quick = [
        word
        for name in ("VersionDrainageStatusVisibilityGracePeriod", "VersionDrainageStatusRefreshInterval")
        for word in ("--dynamic-config-value", f'matching.wv.{name}="1s"')
    ]
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=CLI, dev_server_extra_args=quick) as environment:
        yield environment.client.service_client.config.target_host


@pytest_asyncio.fixture
async def fleet(server: str) -> AsyncIterator[Fleet]:
    settings = await in_namespace_of_its_own(Settings.model_validate({"temporal_address": server}))
    client, notifier = await temporal.connect(settings), FakeNotifier()
    notifying = Worker(client, task_queue=names.QUEUE_NOTIFICATIONS, activities=[notifier.send, notifier.notify, notifier.record])
    async with notifying:
        yield Fleet(client, settings, notifier)


async def _waits(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether it has done its first task: it belongs to a build from there on."""
    return any(event.HasField("workflow_task_completed_event_attributes") for event in (await handle.fetch_history()).events)


async def test_a_run_ends_on_the_build_that_it_began_on_and_new_ones_begin_on_the_current(fleet: Fleet) -> None:
    async with fleet.build("1.0.0"), fleet.build("2.0.0"):
        await fleet.set_current("--build-id", "1.0.0")
        old = await fleet.start()
        await eventually(lambda: _waits(old))
        await fleet.set_current("--build-id", "2.0.0")
        new = await fleet.start()
        await eventually(lambda: _waits(new))
        for handle in (old, new):
            await handle.signal("go")
        first, second = await asyncio.gather(fleet.client.get_workflow_handle(old.id).result(), new.result())
        assert (first["files_cleaned"], first["records_archived"]) == (1, 1), "it, its child, and what it continued as"
        assert (second.files_cleaned, second.records_archived) == (2, 2)
        assert sorted(told.completion["result"]["files_cleaned"] for told in fleet.notifier.completions) == [1, 2]
        await eventually(lambda: fleet.drained("1.0.0"), timeout=30)
        assert await fleet.told() == []


async def test_a_run_whose_build_is_gone_waits_and_is_told_of_until_the_build_is_back(fleet: Fleet) -> None:
    async with fleet.build("2.0.0"):
        async with fleet.build("1.0.0"):
            await fleet.set_current("--build-id", "1.0.0")
            handle = await fleet.start()
            await eventually(lambda: _waits(handle))
            await fleet.set_current("--build-id", "2.0.0")
        await handle.signal("go")

        async def waits() -> list[str]:
            return [told for told in await fleet.told() if "pinned to fleet-two 1.0.0 wait" in told]

        assert await eventually(waits, timeout=30)
        assert (await fleet.queue()).backlog > 0
        assert fleet.notifier.completions == []
        async with fleet.build("1.0.0"):
            found = await fleet.client.get_workflow_handle(handle.id).result()
            assert found["files_cleaned"] == 1
            assert [told.completion["status"] for told in fleet.notifier.completions] == ["SUCCEEDED"]


async def test_a_run_that_an_operator_moves_leaves_its_build(fleet: Fleet) -> None:
    """One that is paused for long would keep the workers of its build; it has to replay on the new one, as this does."""
    async with fleet.build("1.0.1"):
        async with fleet.build("1.0.0"):
            await fleet.set_current("--build-id", "1.0.0")
            handle = await fleet.start()
            await eventually(lambda: _waits(handle))
            await fleet.set_current("--build-id", "1.0.1")
        moved = ("--workflow-id", handle.id, "--versioning-override-behavior", "auto_upgrade")
        await fleet.temporal("workflow", "update-options", *moved)
        await handle.signal("go")
        assert (await fleet.client.get_workflow_handle(handle.id).result())["files_cleaned"] == 1


async def test_new_runs_begin_on_the_build_before_once_it_is_current_again(fleet: Fleet) -> None:
    async with fleet.build("1.0.0"), fleet.build("2.0.0"):
        await fleet.set_current("--build-id", "1.0.0")
        await fleet.set_current("--build-id", "2.0.0")
        bad = await fleet.start()
        await eventually(lambda: _waits(bad))
        await fleet.set_current("--build-id", "1.0.0")
        handle = await fleet.start()
        await eventually(lambda: _waits(handle))
        await handle.signal("go")
        await bad.signal("go")
        assert (await fleet.client.get_workflow_handle(handle.id).result())["files_cleaned"] == 1
        assert (await bad.result()).files_cleaned == 2, "it is not taken back to a build that it did not begin on"


async def test_versioned_workers_without_a_current_version_are_told_of(fleet: Fleet) -> None:
    """The trap of every first start: all runs, and nothing happens."""
    async with fleet.build("2.0.0"):
        handle = await fleet.start()

        async def told() -> list[str]:
            return await fleet.told()

        [said] = await eventually(told, timeout=30)
        command = f"temporal worker deployment set-current-version --deployment-name {DEPLOYMENT} --build-id 2.0.0"
        assert said == f"its workers are versioned (fleet-two 2.0.0) and no version is current, so new runs wait: {command}"
        await fleet.set_current(*command.split()[6:])
        await handle.signal("go")
        assert (await handle.result()).files_cleaned == 2
        assert await fleet.told() == []


async def test_a_run_that_began_unversioned_goes_on_on_the_version_that_becomes_current(fleet: Fleet) -> None:
    """How versions are switched on under a running fleet: it is pinned to none, and what replays on the new workers is theirs."""
    async with fleet.build("2.0.0"):
        async with fleet.build(None):
            handle = await fleet.start()
            await eventually(lambda: _waits(handle))
            await fleet.set_current("--build-id", "2.0.0")
        await handle.signal("go")
        assert (await handle.result()).files_cleaned == 2


async def test_unversioned_workers_beside_a_current_version_are_told_of_and_get_all_when_it_is_given_up(fleet: Fleet) -> None:
    async with fleet.build("1.0.0"):
        await fleet.set_current("--build-id", "1.0.0")
    async with fleet.build(None):
        handle = await fleet.start()

        async def told() -> list[str]:
            return [said for said in await fleet.told() if said.startswith("unversioned workers get no tasks")]

        [said] = await eventually(told, timeout=30)
        assert said.endswith(f"temporal worker deployment set-current-version --deployment-name {DEPLOYMENT} --unversioned")
        assert not await _waits(handle)
        await fleet.set_current("--unversioned")
        await handle.signal("go")
        assert (await handle.result()).files_cleaned == 2


@pytest.mark.parametrize("name", [None, "fleet"])
async def test_workers_are_unversioned_unless_a_setting_says_otherwise(settings: Settings, name: str | None) -> None:
    """The process itself, as `headrace workers --domain maintenance` runs it."""
    settings = (await in_namespace_of_its_own(settings)).model_copy(update={"worker_deployment": name})
    tables = engine_of(settings)
    await migrate.upgrade(tables)
    await tables.dispose()
    stop = asyncio.Event()
    client = await temporal.connect(settings)
    serving = asyncio.create_task(serve(settings, stop, "maintenance"))

    async def asking() -> Queue | None:
        assert not serving.done(), serving
        found = await queues._queue(client, names.QUEUE_SCHEDULED)
        return found if found.workers else None

    try:
        found = await eventually(asking, timeout=30)
        assert found is not None
        if name is None:
            assert found.in_vain == ()
        else:
            assert found.in_vain[0].startswith(
                f"its workers are versioned (fleet-maintenance {metadata.version('headrace')}) and no version"
            )
            with pytest.raises(Doubtful, match="no worker asks"):  # those of the other queues do not run
                await workers_poll(settings)
    finally:
        stop.set()
        await serving
