"""Runs that are ended in every way while what has to tell of it is killed; then a count of what consumers are told.

A real ingress starts them, in this process, so that some may be given an execution time-out. Notifiers and workers are processes that die
by SIGKILL at random and come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Select, func, select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, Interceptor, OutboundInterceptor, ScheduleIntervalSpec, ScheduleUpdate, StartWorkflowInput
from temporalio.service import RPCError, RPCStatusCode

from headrace import kafka, setup, temporal
from headrace.completions import completions
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import COMPLETIONS, LEDGER
from headrace.wire import Wire
from ingress.start import Starter
from schemas import names
from schemas.catalog import AVRO, Catalog, shipped
from schemas.ids import workflow_id
from schemas.reconcile import Reconcile
from schemas.topics import Topics
from tests.faults.members import ROOT, environment
from tests.faults.plan import seeded
from tests.faults.told import NAME
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed, read_all, running
from tests.support.temporal_namespace import in_namespace_of_its_own

HOW = ("terminated", "timed out", "deleted", "cancelled")
SHARE = 0.05
_ROUTES = """[[route]]
record = "headrace.image.ImageGenerationRequested"
schema = "{schema}"
workflow = "{workflow}"
task_queue = "{queue}"
order = "none"
"""
_STATUSES = {
    "terminated": {"TERMINATED"},
    "timed out": {"TIMED_OUT"},
    "deleted": {"TERMINATED"},
    "cancelled": {"CANCELLED"},
}
"""What is told of a run that was ended so, unless it had told its success before: that it may have done always."""


@dataclass
class Tally:
    """What became of all of them."""

    runs: int
    seconds: float = 0.0
    victims: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often (how it was ended, status)."""
    records: int = 0
    """In Kafka, repeats too."""
    missing: list[UUID] = field(default_factory=list)
    duplicates: list[UUID] = field(default_factory=list)
    """Events of which a consumer with the helper hears twice."""
    contradictions: list[UUID] = field(default_factory=list)
    """Events of which Kafka has two records that differ."""
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A table for people."""
        found = [f"{self.runs} runs, {self.seconds:.0f} s; killed: {dict(self.kills)}"]
        for how in ("left alone", *HOW):
            told = ", ".join(f"{status} {count}" for (which, status), count in sorted(self.told.items()) if which == how)
            found.append(f"  {how:<11} {self.victims[how]:>6}  told: {told}")
        repeats = self.records - self.runs + len(self.missing)
        found.append(f"  completion records {self.records}, of them repeats {repeats}, that differ {len(self.contradictions)}")
        found.append(f"  missing {len(self.missing)}, duplicates seen by a consumer {len(self.duplicates)}")
        return found


class Processes:
    """What is killed and comes again."""

    def __init__(self, folder: Path, given: Mapping[str, str], queue: str) -> None:
        self._folder = folder
        self._given = dict(given)
        self._commands = {"notifier": ["-m", "notifier"], "worker": ["-m", "tests.faults.told", queue]}
        self._running: list[tuple[str, asyncio.subprocess.Process]] = []

    async def start(self, kind: str) -> None:
        with (self._folder / f"{kind}-{uuid4().hex[:6]}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *self._commands[kind], cwd=ROOT, env=self._given, stdout=log, stderr=asyncio.subprocess.STDOUT
            )
        self._running.append((kind, process))

    async def kill(self, rng: random.Random) -> str:
        """One of them; another takes its place at once."""
        kind, process = self._running.pop(rng.randrange(len(self._running)))
        assert process.returncode is None, f"a {kind} ended by itself: see {self._folder}"
        process.kill()
        await process.wait()
        await self.start(kind)
        return kind

    async def end(self) -> None:
        for _, process in self._running:
            if process.returncode is None:
                process.kill()
            await process.wait()


class _TimeOuts(Interceptor):
    """Gives some runs an execution time-out, which the ingress itself never does."""

    def __init__(self, workflow_ids: set[str]) -> None:
        self._workflow_ids = workflow_ids

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - temporalio's name
        return _Outbound(next, self._workflow_ids)


class _Outbound(OutboundInterceptor):
    def __init__(self, following: OutboundInterceptor, workflow_ids: set[str]) -> None:
        super().__init__(following)
        self._workflow_ids = workflow_ids

    async def start_workflow(self, input: StartWorkflowInput) -> Any:  # noqa: A002 - as above
        if input.id in self._workflow_ids:
            input.execution_timeout = timedelta(seconds=2)
        return await super().start_workflow(input)


async def run(settings: Settings, runs: int, folder: Path, *, seed: int = 0, patience: float = 120.0) -> Tally:
    """`settings` are of a stack that runs; topics, tables and a namespace are made."""
    rng, began, tally = seeded(seed), time.monotonic(), Tally(runs)
    queue = f"told-{uuid4().hex[:8]}"
    routes = folder / "routes.toml"
    routes.write_text(_ROUTES.format(schema=AVRO / "image" / "ImageGenerationRequested.avsc", workflow=NAME, queue=queue))
    settings = (await in_namespace_of_its_own(settings)).model_copy(update={"routes_file": routes})
    await setup.run(settings, lambda _: None)
    client = await temporal.connect(settings)
    await _reconcile_often(client)
    fates = _draw_fates(runs, rng)
    tally.victims.update(fates.values())
    processes = Processes(folder, _environment(settings, folder), queue)
    try:
        await asyncio.gather(*(processes.start(kind) for kind in ("notifier", "notifier", "worker", "worker")))
        with _timing_out({workflow_id("image", event_id) for event_id, fate in fates.items() if fate == "timed out"}):
            await _send(settings, fates, rng)
            async with running(settings):
                chaos = asyncio.create_task(_chaos(processes, rng, tally))
                try:
                    await asyncio.gather(*(_end(client, event_id, fate, rng.uniform(0, 3)) for event_id, fate in fates.items()))
                    await eventually(lambda: _started(settings, runs), timeout=patience + runs / 5, interval=0.5)
                finally:
                    chaos.cancel()
                    await asyncio.wait({chaos})
                if not chaos.cancelled() and (failed := chaos.exception()):
                    raise failed
            with contextlib.suppress(AssertionError):
                await eventually(lambda: _published(settings, runs), timeout=patience + runs / 5, interval=0.5)
    finally:
        await processes.end()
    await _count(settings, fates, tally)
    tally.seconds = time.monotonic() - began
    return tally


def _draw_fates(runs: int, rng: random.Random) -> dict[UUID, str]:
    events = [uuid4() for _ in range(runs)]
    victims = rng.sample(events, max(len(HOW), round(runs * SHARE)))
    ended = {event_id: HOW[number % len(HOW)] for number, event_id in enumerate(victims)}
    return {event_id: ended.get(event_id, "left alone") for event_id in events}


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    return environment(
        {},
        HEADRACE_STATE_DIR=str(folder / "nowhere"),
        HEADRACE_KAFKA_BOOTSTRAP_SERVERS=settings.kafka_bootstrap_servers,
        HEADRACE_TOPIC_PREFIX=settings.topic_prefix,
        HEADRACE_DATABASE_URL=settings.database_url,
        HEADRACE_ROUTES_FILE=str(settings.routes_file),
        TEMPORAL_ADDRESS=settings.temporal_address,
        TEMPORAL_NAMESPACE=settings.temporal_namespace,
    )


async def _reconcile_often(client: Client) -> None:
    """The same schedule, sooner: a minute is long for a test."""

    def sooner(found: Any) -> ScheduleUpdate:
        schedule = found.description.schedule
        schedule.spec.intervals = [ScheduleIntervalSpec(every=timedelta(seconds=3))]
        schedule.action.args = [Reconcile(grace_seconds=1)]
        return ScheduleUpdate(schedule)

    await client.get_schedule_handle(names.RECONCILE_SCHEDULE).update(sooner)


@contextlib.contextmanager
def _timing_out(workflow_ids: set[str]) -> Iterator[None]:
    def make(client: Client, *others: Any) -> Starter:
        timed = Client(
            client.service_client, namespace=client.namespace, data_converter=client.data_converter, interceptors=[_TimeOuts(workflow_ids)]
        )
        return Starter(timed, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingress.__main__.Starter", make)
        yield


async def _send(settings: Settings, fates: Mapping[UUID, str], rng: random.Random) -> None:
    topic = Topics(settings.topic_prefix).requests("image")
    async with kafka.producer(settings, idempotent=True) as producer:
        for event_id, fate in fates.items():
            # Who is to be ended mostly still runs by then, but not always: it may be about to tell.
            seconds = 0.0 if rng.random() < 0.7 else 1.0
            if fate != "left alone":
                seconds = rng.choice([0.0, 2.0, 20.0, 20.0])
            value = framed(fields(event_id=event_id, prompt=f"wait {seconds}"))
            await producer.send(topic, value, key=str(event_id).encode())


async def _chaos(processes: Processes, rng: random.Random, tally: Tally) -> None:
    while True:
        await asyncio.sleep(rng.uniform(2, 4))
        tally.kills[await processes.kill(rng)] += 1


async def _end(client: Client, event_id: UUID, fate: str, after: float) -> None:
    if fate in ("left alone", "timed out"):
        return
    handle = client.get_workflow_handle(workflow_id("image", event_id))

    async def there() -> bool:
        return await _found(handle.describe())

    await eventually(there, timeout=600, interval=0.3)
    await asyncio.sleep(after)
    match fate:
        case "terminated":
            await _found(handle.terminate(reason="by hand"))
        case "cancelled":
            await _found(handle.cancel())
        case _:
            request = DeleteWorkflowExecutionRequest(
                namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=workflow_id("image", event_id))
            )
            await _found(client.workflow_service.delete_workflow_execution(request))


async def _found(call: Any) -> bool:
    """False for a run that is not there, or has ended."""
    try:
        await call
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def _started(settings: Settings, runs: int) -> bool:
    return await _rows(settings, select(func.count()).select_from(LEDGER).where(LEDGER.c.disposition == "started")) == runs


async def _published(settings: Settings, runs: int) -> bool:
    return await _rows(settings, select(func.count()).select_from(COMPLETIONS).where(COMPLETIONS.c.published_at.is_not(None))) == runs


async def _rows(settings: Settings, query: Select[int]) -> int:
    database = engine(settings.database_url)
    try:
        async with database.connect() as connection:
            return (await connection.execute(query)).scalar_one()
    finally:
        await database.dispose()


async def _count(settings: Settings, fates: Mapping[UUID, str], tally: Tally) -> None:
    """What a consumer hears that reads only what is committed, and what Kafka holds."""
    wire = Wire(Catalog(shipped()))
    heard: Counter[UUID] = Counter()
    async with contextlib.aclosing(_heard(settings, wire)) as found:
        async for completion in found:
            event_id, status, fate = completion["event_id"], completion["status"], fates[completion["event_id"]]
            heard[event_id] += 1
            tally.told[fate, status] += 1
            if status != "SUCCEEDED" and status not in _STATUSES.get(fate, ()):
                tally.wrong.append((fate, status))
    tally.missing = [event_id for event_id in fates if not heard[event_id]]
    tally.duplicates = [event_id for event_id, count in heard.items() if count > 1]
    written: dict[UUID, set[bytes]] = {}
    for record in await read_all(settings, Topics(settings.topic_prefix).completions("image")):
        tally.records += 1
        written.setdefault((await wire.decode(record.value)).value["event_id"], set()).add(record.value)
    tally.contradictions = [event_id for event_id, values in written.items() if len(values) > 1]


async def _heard(settings: Settings, wire: Wire) -> AsyncGenerator[dict[str, Any]]:
    async with contextlib.aclosing(completions(settings, wire, ["image"])) as found:
        async for received in found:
            yield received.completion
