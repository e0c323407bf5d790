"""The notifier's activities on the real broker, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from headrace import kafka, setup
from headrace.completions import completions
from headrace.idempotent import IdempotentProducer
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import COMPLETIONS, HISTORY
from headrace.wire import Wire
from notifier.history import HistoryActivities
from notifier.producer import OnceProducer
from notifier.publish import CompletionActivities
from schemas import models
from schemas.catalog import Catalog, shipped
from schemas.completion import Completion, CompletionError, Published, SendCompletion, Status, UpdateHistory
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support.messages import NOW, RECORD, completion, send_completion, update_history

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no database has a say in."""

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Notifier:
    """The activities of one process."""

    settings: Settings
    store: AsyncEngine
    wire: Wire
    producer: IdempotentProducer
    _completions: CompletionActivities
    _history: HistoryActivities

    async def publish(self, command: SendCompletion) -> Published:
        result: Published = await ActivityEnvironment().run(self._completions.send_completion_notification, command)
        return result

    async def update_history(self, command: UpdateHistory) -> Published:
        result: Published = await ActivityEnvironment().run(self._history.update_generation_history, command)
        return result

    async def completion_records(self) -> list[dict[str, Any]]:
        async with contextlib.aclosing(completions(self.settings, self.wire, ["image"])) as found:
            return [received.completion async for received in found]


@contextlib.asynccontextmanager
async def process(settings: Settings, store: AsyncEngine) -> AsyncIterator[Notifier]:
    wire, topics = Wire(Catalog(shipped())), Topics(settings.topic_prefix)
    async with IdempotentProducer(settings) as producer:
        once = OnceProducer(producer)
        activities = CompletionActivities(store, once, wire, topics), HistoryActivities(store, once, wire, topics)
        yield Notifier(settings, store, wire, producer, *activities)


@pytest_asyncio.fixture
async def notifier(settings: Settings, store: AsyncEngine) -> AsyncIterator[Notifier]:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    async with process(settings, store) as made:
        yield made


async def records(settings: Settings, topic: str) -> list[Any]:
    """Every record of a topic, byte for byte."""
    consumer = kafka.consumer(settings, topic)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


@sqlite_only
async def test_completion_is_published_as_its_record_with_the_key_and_headers_of_its_request(notifier: Notifier) -> None:
    event_id = uuid4()
    place = await notifier.publish(send_completion(event_id, traceparent=TRACEPARENT))
    (record,) = await records(notifier.settings, f"{notifier.settings.topic_prefix}image.completions")
    assert Published(topic=record.topic, partition=record.partition, offset=record.offset) == place
    assert record.key == b"\xffkey"
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": str(completion(event_id).completion_id).encode(),
        "ce_type": RECORD.encode(),
        "ce_source": b"headrace/notifier",
        "ce_time": b"2026-11-24T12:00:00.123Z",
        "ce_subject": str(event_id).encode(),
        "content-type": b"application/avro",
        "traceparent": TRACEPARENT.encode(),
    }
    decoded = await notifier.wire.decode(record.value)
    assert decoded.record == RECORD
    read = models.COMPLETIONS[RECORD].model_validate(decoded.value)
    assert read.model_dump(exclude={"run_id"}) == completion(event_id).model_dump(exclude={"run_id"})


@sqlite_only
async def test_a_later_generation_is_named_in_a_header_of_its_completion(notifier: Notifier) -> None:
    await notifier.publish(send_completion(generation=2))
    (record,) = await records(notifier.settings, f"{notifier.settings.topic_prefix}image.completions")
    assert dict(record.headers)["ce_generation"] == b"2"


async def test_retried_activity_does_not_publish_again_what_was_acknowledged(notifier: Notifier) -> None:
    command = send_completion()
    first = await notifier.publish(command)
    assert await notifier.publish(command) == first
    async with process(notifier.settings, notifier.store) as another:
        assert await another.publish(command) == first
    assert len(await records(notifier.settings, first.topic)) == 1


async def test_crash_between_acknowledgement_and_row_gives_consumers_one_completion(notifier: Notifier) -> None:
    command = send_completion()
    first = await notifier.publish(command)
    async with notifier.store.begin() as connection:  # as if the process had died before it wrote the row
        await connection.execute(delete(COMPLETIONS))
    async with process(notifier.settings, notifier.store) as another:
        assert (await another.publish(command)).offset == first.offset + 1
    assert len(await records(notifier.settings, first.topic)) == 2
    assert len(await notifier.completion_records()) == 1


@sqlite_only
async def test_failed_completion_keeps_its_error(notifier: Notifier) -> None:
    await notifier.publish(send_completion(message="no such prompt"))
    (found,) = await notifier.completion_records()
    assert found["status"] == "FAILED"
    assert found["error"] == {"code": "Internal", "message": "no such prompt"}
    assert found["result"] is None


@sqlite_only
async def test_completion_too_large_for_kafka_fails_for_good_and_the_next_one_passes(notifier: Notifier) -> None:
    with pytest.raises(ApplicationError, match="refuses a record") as caught:
        await notifier.publish(send_completion(message="x" * 1_500_000))
    assert caught.value.non_retryable
    await notifier.publish(send_completion())
    assert len(await notifier.completion_records()) == 1


@sqlite_only
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (send_completion(record="headrace.image.Unheard"), "no completion record is called 'headrace.image.Unheard'"),
        (send_completion(completion={}), "completion_id: Field required"),
        (send_completion(completion={**completion().model_dump(mode="json"), "status": "secret"}), "status: Input should be"),
    ],
)
async def test_completion_that_is_none_fails_for_good_and_names_what_is_wrong(
    notifier: Notifier, command: SendCompletion, sentence: str
) -> None:
    with pytest.raises(ApplicationError, match=sentence) as caught:
        await notifier.publish(command)
    assert caught.value.non_retryable
    assert "secret" not in str(caught.value)


@sqlite_only
async def test_completion_outside_avros_ranges_fails_for_good(notifier: Notifier) -> None:
    too_big = completion().model_dump(mode="json")
    too_big["result"]["size_bytes"] = 2**70
    with pytest.raises(ApplicationError, match="does not fit its Avro schema") as caught:
        await notifier.publish(send_completion(completion=too_big))
    assert caught.value.non_retryable


async def test_database_without_tables_is_tried_again_and_names_no_values(settings: Settings) -> None:
    bare = engine(settings.database_url)
    async with process(settings, bare) as notifier:
        with pytest.raises(ApplicationError, match=r"the database does not answer: no such table: \w+; is it set up[^\n]*$") as caught:
            await notifier.update_history(update_history(prompt="secret"))
    await bare.dispose()
    assert not caught.value.non_retryable


async def test_history_is_kept_in_sql_and_published(notifier: Notifier) -> None:
    command = update_history()
    place = await notifier.update_history(command)
    async with notifier.store.connect() as connection:
        row = dict((await connection.execute(select(HISTORY))).mappings().one())
    entry = command.entry.model_dump(exclude={"error"})
    published = {"published_topic": place.topic, "published_partition": place.partition, "published_offset": place.offset}
    assert row == {**entry, **published, "error_code": None, "error_message": None, "archive_key": None}
    (record,) = await records(notifier.settings, f"{notifier.settings.topic_prefix}history")
    assert record.key == b"\xffkey"
    assert dict(record.headers)["ce_type"] == models.HISTORY.encode()
    decoded = await notifier.wire.decode(record.value)
    assert models.EVENTS[decoded.record].model_validate(decoded.value) == command.entry


async def test_retried_history_neither_adds_a_row_nor_an_event(notifier: Notifier) -> None:
    command = update_history()
    first = await notifier.update_history(command)
    assert await notifier.update_history(command) == first
    async with process(notifier.settings, notifier.store) as another:
        assert await another.update_history(command) == first
    async with notifier.store.connect() as connection:
        assert len((await connection.execute(select(HISTORY))).all()) == 1
    assert len(await records(notifier.settings, first.topic)) == 1


async def test_history_row_without_an_acknowledged_event_is_published_by_the_retry(notifier: Notifier) -> None:
    command = update_history()
    await notifier.update_history(command)
    async with notifier.store.begin() as connection:  # as if the process had died before the acknowledgement was written
        await connection.execute(update(HISTORY).values(published_topic=None))
    async with process(notifier.settings, notifier.store) as another:
        place = await another.update_history(command)
    async with notifier.store.connect() as connection:
        assert (await connection.execute(select(HISTORY.c.published_topic))).scalar_one() == place.topic


async def test_prompt_with_a_nul_does_not_fail_the_history_for_ever(notifier: Notifier) -> None:
    await notifier.update_history(update_history(prompt="a\x00b"))
    async with notifier.store.connect() as connection:
        assert (await connection.execute(select(HISTORY.c.prompt))).scalar_one() == "a\N{REPLACEMENT CHARACTER}b"


async def test_history_without_a_key_is_keyed_by_its_user(notifier: Notifier) -> None:
    command = update_history(key=None)
    failed = command.entry.model_copy(update={"status": Status.FAILED, "error": CompletionError(code="Internal", message="why")})
    place = await notifier.update_history(command.model_copy(update={"entry": failed}))
    (record,) = await records(notifier.settings, place.topic)
    assert record.key == b"user-1"
    async with notifier.store.connect() as connection:
        row = (await connection.execute(select(HISTORY))).one()
    assert (row.status, row.error_code, row.error_message, row.recorded_at) == ("FAILED", "Internal", "why", NOW)


def test_every_completion_record_is_known_to_the_catalog() -> None:
    names = Catalog(shipped()).names()
    assert {*models.COMPLETIONS, *models.EVENTS} <= set(names)
    assert all(issubclass(model, Completion) for model in models.COMPLETIONS.values())
