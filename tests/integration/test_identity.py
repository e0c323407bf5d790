"""One event ID is one run and one payload, whatever becomes of offsets, topics, partitions and Temporal's memory."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from headrace import kafka, setup, temporal
from headrace.completions import completions
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from headrace.wire import Wire
from schemas import codec
from schemas.ids import completion_id, workflow_id
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, REQUESTED, fields, framed
from tests.support.temporal_namespace import in_namespace_of_its_own


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    """The test's own topics, tables and namespace."""
    changed = await in_namespace_of_its_own(settings)
    await setup.run(changed, lambda _: None)
    return changed


@pytest_asyncio.fixture
async def ready_on_both(settings: Settings, database_url: str) -> Settings:
    """The same on SQLite, and on PostgreSQL."""
    changed = await in_namespace_of_its_own(settings.model_copy(update={"database_url": database_url}))
    await setup.run(changed, lambda _: None)
    return changed


def topic(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


async def send(settings: Settings, *values: bytes, partition: int | None = None, key: bytes = b"key") -> None:
    async with kafka.producer(settings, idempotent=True) as producer:
        for value in values:
            await producer.send_and_wait(topic(settings), value, key=key, partition=partition)


async def until_disposed(settings: Settings) -> None:
    async with ingress.running(settings):
        await eventually(lambda: _is_disposed(settings), timeout=30)


async def _is_disposed(settings: Settings) -> bool:
    return await ingress.lag(settings) == 0


async def rewind(settings: Settings) -> None:
    """The group begins anew, as an operator would reset it."""
    partitions = await kafka.partitions(settings, [topic(settings)])
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()


async def forgotten(settings: Settings) -> Settings:
    """A Temporal that knows none of the runs any more, as after its retention (a real deletion takes the server half a minute)."""
    changed = await in_namespace_of_its_own(settings)
    await setup.run(changed, lambda _: None)
    return changed


async def runs(settings: Settings) -> int:
    return (await (await temporal.connect(settings)).count_workflows("WorkflowType = 'ImageGenerationWorkflow'")).count


async def dead_letters(settings: Settings) -> list[dict[str, str]]:
    found = await ingress.read_all(settings, f"{topic(settings)}.dlq")
    return [{name: value.decode() for name, value in letter.headers} for letter in found]


async def test_an_event_that_temporal_has_forgotten_does_not_run_again_when_the_group_is_reset(ready: Settings) -> None:
    event_ids = [uuid4() for _ in range(5)]
    await send(ready, *(framed(fields(event_id=each)) for each in event_ids))
    await until_disposed(ready)
    later = await forgotten(ready)
    await rewind(later)
    await until_disposed(later)
    marker = uuid4()
    await send(later, framed(fields(event_id=marker)))
    await until_disposed(later)

    async def counted() -> bool:  # visibility lags: what would have run again would be counted with the marker
        return await runs(later) > 0

    await eventually(counted)
    assert await runs(later) == 1
    assert [row.disposition for row in await ingress.ledger(ready)] == ["started"] * 6
    assert not await dead_letters(ready)


async def test_a_topic_that_is_made_anew_with_more_partitions_starts_nothing_again(ready: Settings) -> None:
    values = {each: framed(fields(event_id=each)) for each in (uuid4() for _ in range(5))}
    await send(ready, *values.values())
    await until_disposed(ready)
    before = [(row.event_id, row.run_id) for row in await ingress.ledger(ready)]
    admin = kafka.admin(ready)
    await admin.start()
    try:
        await admin.delete_topics([topic(ready)])

        async def is_made() -> bool:  # the broker deletes behind its answer
            made = await admin.create_topics([NewTopic(topic(ready), 2, 1)])
            return bool(made.topic_errors[0][1] == 0)

        await eventually(is_made)
        await admin.create_partitions({topic(ready): NewPartitions(4)})
    finally:
        await admin.close()

    async def is_there() -> bool:
        with contextlib.suppress(UnknownTopicOrPartitionError):  # its metadata follows the broker's answer
            return len(await kafka.partitions(ready, [topic(ready)])) == 4
        return False

    await eventually(is_there)
    for partition, value in enumerate(values.values()):
        await send(ready, value, partition=partition % 4)
    fresh = ready.model_copy(update={"ingress_group": f"{ready.ingress_group}-anew"})
    await until_disposed(fresh)
    assert [(row.event_id, row.run_id) for row in await ingress.ledger(ready)] == before
    assert not await dead_letters(ready)


@pytest.mark.parametrize("state", ["running", "done", "gone", "pending"])
async def test_the_same_event_id_with_another_payload_is_a_conflict_whatever_became_of_the_first(ready: Settings, state: str) -> None:
    event_id = uuid4()
    good = fields(event_id=event_id)
    await send(ready, framed(good))
    if state == "pending":
        # Claimed and never started: Temporal is away, and stays away while the conflict comes.
        away = ready.model_copy(update={"temporal_address": "127.0.0.1:1"})
        async with ingress.running(away):
            await eventually(lambda: ingress.ledger(ready), timeout=20)
            await send(ready, framed({**good, "prompt": "a secret"}))
            await eventually(lambda: dead_letters(ready), timeout=20)
    else:
        await until_disposed(ready)
        client = await temporal.connect(ready)
        if state == "done":
            await client.get_workflow_handle(workflow_id("image", event_id)).terminate()
        if state == "gone":
            ready = await forgotten(ready)
        await send(ready, framed({**good, "prompt": "a secret"}))
        await until_disposed(ready)
    [letter] = await dead_letters(ready)
    assert letter["dlq_reason"] == "id_conflict"
    [receipt] = await ingress.read_all(ready, Topics(ready.topic_prefix).completions("image"))
    told = {name: value.decode() for name, value in receipt.headers}
    [row] = await ingress.ledger(ready)
    first = {"conflict_topic": row.topic, "conflict_partition": str(row.partition), "conflict_offset": str(row.offset)}
    assert first.items() <= told.items(), "its receipt says which event it is in conflict with"
    assert told["ce_id"] == letter["dlq_receipt"] != str(completion_id(event_id)), "and is not that event's completion"
    assert b"secret" not in receipt.value
    assert f"{topic(ready)}, partition" in letter["dlq_message"], "it says which event it conflicts with"
    assert "secret" not in letter["dlq_message"]
    assert len(await ingress.ledger(ready)) == 1


async def test_a_refused_record_that_is_read_again_gives_consumers_one_receipt(ready: Settings) -> None:
    event_id = uuid4()
    await send(ready, framed(fields(event_id=event_id, prompt=" ")))
    await until_disposed(ready)
    await rewind(ready)
    await until_disposed(ready)
    written = await ingress.read_all(ready, Topics(ready.topic_prefix).completions("image"))
    assert len(written) == 2
    wire = Wire(CATALOG)
    async with contextlib.aclosing(completions(ready, wire, ["image"])) as found:
        [only] = [received.completion async for received in found]
    assert (only["event_id"], only["status"]) == (event_id, "REJECTED")


async def test_another_encoding_of_the_same_values_is_a_duplicate(ready: Settings) -> None:
    # The same string with a length that takes a byte more than it needs, which Avro allows.
    value = fields(requested_at=datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC))
    schema = CATALOG.named(REQUESTED)
    plain = codec.encode_body(schema, value)
    padded = bytes([plain[0] | 0x80, 0x00]) + plain[1:]
    assert padded != plain
    await send(ready, codec.frame_single_object(schema, plain), codec.frame_single_object(schema, padded))
    await until_disposed(ready)
    assert len(await ingress.ledger(ready)) == 1
    assert not await dead_letters(ready)


async def test_two_processes_that_race_on_one_event_id_share_one_run(ready_on_both: Settings) -> None:
    ready = ready_on_both
    values = {each: framed(fields(event_id=each)) for each in (uuid4() for _ in range(60))}
    async with ingress.running(ready), ingress.running(ready):
        # The same events on two partitions, which two processes have.
        await asyncio.gather(*(send(ready, *values.values(), partition=partition) for partition in range(6)))
        await eventually(lambda: _is_disposed(ready), timeout=60)
    rows = await ingress.ledger(ready)
    assert {row.event_id for row in rows} == set(values)
    assert {row.disposition for row in rows} == {"started"}
    client = await temporal.connect(ready)
    for row in rows:
        assert (await client.get_workflow_handle(row.workflow_id).describe()).run_id == row.run_id

    async def counted() -> bool:
        return (await client.count_workflows("WorkflowType = 'ImageGenerationWorkflow'")).count == len(values)

    await eventually(counted)
    assert not await dead_letters(ready)


async def test_an_event_that_was_refused_does_not_hold_its_id(ready_on_both: Settings) -> None:
    ready = ready_on_both
    event_id = uuid4()
    small = ready.model_copy(update={"temporal_max_payload_bytes": 1024})
    await send(ready, framed(fields(event_id=event_id, prompt="x" * 2000)))
    await until_disposed(small)
    [letter] = await dead_letters(ready)
    assert letter["dlq_reason"] == "too_large"
    assert [row.disposition for row in await ingress.ledger(ready)] == ["rejected"]
    await send(ready, framed(fields(event_id=event_id, prompt="shorter")))
    await until_disposed(small)
    [row] = await ingress.ledger(ready)
    assert (row.disposition, row.workflow_id) == ("started", workflow_id("image", event_id))


async def test_a_start_whose_answer_was_lost_is_that_records_own_run(ready: Settings) -> None:
    event_id = uuid4()
    await send(ready, framed(fields(event_id=event_id)))
    await until_disposed(ready)
    [row] = await ingress.ledger(ready)
    database = engine(ready.database_url)
    async with database.begin() as connection:  # as if the process had died before it settled the row
        await connection.execute(LEDGER.update().values(disposition="pending", run_id=None, settled_at=None))
    await database.dispose()
    await rewind(ready)
    await until_disposed(ready)
    [again] = await ingress.ledger(ready)
    assert (again.disposition, again.run_id) == ("started", row.run_id)
