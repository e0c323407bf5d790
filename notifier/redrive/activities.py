"""The activity that sends a page of dead letters again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from headrace import breakers, kafka, reading
from headrace.dead_letters import DeadLetter, is_selected, read_letter
from headrace.forward import Outgoing, Refused, send_all
from headrace.settings import Settings
from headrace.wire import Wire
from notifier.producer import database_error
from notifier.redrive.rows import Claim, Held, RedriveRows
from schemas import headers, names
from schemas.completion import Published
from schemas.errors import FailureType, Reason, Transient, bounded
from schemas.redrive import Page, PageDone, Range, Tally

log = structlog.get_logger(__name__)

REDRIVEN = Counter("headrace_notifier_redriven_total", "Dead letters that were sent again.", ["topic", "reason"])
PARKED = Counter("headrace_notifier_parked_total", "Dead letters that are not sent again.", ["topic", "reason"])

T = TypeVar("T")

_PAGE_SECONDS = 15.0
_PAGE_RECORDS = 5000
_AT_ONCE = 100
_BEAT_SECONDS = 2.0
_FRESH_SECONDS = 5.0
"""What was claimed earlier is claimed again: a process that stood still may have lost its page to another, which has sent it. Less than the
heartbeat's time-out."""


class RedriveActivities:
    """Each dead letter is sent once: what was about to be sent when a process died is looked for in the topic first."""

    def __init__(self, settings: Settings, engine: AsyncEngine, producer: AIOKafkaProducer, wire: Wire) -> None:
        self._settings = settings
        self._engine = engine
        self._rows = RedriveRows(engine)
        self._producer = producer
        self._wire = wire

    @activity.defn(name=names.REDRIVE_DEAD_LETTERS)
    async def redrive_dead_letters(self, page: Page) -> PageDone:
        """Raises `ApplicationError`, always retryable: the page begins anew, and finds in its rows what it has done."""
        progress = [page.range.start]
        try:
            async with _heartbeat(progress):
                await self._refuse_stopped(page)
                return await self._redrive(page, progress)
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error) from error
        except (KafkaError, Transient) as error:
            raise ApplicationError(f"Kafka: {bounded(str(error), 300)}", type=FailureType.INTERNAL) from error

    async def _refuse_stopped(self, page: Page) -> None:
        target = _target(page.range)
        for route in await breakers.stopped_routes(self._engine):
            if route.topic == target:
                raise ApplicationError(
                    f"the route {route.route} is stopped: what is sent to {target} would not be read. When that is mended: {route.resume}",
                    type="RouteStopped",
                )

    async def _redrive(self, page: Page, progress: list[int]) -> PageDone:
        until, most = time.monotonic() + _PAGE_SECONDS, min(_AT_ONCE, max(1, int(page.rate or _AT_ONCE)))
        tally, batch, scanned = Tally(), list[DeadLetter](), 0
        partitions = await kafka.partitions(self._settings, [_target(page.range)])
        async with reading.consumer(self._settings) as consumer:
            # Before the consumer fetches: afterwards it would wait behind a fetch.
            ends = await consumer.end_offsets(partitions)
            async with contextlib.aclosing(reading.read(consumer, [page.range])) as records:
                async for record in records:
                    scanned += 1
                    letter = await read_letter(self._wire, record)
                    if _is_sendable(letter) and is_selected(letter, page.selection):
                        batch.append(letter)
                    else:
                        tally = tally.plus(Tally(skipped=1))
                    if len(batch) == most:
                        tally, batch = tally.plus(await self._paced(page, batch, ends)), []
                    progress[0] = record.offset + 1
                    if time.monotonic() > until or scanned == _PAGE_RECORDS:
                        break
                else:
                    progress[0] = page.range.end
        if batch:
            tally = tally.plus(await self._paced(page, batch, ends))
        return PageDone(next=progress[0], tally=tally.model_copy(update={"done": progress[0] - page.range.start}))

    async def _paced(self, page: Page, batch: list[DeadLetter], ends: dict[TopicPartition, int]) -> Tally:
        began = time.monotonic()
        tally = await _to_its_end(self._send(page, batch, ends))
        if page.rate is not None:
            await asyncio.sleep(max(0.0, tally.sent / page.rate - (time.monotonic() - began)))
        return tally

    async def _send(self, page: Page, batch: list[DeadLetter], ends: dict[TopicPartition, int]) -> Tally:
        claimed = time.monotonic()
        claims = [_claim(letter, page, ends) for letter in batch]
        held = await (self._rows.unpark if page.parked else self._rows.claim)(page.redrive_id, claims)
        places = {each.dead_letter_id: each.to_partition for each in claims}
        found, read_up_to = await self._find(_target(page.range), places, held)
        if time.monotonic() - claimed > _FRESH_SECONDS:
            await self._rows.settle(page.redrive_id, found, {})
            await self._rows.not_before(page.redrive_id, {each: read_up_to[places[each]] for each in held.doubtful if each not in found})
            raise ApplicationError("a batch was claimed too long ago: it is claimed again", type=FailureType.INTERNAL)
        due = [letter for letter in batch if letter.id in held.fresh or (letter.id in held.doubtful and letter.id not in found)]
        answers = await send_all(self._producer, [_outgoing(letter, _target(page.range), places[letter.id]) for letter in due])
        sent, refused = found, {}
        for letter, answer in zip(due, answers, strict=True):
            if isinstance(answer, Refused):
                refused[letter.id] = answer.cause
            else:
                sent[letter.id] = answer
        await self._rows.settle(page.redrive_id, sent, refused)
        return _told(page, batch, sent.keys() | held.redriven, refused.keys() | held.parked)

    async def _find(self, topic: str, places: dict[UUID, int], held: Held) -> tuple[dict[UUID, Published], dict[int, int]]:
        """Where the doubtful ones are that were sent after all, and up to which offset the partitions were read for the others."""
        least: dict[int, int] = {}
        for each, offset in held.doubtful.items():
            least[places[each]] = min(offset, least.get(places[each], offset))
        if not least:
            return {}, {}
        found: dict[UUID, Published] = {}
        async with reading.consumer(self._settings) as consumer:
            ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in least])
            tails = [Range(topic=topic, partition=at.partition, start=least[at.partition], end=end) for at, end in ends.items()]
            await _look_for(consumer, tails, held, found)
        log.info("redrive_looked_back", topic=topic, doubtful=len(held.doubtful), sent=len(found))
        return found, {at.partition: end for at, end in ends.items()}


async def _look_for(consumer: AIOKafkaConsumer, tails: list[Range], held: Held, found: dict[UUID, Published]) -> None:
    async with contextlib.aclosing(reading.read(consumer, tails)) as records:
        async for record in records:
            sent_for = headers.redrive_id(record.headers)
            if sent_for is not None and sent_for in held.doubtful:
                found.setdefault(sent_for, Published(topic=record.topic, partition=record.partition, offset=record.offset))


def _target(range_: Range) -> str:
    return range_.topic.removesuffix(".dlq")


def _is_sendable(letter: DeadLetter) -> bool:
    """Whether its headers say that it came from the topic that this dead-letter topic is for."""
    return letter.buried is not None and letter.buried.topic == letter.record.topic.removesuffix(".dlq")


def _claim(letter: DeadLetter, page: Page, ends: dict[TopicPartition, int]) -> Claim:
    dead, target = letter.buried, _target(page.range)
    assert dead is not None  # noqa: S101 - see _is_sendable
    # Its own partition, so that records of a key keep their order among themselves; where that is gone, another.
    known = sorted(each.partition for each in ends)
    partition = dead.partition if dead.partition in known else known[dead.partition % len(known)]
    tired = not page.parked and dead.redrives >= page.max_redrives
    return Claim(
        dead_letter_id=letter.id,
        topic=letter.record.topic,
        partition=letter.record.partition,
        offset=letter.record.offset,
        event_id=letter.event_id,
        reason=dead.reason,
        redrives=dead.redrives,
        to_topic=target,
        to_partition=partition,
        to_offset_at_least=ends[TopicPartition(target, partition)],
        cause=f"it was sent again {dead.redrives} times and came back" if tired else None,
    )


def _outgoing(letter: DeadLetter, topic: str, partition: int) -> Outgoing:
    assert letter.buried is not None  # noqa: S101 - as above
    return Outgoing(topic, partition, letter.record.key, letter.record.value, headers.redriven(letter.buried, letter.id))


def _told(page: Page, batch: Sequence[DeadLetter], sent: set[UUID], parked: set[UUID]) -> Tally:
    topic = _target(page.range)
    for letter in batch:
        for those, counter in ((sent, REDRIVEN), (parked, PARKED)):
            if letter.id in those:
                # A header may hold anything, a label only what is known.
                counter.labels(topic, letter.reason if letter.reason in set(Reason) else "other").inc()
    log.info("dead_letters_redriven", topic=topic, redrive_id=str(page.redrive_id), sent=len(sent), parked=len(parked))
    return Tally(sent=len(sent), parked=len(parked), skipped=len(batch) - len(sent) - len(parked))


async def _to_its_end(work: Awaitable[T]) -> T:
    """Awaits `work`, also when this is cancelled meanwhile: what is being sent is written down."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@contextlib.asynccontextmanager
async def _heartbeat(progress: Sequence[int]) -> AsyncIterator[None]:
    """Tells Temporal that the work goes on, and at which offset: a killed process is noticed by the silence."""

    async def beat() -> None:
        while True:
            activity.heartbeat(progress[0])
            await asyncio.sleep(_BEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
