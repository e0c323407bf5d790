"""Figures and context of real runs: each is counted once, however often it is replayed, and each line of a log says whose it is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from headrace import interceptors
from headrace.interceptors import Observed
from tests.support.commanded import State, StaticCommands
from tests.support.eventually import eventually
from tests.support.observed import FAILED_TASKS, SECRET, FailsTwice, Impure, Steps, local_step, step
from workers.__main__ import sandbox

Figures = dict[tuple[str, ...], float]


def figures(domain: str) -> Figures:
    """What was counted, without the times: the metric's short name, then its labels but the domain."""
    found: Figures = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            short = sample.name.removeprefix("headrace_")
            if sample.labels.get("domain") == domain and not short.endswith(("_bucket", "_sum", "_created")):
                found[short, *(value for name, value in sample.labels.items() if name != "domain" and value)] = sample.value
    return found


@pytest.fixture
def domain() -> str:
    return f"d{uuid4().hex[:8]}"


@contextlib.asynccontextmanager
async def worker(client: Client, domain: str, workflows: Sequence[type], **changed: Any) -> AsyncIterator[None]:
    observed = Worker(
        client,
        task_queue=domain,
        workflows=workflows,
        activities=[step, local_step],
        interceptors=[Observed(domain)],
        workflow_runner=sandbox(),
        **changed,
    )
    async with observed:
        yield


async def start(client: Client, domain: str, *arguments: Any, run: str = "Steps") -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(run, args=arguments, id=f"{domain}-{uuid4()}", task_queue=domain)


async def test_a_run_that_succeeds_is_counted_with_its_steps(skipping: Client, domain: str) -> None:
    async with worker(skipping, domain, [Steps]):
        await (await start(skipping, domain, ["a", "b"])).result()
    assert figures(domain) == {
        ("workflows_started_total", "Steps"): 1,
        ("workflows_ended_total", "Steps", "completed"): 1,
        ("workflow_seconds_count", "Steps"): 1,
        ("activities_started_total", "step"): 2,
        ("activities_ended_total", "step", "completed"): 2,
        ("activity_seconds_count", "step"): 2,
        ("activities_started_total", "local_step"): 1,
        ("activities_ended_total", "local_step", "completed"): 1,
        ("activity_seconds_count", "local_step"): 1,
    }


async def test_failures_are_counted_by_a_closed_list_and_told_without_their_words(
    skipping: Client, domain: str, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        async with worker(skipping, domain, [Steps]):
            for act in ("refused", "raises"):
                with pytest.raises(WorkflowFailureError):
                    await (await start(skipping, domain, [act])).result()
    found = figures(domain)
    assert found["activities_ended_total", "step", "failed", "BackendRefused"] == 1
    assert found["activities_ended_total", "step", "failed", "other"] == 2
    assert found["workflows_ended_total", "Steps", "failed", "other"] == 2  # the error of an activity: `concluded` would sort it
    told = [line for line in logs if line["event"] in ("activity_failed", "workflow_ended")]
    assert [(line["event"], line["failure"], line["error"], line["log_level"]) for line in told] == [
        ("activity_failed", "BackendRefused", "BackendRefused", "info"),
        ("workflow_ended", "other", "ActivityError", "info"),
        ("activity_failed", "other", "KeyError", "info"),
        ("activity_failed", "other", "KeyError", "info"),
        ("workflow_ended", "other", "ActivityError", "info"),
    ]
    assert SECRET not in repr(told)
    assert caplog.records, "the SDK's own warnings are there too"


async def test_a_cancelled_run_and_its_step_are_counted_as_cancelled(skipping: Client, domain: str) -> None:
    async with worker(skipping, domain, [Steps], graceful_shutdown_timeout=timedelta(0)):
        handle = await start(skipping, domain, ["hangs"])
        await eventually(lambda: figures(domain).get(("activities_started_total", "step")))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    found = figures(domain)
    assert found["workflows_ended_total", "Steps", "cancelled"] == 1
    assert found["activities_ended_total", "step", "cancelled"] == 1
    assert [name for name in found if "failed" in name] == []


async def test_a_run_that_continues_as_new_is_two_runs(skipping: Client, domain: str) -> None:
    async with worker(skipping, domain, [StaticCommands]):
        handle = await start(skipping, domain, State(), run="StaticCommands")
        await handle.signal("turn_over")
        current = skipping.get_workflow_handle(handle.id)
        await eventually(lambda: _runs(current))
        await current.signal("end")
        await current.result()
    found = figures(domain)
    assert found["workflows_started_total", "StaticCommands"] == 2
    assert found["workflows_ended_total", "StaticCommands", "continued_as_new"] == 1
    assert found["workflows_ended_total", "StaticCommands", "completed"] == 1


async def _runs(handle: WorkflowHandle[Any, Any]) -> bool:
    return bool(await handle.query("runs") == 2)


@pytest.mark.parametrize("cached", [0, 100])
async def test_a_replay_counts_nothing_again_also_in_another_worker(
    skipping: Client, domain: str, monkeypatch: pytest.MonkeyPatch, cached: int
) -> None:
    # As in a process that has never seen the run: only that it is a replay keeps it from being counted.
    monkeypatch.setattr(interceptors._Counted, "first_time", lambda *_: True)
    with capture_logs() as logs:
        async with worker(skipping, domain, [Steps], max_cached_workflows=cached):
            handle = await start(skipping, domain, ["a", "b", "c", "d"], True)
            await eventually(lambda: figures(domain).get(("activities_ended_total", "step", "completed")) == 3)
        async with worker(skipping, domain, [Steps], max_cached_workflows=cached):
            await handle.signal("go")
            await handle.result()
    found = figures(domain)
    assert found["workflows_started_total", "Steps"] == 1
    assert found["workflows_ended_total", "Steps", "completed"] == 1
    assert found["activities_ended_total", "step", "completed"] == 4
    assert [line["outcome"] for line in logs if line["event"] == "workflow_ended"] == ["completed"]


async def test_a_task_that_fails_is_no_end_and_its_repetition_no_start(skipping: Client, domain: str) -> None:
    async with worker(skipping, domain, [FailsTwice]):
        await (await start(skipping, domain, [f"{domain}-1", f"{domain}-2"], run="FailsTwice")).result()
    assert {f"{domain}-1", f"{domain}-2"} <= FAILED_TASKS
    assert figures(domain) == {
        ("workflows_started_total", "FailsTwice"): 1,
        ("workflows_ended_total", "FailsTwice", "completed"): 1,
        ("workflow_seconds_count", "FailsTwice"): 1,
    }


class Remembers(logging.Handler):
    """The message of each line of the standard library, with what is bound where it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.getMessage(), structlog.contextvars.get_contextvars()))


async def test_every_line_of_a_run_says_of_which_event_it_is(skipping: Client, domain: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "temporalio")
    heard = Remembers()
    logging.getLogger("temporalio").addHandler(heard)
    try:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            async with worker(skipping, domain, [Steps]):
                handle = await start(skipping, domain, ["a"], True)
                await handle.signal("go")
                await handle.result()
    finally:
        logging.getLogger("temporalio").removeHandler(heard)
    event_id = handle.id.removeprefix(f"{domain}-")
    run = {"event_id": event_id, "workflow_id": handle.id, "workflow": "Steps"}
    for says in ("run_logs", "signal_logs"):
        assert [bound for message, bound in heard.lines if message.startswith(says)] == [run]
    [logged] = [line for line in logs if line["event"] == "step_logs"]
    assert logged == {**run, "event": "step_logs", "log_level": "info", "activity": "step", "attempt": 1}
    [ended] = [line for line in logs if line["event"] == "workflow_ended"]
    assert ended.items() >= {**run, "outcome": "completed"}.items()
    assert structlog.contextvars.get_contextvars() == {}, "nothing is left behind in the process"


def test_the_event_of_a_child_is_that_of_its_parent() -> None:
    event_id = UUID(int=7)
    for workflow_id in (f"image-{event_id}", f"batch-image-image-{event_id}-12"):
        assert interceptors._identity(workflow_id, None) == {"workflow_id": workflow_id, "event_id": str(event_id)}
    assert interceptors._identity("maintenance", None) == {"workflow_id": "maintenance"}
    assert interceptors._identity("maintenance", str(event_id))["event_id"] == str(event_id)
    assert interceptors._identity(None, None) == {}


async def test_the_clock_and_chance_are_the_sandboxs_for_a_team(skipping: Client, domain: str) -> None:
    """Ours are passed through; a module of anybody else is not."""

    async with worker(skipping, domain, [Impure]):
        handle = await start(skipping, domain, run="Impure")
        await eventually(lambda: _failed_task(handle), timeout=20)
        await handle.terminate()


async def _failed_task(handle: WorkflowHandle[Any, Any]) -> bool:
    events = (await handle.fetch_history()).events
    failures = [event.workflow_task_failed_event_attributes.failure.message for event in events]
    return any("datetime.datetime.now" in message for message in failures)
