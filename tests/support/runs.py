"""A domain's workers with the activities that a test hands them, and a notifier that only remembers: on a server that can skip time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from headrace.interceptors import Observed
from schemas import names
from schemas.completion import Published, SendCompletion, UpdateHistory
from schemas.request import Origin
from workers.__main__ import build_workers
from workers.domain import Activities
from workers.registry import DOMAINS

Cases = dict[str, Callable[[Client], Awaitable[WorkflowHandle[Any, Any]]]]
"""What `tests.replay` records of one workflow, by how it ends: each starts a run and comes back when it has ended."""

COMPENSATION = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_COMPENSATION)
"""What a saga sets; a server that does not know it refuses that."""

_CONFIG = ("frontend.WorkflowTimeSkippingEnabled=true", 'history.timerProcessorMaxTimeShift="5ms"')


@pytest_asyncio.fixture(scope="module")
async def skipping() -> AsyncIterator[Client]:
    """A client of a real Temporal server of this module's own, which skips the time in which nothing happens."""
    arguments = [word for value in _CONFIG for word in ("--dynamic-config-value", value)]
    async with await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_extra_args=arguments,
        search_attributes=[COMPENSATION],
        data_converter=pydantic_data_converter,
    ) as environment:
        yield environment.client


class FakeNotifier:
    """Fails the given number of times, then remembers."""

    def __init__(self, *, completion_failures: int = 0, history_failures: int = 0) -> None:
        self.completions: list[SendCompletion] = []
        self.history: list[UpdateHistory] = []
        self._failures = {"completion": completion_failures, "history": history_failures}

    def recover(self) -> None:
        self._failures = {"completion": 0, "history": 0}

    def _fail(self, kind: str) -> None:
        if self._failures[kind] > 0:
            self._failures[kind] -= 1
            raise RuntimeError("Kafka is away")

    @activity.defn(name=names.SEND_COMPLETION)
    async def send(self, command: SendCompletion) -> Published:
        self._fail("completion")
        self.completions.append(command)
        return Published(topic="t", partition=0, offset=0)

    @activity.defn(name=names.NOTIFY_USER)
    async def notify(self, command: SendCompletion) -> Published:
        return await self.send(command)

    @activity.defn(name=names.UPDATE_HISTORY)
    async def record(self, command: UpdateHistory) -> Published:
        self._fail("history")
        self.history.append(command)
        return Published(topic="h", partition=0, offset=0)


@contextlib.asynccontextmanager
async def working(
    client: Client, domain: str, activities: Activities, notifier: FakeNotifier, slots: int | None = None
) -> AsyncIterator[None]:
    """A domain's workers on their own queues: the server is this test's alone, so are the queues."""
    notifying = Worker(client, task_queue=names.QUEUE_NOTIFICATIONS, activities=[notifier.send, notifier.notify, notifier.record])
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(notifying)
        for worker in build_workers(client, DOMAINS[domain], activities, [Observed(domain)], max_activities=slots or 32):
            await running.enter_async_context(worker)
        yield


def origin(topic: str) -> Origin:
    """Where a test's request came from, with a key that is no text."""
    return Origin(topic=topic, partition=1, offset=2, key=b"\xff\x00key", traceparent=f"00-{UUID(int=1).hex}-{'1' * 16}-01")


async def ended(handle: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
    """Waits for a run, however it ends."""
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    return handle
