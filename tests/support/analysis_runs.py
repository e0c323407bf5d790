"""An analysis worker with real processes, and fakes at its other ports."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from headrace.demo.datasets import customers
from schemas import names
from schemas.analysis import DataAnalysisRequested, DataAnalysisResult
from schemas.errors import FailureType
from schemas.request import Accepted
from tests.support import runs
from tests.support.eventually import eventually
from tests.support.runs import FakeNotifier
from workers.analysis.activities import AnalysisActivities, Compute, Limits, Stored
from workers.analysis.models import SaveAnalysis, SavedAnalysis
from workers.analysis.processes import Processes

LIMITS = Limits(bucket="headrace", buckets=("open-data",), max_bytes=10_000_000, max_rows=50_000)
UPLOAD = "s3://headrace/uploads/u/customers.csv"
Handle = WorkflowHandle[object, DataAnalysisResult]


@pytest_asyncio.fixture(scope="module")
async def processes() -> AsyncIterator[Processes]:
    """One for all tests of a module: each new process imports pandas anew."""
    made = Processes(1, 2**30)
    yield made
    await made.close()


@dataclass
class FakeObjects:
    """Files in memory, under `bucket/key`."""

    files: dict[str, bytes] = field(default_factory=dict)

    async def fetch_upload(self, bucket: str, key: str, into: Path, max_bytes: int) -> None:
        if (data := self.files.get(f"{bucket}/{key}")) is None:
            raise ApplicationError(f"there is no object s3://{bucket}/{key}", type=FailureType.DATASET_NOT_FOUND, non_retryable=True)
        if len(data) > max_bytes:
            raise ApplicationError("too large", type=FailureType.DATASET_TOO_LARGE, non_retryable=True)
        await asyncio.to_thread(into.write_bytes, data)

    async def fetch(self, key: str, into: Path) -> None:
        await asyncio.to_thread(into.write_bytes, self.files[key])

    async def put(self, key: str, file: Path, content_type: str) -> Stored:  # noqa: ARG002 - the port's signature
        self.files[key] = await asyncio.to_thread(file.read_bytes)
        return Stored(len(self.files[key]), hashlib.sha256(self.files[key]).hexdigest())

    async def url(self, key: str) -> str:
        return f"http://s3/{key}?signed"


@dataclass
class FakeAnalyses:
    rows: dict[str, SavedAnalysis] = field(default_factory=dict)

    async def save(self, given: SaveAnalysis, saved: SavedAnalysis) -> None:
        self.rows[str(given.event_id)] = saved


@dataclass
class Interfering:
    """Processes whose child gets a signal in the middle of a step: each step's first attempt, unless named."""

    real: Processes
    number: signal.Signals
    only: str | None = None
    hit: dict[str, int] = field(default_factory=dict)
    """The process that was hit, by step."""

    async def run(self, step: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
        running = asyncio.ensure_future(self.real.run(step, folder, given))
        try:
            if step not in self.hit and self.only in (None, step):
                [pid] = await eventually(lambda: self.real.pids, interval=0.001)
                os.kill(pid, self.number)
                self.hit[step] = pid
            return await running
        finally:
            running.cancel()
            await asyncio.wait([running])


@contextlib.asynccontextmanager
async def working(client: Client, compute: Compute, objects: FakeObjects, notifier: FakeNotifier) -> AsyncIterator[FakeAnalyses]:
    analyses = FakeAnalyses()
    acts = AnalysisActivities(objects, compute, analyses, LIMITS)
    async with runs.working(client, "analysis", acts.all(), notifier):
        yield analyses


def uploaded(data: bytes | None = None) -> FakeObjects:
    """The demo's data set, or these bytes, where `start` has them read."""
    return FakeObjects({UPLOAD.removeprefix("s3://"): customers(1000).csv.encode() if data is None else data})


async def start(client: Client, **changed: object) -> Handle:
    return await start_generation(client, 1, **changed)


async def start_generation(client: Client, generation: int, **changed: object) -> Handle:
    fields = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "file_path": UPLOAD, "file_type": "csv"}
    request = DataAnalysisRequested.model_validate({**fields, **changed})
    return await client.start_workflow(
        "DataAnalysisWorkflow",
        Accepted(request=request, origin=runs.origin("analysis.requests"), generation=generation),
        id=f"analysis-{request.event_id}",
        task_queue=names.QUEUE_ANALYSIS,
        result_type=DataAnalysisResult,
    )


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
