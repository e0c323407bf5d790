"""Sends other people's records on, as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
)

from schemas.completion import Published
from schemas.headers import Headers

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, InvalidTopicError, PolicyViolationError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record, ready to be sent. Its time is that of the sending: by its old one retention could remove it before it is read."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Refused:
    """Kafka will never take this record as it is."""

    cause: str


async def send_all(producer: AIOKafkaProducer, outgoing: Sequence[Outgoing]) -> list[Published | Refused]:
    """What became of each, in their order; those of a partition are written in their order.

    The producer must not be idempotent: one refused record would poison it for the partition. Such a one may write a record twice when
    the broker fails just then.

    Raises `KafkaError` when one was not acknowledged: it may be written or not, like the others.
    """
    queued = [await _queue(producer, each) for each in outgoing]
    answers = await asyncio.gather(*queued, return_exceptions=True)
    done: list[Published | Refused] = []
    for each, answer in zip(outgoing, answers, strict=True):
        # A refusal may have been for another record of its batch: alone it is this one's.
        done.append(await _alone(producer, each) if isinstance(answer, _REFUSALS) else _published(answer))
    return done


async def _queue(producer: AIOKafkaProducer, outgoing: Outgoing) -> asyncio.Future[object]:
    queued: asyncio.Future[object]
    if outgoing.key is None and outgoing.value is None:
        # aiokafka's send() asserts a key or a value; a batch takes neither. It comes behind what is queued of its partition.
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=outgoing.headers)
        batch.close()
        queued = await producer.send_batch(batch, outgoing.topic, partition=outgoing.partition)
        return queued
    try:
        queued = await producer.send(
            outgoing.topic, outgoing.value, key=outgoing.key, headers=outgoing.headers, partition=outgoing.partition
        )
    except MessageSizeTooLargeError as error:  # by the client, before it was queued
        queued = asyncio.get_running_loop().create_future()
        queued.set_exception(error)
    return queued


async def _alone(producer: AIOKafkaProducer, outgoing: Outgoing) -> Published | Refused:
    try:
        return _published(await (await _queue(producer, outgoing)))
    except _REFUSALS as error:
        return Refused(f"Kafka refuses a record of {len(outgoing.value or b'')} bytes for {outgoing.topic}: {type(error).__name__}")


def _published(answer: object) -> Published:
    if isinstance(answer, BaseException):
        raise answer
    if answer is None:
        raise KafkaError("an acknowledgement without a place: the producer must ask for one (acks=all)")
    topic, partition, offset = answer.topic, answer.partition, answer.offset  # type: ignore[attr-defined] # aiokafka ships no types
    return Published(topic=topic, partition=partition, offset=offset)
