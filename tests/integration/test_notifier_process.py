"""`python -m notifier` and its worker, on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.client import ScheduleActionStartWorkflow, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headrace import setup, temporal
from headrace.completions import completions
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from headrace.wire import Wire
from notifier.__main__ import build_worker, main, publishing
from schemas import names
from schemas.catalog import Catalog, shipped
from schemas.completion import Published, SendCompletion, UpdateHistory
from schemas.ids import workflow_id
from schemas.reconcile import Reconcile, ReconcileReport
from schemas.routes import load_routes
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED
from tests.support.messages import send_completion, update_history
from tests.support.temporal_namespace import in_namespace_of_its_own


@workflow.defn
class PublishBoth:
    """The last step of a domain's workflow, alone."""

    @workflow.run
    async def run(self, completion: SendCompletion, history: UpdateHistory, queue: str) -> list[Published]:
        given: dict[str, SendCompletion | UpdateHistory] = {names.SEND_COMPLETION: completion, names.UPDATE_HISTORY: history}
        return list(
            await asyncio.gather(
                *(
                    workflow.execute_activity(
                        name,
                        argument,
                        task_queue=queue,
                        result_type=Published,
                        start_to_close_timeout=timedelta(seconds=15),
                        heartbeat_timeout=timedelta(seconds=5),
                    )
                    for name, argument in given.items()
                )
            )
        )


async def publish_both(settings: Settings, queue: str, completion: SendCompletion) -> list[Published]:
    client = await temporal.connect(settings)
    workflows = f"workflows-{uuid4()}"
    async with Worker(client, task_queue=workflows, workflows=[PublishBoth], workflow_runner=UnsandboxedWorkflowRunner()):
        return await client.execute_workflow(
            PublishBoth.run,
            args=[completion, update_history(), queue],
            id=str(uuid4()),
            task_queue=workflows,
            execution_timeout=timedelta(seconds=40),
        )


def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "TEMPORAL_"))},
        "HEADRACE_STATE_DIR": str(tmp_path / "state"),
        "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
        "HEADRACE_DATABASE_URL": settings.database_url,
        "HEADRACE_ROUTES_FILE": str(settings.routes_file),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }


@contextlib.asynccontextmanager
async def notifier(settings: Settings, tmp_path: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", env=environment(settings, tmp_path), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: Process, word: str) -> str:
    """What the process logged up to the line with `word`."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(30):
        while not lines or word not in lines[-1]:
            line = await process.stdout.readline()
            assert line, f"ended without {word}:\n{''.join(lines)}"
            lines.append(line.decode())
    return "".join(lines)


async def ended(process: Process) -> tuple[int, str]:
    async with asyncio.timeout(20):
        rest, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, rest.decode()


async def test_worker_publishes_for_a_workflow_of_another_queue(settings: Settings) -> None:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    await setup._tables(settings, lambda _: None)
    database = engine(settings.database_url)
    client, queue = await temporal.connect(settings), f"notifications-{uuid4()}"
    async with publishing(settings, database, asyncio.Event()) as activities, build_worker(client, queue, activities.all()):
        places = await publish_both(settings, queue, send_completion())
        assert [place.topic.removeprefix(settings.topic_prefix) for place in places] == ["image.completions", "history"]
        with pytest.raises(WorkflowFailureError) as caught:
            await publish_both(settings, queue, send_completion(record="headrace.image.Unheard"))
    await database.dispose()
    failed = caught.value.cause
    assert isinstance(failed, ActivityError)
    assert isinstance(failed.cause, ApplicationError)
    assert failed.cause.non_retryable


async def test_process_publishes_and_ends_cleanly_on_sigterm(settings: Settings, tmp_path: Path) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    async with notifier(settings, tmp_path) as process:
        await said(process, "notifier_started")
        command = send_completion()
        await publish_both(settings, names.QUEUE_NOTIFICATIONS, command)
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0, log
    published = [line for line in map(json.loads, log.splitlines()) if line["event"] == "record_published"]
    assert {line["activity"] for line in published} == {names.SEND_COMPLETION, names.UPDATE_HISTORY}
    assert all(line["workflow"] == "PublishBoth" and line["event_id"] and line["workflow_id"] for line in published)
    assert "https://example.org" not in log
    wire = Wire(Catalog(shipped()))
    async with contextlib.aclosing(completions(settings, wire, ["image"])) as found:
        assert [str(each.completion["completion_id"]) async for each in found] == [command.completion["completion_id"]]


async def test_process_makes_the_schedule_that_is_missing_and_completes_a_run_that_was_terminated(
    settings: Settings, tmp_path: Path
) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    await setup._tables(settings, lambda _: None)
    client, event_id = await temporal.connect(settings), uuid4()
    identity = workflow_id("image", event_id)
    handle = await client.start_workflow("Nobody", "an argument that is another team's", id=identity, task_queue="nobody")
    row = {"event_id": event_id, "record": REQUESTED, "payload_sha256": bytes(32), "topic": "t", "partition": 0, "offset": 0}
    claimed = datetime.now(UTC) - timedelta(minutes=5)
    database = engine(settings.database_url)
    async with database.begin() as connection:
        await connection.execute(insert(LEDGER).values(**row, disposition="started", workflow_id=identity, claimed_at=claimed))
    await database.dispose()
    await handle.terminate()
    async with notifier(settings, tmp_path) as process:
        await said(process, "schedule_made")
        described = await client.get_schedule_handle(names.RECONCILE_SCHEDULE).describe()
        assert isinstance(described.schedule.action, ScheduleActionStartWorkflow)
        assert (described.schedule.action.workflow, described.schedule.action.task_queue) == (names.RECONCILE, names.QUEUE_NOTIFICATIONS)

        async def completed() -> bool:
            report: ReconcileReport = await client.execute_workflow(
                names.RECONCILE,
                Reconcile(grace_seconds=0),
                id=str(uuid4()),
                task_queue=names.QUEUE_NOTIFICATIONS,
                result_type=ReconcileReport,
                execution_timeout=timedelta(seconds=60),
            )
            return report.reconciled.completed == {"TERMINATED": 1}

        await eventually(completed, timeout=60)
    wire = Wire(Catalog(shipped()))
    async with contextlib.aclosing(completions(settings, wire, ["image"])) as found:
        [only] = [each.completion async for each in found]
    assert (only["event_id"], only["status"], only["user_id"]) == (event_id, "TERMINATED", "")


@pytest.mark.parametrize(
    ("fields", "part"),
    [({"kafka_bootstrap_servers": "127.0.0.1:1"}, "kafka"), ({"temporal_address": "127.0.0.1:1"}, "temporal")],
)
async def test_service_waits_for_a_part_that_is_away_and_can_be_stopped(settings: Settings, fields: dict[str, str], part: str) -> None:
    await setup._tables(settings, lambda _: None)
    stop = asyncio.Event()
    with capture_logs() as logs:
        service = asyncio.create_task(main(settings.model_copy(update=fields), stop))
        await eventually(lambda: any(line.get("part") == part for line in logs))
        stop.set()
        await asyncio.wait_for(service, 5)


async def test_process_without_tables_says_what_to_run(settings: Settings, tmp_path: Path) -> None:
    async with notifier(settings, tmp_path) as process:
        assert "run `headrace setup`" in await said(process, "waiting_for")
        # It goes on by itself once that was done.
        await setup._tables(settings, lambda _: None)
        await said(process, "notifier_started")
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0, log
