"""Follows the demo's records through Kafka and Temporal, as any user could."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from temporalio.client import Client

from headrace import kafka
from headrace.demo.plan import Case
from headrace.figures import figures
from headrace.settings import Settings
from headrace.wire import Wire
from schemas import headers
from schemas.ids import workflow_id
from schemas.topics import Topics

_POLL_SECONDS = 0.3


class Watch:
    """Moves the cases' states as the completions, dead letters and runs come in."""

    def __init__(self, settings: Settings, wire: Wire, client: Client, cases: list[Case]) -> None:
        self._settings, self._wire, self._client = settings, wire, client
        self._topics = Topics(settings.topic_prefix)
        self._cases = cases
        self._changed = asyncio.Event()
        self.completions: Counter[UUID] = Counter()
        """Completion records by event ID, repeats not dropped."""
        self.runs: Counter[UUID] = Counter()
        """Runs by event ID."""

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Reads everything that is written to the topics from now on, while the block runs."""
        domains = {case.domain for case in self._cases}
        topics = [*map(self._topics.completions, domains), self._topics.dead_letters(self._topics.requests("image"))]
        consumer = kafka.consumer(self._settings)
        await consumer.start()
        try:
            partitions = await kafka.partitions(self._settings, topics)
            consumer.assign(partitions)
            for partition, end in (await consumer.end_offsets(partitions)).items():
                consumer.seek(partition, end)
            async with asyncio.TaskGroup() as tasks:
                reading = [tasks.create_task(self._read(consumer)), tasks.create_task(self._poll_runs())]
                yield
                for task in reading:
                    task.cancel()
        finally:
            await consumer.stop()

    async def ended(self, *cases: Case) -> None:
        """Returns when each of these records has its answer."""
        while any(case.under_way for case in cases):
            self._changed.clear()
            await self._changed.wait()

    async def no_lag(self) -> None:
        """Returns when the ingress has committed the end of every partition."""
        while (await figures(self._settings)).lag:  # noqa: ASYNC110 - Kafka does not tell; it is asked
            await asyncio.sleep(_POLL_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            if record.topic.endswith(".dlq"):
                self._dead_letter(record.value, dict(record.headers))
            else:
                self._completion((await self._wire.decode(record.value)).value)

    def _dead_letter(self, value: bytes | None, found: dict[str, bytes]) -> None:
        for case in self._cases:
            if case.kind == "unreadable" and case.value == value:
                self._ended(case, f"dead letter {found[headers.DLQ_REASON].decode()}")

    def _completion(self, completion: dict[str, Any]) -> None:
        case = self._by_event().get(completion["event_id"])
        if case is None or case.event_id is None:
            return
        self.completions[case.event_id] += 1
        case.completion = completion
        error = completion["error"]
        code = f" {error['code']}" if isinstance(error, dict) else ""
        self._ended(case, f"{completion['status']}{code}")

    def _ended(self, case: Case, state: str) -> None:
        case.ended(state)
        self._changed.set()

    def _by_event(self) -> dict[UUID, Case]:
        return {case.event_id: case for case in self._cases if case.event_id and case.kind != "repeat"}

    async def _poll_runs(self) -> None:
        while True:
            await self.count_runs()
            await asyncio.sleep(_POLL_SECONDS)

    async def count_runs(self) -> None:
        """Asks Temporal for the runs of every request."""
        by_workflow = {workflow_id(case.domain, event_id): case for event_id, case in self._by_event().items()}
        wanted = " OR ".join(f"EventId = '{case.event_id}'" for case in by_workflow.values())
        found: Counter[UUID] = Counter()
        async for run in self._client.list_workflows(wanted):
            case = by_workflow.get(run.id)
            if case is None or case.event_id is None:
                continue
            found[case.event_id] += 1
            if case.state == "sent":
                case.state = "running"
        self.runs = found
