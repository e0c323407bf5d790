"""A flood of bad records stops its route instead of draining the topic into the dead letters; everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from uuid import UUID, uuid4

import httpx
import pytest_asyncio

from headrace import breakers, kafka, setup, temporal
from headrace.settings import Settings
from headrace.store.engine import engine
from schemas.ids import workflow_id
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED, fields, framed
from tests.support.temporal_namespace import in_namespace_of_its_own

CONSECUTIVE = 10


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return settings.model_copy(update={"breaker_consecutive": CONSECUTIVE, "health_port": port})


def topic(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


async def send(settings: Settings, *values: bytes, partition: int = 0) -> None:
    async with kafka.producer(settings, idempotent=True) as producer:
        for value in values:
            await producer.send(topic(settings), value, key=b"k", partition=partition)


async def letters(settings: Settings) -> int:
    return len(await ingress.read_all(settings, f"{topic(settings)}.dlq"))


async def readiness(settings: Settings) -> int | None:
    """The status of `/readyz`; None while nobody listens."""
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{settings.health_port}/readyz")).status_code
        except httpx.ConnectError:
            return None


async def is_ready(settings: Settings) -> bool:
    return await readiness(settings) == 200


async def is_not_ready(settings: Settings) -> bool:
    return await readiness(settings) == 503


async def stopped(settings: Settings) -> dict[str, str]:
    database = engine(settings.database_url)
    try:
        return {row.route: row.cause for row in await breakers.stopped_routes(database)}
    finally:
        await database.dispose()


async def resume(settings: Settings, route: str) -> None:
    database = engine(settings.database_url)
    try:
        assert await breakers.resume(database, route)
    finally:
        await database.dispose()


async def has_run(settings: Settings, event_id: UUID) -> bool:
    client = await temporal.connect(settings)
    found = client.get_workflow_handle(workflow_id("image", event_id))
    with contextlib.suppress(Exception):
        return bool((await found.describe()).run_id)
    return False


async def test_a_flood_of_bad_records_stops_the_route_until_it_is_resumed(ready: Settings) -> None:
    behind = uuid4()
    invalid = [framed(fields(size="0x0")) for _ in range(CONSECUTIVE + 15)]
    await send(ready, *invalid, framed(fields(event_id=behind)))
    async with ingress.running(ready):
        await eventually(lambda: stopped(ready), timeout=20)
        assert (await stopped(ready)).keys() == {REQUESTED}
        await eventually(lambda: is_not_ready(ready))
        assert await letters(ready) == CONSECUTIVE
        assert await ingress.lag(ready) >= 16, "what was held is not committed"
        await resume(ready, REQUESTED)
        # Fifteen are left, so it stops once more.
        await eventually(lambda: has(letters(ready), 2 * CONSECUTIVE), timeout=20)
        await eventually(lambda: stopped(ready), timeout=20)
        assert await letters(ready) == 2 * CONSECUTIVE
        await resume(ready, REQUESTED)
        await eventually(lambda: has_run(ready, behind), timeout=20)
        await eventually(lambda: is_ready(ready))

        async def committed() -> bool:
            return await ingress.lag(ready) == 0

        await eventually(committed)
    assert await letters(ready) == CONSECUTIVE + 15, "each of them once"


async def has(found: object, number: int) -> bool:
    return bool(await found == number)  # type: ignore[misc]


async def test_bytes_that_are_nobodys_stop_the_topic(ready: Settings) -> None:
    await send(ready, *(b"junk" for _ in range(CONSECUTIVE + 5)))
    async with ingress.running(ready):
        await eventually(lambda: stopped(ready), timeout=20)
        assert (await stopped(ready)).keys() == {topic(ready)}
        assert await letters(ready) == CONSECUTIVE


async def test_a_bad_record_now_and_then_stops_nothing(ready: Settings) -> None:
    for _ in range(CONSECUTIVE + 5):
        await send(ready, b"junk", framed(fields()), framed(fields()), framed(fields()))
    async with ingress.running(ready):

        async def committed() -> bool:
            return await ingress.lag(ready) == 0

        await eventually(committed, timeout=30)
        assert not await stopped(ready)
    assert await letters(ready) == CONSECUTIVE + 5


async def test_a_route_that_was_stopped_stays_so_in_a_process_that_starts(ready: Settings) -> None:
    await send(ready, *(b"junk" for _ in range(CONSECUTIVE + 5)))
    async with ingress.running(ready):
        await eventually(lambda: stopped(ready), timeout=20)
    await send(ready, framed(fields()))
    async with ingress.running(ready):
        await eventually(lambda: is_not_ready(ready), timeout=20)
        await asyncio.wait([asyncio.create_task(asyncio.sleep(2))])
        assert await letters(ready) == CONSECUTIVE
        assert await ingress.lag(ready) == 6
