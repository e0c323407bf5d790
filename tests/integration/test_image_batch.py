"""Batches on a real server that skips time: what becomes of each prompt, and what is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import Priority
from temporalio.exceptions import ApplicationError

from schemas import names
from schemas.command import Command
from schemas.errors import FailureType
from schemas.ids import batch_child_id, batch_item_id
from schemas.image import BatchImageGenerationResult, ImageGenerationRequested
from schemas.request import Accepted
from tests.support.eventually import eventually
from tests.support.image_runs import FakeBackend, FakeStore, HeldBackend, start_batch, working
from tests.support.runs import FakeNotifier, ended
from workers.image import batch
from workers.image.activities import Picture
from workers.image.models import BatchProgress, Drawing

Handle = WorkflowHandle[object, BatchImageGenerationResult]
Cancel = Callable[[Handle], Awaitable[None]]

RECORD = "headrace.image.BatchImageGenerationCompleted"


async def by_command(handle: Handle) -> None:
    await handle.signal("cancel", Command(event_id=UUID(int=9)))


async def by_temporal(handle: Handle) -> None:
    await handle.cancel()


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


async def progress(handle: Handle) -> BatchProgress:
    found: BatchProgress = await handle.query("get_progress", result_type=BatchProgress)
    return found


async def is_at(handle: Handle, *, done: int, in_flight: int) -> bool:
    now = await progress(handle)
    return (now.done, now.in_flight) == (done, in_flight)


def told(notifier: FakeNotifier) -> tuple[str, BatchImageGenerationResult]:
    """The status and result of the one completion."""
    [sent] = notifier.completions
    assert sent.record == RECORD
    return sent.completion["status"], BatchImageGenerationResult.model_validate(sent.completion["result"])


def codes(result: BatchImageGenerationResult) -> dict[int, str]:
    return {error.index: error.code for error in result.errors}


async def test_a_bad_prompt_is_null_at_its_index_and_the_others_are_drawn(client: Client) -> None:
    notifier, prompts = FakeNotifier(), ["A mill", " ", "how to make a pipe bomb", "x" * 4001, "a\x00b", "1234", "A lock"]
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start_batch(client, prompts)
        result = await handle.result()
    assert [image is not None for image in result.images] == [True, False, False, False, False, False, True]
    assert codes(result) == {
        **dict.fromkeys((1, 3, 4, 5), "InvalidPrompt"),
        2: "ContentPolicyViolation",
    }
    assert "at most 4000 characters" in result.errors[2].message
    assert told(notifier) == ("SUCCEEDED", result), "and no child tells anything by itself"
    assert [(recorded.entry.workflow_id, recorded.entry.backend) for recorded in notifier.history] == [(handle.id, "local")]


async def test_children_have_the_ids_queue_time_out_and_fairness_that_were_agreed(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    priority = Priority(priority_key=2, fairness_key="ada")
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, ["A mill", "A lock"], priority)
        await eventually(lambda: len(backend.begun) == 2)
        for index in range(2):
            child = await client.get_workflow_handle(f"batch-image-{handle.id}-{index}").describe()
            info, config = child.raw_description.workflow_execution_info, child.raw_description.execution_config
            assert (child.task_queue, config.workflow_execution_timeout.ToTimedelta()) == (
                "project-ai-high-priority",
                timedelta(minutes=5),
            )
            assert (info.priority.priority_key, info.priority.fairness_key) == (2, "ada")
        backend.release.set()
        await handle.result()


async def test_no_more_than_twenty_children_run_at_one_time(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, [f"Mill {number}" for number in range(23)])
        await eventually(lambda: is_at(handle, done=0, in_flight=20))
        await eventually(lambda: len(backend.begun) == 20)
        assert await progress(handle) == BatchProgress(total=23, done=0, failed=0, in_flight=20)
        backend.release.set()
        await handle.result()
        assert await progress(handle) == BatchProgress(total=23, done=23, failed=0, in_flight=0)


@pytest.mark.parametrize("cancel", [by_command, by_temporal])
async def test_a_cancel_reaches_the_children_and_what_was_done_is_told(client: Client, cancel: Cancel) -> None:
    class ThreeAtOnce(HeldBackend):
        async def generate(self, drawing: Drawing) -> Picture:
            if drawing.prompt in ("Mill 0", "Mill 1", "Mill 2"):
                return Picture(drawing.prompt.encode(), "image/png", 2, 2, "fake")
            return await super().generate(drawing)

    notifier, backend = FakeNotifier(), ThreeAtOnce()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, [f"Mill {number}" for number in range(30)])
        await eventually(lambda: is_at(handle, done=3, in_flight=20))
        await eventually(lambda: len(backend.begun) == 20)
        await cancel(handle)
        await ended(handle)
        assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
        children = [await client.get_workflow_handle(batch_child_id(handle.id, index)).describe() for index in range(3, 23)]
        await eventually(lambda: len(backend.stopped) == 20)
    assert {child.status for child in children} == {WorkflowExecutionStatus.CANCELED}
    status, result = told(notifier)
    assert (status, [image is not None for image in result.images]) == ("CANCELLED", [*[True] * 3, *[False] * 27])
    assert codes(result) == dict.fromkeys(range(3, 30), "Cancelled")
    assert notifier.completions[0].completion["error"]["message"] == "the run was cancelled; done until then: 3 of 30 images"


async def test_a_pause_holds_before_the_next_child(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, [f"Mill {number}" for number in range(22)])
        await eventually(lambda: len(backend.begun) == 20)
        await handle.signal("pause")
        backend.release.set()
        await eventually(lambda: is_at(handle, done=20, in_flight=0))
        assert len(backend.begun) == 20
        await handle.signal("resume")
        await handle.result()
    assert len(backend.begun) == 22


async def test_a_batch_of_many_pages_is_one_batch(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, errors, a pause and the first start are carried from run to run."""
    monkeypatch.setattr(batch, "PAGE", 3)
    notifier, backend = FakeNotifier(), HeldBackend()
    pause = Command(event_id=UUID(int=1))
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, ["Mill 0", "", *(f"Mill {number}" for number in range(2, 8))])
        await eventually(lambda: len(backend.begun) == 2)
        first = await client.get_workflow_handle(handle.id, run_id=handle.result_run_id).describe()
        await handle.signal("pause", pause)
        backend.release.set()
        await eventually(lambda: is_at(handle, done=2, in_flight=0))
        await eventually(lambda: another_run(handle))
        assert len(backend.begun) == 2, "the next run knows of the pause"
        current = client.get_workflow_handle(handle.id)
        await current.signal("resume", Command(event_id=UUID(int=2)))
        await current.signal("pause", pause)
        result = await handle.result()
    assert [image is not None for image in result.images] == [index != 1 for index in range(8)]
    assert codes(result) == {1: "InvalidPrompt"}
    assert told(notifier) == ("SUCCEEDED", result)
    second = await current.describe()
    assert first.start_time <= datetime.fromisoformat(notifier.completions[0].completion["started_at"]) < second.start_time
    assert sorted(backend.begun) == sorted(f"Mill {number}" for number in range(8) if number != 1)


async def another_run(handle: Handle) -> bool:
    now = await handle._client.get_workflow_handle(handle.id).describe()
    return now.run_id != handle.result_run_id


async def test_a_batch_without_a_single_image_is_no_success(client: Client) -> None:
    refused = ApplicationError("check OPENAI_API_KEY", type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True)
    notifier = FakeNotifier()
    async with working(client, FakeBackend(lambda _: refused), FakeStore(), notifier):
        await ended(await start_batch(client, ["A mill", "A lock"]))
    status, result = told(notifier)
    assert (status, codes(result)) == ("FAILED", dict.fromkeys(range(2), "BackendCredentialsRefused"))
    assert notifier.completions[0].completion["error"]["code"] == "NoImage"


async def test_a_child_that_is_terminated_costs_its_own_image_only(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_batch(client, ["A mill", "A lock", "A weir"])
        await eventually(lambda: len(backend.begun) == 3)
        await client.get_workflow_handle(batch_child_id(handle.id, 1)).terminate()
        await client.get_workflow_handle(batch_child_id(handle.id, 2)).cancel()
        await eventually(lambda: is_at(handle, done=0, in_flight=1))
        backend.release.set()
        result = await handle.result()
    assert codes(result) == {1: "Terminated", 2: "Cancelled"}
    assert result.errors[0].message == "ImageGenerationWorkflow was terminated"
    assert told(notifier)[0] == "SUCCEEDED"


async def test_a_child_that_does_not_end_in_time_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHILD_TIMEOUT", timedelta(seconds=1))
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        await ended(await start_batch(client, ["A mill"]))
    status, result = told(notifier)
    assert (status, codes(result)) == ("FAILED", {0: "TimedOut"})
    assert result.errors[0].message == "ImageGenerationWorkflow did not end in time"


async def test_a_child_that_has_run_already_does_not_run_twice(client: Client) -> None:
    notifier, backend = FakeNotifier(), FakeBackend()
    event_id = uuid4()
    workflow_id = f"image-{event_id}"
    item = ImageGenerationRequested.model_validate(
        {"event_id": batch_item_id(event_id, 0), "user_id": "u", "requested_at": datetime.now(UTC), "prompt": "A mill", "backend": "local"}
    )
    async with working(client, backend, FakeStore(), notifier):
        accepted = Accepted[ImageGenerationRequested](request=item, origin=None)
        child_id, queue = batch_child_id(workflow_id, 0), names.QUEUE_HIGH_PRIORITY
        await client.execute_workflow("ImageGenerationWorkflow", accepted, id=child_id, task_queue=queue)
        result = await (await start_batch(client, ["A mill", "A lock"], event_id=event_id)).result()
    assert codes(result) == {0: "AlreadyStarted"}
    assert backend.calls == 2


async def test_a_batch_that_is_cancelled_before_its_first_step_tells_of_every_prompt(client: Client) -> None:
    handle = await start_batch(client, ["A mill", "A lock"])
    await by_command(handle)
    notifier, backend = FakeNotifier(), FakeBackend()
    async with working(client, backend, FakeStore(), notifier):
        await ended(handle)
    status, result = told(notifier)
    assert (status, codes(result), backend.calls) == ("CANCELLED", dict.fromkeys(range(2), "Cancelled"), 0)
