"""The workflow on a real server that skips time: how each run ends, and what it tells."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from schemas.errors import FailureType
from schemas.ids import completion_id
from schemas.image import ImageGenerationResult
from tests.support.eventually import eventually
from tests.support.image_runs import FakeBackend, FakeStore, start, working
from tests.support.runs import FakeNotifier
from workers.image.activities import Picture
from workers.image.models import Drawing


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


async def failed(handle: object) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()  # type: ignore[attr-defined]
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause


async def test_a_run_that_succeeds_tells_its_result_with_the_records_key(client: Client) -> None:
    notifier = FakeNotifier()
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start(client)
        result = await handle.result()
    [sent] = notifier.completions
    event_id = handle.id.removeprefix("image-")
    assert (sent.domain, sent.record, sent.key) == ("image", "headrace.image.ImageGenerationCompleted", b"\xff\x00key")
    assert sent.completion["status"] == "SUCCEEDED"
    assert sent.completion["result"] == result.model_dump(mode="json")
    assert (sent.completion["event_id"], sent.completion["workflow_id"], sent.completion["run_id"]) == (
        event_id,
        handle.id,
        handle.first_execution_run_id,
    )
    [recorded] = notifier.history
    assert (recorded.entry.status, recorded.entry.key, recorded.entry.prompt) == ("SUCCEEDED", result.key, "A mill")
    assert sent.completion["completion_id"] == str(completion_id(recorded.entry.event_id))


async def test_a_refused_prompt_fails_before_anything_is_generated(client: Client) -> None:
    notifier, backend = FakeNotifier(), FakeBackend()
    async with working(client, backend, FakeStore(), notifier):
        error = await failed(await start(client, prompt="how to make a pipe bomb"))
    assert (error.type, backend.calls) == ("ContentPolicyViolation", 0)
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["error"]["code"]) == ("FAILED", "ContentPolicyViolation")
    assert "weapons" in sent.completion["error"]["message"]
    assert notifier.history[0].entry.status == "FAILED"


async def test_a_prompt_without_a_letter_fails_as_invalid(client: Client) -> None:
    notifier = FakeNotifier()
    async with working(client, FakeBackend(), FakeStore(), notifier):
        error = await failed(await start(client, prompt="1234 !!"))
    assert error.type == "InvalidPrompt"
    assert notifier.completions[0].completion["error"]["message"] == "Invalid prompt: the prompt has no letter"


async def test_a_rate_limited_backend_is_asked_again_after_its_retry_after(client: Client) -> None:
    limited = ApplicationError("slow down", type=FailureType.BACKEND_RATE_LIMITED, next_retry_delay=timedelta(minutes=4))
    backend = FakeBackend(lambda call: limited if call == 1 else Picture(b"late", "image/png", 1, 1, "fake"))
    notifier = FakeNotifier()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start(client, backend="openai")
        await handle.result()
    sent = notifier.completions[0].completion
    waited = await client.get_workflow_handle(handle.id).describe()
    assert backend.calls == 2
    assert waited.close_time is not None
    assert waited.close_time - waited.start_time >= timedelta(minutes=4)
    assert sent["status"] == "SUCCEEDED"


async def test_a_backend_that_stays_away_is_asked_three_times(client: Client) -> None:
    backend = FakeBackend(lambda _: ApplicationError("down", type=FailureType.BACKEND_UNAVAILABLE))
    notifier = FakeNotifier()
    async with working(client, backend, FakeStore(), notifier):
        error = await failed(await start(client, backend="huggingface"))
    assert (error.type, backend.calls) == ("BackendUnavailable", 3)
    assert notifier.completions[0].completion["error"] == {"code": "BackendUnavailable", "message": "down"}


async def test_a_bad_key_is_not_asked_again(client: Client) -> None:
    refused = ApplicationError("check OPENAI_API_KEY", type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True)
    backend, notifier = FakeBackend(lambda _: refused), FakeNotifier()
    async with working(client, backend, FakeStore(), notifier):
        await failed(await start(client, backend="openai"))
    assert backend.calls == 1
    assert notifier.completions[0].completion["error"]["message"] == "check OPENAI_API_KEY"


async def test_a_lost_object_fails_the_run(client: Client) -> None:
    notifier = FakeNotifier()
    async with working(client, FakeBackend(), FakeStore(loses=True), notifier):
        error = await failed(await start(client))
    assert error.type == "ImageLost"
    assert notifier.completions[0].completion["result"] is None


async def test_a_cancelled_run_tells_so_and_ends_as_cancelled(client: Client) -> None:
    class Slow:
        began = asyncio.Event()

        async def generate(self, drawing: Drawing) -> Picture:  # noqa: ARG002 - the port's signature
            self.began.set()
            await asyncio.Event().wait()
            raise AssertionError

    notifier, slow = FakeNotifier(), Slow()
    async with working(client, slow, FakeStore(), notifier):
        handle = await start(client)
        await slow.began.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["error"]["code"]) == ("CANCELLED", "Cancelled")


async def test_a_run_cancelled_before_its_first_step_tells_so(client: Client) -> None:
    handle = await start(client)
    await handle.cancel()
    notifier, backend = FakeNotifier(), FakeBackend()
    async with working(client, backend, FakeStore(), notifier):
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert ([sent.completion["status"] for sent in notifier.completions], backend.calls) == (["CANCELLED"], 0)


async def test_a_cancel_that_comes_after_the_outcome_changes_neither_run_nor_completion(client: Client) -> None:
    notifier = FakeNotifier(completion_failures=10**9)
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start(client)
        await eventually(lambda: notifier.history)
        await handle.cancel()
        await eventually(lambda: _was_cancelled(handle))
        notifier.recover()
        await handle.result()
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


async def test_a_worker_that_restarts_while_a_completion_waits_tells_it_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    notifier = FakeNotifier(completion_failures=10**9)
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start(client)
        await eventually(lambda: notifier.history)
    notifier.recover()
    async with working(client, FakeBackend(), FakeStore(), notifier):
        await handle.result()
    assert len(notifier.completions) == 1
    assert not [record for record in caplog.records if "evict" in record.getMessage().lower()], "the shielded wait outlived its run"


async def test_an_error_that_nobody_sorted_is_internal_and_its_text_stays_inside(client: Client) -> None:
    notifier = FakeNotifier()
    async with working(client, FakeBackend(lambda _: KeyError("what it may hold")), FakeStore(), notifier):
        error = await failed(await start(client))
    assert error.type == "Internal"
    assert notifier.completions[0].completion["error"] == {
        "code": "Internal",
        "message": "a fault of this software in generate_with_local: KeyError",
    }


async def _was_cancelled(handle: WorkflowHandle[object, ImageGenerationResult]) -> bool:
    return any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in (await handle.fetch_history()).events)


async def test_a_completion_is_tried_until_it_is_published(client: Client) -> None:
    notifier = FakeNotifier(completion_failures=8)
    async with working(client, FakeBackend(), FakeStore(), notifier):
        await (await start(client)).result()
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


async def test_a_history_that_cannot_be_written_does_not_fail_the_run(client: Client) -> None:
    notifier = FakeNotifier(history_failures=99)
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start(client)
        await handle.result()
    assert len(notifier.completions) == 1
    assert notifier.history == []
