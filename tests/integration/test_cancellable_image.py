"""Pause, resume and cancel of one image's run: when they take effect, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from headrace.settings import Settings
from schemas.command import Command
from schemas.image import ImageGenerationResult
from tests.support.eventually import eventually
from tests.support.image_runs import FakeBackend, FakeStore, HeldBackend, start_cancellable, working
from tests.support.runs import FakeNotifier, ended
from workers import openai_client
from workers.image.activities import StoredObject
from workers.image.backends import openai
from workers.image.models import ImageStatus

Handle = WorkflowHandle[object, ImageGenerationResult]
Cancel = Callable[[Handle], Awaitable[None]]

BEFORE_GENERATION = "the run was cancelled; done until then: validate_prompt, check_content_filter"


async def by_command(handle: Handle) -> None:
    await handle.signal("cancel", Command(event_id=UUID(int=9)))


async def by_temporal(handle: Handle) -> None:
    await handle.cancel()


BOTH = pytest.mark.parametrize("cancel", [by_command, by_temporal])


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


async def status(handle: Handle) -> ImageStatus:
    found: ImageStatus = await handle.query("get_status", result_type=ImageStatus)
    return found


async def holds(handle: Handle, step: str) -> bool:
    now = await status(handle)
    return (now.paused, now.step) == (True, step)


async def assert_cancelled(handle: Handle, notifier: FakeNotifier, message: str) -> None:
    await ended(handle)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    [sent] = notifier.completions
    assert (sent.record, sent.completion["status"]) == ("headrace.image.CancellableImageGenerationCompleted", "CANCELLED")
    assert sent.completion["error"] == {"code": "Cancelled", "message": message}
    assert [recorded.entry.status for recorded in notifier.history] == ["CANCELLED"]


async def test_a_pause_holds_before_the_next_step_until_it_is_resumed(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        assert (await status(handle)).step == "generate_with_local"
        await handle.signal("pause", Command(event_id=UUID(int=1)))
        backend.release.set()
        await eventually(lambda: holds(handle, "save_image_to_storage"))
        assert notifier.completions == []
        await handle.signal("resume", Command(event_id=UUID(int=2)))
        result = await handle.result()
        assert await status(handle) == ImageStatus(cancelled=False, paused=False, step="send_completion_notification")
    [sent] = notifier.completions
    assert (sent.record, sent.completion["status"]) == ("headrace.image.CancellableImageGenerationCompleted", "SUCCEEDED")
    assert sent.completion["result"] == result.model_dump(mode="json")


@BOTH
async def test_a_cancel_ends_a_paused_run_and_says_what_was_done(client: Client, cancel: Cancel) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await handle.signal("pause")
        backend.release.set()
        await eventually(lambda: holds(handle, "save_image_to_storage"))
        await cancel(handle)
        await assert_cancelled(handle, notifier, f"{BEFORE_GENERATION}, generate_with_local")
        assert (await status(handle)).cancelled
    assert notifier.completions[0].completion["result"] is None


@BOTH
async def test_a_cancel_inside_a_generation_does_not_wait_for_it_and_stops_it(client: Client, cancel: Cancel) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await cancel(handle)
        await assert_cancelled(handle, notifier, BEFORE_GENERATION)
        await eventually(lambda: backend.stopped)


async def test_a_cancel_ends_the_http_call_that_costs_money(client: Client) -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            asked.set()
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    api = openai_client.client(Settings(openai_api_key=SecretStr("k"), openai_base_url=url))
    assert api is not None
    notifier = FakeNotifier()
    async with server, api, working(client, openai.OpenAIBackend(api, "m"), FakeStore(), notifier):
        handle = await start_cancellable(client, backend="openai")
        await asyncio.wait_for(asked.wait(), 30)
        await by_command(handle)
        await assert_cancelled(handle, notifier, BEFORE_GENERATION)
        await asyncio.wait_for(hung_up.wait(), 30)


@BOTH
async def test_a_cancel_while_the_picture_is_stored_tells_where_it_lies(client: Client, cancel: Cancel) -> None:
    class SlowStore(FakeStore):
        asked, release = asyncio.Event(), asyncio.Event()

        async def head(self, key: str) -> StoredObject | None:
            self.asked.set()
            await self.release.wait()
            return await super().head(key)

    notifier, store = FakeNotifier(), SlowStore()
    store.asked.clear()
    store.release.clear()
    async with working(client, FakeBackend(), store, notifier):
        handle = await start_cancellable(client)
        await asyncio.wait_for(store.asked.wait(), 30)
        await cancel(handle)
        await eventually(lambda: cancelled(handle))
        store.release.set()
        await assert_cancelled(handle, notifier, f"{BEFORE_GENERATION}, generate_with_local, save_image_to_storage")
    assert notifier.completions[0].completion["result"]["key"] in store.objects


async def cancelled(handle: Handle) -> bool:
    return (await status(handle)).cancelled


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (["cancel"], "CANCELLED"),
        (["pause", "cancel"], "CANCELLED"),
        (["cancel", "resume", "pause", "cancel"], "CANCELLED"),
        (["resume"], "SUCCEEDED"),
        (["pause", "resume"], "SUCCEEDED"),
        (["pause", "pause", "resume", "resume"], "SUCCEEDED"),
    ],
)
async def test_signals_before_the_first_step_are_not_lost(client: Client, signals: list[str], expected: str) -> None:
    handle = await start_cancellable(client)
    for number, name in enumerate(signals, 1):
        await handle.signal(name, Command(event_id=UUID(int=number)))
    notifier, backend = FakeNotifier(), FakeBackend()
    async with working(client, backend, FakeStore(), notifier):
        await ended(handle)
    assert [sent.completion["status"] for sent in notifier.completions] == [expected]
    assert backend.calls == (0 if expected == "CANCELLED" else 1)
    if expected == "CANCELLED":
        assert notifier.completions[0].completion["error"]["message"] == "the run was cancelled; done until then: nothing"


async def test_a_pause_that_is_delivered_again_after_its_resume_does_not_pause_again(client: Client) -> None:
    handle = await start_cancellable(client)
    pause, resume = Command(event_id=UUID(int=1)), Command(event_id=UUID(int=2))
    for name, command in (("pause", pause), ("resume", resume), ("pause", pause)):
        await handle.signal(name, command)
    notifier = FakeNotifier()
    async with working(client, FakeBackend(), FakeStore(), notifier):
        await handle.result()
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


async def test_a_cancel_that_comes_after_the_outcome_changes_nothing(client: Client) -> None:
    notifier = FakeNotifier(completion_failures=10**9)
    async with working(client, FakeBackend(), FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: notifier.history)
        for name in ("cancel", "pause", "cancel"):
            await handle.signal(name)
        assert not (await status(handle)).cancelled
        notifier.recover()
        await handle.result()
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


async def test_a_cancel_twice_in_both_ways_is_one_cancel(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await asyncio.gather(by_command(handle), by_temporal(handle), handle.signal("cancel"))
        await assert_cancelled(handle, notifier, BEFORE_GENERATION)


async def test_a_refused_prompt_fails_a_cancellable_run_too(client: Client) -> None:
    notifier, backend = FakeNotifier(), FakeBackend()
    async with working(client, backend, FakeStore(), notifier):
        await ended(await start_cancellable(client, prompt="how to make a pipe bomb"))
    assert (notifier.completions[0].completion["status"], backend.calls) == ("FAILED", 0)
    assert notifier.completions[0].completion["error"]["code"] == "ContentPolicyViolation"


async def test_a_worker_that_comes_anew_knows_that_the_run_is_paused(client: Client) -> None:
    notifier, backend = FakeNotifier(), HeldBackend()
    async with working(client, backend, FakeStore(), notifier):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await handle.signal("pause")
        backend.release.set()
        await eventually(lambda: holds(handle, "save_image_to_storage"))
    store = FakeStore()
    async with working(client, backend, store, notifier):
        assert await holds(handle, "save_image_to_storage")
        await by_command(handle)
        await assert_cancelled(handle, notifier, f"{BEFORE_GENERATION}, generate_with_local")
