"""One seed: its load, its faults, and the history that they leave."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from headrace import kafka
from schemas.topics import Topics
from tests.faults import observe, plan
from tests.faults.checker import Figures, Violation, check, figures
from tests.faults.history import History, Letter, Snapshot
from tests.faults.injection import Answers, Injection
from tests.faults.load import Sent
from tests.faults.stage import Stage, stage
from tests.faults.world import World
from tests.support.eventually import eventually

_SETTLE_SECONDS = 45.0
_SENT_SECONDS = 60.0
_FREEZE_SECONDS = 3.0


@dataclass(frozen=True)
class Outcome:
    """What one seed came to."""

    plan: plan.Plan
    figures: Figures
    violations: list[Violation]
    seconds: float
    logs: Path


async def run_seed(world: World, seed: int, folder: Path) -> Outcome:
    """Runs a seed in a folder of its own, which keeps the logs."""
    began, salt = time.monotonic(), secrets.token_hex(4)
    drawn = plan.draw(seed, salt)
    folder.mkdir(parents=True, exist_ok=True)
    async with stage(world, drawn, f"c{seed}x{salt}", folder) as run:
        try:
            await _load_and_faults(run)
            history = await _history(run)
            violations = [*run.found, *check(history)]
            if drawn.reread and not violations:
                history, again = await _reread(run, history)
                violations += again
        finally:
            await world.heal()
    return Outcome(drawn, figures(history), violations, time.monotonic() - began, folder)


async def _load_and_faults(run: Stage) -> None:
    rng = plan.seeded(run.plan.seed)
    answers = Answers(rng, run.plan.load.refused)
    run.world.calls.decide = answers.decide
    async with kafka.producer(run.settings, idempotent=False) as producer:
        backlog = [sent for sent in run.plan.load.records if sent.late == 0.0]
        await asyncio.gather(_send(producer, run.topics, backlog), *(run.members.start() for _ in range(run.plan.processes)))
        await run.members.one_is_ready()
        async with asyncio.timeout(_SENT_SECONDS + run.plan.seconds):
            faults = Injection(run, answers, rng).inject(run.plan.faults)
            await asyncio.gather(_feed(run, producer), faults, *(_freeze(run, at) for at in run.plan.freezes))
    await run.world.heal()
    await _settle(run)
    await run.members.count()
    await run.members.leave_all()


async def _settle(run: Stage) -> None:
    """Waits until the group has committed everything."""

    async def done() -> bool:
        await run.members.replace_the_dead()
        return await _lag(run) == 0

    try:
        await eventually(done, timeout=_SETTLE_SECONDS, interval=0.1)
    except AssertionError:
        run.found.append(Violation("stalled", f"{await _lag(run)} records are not committed {_SETTLE_SECONDS:.0f} s after the last fault"))


async def _lag(run: Stage) -> int:
    ends, committed = await run.reader.ends(run.read), await run.reader.committed(run.read)
    return sum(end - committed[partition] for partition, end in ends.items())


async def _feed(run: Stage, producer: AIOKafkaProducer) -> None:
    began = time.monotonic()
    for sent in run.plan.load.records:
        if sent.late:
            await asyncio.sleep(max(0.0, began + sent.late * run.plan.seconds - time.monotonic()))
            await _send(producer, run.topics, [sent])


async def _send(producer: AIOKafkaProducer, topics: Topics, records: list[Sent]) -> None:
    await asyncio.gather(*(_until_sent(producer, topics, sent) for sent in records))


async def _until_sent(producer: AIOKafkaProducer, topics: Topics, sent: Sent) -> None:
    """Kafka may be away. What it takes twice is one more duplicate: its header says of which record."""
    topic = topics.commands if sent.command else topics.requests("image")
    while True:
        try:
            await _send_one(producer, topic, sent)
        except KafkaError:
            await asyncio.sleep(0.2)
        else:
            return


async def _send_one(producer: AIOKafkaProducer, topic: str, sent: Sent) -> None:
    headers = list(sent.headers)
    if sent.key is None and sent.value is None:
        # aiokafka's send() asserts a key or a value; a batch takes neither.
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=sent.timestamp, headers=headers)
        await (await producer.send_batch(batch, topic, partition=sent.partition))
        return
    options = {"partition": sent.partition, "timestamp_ms": sent.timestamp, "headers": headers}
    await producer.send_and_wait(topic, sent.value, key=sent.key, **options)


async def _freeze(run: Stage, at: float) -> None:
    """Looks at what is committed while nothing moves. With Kafka away there is nothing to look at."""
    await asyncio.sleep(at)
    async with run.looking, run.members.held_still():
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(_FREEZE_SECONDS):
                await _look(run)


async def _look(run: Stage) -> None:
    at = time.monotonic() - run.began
    committed = await run.reader.committed(run.read)
    rows = await observe.rows_of(run.engine)
    dead = frozenset(letter.source for letter in await _letters(run))
    run.snapshots.append(Snapshot(at, committed, rows, dead))


async def _letters(run: Stage) -> list[Letter]:
    return observe.letters_of(await run.reader.read(run.partitions(*run.dead_letters))) if run.has_dead_letters else []


async def _history(run: Stage) -> History:
    records = observe.records_of(await run.reader.read(run.read), run.plan.load.records)
    rows = await observe.rows_of(run.engine)
    started = sum(row.disposition == "started" for row in rows.values())
    return History(
        records=records,
        letters=await _letters(run),
        rows=rows,
        runs=await observe.runs_of(run.world.temporal, run.since, started - len(run.forgotten)),
        calls=observe.calls_of(run.world.calls.calls),
        committed=await run.reader.committed(run.read),
        ends=await run.reader.ends(run.read),
        snapshots=run.snapshots,
        processes=[member.story() for member in run.members.all],
        forgotten=run.forgotten,
    )


async def _reread(run: Stage, before: History) -> tuple[History, list[Violation]]:
    """Sets the group back to the beginning after Temporal has forgotten some runs: nothing may be started for what the ledger knows."""
    some = plan.seeded(run.plan.seed).sample(sorted(run.workflow_id for run in before.runs), k=min(5, len(before.runs)))
    await asyncio.gather(*(_forget(run, identity) for identity in some))
    run.forgotten = frozenset(some)
    calls = len(run.world.calls.calls)
    await run.reader.rewind(run.read)
    await run.members.start()
    await _settle(run)
    await run.members.count()
    await run.members.leave_all()
    history = await _history(run)
    again = {call.workflow_id for call in run.world.calls.calls[calls:]} & {each.workflow_id for each in before.runs}
    asked = [Violation("second_run", f"{identity} is in the ledger, and Temporal was asked for it again") for identity in sorted(again)]
    return history, [*run.found, *asked, *check(history)]


async def _forget(run: Stage, identity: str) -> None:
    client = run.world.temporal
    execution = WorkflowExecution(workflow_id=identity)
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    )

    async def gone() -> bool:
        try:
            await client.get_workflow_handle(identity).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    await eventually(gone)
