"""A rolling deployment: ten restarts under load lose nothing and run nothing twice; start calls made twice are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from headrace import kafka, setup, temporal
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from schemas.ids import workflow_id
from schemas.topics import Topics
from tests.faults.members import Member, Members, environment
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed
from tests.support.temporal_namespace import in_namespace_of_its_own
from tests.support.temporal_proxy import START, TemporalProxy

RESTARTS = 10
KEYS = 40


async def produce(settings: Settings, sent: list[UUID], enough: asyncio.Event) -> None:
    async with kafka.producer(settings, idempotent=True) as producer:
        while not enough.is_set():
            event_id = uuid4()
            value, key = framed(fields(event_id=event_id)), b"key-%d" % (len(sent) % KEYS)
            await producer.send_and_wait(Topics(settings.topic_prefix).requests("image"), value, key=key)
            sent.append(event_id)
            await asyncio.sleep(0.02)


def has_grown(proxy: TemporalProxy, calls: int) -> bool:
    return len(proxy.calls) > calls


@pytest.mark.timeout(300)
async def test_ten_rolling_restarts_under_load_lose_nothing_and_run_nothing_twice(
    settings: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    sent: list[UUID] = []
    enough = asyncio.Event()
    async with TemporalProxy(lambda: settings.temporal_address) as proxy:
        members = Members(
            tmp_path,
            environment(
                {
                    "HEADRACE_STATE_DIR": str(tmp_path),
                    "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
                    "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
                    "HEADRACE_INGRESS_GROUP": settings.ingress_group,
                    "HEADRACE_DATABASE_URL": settings.database_url,
                    "TEMPORAL_ADDRESS": f"127.0.0.1:{proxy.port}",
                    "TEMPORAL_NAMESPACE": settings.temporal_namespace,
                }
            ),
        )
        load = asyncio.create_task(produce(settings, sent, enough))
        running = [await members.start() for _ in range(2)]
        for number in range(RESTARTS):
            newcomer = await members.start()
            await eventually(partial(newcomer.has_said, "partitions_assigned"), timeout=60)
            await members.leave(running.pop(0))
            running.append(newcomer)
            await eventually(partial(has_grown, proxy, len(proxy.calls)), timeout=30)
            assert not [member.ending for member in members.all if member.ending], number
        enough.set()
        await load

        async def disposed() -> bool:
            return await ingress.lag(settings) == 0

        await eventually(disposed, timeout=60)
        await members.leave_all()
        starts = [call.workflow_id for call in proxy.calls if call.method == START]
    assert not [member.ending for member in members.all if member.ending]
    wanted = {workflow_id("image", event_id) for event_id in sent}
    assert set(starts) == wanted
    client = await temporal.connect(settings)

    async def counted() -> bool:
        return (await client.count_workflows("WorkflowType = 'ImageGenerationWorkflow'")).count == len(wanted)

    await eventually(counted, timeout=30)
    database = engine(settings.database_url)
    async with database.connect() as connection:
        rows = (await connection.execute(select(LEDGER.c.workflow_id, LEDGER.c.disposition))).all()
    await database.dispose()
    assert {(row.workflow_id, row.disposition) for row in rows} == {(each, "started") for each in wanted}
    assert len(set(_started(members.all))) == len(wanted)
    record_property("records", len(wanted))
    record_property("start_calls_made_twice", len(starts) - len(wanted))
    print(f"{RESTARTS} rolling restarts, {len(wanted)} records, {len(starts) - len(wanted)} start calls made twice")  # noqa: T201


def _started(members: list[Member]) -> list[object]:
    return [place for member in members for place, disposition in member.told() if disposition == "started"]
