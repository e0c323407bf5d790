"""The consumer helper for services, and the producer that waits: on the real broker."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from headrace.completions import Received
from headrace.receiver import receive
from headrace.requester import Requester
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from tests.support.eventually import eventually
from tests.support.ingress import read_all
from tests.support.messages import RECORD, completion

WIRE = Wire(Catalog(shipped()))
GROUP = "billing"


async def publish(raw: AIOKafkaProducer, settings: Settings, event_id: UUID | None = None, *, partition: int = 0) -> UUID:
    """A completion as the notifier publishes it, but without its memory."""
    given, topic = completion(event_id), f"{settings.topic_prefix}image.completions"
    await raw.send_and_wait(topic, value=await WIRE.encode(topic, RECORD, given.model_dump()), key=b"key", partition=partition)
    return given.event_id


class Memory:
    """A store that outlives the process that reads."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []

    async def has(self, completion_id: UUID) -> bool:
        return completion_id in self.ids

    async def add(self, completion_id: UUID) -> None:
        self.ids.append(completion_id)


async def some(settings: Settings, count: int, store: Memory | None = None) -> list[UUID]:
    """As many as asked for, the last of them not handled: the loop is left before the next one is asked for."""
    found: list[UUID] = []
    group = f"{settings.ingress_group}-{GROUP}"
    async with asyncio.timeout(30), contextlib.aclosing(receive(settings, WIRE, ["image"], group, store=store)) as completions:
        async for received in completions:
            found.append(received.completion["event_id"])
            if len(found) == count:
                break
    return found


async def test_a_service_that_restarts_goes_on_with_what_it_had_not_handled(ready: Settings, raw: AIOKafkaProducer) -> None:
    sent = [await publish(raw, ready) for _ in range(5)]
    assert await some(ready, 3) == sent[:3]
    assert await some(ready, 3) == sent[2:]


async def test_a_completion_that_kafka_holds_twice_is_given_once(ready: Settings, raw: AIOKafkaProducer) -> None:
    event_id = await publish(raw, ready)
    await publish(raw, ready, event_id)
    await publish(raw, ready, event_id)
    last = await publish(raw, ready)
    assert await some(ready, 2) == [event_id, last]


async def test_a_store_knows_a_repeat_that_comes_after_a_restart(ready: Settings, raw: AIOKafkaProducer) -> None:
    first, second = await publish(raw, ready), await publish(raw, ready)
    store = Memory()
    assert await some(ready, 2, store) == [first, second]
    await publish(raw, ready, first)
    last = await publish(raw, ready)
    assert await some(ready, 2, store) == [second, last]
    assert len(store.ids) == 2


async def test_what_an_aborted_transaction_wrote_is_not_given(ready: Settings, raw: AIOKafkaProducer) -> None:
    topic = f"{ready.topic_prefix}image.completions"
    producer = AIOKafkaProducer(bootstrap_servers=ready.kafka_bootstrap_servers, transactional_id=ready.topic_prefix)
    await producer.start()
    with contextlib.suppress(ZeroDivisionError):
        async with producer.transaction():
            await producer.send_and_wait(topic, value=await WIRE.encode(topic, RECORD, completion().model_dump()), partition=0)
            raise ZeroDivisionError
    await producer.stop()
    sent = await publish(raw, ready)
    assert await some(ready, 1) == [sent]


async def test_members_that_join_and_leave_lose_nothing(ready: Settings, raw: AIOKafkaProducer) -> None:
    sent: list[UUID] = []
    handled: set[UUID] = set()

    async def member() -> None:
        async with contextlib.aclosing(receive(ready, WIRE, ["image"], f"{ready.ingress_group}-{GROUP}")) as completions:
            async for received in completions:
                handled.add(received.completion["event_id"])

    async def send(count: int) -> None:
        sent.extend([await publish(raw, ready, partition=number % 6) for number in range(count)])

    members = [asyncio.create_task(member())]
    await send(30)
    await eventually(lambda: len(handled) >= 10, timeout=30)
    members += [asyncio.create_task(member()), asyncio.create_task(member())]
    await send(30)
    await eventually(lambda: len(handled) >= 40, timeout=30)
    members[0].cancel()
    await send(30)
    await eventually(lambda: handled == set(sent), timeout=40)
    for task in members:
        task.cancel()
    await asyncio.wait(members)
    assert all(task.cancelled() for task in members)


async def test_a_missing_topic_is_told_at_once(settings: Settings) -> None:
    with pytest.raises(UnknownTopicOrPartitionError, match="headrace setup"):
        await some(settings, 1)


def request() -> ImageGenerationRequested:
    return ImageGenerationRequested(event_id=uuid4(), user_id="u", requested_at=datetime.now(UTC), prompt="a fox", backend="local")


async def test_requests_get_their_own_completions_whatever_their_order(ready: Settings, raw: AIOKafkaProducer) -> None:
    await publish(raw, ready)  # somebody else's
    given = [request() for _ in range(4)]
    async with Requester(ready, WIRE, ["image"]) as requester:
        asked = [asyncio.create_task(requester.request(each, seconds=30)) for each in given]
        await eventually(lambda: _arrived(ready, 4), timeout=20)
        for each in reversed(given):
            await publish(raw, ready, each.event_id, partition=given.index(each))
        answers: list[Received] = await asyncio.gather(*asked)
    assert [answer.completion["event_id"] for answer in answers] == [each.event_id for each in given]


async def test_a_request_without_an_answer_times_out_and_may_be_asked_again(ready: Settings, raw: AIOKafkaProducer) -> None:
    given = request()
    async with Requester(ready, WIRE, ["image"]) as requester:
        with pytest.raises(TimeoutError):
            await requester.request(given, seconds=0.5)
        again = asyncio.create_task(requester.request(given, seconds=30))
        await eventually(lambda: _arrived(ready, 2), timeout=20)
        with pytest.raises(ValueError, match="waited for already"):
            await requester.request(given, seconds=30)
        await publish(raw, ready, given.event_id)
        assert (await again).completion["event_id"] == given.event_id


async def _arrived(settings: Settings, count: int) -> bool:
    return len(await read_all(settings, f"{settings.topic_prefix}image.requests")) == count
