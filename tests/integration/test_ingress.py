"""The ingress on the real Kafka and Temporal: duplicates, rebalances, crashes, parts that are away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError
from temporalio.client import Client

from headrace import kafka, setup, temporal
from headrace.settings import Settings
from ingress.decode import Event
from ingress.errors import NotSetUp
from ingress.start import Sizes, Starter
from schemas.errors import Transient
from schemas.ids import workflow_id
from schemas.models import REQUESTS
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import all_disposed, fields, framed, send


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    """The test's own topics, tables and bucket."""
    await setup.run(settings, lambda _: None)
    return settings


async def runs(client: Client, event_ids: set[UUID]) -> int:
    """How many of the events have their one run. An event ID is in the workflow ID, so a second run would need a second start."""
    found = 0
    for event_id in event_ids:
        handle = client.get_workflow_handle(workflow_id("image", event_id))
        found += (await handle.describe()).id == handle.id
    return found


async def test_the_same_event_twice_is_one_run(ready: Settings) -> None:
    event_id = uuid4()
    await send(ready, framed(fields(event_id=event_id)), framed(fields(event_id=event_id)))
    async with ingress.running(ready):
        await eventually(lambda: all_disposed(ready), timeout=20)
    client = await temporal.connect(ready)
    described = await client.get_workflow_handle(workflow_id("image", event_id)).describe()
    listed = [run.run_id async for run in client.list_workflows(f"EventId = '{event_id}'")]
    assert listed in ([], [described.run_id])
    assert not await ingress.read_all(ready, Topics(ready.topic_prefix).requests("image") + ".dlq")


async def test_a_record_without_a_key_and_one_with_a_wild_key_are_started(ready: Settings) -> None:
    keyless, wild = uuid4(), uuid4()
    await send(ready, framed(fields(event_id=keyless)), key=None)
    await send(ready, framed(fields(event_id=wild)), key=b"\xff\xfe\x00")
    async with ingress.running(ready):
        await eventually(lambda: all_disposed(ready), timeout=20)
    client = await temporal.connect(ready)
    for event_id, expected in ((keyless, None), (wild, b"\xff\xfe\x00")):
        history = await client.get_workflow_handle(workflow_id("image", event_id)).fetch_history()
        payload = history.events[0].workflow_execution_started_event_attributes.input.payloads[0]
        origin = json.loads(payload.data)["origin"]
        assert origin["key"] == (None if expected is None else "__4A")
        assert origin["topic"] == Topics(ready.topic_prefix).requests("image")


async def test_a_second_member_joins_under_load_and_nothing_is_lost_or_run_twice(ready: Settings) -> None:
    event_ids = {uuid4() for _ in range(150)}
    ordered = list(event_ids)
    async with ingress.running(ready):
        for number in range(6):
            await send(ready, *(framed(fields(event_id=each)) for each in ordered[number * 25 : number * 25 + 12]), partition=number)
        async with ingress.running(ready):
            for number in range(6):
                await send(
                    ready, *(framed(fields(event_id=each)) for each in ordered[number * 25 + 12 : number * 25 + 25]), partition=number
                )
        await eventually(lambda: all_disposed(ready), timeout=40)
    assert await runs(await temporal.connect(ready), event_ids) == 150


async def process(settings: Settings, **changed: str) -> asyncio.subprocess.Process:
    """`python -m ingress` with these settings."""
    environment = {
        **os.environ,
        "HEADRACE_STATE_DIR": "/nonexistent",
        "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
        "HEADRACE_INGRESS_GROUP": settings.ingress_group,
        "HEADRACE_DATABASE_URL": settings.database_url,
        "HEADRACE_ROUTES_FILE": str(settings.routes_file),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        **changed,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingress", env=environment, cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE
    )


async def test_kill_9_between_start_and_commit_redelivers_without_a_second_run(ready: Settings) -> None:
    event_ids = {uuid4() for _ in range(60)}
    await send(ready, *(framed(fields(event_id=each)) for each in event_ids), partition=0)
    first = await process(ready)
    client = await temporal.connect(ready)
    assert first.stderr is not None
    async for line in first.stderr:
        if b'"started"' in line:
            break
    first.kill()
    await first.communicate()
    async with ingress.running(ready):
        await eventually(lambda: all_disposed(ready), timeout=40)
    assert await runs(client, event_ids) == 60
    assert not await ingress.read_all(ready, Topics(ready.topic_prefix).requests("image") + ".dlq")


async def test_sigterm_commits_what_is_finished_and_exits_0(ready: Settings) -> None:
    await send(ready, *(framed(fields()) for _ in range(20)), partition=1)
    running = await process(ready)
    assert running.stderr is not None
    disposed = 0
    async for line in running.stderr:
        disposed += b"record_disposed" in line
        if disposed == 20:
            break
    running.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        await running.communicate()
    assert running.returncode == 0
    assert await ingress.lag(ready) == 0


async def test_temporal_away_holds_records_back_and_dead_letters_none(ready: Settings) -> None:
    event_ids = {uuid4() for _ in range(5)}
    await send(ready, *(framed(fields(event_id=each)) for each in event_ids))
    away = ready.model_copy(update={"temporal_address": "127.0.0.1:1", "ingress_start_seconds": 1.0})
    async with ingress.running(away) as task:
        consumer_seen = eventually(lambda: _members(ready), timeout=20)
        assert await consumer_seen
        await asyncio.wait({task}, timeout=3)
        assert not task.done(), "an ingress without Temporal stays in its group and waits"
        assert await _members(ready)
    assert await ingress.lag(ready) == 5
    async with ingress.running(ready):
        await eventually(lambda: all_disposed(ready), timeout=30)
    assert await runs(await temporal.connect(ready), event_ids) == 5
    assert not await ingress.read_all(ready, Topics(ready.topic_prefix).requests("image") + ".dlq")


async def _members(settings: Settings) -> int:
    client = kafka.admin(settings)
    try:
        await client.start()
        [answer] = await client.describe_consumer_groups([settings.ingress_group])
    except GroupCoordinatorNotAvailableError:  # the broker's first group: its topic is just being made
        return 0
    finally:
        await client.close()
    return len(answer.groups[0][5])


async def test_a_dead_letter_topic_that_is_missing_holds_the_commit_back(ready: Settings) -> None:
    topic = Topics(ready.topic_prefix).requests("image")
    client = kafka.admin(ready)
    await client.start()
    try:
        await client.delete_topics([f"{topic}.dlq"])

        async def deleted() -> bool:  # for a moment the broker still takes records for a deleted topic, and drops them with it
            return f"{topic}.dlq" not in await client.list_topics()

        await eventually(deleted)
        await send(ready, b"junk", partition=2)
        async with ingress.running(ready):
            await eventually(lambda: _members(ready), timeout=20)
            await send(ready, framed(fields()), partition=3)
            await eventually(lambda: _committed(ready, 3), timeout=20)
            assert await _committed(ready, 2) == 0
            await client.create_topics([NewTopic(f"{topic}.dlq", 1, 1)])
            await eventually(lambda: all_disposed(ready), timeout=40)
    finally:
        await client.close()
    [letter] = await ingress.read_all(ready, f"{topic}.dlq")
    assert letter.value == b"junk"


async def _committed(settings: Settings, partition: int) -> int:
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        return await consumer.committed(TopicPartition(Topics(settings.topic_prefix).requests("image"), partition)) or 0
    finally:
        await consumer.stop()


async def test_a_namespace_that_is_not_set_up_stops_the_process_instead_of_draining_the_topic(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(ready, framed(fields()))

    async def not_set_up(*_: object) -> None:
        raise NotSetUp("Temporal lacks a search attribute: run `headrace setup`")

    monkeypatch.setattr(Starter, "start", not_set_up)
    async with ingress.running(ready) as task:
        await asyncio.wait({task}, timeout=20)
        assert isinstance(task.exception(), NotSetUp)
    assert await ingress.lag(ready) == 1
    assert not await ingress.read_all(ready, Topics(ready.topic_prefix).requests("image") + ".dlq")


async def test_a_start_that_is_never_answered_is_transient(ready: Settings) -> None:
    held: list[asyncio.StreamWriter] = []
    quiet = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = quiet.sockets[0].getsockname()[1]
    try:
        client = await temporal.connect(ready.model_copy(update={"temporal_address": f"127.0.0.1:{port}"}), lazy=True)
        starter = Starter(client, 0.5, Sizes(2**21, None))
        route = load_routes().find(ingress.REQUESTED)
        assert route is not None
        record = type("R", (), {"topic": "t", "partition": 0, "offset": 0, "key": None, "headers": (), "value": b""})()
        with pytest.raises(Transient):
            await starter.start(record, Event(route, REQUESTS[ingress.REQUESTED].model_validate(fields()), b""))
    finally:
        quiet.close()
        for writer in held:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
