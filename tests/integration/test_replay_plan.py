"""What `headrace replay` says of each record before anything is done."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, reading, setup, temporal
from headrace.cli.replay import _ranges
from headrace.references import References
from headrace.replay import Outcome, Planned, Replay, committed
from headrace.settings import Settings
from headrace.store.insert import insert_once
from headrace.store.tables import LEDGER
from headrace.wire import Wire
from schemas.command import COMMAND
from schemas.event import Reader
from schemas.models import REQUESTS
from schemas.payload import payload_sha256
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support.dead_letters import producing, request_topic
from tests.support.ingress import CATALOG, REQUESTED, fields, framed
from tests.support.temporal_namespace import in_namespace_of_its_own


@pytest.fixture
async def topics(settings: Settings) -> None:
    await setup._topics(settings, load_routes(), lambda _: None)


async def accept(store: AsyncEngine, value: dict[str, Any], disposition: str) -> None:
    """As if the ingress had had it."""
    row = {
        "event_id": value["event_id"],
        "record": REQUESTED,
        "payload_sha256": payload_sha256(REQUESTS[REQUESTED].model_validate(value), CATALOG.named(REQUESTED)),
        "topic": "t",
        "partition": 0,
        "offset": 0,
        "disposition": disposition,
        "claimed_at": datetime.now(UTC),
    }
    async with store.begin() as connection:
        await insert_once(connection, LEDGER, row)


async def plan(settings: Settings, store: AsyncEngine, read_up_to: int) -> list[Planned]:
    reader = Reader(load_routes(), Topics(settings.topic_prefix), CATALOG.named(COMMAND))
    replay = Replay(settings, Wire(CATALOG), reader, store, await temporal.connect(settings), References(settings))
    wanted = await reading.ranges(settings, [request_topic(settings)])
    async with contextlib.aclosing(replay.plan(wanted, {TopicPartition(request_topic(settings), 0): read_up_to})) as chunks:
        return [planned async for chunk in chunks for planned in chunk]


@pytest.mark.usefixtures("topics")
async def test_each_record_is_told_what_it_would_do(settings: Settings, store: AsyncEngine) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup._search_attributes(settings, lambda _: None)
    started, changed, pending, rejected, new = (fields() for _ in range(5))
    await accept(store, started, "started")
    await accept(store, changed, "started")
    await accept(store, pending, "pending")
    await accept(store, rejected, "rejected")
    values: list[tuple[bytes, Outcome, str | None]] = [
        (framed(started), Outcome.DUPLICATE, None),
        (framed({**changed, "prompt": "Another"}), Outcome.CHANGED, "the ledger has its event ID with other values"),
        (framed(pending), Outcome.START, None),
        (framed(rejected), Outcome.START, None),
        (framed(new), Outcome.START, None),
        (framed(new), Outcome.DUPLICATE, "an earlier record of the range is the same event"),
        (framed({**new, "prompt": "Another"}), Outcome.CHANGED, "an earlier record of the range has its event ID with other values"),
        (framed(fields(size="1x1")), Outcome.REFUSED, "invalid: "),
        (b"not Avro", Outcome.REFUSED, "undecodable: "),
        (framed(fields()), Outcome.WAITING, None),
    ]
    async with producing(settings) as producer:
        for value, _, _ in values:
            await producer.send(request_topic(settings), value, partition=0)
    planned = await plan(settings, store, len(values) - 1)
    assert [each.outcome for each in planned] == [outcome for _, outcome, _ in values]
    for each, (_, _, why) in zip(planned, values, strict=True):
        assert (each.why or "").startswith(why or "")
        assert (each.why is None) == (why is None)


@pytest.mark.usefixtures("topics")
async def test_a_range_is_offsets_times_or_words_for_each_partition(settings: Settings) -> None:
    topic, begun = request_topic(settings), datetime.now(UTC)
    async with producing(settings) as producer:
        for partition in (0, 1):
            for number in range(5):
                moment = begun - timedelta(days=10 - number)
                await producer.send(topic, b"x", partition=partition, timestamp_ms=int(moment.timestamp() * 1000))

    async def found(begin: list[str], end: list[str]) -> list[tuple[int, int, int]]:
        return [(each.partition, each.start, each.end) for each in await _ranges(settings, topic, begin, end)]

    assert await found(["earliest"], ["latest"]) == [(0, 0, 5), (1, 0, 5)]
    assert await found(["2"], ["4"]) == [(0, 2, 4), (1, 2, 4)]
    assert await found(["1:3"], ["latest"]) == [(1, 3, 5)]
    assert await found(["0:1", "1:2"], ["1:3"]) == [(0, 1, 5), (1, 2, 3)]
    assert await found([(begun - timedelta(days=8, hours=1)).isoformat()], [(begun - timedelta(days=6, hours=1)).isoformat()]) == [
        (0, 2, 4),
        (1, 2, 4),
    ]
    assert await found(["latest"], ["latest"]) == []
    assert await found(["4"], ["2"]) == []
    assert await found(["0"], ["99999"]) == [(0, 0, 5), (1, 0, 5)]


@pytest.mark.usefixtures("topics")
async def test_where_the_ingress_goes_on_is_seen_and_not_moved(settings: Settings) -> None:
    place = TopicPartition(request_topic(settings), 3)
    assert await committed(settings) == {}
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.commit({place: 0})
    finally:
        await consumer.stop()
    assert await committed(settings) == {place: 0}
