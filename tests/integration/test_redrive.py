"""Sending dead letters again: the activity on the real broker, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace import breakers, setup
from headrace.breakers import StoppedRoute
from headrace.settings import Settings
from headrace.store.tables import REDRIVES
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.redrive import Selection, State, Tally
from schemas.routes import load_routes
from tests.support.dead_letters import (
    SENT,
    bury,
    carry_out,
    dead_letter_topic,
    page,
    producing,
    redriving,
    request_topic,
    requests,
)
from tests.support.ingress import read_all

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no database has a say in."""


@pytest.fixture
async def topics(settings: Settings) -> None:
    await setup._topics(settings, load_routes(), lambda _: None)


pytestmark = pytest.mark.usefixtures("topics")


async def sent(settings: Settings) -> list[ConsumerRecord]:
    return sorted(await read_all(settings, request_topic(settings)), key=lambda record: (record.partition, record.offset))


async def rows(store: AsyncEngine) -> list[Any]:
    async with store.connect() as connection:
        return list((await connection.execute(select(REDRIVES).order_by(REDRIVES.c.offset))).all())


async def as_if_it_had_died(store: AsyncEngine, offsets: Sequence[int], *, ago: timedelta = timedelta(0)) -> None:
    """Puts rows back to what they were before the acknowledgement was written down."""
    async with store.begin() as connection:
        await connection.execute(
            update(REDRIVES)
            .where(REDRIVES.c.offset.in_(offsets))
            .values(state=State.SENDING, to_offset=None, settled_at=None, claimed_at=datetime.now(UTC) - ago)
        )


async def test_a_dead_letter_goes_back_as_its_sender_wrote_it_and_says_how_often(settings: Settings, store: AsyncEngine) -> None:
    values = requests(3)
    await bury(settings, values)
    async with redriving(settings, store) as activities:
        done = await carry_out(activities, await page(settings))
    assert done.tally == Tally(done=3, sent=3)
    found = await sent(settings)
    assert {record.value for record in found} == set(values)
    kept = await rows(store)
    by_place = {(row.to_partition, row.to_offset): row for row in kept}
    for record in found:
        row = by_place[record.partition, record.offset]
        assert record.key == b"key"
        assert list(record.headers) == [
            *SENT,
            ("dlq_redrives", b"1"),
            ("dlq_redrive_id", str(row.dead_letter_id).encode()),
        ]
        assert (row.state, row.redrives, row.reason, row.to_topic) == (State.REDRIVEN, 1, "unroutable", request_topic(settings))
        assert record.partition == row.offset % 6  # the partition that it came from
        assert record.timestamp > (datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1000


async def test_a_page_that_is_tried_again_sends_nothing_twice(settings: Settings, store: AsyncEngine) -> None:
    await bury(settings, requests(5))
    asked = await page(settings)
    async with redriving(settings, store) as activities:
        first = await carry_out(activities, asked)
    async with redriving(settings, store) as another:
        assert await carry_out(another, asked) == first
        other = await carry_out(another, asked.model_copy(update={"redrive_id": uuid4()}))
    assert other.tally == Tally(done=5, skipped=5)
    assert len(await sent(settings)) == 5


async def test_a_crash_between_send_and_note_sends_nothing_twice(settings: Settings, store: AsyncEngine) -> None:
    await bury(settings, [b"not Avro", *requests(5)])
    asked = await page(settings)
    async with redriving(settings, store) as activities:
        await carry_out(activities, asked)
        before = await rows(store)
        await as_if_it_had_died(store, [0, 1, 4])
        done = await carry_out(activities, asked)
    assert done.tally == Tally(done=6, sent=6)
    assert len(await sent(settings)) == 6
    places = [(row.state, row.to_partition, row.to_offset) for row in before]
    assert [(row.state, row.to_partition, row.to_offset) for row in await rows(store)] == places


async def test_a_crash_before_the_send_loses_nothing(settings: Settings, store: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    await bury(settings, requests(4))
    asked = await page(settings)

    async def away(_: AIOKafkaProducer, *__: object, **___: object) -> None:
        raise OSError("killed")

    async with redriving(settings, store) as activities:
        with monkeypatch.context() as patch:
            patch.setattr("notifier.redrive.activities.send_all", away)
            with pytest.raises(ApplicationError):
                await carry_out(activities, asked)
        assert {row.state for row in await rows(store)} == {State.SENDING}
        assert await sent(settings) == []
        assert (await carry_out(activities, asked)).tally.sent == 4
    assert len(await sent(settings)) == 4
    assert {row.state for row in await rows(store)} == {State.REDRIVEN}


async def test_a_process_that_stood_still_between_claim_and_send_does_not_send(
    settings: Settings, store: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(settings, requests(4))
    asked = await page(settings)
    async with redriving(settings, store) as activities:
        with monkeypatch.context() as patch:
            patch.setattr("notifier.redrive.activities._FRESH_SECONDS", -1.0)
            with pytest.raises(ApplicationError, match="claimed too long ago"):
                await carry_out(activities, asked)
        assert await sent(settings) == []
        assert (await carry_out(activities, asked)).tally.sent == 4
    assert len(await sent(settings)) == 4


async def test_what_a_dead_redrive_left_behind_is_taken_over_and_a_living_ones_is_not(settings: Settings, store: AsyncEngine) -> None:
    await bury(settings, requests(3))
    asked = await page(settings)
    async with redriving(settings, store) as activities:
        await carry_out(activities, asked)
        await as_if_it_had_died(store, [1], ago=timedelta(minutes=5))
        await as_if_it_had_died(store, [2])
        done = await carry_out(activities, asked.model_copy(update={"redrive_id": uuid4()}))
    assert done.tally == Tally(done=3, sent=1, skipped=2)
    assert [row.state for row in await rows(store)] == [State.REDRIVEN, State.REDRIVEN, State.SENDING]
    assert len(await sent(settings)) == 3


async def test_a_record_that_comes_back_every_time_is_parked_and_goes_on_only_when_asked_for(
    settings: Settings, store: AsyncEngine
) -> None:
    again = headers.redriven(headers.Buried(SENT, "invalid", "", "t", 0, 0, "2026-01-01T00:00:00Z", 1), uuid4())
    assert again[-2] == ("dlq_redrives", b"2")
    await bury(settings, requests(1), sent=again)
    asked = await page(settings, max_redrives=2)
    async with redriving(settings, store) as activities:
        assert (await carry_out(activities, asked)).tally == Tally(done=1, parked=1)
        assert (await carry_out(activities, asked)).tally == Tally(done=1, parked=1)  # tried again
        assert await sent(settings) == []
        [row] = await rows(store)
        assert (row.state, row.cause) == (State.PARKED, "it was sent again 2 times and came back")
        assert (await carry_out(activities, asked.model_copy(update={"redrive_id": uuid4()}))).tally == Tally(done=1, skipped=1)
        unparked = asked.model_copy(update={"redrive_id": uuid4(), "parked": True})
        for _ in range(2):
            assert (await carry_out(activities, unparked)).tally == Tally(done=1, sent=1)
    [record] = await sent(settings)
    assert list(record.headers)[:-1] == [*SENT, ("dlq_redrives", b"3")]
    [row] = await rows(store)
    assert (row.state, row.cause, row.redrives) == (State.REDRIVEN, None, 3)


@sqlite_only
async def test_only_what_is_selected_is_sent(settings: Settings, store: AsyncEngine) -> None:
    wanted = uuid4()
    old = datetime(2026, 1, 1, tzinfo=UTC)
    await bury(settings, requests(2), reason=Reason.INVALID)
    await bury(settings, requests(1, event_id=wanted))
    await bury(settings, requests(1), key=b"another")
    await bury(settings, requests(1), time=old)
    for selection, count in (
        (Selection(reasons=frozenset({"invalid"})), 2),
        (Selection(event_ids=frozenset({wanted})), 1),
        (Selection(key=b"another"), 1),
        (Selection(until=old + timedelta(seconds=1)), 1),
        (Selection(since=datetime(2100, 1, 1, tzinfo=UTC)), 0),
        (Selection(), 0),  # nothing is left
    ):
        async with redriving(settings, store) as activities:
            assert (await carry_out(activities, await page(settings, selection=selection))).tally == Tally(
                done=5, sent=count, skipped=5 - count
            )
    assert len(await sent(settings)) == 5


@sqlite_only
async def test_what_is_no_dead_letter_of_this_topic_is_left_alone(settings: Settings, store: AsyncEngine) -> None:
    elsewhere = headers.dead_letter([], Rejected(Reason.INVALID, ""), topic="other", partition=0, offset=0, time=datetime.now(UTC))
    async with producing(settings) as producer:
        await producer.send_and_wait(dead_letter_topic(settings), b"x", headers=elsewhere, partition=0)
        await producer.send_and_wait(dead_letter_topic(settings), b"x", headers=[("dlq_reason", b"invalid")], partition=0)
    async with redriving(settings, store) as activities:
        assert (await carry_out(activities, await page(settings))).tally == Tally(done=2, skipped=2)
    assert await rows(store) == []


@sqlite_only
async def test_a_record_without_key_and_value_goes_back_too(settings: Settings, store: AsyncEngine) -> None:
    await bury_empty(settings)
    async with redriving(settings, store) as activities:
        assert (await carry_out(activities, await page(settings))).tally.sent == 1
    [record] = await sent(settings)
    assert (record.key, record.value) == (None, None)
    assert record.timestamp > 0


async def bury_empty(settings: Settings) -> None:
    added = headers.dead_letter(
        [], Rejected(Reason.UNDECODABLE, ""), topic=request_topic(settings), partition=1, offset=0, time=datetime.now(UTC)
    )
    async with producing(settings) as producer:
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=added)
        batch.close()
        await (await producer.send_batch(batch, dead_letter_topic(settings), partition=0))


@sqlite_only
async def test_a_record_that_kafka_refuses_is_parked_and_its_neighbours_are_sent(settings: Settings, store: AsyncEngine) -> None:
    small = requests(2)
    await bury(settings, [small[0], b"\x00" * 1_200_000, small[1]])
    async with redriving(settings, store) as activities:
        assert (await carry_out(activities, await page(settings))).tally == Tally(done=3, sent=2, parked=1)
    assert sorted(record.value for record in await sent(settings)) == sorted(small)
    assert [row.state for row in await rows(store)] == [State.REDRIVEN, State.PARKED, State.REDRIVEN]
    assert "MessageSizeTooLarge" in (await rows(store))[1].cause


@sqlite_only
async def test_a_stopped_route_holds_a_redrive_back_and_says_how_it_goes_on(settings: Settings, store: AsyncEngine) -> None:
    await bury(settings, requests(1))
    record = "headrace.image.ImageGenerationRequested"
    await breakers.stop(store, StoppedRoute(record, request_topic(settings), "50 in a row", datetime.now(UTC)))
    async with redriving(settings, store) as activities:
        asked = await page(settings)
        with pytest.raises(ApplicationError, match=f"headrace route resume {record}") as caught:
            await carry_out(activities, asked)
        assert not caught.value.non_retryable
        assert await sent(settings) == []
        await breakers.resume(store, record)
        assert (await carry_out(activities, asked)).tally.sent == 1
