"""`python -m benchmarks.reconcile [--open 100000] [--rounds 5]`: the reconciler over many open events, and what a completion costs.

Open events: 1% of them are real runs on a real Temporal, which are terminated by hand; of the others there are the rows in the ledger and
no runs, because starting them would take the server longer than everything that is measured. The reconciler asks Temporal for them all
the same, in the same calls, and its answer ("nothing known") is replaced by "it runs". So calls, SQL and time are those of 100,000 runs
but for the size of the server's visibility table.

Completions: the same workflow without work, whose last step is `workers.completion.concluded` (a completion that is decided in SQL and
published, and its history entry), beside one whose last step is one activity with a bare idempotent aiokafka producer. Rounds take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID, uuid4

import psutil  # type: ignore[import-untyped]
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.ingress.place import Place
from benchmarks.ingress.report import RESULTS, machine
from headrace import kafka, logs, setup, temporal
from headrace.lifecycle import leave
from headrace.settings import Settings
from headrace.stack import control
from headrace.stack.supervisor import Stack
from headrace.store.engine import engine
from headrace.store.tables import COMPLETIONS, LEDGER
from notifier.__main__ import Publishing, build_worker, publishing
from notifier.reconcile.activities import ReconcileActivities
from notifier.reconcile.events import OpenEvents
from notifier.reconcile.runs import Runs
from schemas import names
from schemas.ids import workflow_id
from schemas.image import ImageGenerationRequested
from schemas.reconcile import Noted, Reconcile, Reconciled
from schemas.request import Accepted, Origin
from schemas.topics import Topics
from tests.faults.told import Told

_RECORD = "headrace.image.ImageGenerationRequested"
_QUEUE = "bench-told"
_AT_ONCE = 16


class _Simulated(Runs):
    """Says of the runs that do not exist that they run, after it has asked for them."""

    def __init__(self, client: Client, simulated: set[str]) -> None:
        super().__init__(client)
        self._simulated = simulated

    async def running(self, workflow_ids: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(self._simulated.intersection(workflow_ids), "") | await super().running(workflow_ids)


@workflow.defn(name="Bare")
class Bare:
    """What a team writes by hand: an activity that sends."""

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> None:
        await workflow.execute_activity(
            "send_bare", accepted, task_queue=f"{_QUEUE}-bare", start_to_close_timeout=timedelta(seconds=15), result_type=int
        )


@dataclass
class _BareActivities:
    producer: AIOKafkaProducer
    topic: str

    @activity.defn(name="send_bare")
    async def send(self, accepted: Accepted[ImageGenerationRequested]) -> int:
        sent = await self.producer.send_and_wait(self.topic, accepted.model_dump_json().encode(), key=b"k")
        return int(sent.offset)


def _accepted(event_id: UUID, prompt: str) -> Accepted[ImageGenerationRequested]:
    request = ImageGenerationRequested.model_validate(
        {"event_id": event_id, "user_id": "u", "requested_at": datetime.now(UTC), "prompt": prompt, "backend": "local", "size": "128x128"}
    )
    return Accepted(request=request, origin=Origin(topic="image.requests", partition=0, offset=0, key=b"key"))


async def _start(client: Client, events: list[UUID], name: str, prompt: str, queue: str) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(event_id: UUID) -> None:
        async with room:
            await client.start_workflow(name, _accepted(event_id, prompt), id=workflow_id("image", event_id), task_queue=queue)

    await asyncio.gather(*(one(event_id) for event_id in events))


async def open_events(settings: Settings, store: AsyncEngine, client: Client, made: Publishing, count: int) -> dict[str, Any]:
    real, others = [uuid4() for _ in range(count // 100)], [uuid4() for _ in range(count - count // 100)]
    await _start(client, real, "Nobody", "A mill", "nobody")
    await _fill_ledger(store, [*real, *others])
    simulated = {workflow_id("image", event_id) for event_id in others}
    acts = ReconcileActivities(OpenEvents(store), made.completions, lambda: _Simulated(client, simulated), settings, made.wire)
    asked = Reconcile(grace_seconds=1)

    began = time.monotonic()
    noted: Noted = await ActivityEnvironment().run(acts.note_open_events, asked)
    noting = time.monotonic() - began
    first, calls, rounds = time.monotonic(), 0, 0
    while True:
        found: Reconciled = await ActivityEnvironment().run(acts.complete_ended_runs, asked)
        calls, rounds = calls + found.calls, rounds + 1
        if not found.more:
            break
    checking = time.monotonic() - first

    room = asyncio.Semaphore(_AT_ONCE)

    async def terminate(event_id: UUID) -> None:
        async with room:
            await client.get_workflow_handle(workflow_id("image", event_id)).terminate(reason="by hand")

    await asyncio.gather(*(terminate(event_id) for event_id in real))
    second, later, passes = time.monotonic(), 0, 0
    while await _published(store) < len(real):
        found = await ActivityEnvironment().run(acts.complete_ended_runs, asked)
        later, passes = later + found.calls, passes + 1
        if not found.completed:
            await asyncio.sleep(1)
    return {
        "open_events": count,
        "real_runs": len(real),
        "simulated": "of the others only the ledger's rows are real; they are asked for, and taken for running",
        "noted": noted.noted,
        "noting_seconds": round(noting, 2),
        "first_look_at_all": {"seconds": round(checking, 2), "calls_to_temporal": calls, "passes": rounds},
        "after_termination_of_1_percent": {
            "terminated": len(real),
            "completed": await _published(store),
            "seconds": round(time.monotonic() - second, 2),
            "calls_to_temporal": later,
            "passes": passes,
        },
    }


async def _fill_ledger(store: AsyncEngine, events: list[UUID]) -> None:
    # Two days old: an event is looked at again after half its age, an hour at the most, so the second look is at those that are found.
    moment = datetime.now(UTC) - timedelta(days=2)
    rows = [
        {
            "event_id": event_id,
            "record": _RECORD,
            "payload_sha256": bytes(32),
            "topic": "image.requests",
            "partition": 0,
            "offset": number,
            "disposition": "started",
            "workflow_id": workflow_id("image", event_id),
            "run_id": None,
            "claimed_at": moment + timedelta(milliseconds=number // 10),
            "settled_at": moment,
        }
        for number, event_id in enumerate(events)
    ]
    async with store.begin() as connection:
        await connection.execute(insert(LEDGER), rows)


async def _published(store: AsyncEngine) -> int:
    async with store.connect() as connection:
        query = select(func.count()).select_from(COMPLETIONS).where(COMPLETIONS.c.published_at.is_not(None))
        return (await connection.execute(query)).scalar_one()


@dataclass
class _Round:
    """Milliseconds for each run."""

    latency: list[float]
    own_cpu: float
    server_cpu: float
    rate: float


async def last_step(settings: Settings, client: Client, made: Publishing, server: int, rounds: int, runs: int) -> dict[str, Any]:
    found: dict[str, list[_Round]] = {"bare": [], "concluded": []}
    async with _workers(settings, client, made):
        for name in ("Bare", "Told"):
            await _round(client, name, 50, server)  # warms up
        for _ in range(rounds):
            for contender, name in (("bare", "Bare"), ("concluded", "Told")):
                found[contender].append(await _round(client, name, runs, server))
    return {contender: _summary(each) for contender, each in found.items()} | {"runs_in_a_round": runs, "rounds": rounds, "at_once": 8}


@asynccontextmanager
async def _workers(settings: Settings, client: Client, made: Publishing) -> AsyncIterator[None]:
    """All in this process, so that its CPU is that of client, worker and notifier."""
    runner = UnsandboxedWorkflowRunner()
    async with kafka.producer(settings, idempotent=True) as producer:
        bare = _BareActivities(producer, Topics(settings.topic_prefix).completions("image"))
        async with (
            Worker(client, task_queue=_QUEUE, workflows=[Told, Bare], workflow_runner=runner),
            Worker(client, task_queue=f"{_QUEUE}-bare", activities=[bare.send], max_concurrent_activities=200),
            build_worker(client, names.QUEUE_NOTIFICATIONS, made.all()),
        ):
            yield


async def _round(client: Client, name: str, runs: int, server: int) -> _Round:
    room, latency = asyncio.Semaphore(8), []
    process = psutil.Process(server)

    async def one() -> None:
        async with room:
            event_id, began = uuid4(), time.perf_counter()
            await client.execute_workflow(name, _accepted(event_id, "wait 0"), id=workflow_id("image", event_id), task_queue=_QUEUE)
            latency.append((time.perf_counter() - began) * 1000)

    own, its, began = time.process_time(), _cpu(process), time.monotonic()
    await asyncio.gather(*(one() for _ in range(runs)))
    seconds = time.monotonic() - began
    return _Round(latency, (time.process_time() - own) * 1000 / runs, (_cpu(process) - its) * 1000 / runs, runs / seconds)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _summary(rounds: list[_Round]) -> dict[str, Any]:
    def over(values: list[float]) -> dict[str, float]:
        return {"median": round(median(values), 2), "least": round(min(values), 2), "most": round(max(values), 2)}

    return {
        "latency_p50_ms": over([median(each.latency) for each in rounds]),
        "latency_p99_ms": over([quantiles(each.latency, n=100)[98] for each in rounds]),
        "cpu_client_worker_notifier_ms": over([each.own_cpu for each in rounds]),
        "cpu_temporal_ms": over([each.server_cpu for each in rounds]),
        "runs_per_second": over([each.rate for each in rounds]),
    }


async def run(count: int, rounds: int, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with Stack(Path(folder), services=False, say=lambda _: None) as stack:
            place = Place.new("reconcile", stack.addresses.environment(), Path(folder))
            await setup.run(place.settings, lambda _: None)
            server = next(part.pid for part in control.read_state(Path(folder)) if part.part == "temporal")
            assert server is not None
            store, client = engine(place.settings.database_url), await temporal.connect(place.settings)
            async with publishing(place.settings, store, asyncio.Event()) as made:
                result: dict[str, Any] = {**machine(), "last_step": await last_step(place.settings, client, made, server, rounds, runs)}
            await store.dispose()
            place = Place.new("open", stack.addresses.environment(), Path(folder))
            await setup.run(place.settings, lambda _: None)
            store = engine(place.settings.database_url)
            async with publishing(place.settings, store, asyncio.Event()) as made:
                result["open_events"] = await open_events(place.settings, store, client, made, count)
            await store.dispose()
    return result


def show(result: dict[str, Any]) -> None:
    table = Table("last step: median [least .. most]", "bare producer", "concluded", box=None, title_justify="left")
    for figure in result["last_step"]["bare"]:
        cells = [result["last_step"][contender][figure] for contender in ("bare", "concluded")]
        table.add_row(figure, *(f"{cell['median']} [{cell['least']} .. {cell['most']}]" for cell in cells))
    Console().print(table)
    Console().print(json.dumps(result["open_events"], indent=1))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconcile")
    parser.add_argument("--open", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=200, help="in one round")
    asked = parser.parse_args(arguments)
    logs.configure("ERROR")
    result = asyncio.run(run(asked.open, asked.rounds, asked.runs))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reconcile.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
