"""Requests sent from outside of the containers, and the proof that nothing became of them but one run and one completion each."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

from sqlalchemy import select

from headrace import temporal
from headrace.figures import figures
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from headrace.wire import Wire
from schemas.ids import workflow_id
from schemas.image import ImageGenerationRequested
from schemas.topics import Topics
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, read_all

PATIENCE_SECONDS = 240.0


def request(number: int) -> ImageGenerationRequested:
    return ImageGenerationRequested(
        event_id=uuid4(),
        user_id=f"user-{number % 5}",
        requested_at=datetime.now(UTC),
        prompt=f"Ripple number {number}",
        size="64x64",
        backend="local",
    )


@contextlib.asynccontextmanager
async def load(settings: Settings, *, pause: float = 0.1) -> AsyncIterator[list[UUID]]:
    """Sends requests while the block runs; gives the event IDs of those that Kafka has acknowledged, as they come."""
    sent: list[UUID] = []
    enough = asyncio.Event()

    async def send() -> None:
        async with RequestProducer(settings, Wire(CATALOG)) as producer:
            while not enough.is_set():
                one = request(len(sent))
                await producer.send(one)
                sent.append(one.event_id)
                await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    try:
        yield sent
        enough.set()
        # One whose broker was killed waits until it is back.
        await asyncio.wait_for(sending, PATIENCE_SECONDS)
    finally:
        sending.cancel()


def more(sent: list[UUID], count: int) -> Callable[[], bool]:
    """Whether so many more have been sent than now."""
    wanted = len(sent) + count
    return lambda: len(sent) >= wanted


async def completions(settings: Settings) -> dict[UUID, set[tuple[UUID, str]]]:
    """Completion ID and status by event ID; a repeat of the same completion counts once, as for any consumer."""
    wire, found = Wire(CATALOG), dict[UUID, set[tuple[UUID, str]]]()
    for record in await read_all(settings, Topics(settings.topic_prefix).completions("image")):
        value = (await wire.decode(record.value)).value
        found.setdefault(value["event_id"], set()).add((value["completion_id"], value["status"]))
    return found


async def nothing_lost(settings: Settings, sent: list[UUID]) -> None:
    """Each request that Kafka took has one completion, one run and one row of the ledger, and no record is left."""
    assert sent

    async def told() -> bool:
        return set(sent) <= set(await completions(settings))

    async def read() -> bool:
        return (await figures(settings)).lag == 0

    await eventually(told, timeout=PATIENCE_SECONDS, interval=1.0)
    await eventually(read, timeout=PATIENCE_SECONDS, interval=1.0)
    all_completions = await completions(settings)
    of_each = [all_completions[event_id] for event_id in sent]
    assert [[status for _, status in each] for each in of_each] == [["SUCCEEDED"]] * len(sent)
    wanted = Counter(workflow_id("image", event_id) for event_id in sent)
    await eventually(partial(_has_run_once, settings, wanted), timeout=30)
    assert await _rows(settings, sent) == Counter({(event_id, "started"): 1 for event_id in sent})


async def _has_run_once(settings: Settings, wanted: Counter[str]) -> bool:
    client = await temporal.connect(settings)
    runs = Counter([run.id async for run in client.list_workflows("ExecutionStatus = 'Completed'") if run.id in wanted])
    assert set(runs.values()) <= {1}, [run for run, count in runs.items() if count > 1]
    return runs == wanted


async def _rows(settings: Settings, sent: list[UUID]) -> Counter[tuple[UUID, str]]:
    database = engine(settings.database_url)
    try:
        async with database.connect() as connection:
            rows = await connection.execute(select(LEDGER.c.event_id, LEDGER.c.disposition).where(LEDGER.c.event_id.in_(sent)))
            return Counter((row.event_id, row.disposition) for row in rows)
    finally:
        await database.dispose()
